use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body::Body;

use super::{
    error::ResumeErrorKind,
    resumable::{Answer, NotResumable, Resumable},
    validator::Validator,
};

/// The facts of a response that a later request needs to ask for the rest of its body, in another
/// call or another run of the program.
///
/// A [`ResumeBody`](super::ResumeBody) asks for the rest by itself, as long as it lives. This is
/// for a program that stores the received bytes, such as a download to a file. It stores
/// [`validator`](Self::validator), [`codings`](Self::codings) and [`total`](Self::total) beside the
/// bytes, and makes the checkpoint again from these by [`new`](Self::new).
///
/// ```
/// use bytes::Bytes;
/// use http::{HeaderMap, Response};
/// use http_body_util::Full;
/// use retry_layer::resume::{Checkpoint, Rest};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let whole = Response::builder().header("etag", "\"v1\"").body(Full::<Bytes>::from("0123456789"))?;
/// let checkpoint = Checkpoint::of(&whole).map_err(|why| why.as_str())?;
///
/// // Later, when four bytes are there:
/// let validator = checkpoint.validator().clone();
/// let mut checkpoint = Checkpoint::new(validator, checkpoint.codings(), checkpoint.total()).unwrap();
/// let mut headers = HeaderMap::new();
/// checkpoint.ask(4, &mut headers);
/// assert_eq!(headers["range"], "bytes=4-9");
/// assert_eq!(headers["if-range"], "\"v1\"");
///
/// let part = Response::builder().status(206).header("etag", "\"v1\"");
/// let part = part.header("content-range", "bytes 4-9/10").body(Full::<Bytes>::from("456789"))?;
/// let rest = checkpoint.judge(4, &part);
/// assert_eq!(rest, Rest::Part { skip: 0, length: 6 });
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Checkpoint {
    resumable: Resumable,
}

/// What a response to the request for the rest is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Rest {
    /// Its body has the next byte. It has `length` bytes, of which the first `skip` were received
    /// before: all of them if the server has ignored the range and sends the whole (200). It may end
    /// before the end of the whole; then the rest is asked for again.
    Part {
        /// How many bytes to skip.
        skip: u64,
        /// The length of the body, those included.
        length: u64,
    },
    /// All bytes were received before.
    Complete,
    /// It does not fit the received bytes, for this reason.
    Refused(ResumeErrorKind),
    /// It is the whole, of the same version, and nothing was received before.
    Whole,
    /// It says nothing about the rest, such as a 503; or it is the whole again, of the same version and
    /// of an unknown length.
    Other,
}

impl Checkpoint {
    /// Reads the head of a response to a GET. Its body is the whole, of which nothing was read.
    ///
    /// # Errors
    ///
    /// If the rest of this body cannot be asked for: the status is not 200, there is no strong validator
    /// ([RFC 9110, section 13.1.5](https://www.rfc-editor.org/rfc/rfc9110#section-13.1.5)), or the server
    /// takes no ranges.
    pub fn of<B: Body>(response: &Response<B>) -> Result<Self, NotResumable> {
        let status = response.status();
        if status != StatusCode::OK {
            return Err(NotResumable::Status);
        }
        let exact = response.body().size_hint().exact();
        let resumable = Resumable::of(status, response.headers(), exact)?;
        Ok(Self { resumable })
    }

    /// Makes a checkpoint from stored values. `None` if the validator is neither a strong entity
    /// tag nor a date. Whether a date is strong was checked by [`of`](Self::of).
    #[must_use]
    pub fn new(validator: HeaderValue, codings: &str, total: Option<u64>) -> Option<Self> {
        let validator = Validator::stored(validator)?;
        let resumable = Resumable::stored(validator, codings, total);
        Some(Self { resumable })
    }

    /// The value of an `If-Range`: a strong entity tag, or a strong `Last-Modified`.
    #[must_use]
    pub fn validator(&self) -> &HeaderValue {
        self.resumable.validator().if_range()
    }

    /// Whether the validator is an entity tag, and not a date.
    #[must_use]
    pub fn is_tag(&self) -> bool {
        matches!(self.resumable.validator(), Validator::Tag(_))
    }

    /// The content codings of the body, as a `Content-Encoding` has them; empty if there are none.
    #[must_use]
    pub fn codings(&self) -> &str {
        self.resumable.codings()
    }

    /// The length of the whole in bytes, if it is known.
    #[must_use]
    pub fn total(&self) -> Option<u64> {
        self.resumable.total()
    }

    /// Sets the headers of a request for the bytes after the first `received` ones: `Range`,
    /// `If-Range`, and an `Accept-Encoding` for the same coding.
    pub fn ask(&self, received: u64, headers: &mut HeaderMap) {
        self.resumable.ask(received, headers);
    }

    /// Judges the head of the response to that request. Nothing of its body was read. If the total
    /// was not known, it is taken from it.
    pub fn judge<B: Body>(&mut self, received: u64, response: &Response<B>) -> Rest {
        let (status, headers) = (response.status(), response.headers());
        let exact = response.body().size_hint().exact();
        match self.resumable.judge(received, status, headers, exact) {
            Answer::Rest { skip, length } => match length {
                Some(length) => Rest::Part { skip, length },
                None => Rest::Other,
            },
            Answer::Anew(resumable) => {
                self.resumable = resumable;
                Rest::Whole
            }
            Answer::Complete => Rest::Complete,
            Answer::Refused(kind) => Rest::Refused(kind),
            Answer::Failed => Rest::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    /// A response whose body does not matter.
    #[derive(Debug)]
    struct Head;

    impl Body for Head {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
            std::task::Poll::Ready(None)
        }
    }

    fn head(status: u16, lines: &[(&'static str, &'static str)]) -> Response<Head> {
        let response = lines
            .iter()
            .fold(Response::builder().status(status), |it, (name, value)| {
                it.header(*name, *value)
            });
        response.body(Head).unwrap()
    }

    #[test]
    fn what_was_stored_asks_as_before() {
        const CHANGED: &str = "Sat, 01 Jun 2024 11:00:00 GMT";
        const NOON: &str = "Sat, 01 Jun 2024 12:00:00 GMT";
        for (lines, is_tag) in [
            (&[("etag", "\"a\""), ("content-length", "9")][..], true),
            (&[("etag", "\"a\""), ("content-encoding", "x-gzip")], true),
            (&[("last-modified", CHANGED), ("date", NOON)], false),
        ] {
            let first = Checkpoint::of(&head(200, lines)).unwrap();
            assert_eq!(first.is_tag(), is_tag);
            let validator = first.validator().clone();
            let again = Checkpoint::new(validator, first.codings(), first.total()).unwrap();
            let asked = [&first, &again].map(|it| {
                let mut headers = HeaderMap::new();
                it.ask(3, &mut headers);
                headers
            });
            assert_eq!(asked[0], asked[1]);
        }
    }

    #[test]
    fn a_part_or_a_weak_validator_is_no_checkpoint() {
        let part = [("etag", "\"a\""), ("content-range", "bytes 0-8/9")];
        for (status, lines) in [
            (206, &part[..]),
            (203, &[("etag", "\"a\"")]),
            (200, &[("etag", "W/\"a\"")]),
            (200, &[("etag", "\"a\""), ("accept-ranges", "none")]),
        ] {
            assert!(Checkpoint::of(&head(status, lines)).is_err());
        }
        for stored in ["W/\"a\"", "a", "", "\"a", "yesterday"] {
            let stored = HeaderValue::from_static(stored);
            assert!(
                Checkpoint::new(stored.clone(), "", None).is_none(),
                "{stored:?}"
            );
        }
    }
}
