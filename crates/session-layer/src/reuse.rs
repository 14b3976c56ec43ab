use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Version, header};
use http_body::Body;

use crate::{error::Kind, exchange::Began, target::HeaderFlags};

/// Above this much of a request body, a connection is not used again after a final 4xx or 5xx: the
/// peer may have answered without reading, and bytes in kernel buffers cannot be told from bytes
/// that were read. The next request would wait behind them.
const UNREAD_UPLOAD: u64 = 16 * 1024;

/// Whether the connection may serve another request once the response body has ended.
///
/// `request_body` is how many bytes of the request body hyper has taken.
#[inline]
pub(crate) fn is_clean(status: StatusCode, began: Began, request_body: u64) -> bool {
    let refused = status >= StatusCode::BAD_REQUEST;
    began == Began::InTime && !(refused && request_body > UNREAD_UPLOAD)
}

/// Whether a response of this status has no body, whatever length its head names
/// ([RFC 9110, section 6.4.1](https://www.rfc-editor.org/rfc/rfc9110#section-6.4.1)).
pub(crate) fn is_bare(status: StatusCode) -> bool {
    [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&status)
}

/// Whether the peer says that it closes after this response ([RFC 9112, section
/// 9.3](https://www.rfc-editor.org/rfc/rfc9112#section-9.3)): then no request may be given the
/// connection.
pub(crate) fn is_last(version: Version, headers: &HeaderMap) -> bool {
    let says = |option: &str| {
        headers.get_all(header::CONNECTION).iter().any(|value| {
            let mut options = value.as_bytes().split(|byte| *byte == b',');
            options.any(|it| it.trim_ascii().eq_ignore_ascii_case(option.as_bytes()))
        })
    };
    says("close") || (version == Version::HTTP_10 && !says("keep-alive"))
}

/// How many seconds the peer keeps an idle connection, if it says so. `Keep-Alive` is of no
/// standard in force ([RFC 2068, section 19.7.1.1](https://www.rfc-editor.org/rfc/rfc2068#section-19.7.1.1)),
/// but many servers send it.
pub(crate) fn keep_alive_hint(headers: &HeaderMap) -> Option<u32> {
    let value = headers.get(&KEEP_ALIVE)?;
    let mut parts = value
        .as_bytes()
        .split(|byte| *byte == b',' || *byte == b' ');
    parts.find_map(|part| {
        let (name, seconds) = std::str::from_utf8(part).ok()?.split_once('=')?;
        let names_timeout = name.trim().eq_ignore_ascii_case("timeout");
        names_timeout.then(|| seconds.trim().parse().ok()).flatten()
    })
}

pub(crate) static KEEP_ALIVE: header::HeaderName = header::HeaderName::from_static("keep-alive");

/// The kind of failure that an error of an HTTP/2 stream is; `None` if the error is not one of a
/// stream.
///
/// When this side ends the connection because the peer broke the rules, h2 gives that error to all
/// streams, and does not tell whose frame it was. If `is_alone` says that there was one stream, it
/// was a frame of its response. Otherwise the error counts as one of the connection.
///
/// A stream gets the error of a GOAWAY only if it is above the last one that the peer processes
/// ([RFC 9113, section 6.8](https://www.rfc-editor.org/rfc/rfc9113#section-6.8)).
#[cfg(feature = "http2")]
pub(crate) fn stream_error(error: &hyper::Error, is_alone: impl FnOnce() -> bool) -> Option<Kind> {
    let error: &h2::Error = std::error::Error::source(error)?.downcast_ref()?;
    let refused = error.reason() == Some(h2::Reason::REFUSED_STREAM);
    if error.is_remote() && (error.is_go_away() || (error.is_reset() && refused)) {
        Some(Kind::Unprocessed)
    } else if error.is_remote() && error.is_reset() {
        Some(Kind::Reset)
    } else if error.is_library() && (error.is_reset() || is_alone()) {
        Some(Kind::Protocol("it breaks the rules of HTTP/2"))
    } else {
        None
    }
}

/// Whether the peer ended an HTTP/2 connection by `ENHANCE_YOUR_CALM`.
#[cfg(feature = "http2")]
pub(crate) fn asks_for_calm(error: &hyper::Error) -> bool {
    let source = std::error::Error::source(error);
    source
        .and_then(|error| error.downcast_ref::<h2::Error>())
        .is_some_and(|error| {
            let calm = error.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM);
            error.is_remote() && error.is_go_away() && calm
        })
}

#[cfg(not(feature = "http2"))]
pub(crate) fn stream_error(_: &hyper::Error, _: impl FnOnce() -> bool) -> Option<Kind> {
    None
}

/// Checks how the response is framed, beyond what hyper does; returns whether its connection may
/// be used again.
///
/// [RFC 9112, section 6.3](https://www.rfc-editor.org/rfc/rfc9112#section-6.3): with both
/// `Transfer-Encoding` and `Content-Length` the former counts, the latter is removed, and the
/// connection must be closed. A coding other than `chunked` is not understood ([section
/// 6.1](https://www.rfc-editor.org/rfc/rfc9112#section-6.1)); its bytes must not be taken for the
/// content.
pub(crate) fn check_framing(headers: &mut HeaderMap) -> Result<bool, Kind> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else {
        return Ok(true);
    };
    if codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
        return Err(Kind::Protocol("an unknown transfer coding"));
    }
    Ok(headers.remove(header::CONTENT_LENGTH).is_none())
}

/// How long the body of a request must be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Length {
    /// Only a header says so. The body does not know its end before it has ended.
    Announced(u64),
    /// The body itself says so.
    Known(u64),
}

/// Makes the headers of a request agree with its body, or refuses the request. If they differed,
/// the peer would take bytes of one request for another ([RFC 9112, section
/// 11.2](https://www.rfc-editor.org/rfc/rfc9112#section-11.2)).
///
/// Returns how long the body must be, if that is known; a header that it adds is set in `flags`.
pub(crate) fn frame_request<B: Body>(
    request: &mut Request<B>,
    flags: &mut HeaderFlags,
) -> Result<Option<Length>, Kind> {
    let is_empty = request.body().is_end_stream();
    // HTTP/1.1, whichever version the caller has set.
    *request.version_mut() = Version::HTTP_11;
    if request.method() == Method::CONNECT {
        return Err(Kind::Headers(
            "CONNECT needs a tunnel, which a session does not make",
        ));
    }
    if !is_empty && request.method() == Method::TRACE {
        // RFC 9110, section 9.3.8.
        return Err(Kind::Headers("TRACE has no content"));
    }
    if flags.host && request.headers().get_all(header::HOST).iter().count() > 1 {
        return Err(Kind::Headers("more than one Host"));
    }
    let length = if flags.length {
        Some(content_length(request.headers(), *flags)?)
    } else {
        None
    };
    if is_empty {
        // Some servers wait for a body that is not announced (RFC 9110, section 8.6).
        let announces_none = [Method::POST, Method::PUT, Method::PATCH].contains(request.method());
        let headers = request.headers_mut();
        if length.is_some_and(|length| length != 0) {
            return Err(Kind::Headers(NOT_ITS_LENGTH));
        }
        if flags.coding {
            headers.remove(header::TRANSFER_ENCODING);
        }
        if announces_none {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        } else if flags.length {
            headers.remove(header::CONTENT_LENGTH);
        }
        if flags.expect {
            // RFC 9110, section 10.1.1: not without content.
            headers.remove(header::EXPECT);
            flags.expect = false;
        }
        return Ok(None);
    }
    let exact = request.body().size_hint().exact();
    let headers = request.headers_mut();
    if flags.coding {
        check_coding(headers)?;
    }
    match (length, exact) {
        (Some(length), Some(exact)) if length != exact => Err(Kind::Headers(NOT_ITS_LENGTH)),
        // hyper would not poll a body that is announced as empty, and so would not find out if it
        // is not.
        (Some(0), None) => {
            headers.remove(header::CONTENT_LENGTH);
            flags.length = false;
            chunk(headers, flags);
            Ok(Some(Length::Announced(0)))
        }
        (Some(length), None) => Ok(Some(Length::Announced(length))),
        (_, Some(exact)) => Ok(Some(Length::Known(exact))),
        (None, None) => {
            if !flags.coding {
                // hyper would otherwise leave out the body of a GET.
                chunk(headers, flags);
            }
            Ok(None)
        }
    }
}

/// Announces the body of a request again that is given to another connection. A request that was
/// made for HTTP/2 has lost its `Transfer-Encoding`, which HTTP/1 needs for a body of unknown
/// length.
pub(crate) fn frame_again<B: Body>(request: &mut Request<B>, flags: &mut HeaderFlags) {
    let body = request.body();
    let is_unknown = !body.is_end_stream() && body.size_hint().exact().is_none();
    if is_unknown && !flags.length && !flags.coding {
        chunk(request.headers_mut(), flags);
    }
}

const NOT_ITS_LENGTH: &str = "Content-Length is not the body's length";

fn chunk(headers: &mut HeaderMap, flags: &mut HeaderFlags) {
    let chunked = HeaderValue::from_static("chunked");
    headers.insert(header::TRANSFER_ENCODING, chunked);
    flags.adds_coding();
}

/// Reads the one `Content-Length` of a request, which is digits and nothing else
/// ([RFC 9110, section 8.6](https://www.rfc-editor.org/rfc/rfc9110#section-8.6)).
fn content_length(headers: &HeaderMap, flags: HeaderFlags) -> Result<u64, Kind> {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let length = lengths.next();
    if lengths.next().is_some() || flags.coding {
        return Err(Kind::Headers("the body's length is given twice"));
    }
    length
        .and_then(|length| length.to_str().ok())
        .filter(|length| length.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|length| length.parse().ok())
        .ok_or(Kind::Headers("Content-Length is no number"))
}

/// Refuses any coding of a request but a single `chunked`, in which the body is sent ([RFC 9112,
/// section 6.1](https://www.rfc-editor.org/rfc/rfc9112#section-6.1)).
fn check_coding(headers: &HeaderMap) -> Result<(), Kind> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let coding = codings.next();
    let is_chunked = coding.is_some_and(|coding| {
        let coding = coding.as_bytes().trim_ascii();
        coding.eq_ignore_ascii_case(b"chunked")
    });
    if is_chunked && codings.next().is_none() {
        return Ok(());
    }
    Err(Kind::Headers("Transfer-Encoding is not chunked, once"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn content_length_beside_chunked_is_removed_and_ends_the_connection() {
        let mut both = headers(&[("transfer-encoding", "Chunked"), ("content-length", "3")]);
        assert_eq!(check_framing(&mut both), Ok(false));
        assert!(!both.contains_key(header::CONTENT_LENGTH));
        let mut chunked = headers(&[("transfer-encoding", "chunked")]);
        assert_eq!(check_framing(&mut chunked), Ok(true));
        let mut length = headers(&[("content-length", "3")]);
        assert_eq!(check_framing(&mut length), Ok(true));
        assert!(length.contains_key(header::CONTENT_LENGTH));
    }

    #[test]
    fn any_coding_but_chunked_is_refused() {
        for lines in [
            &[("transfer-encoding", "gzip, chunked")][..],
            &[("transfer-encoding", "identity")],
            &[("transfer-encoding", "chunked, gzip")],
            &[
                ("transfer-encoding", "gzip"),
                ("transfer-encoding", "chunked"),
            ],
        ] {
            assert!(check_framing(&mut headers(lines)).is_err(), "{lines:?}");
        }
    }

    #[test]
    fn a_refused_upload_is_trusted_only_while_it_is_small() {
        assert!(is_clean(
            StatusCode::PAYLOAD_TOO_LARGE,
            Began::InTime,
            16 * 1024
        ));
        assert!(!is_clean(
            StatusCode::PAYLOAD_TOO_LARGE,
            Began::InTime,
            16 * 1024 + 1
        ));
        assert!(is_clean(StatusCode::OK, Began::InTime, u64::MAX));
        assert!(!is_clean(StatusCode::OK, Began::Early, 0));
    }
}
