//! Decides by heads alone which bodies may be continued, which range is requested, and whether a
//! response fits.

use std::fmt::Write as _;

use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{
        ACCEPT_ENCODING, ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, IF_RANGE,
        RANGE,
    },
};

use super::{content_range::ContentRange, error::ResumeErrorKind, validator::Validator};

/// Why the body of a response cannot be continued where it breaks.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum NotResumable {
    /// The method is not GET.
    Method,
    /// The request has a body of its own.
    RequestBody,
    /// The policy sends this request once: see [`NoRetry`](crate::NoRetry).
    Policy,
    /// The status is neither 200 nor 206.
    Status,
    /// The server takes no ranges: `Accept-Ranges: none`.
    AcceptRanges,
    /// There is no strong validator.
    NoStrongValidator,
    /// The response has several parts, or its `Content-Range` or `Content-Length` is not valid.
    Range,
}

impl NotResumable {
    /// The name for logs, such as `no_strong_validator`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::RequestBody => "request_body",
            Self::Policy => "policy",
            Self::Status => "status",
            Self::AcceptRanges => "accept_ranges",
            Self::NoStrongValidator => "no_strong_validator",
            Self::Range => "range",
        }
    }
}

/// A body that can be continued. Offsets are those of the encoded representation.
#[derive(Clone, Debug)]
pub(super) struct Resumable {
    validator: Validator,
    codings: String,
    /// Whether the response was the whole, and not a part that the caller had asked for.
    whole: bool,
    /// The offset of the first byte of the body.
    first: u64,
    /// The offset behind the last byte of the body, if it is known.
    end: Option<u64>,
    /// The length of the whole, if it is known.
    total: Option<u64>,
}

/// How a response to the request for the rest can be used.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    /// The first `skip` bytes of its body were received before. Its length is not known if it is the
    /// whole again.
    Rest { skip: u64, length: Option<u64> },
    /// It is the whole, of which nothing was returned to the reader.
    Anew(Resumable),
    /// There are no more bytes.
    Complete,
    /// It is no continuation.
    Refused(ResumeErrorKind),
    /// It says nothing about the rest, such as a 503.
    Failed,
}

impl Resumable {
    /// Reads the head of a response to a GET. `exact` is the length of its body, where the transport
    /// knows it.
    pub(super) fn of(
        status: StatusCode,
        headers: &HeaderMap,
        exact: Option<u64>,
    ) -> Result<Self, NotResumable> {
        if status != StatusCode::OK && status != StatusCode::PARTIAL_CONTENT {
            return Err(NotResumable::Status);
        }
        if takes_no_ranges(headers) {
            return Err(NotResumable::AcceptRanges);
        }
        let validator = Validator::of(headers).ok_or(NotResumable::NoStrongValidator)?;
        let length = length(headers, exact).map_err(|()| NotResumable::Range)?;
        let codings = codings(headers);
        if status == StatusCode::OK {
            return Ok(Self {
                validator,
                codings,
                whole: true,
                first: 0,
                end: length,
                total: length,
            });
        }
        let Some(ContentRange::Part { first, last, total }) = ContentRange::of(headers) else {
            return Err(NotResumable::Range);
        };
        let end = last.saturating_add(1);
        if is_multipart(headers) || length.is_some_and(|length| length != end - first) {
            return Err(NotResumable::Range);
        }
        Ok(Self {
            validator,
            codings,
            whole: false,
            first,
            end: Some(end),
            total,
        })
    }

    /// The plan for a whole of which this was stored.
    pub(super) fn stored(validator: Validator, codings: &str, total: Option<u64>) -> Self {
        Self {
            validator,
            codings: codings.to_owned(),
            whole: true,
            first: 0,
            end: total,
            total,
        }
    }

    pub(super) fn validator(&self) -> &Validator {
        &self.validator
    }

    pub(super) fn codings(&self) -> &str {
        &self.codings
    }

    /// The length of the whole, if it is known.
    pub(super) fn total(&self) -> Option<u64> {
        self.total
    }

    /// The length of the body, if it is known.
    pub(super) fn length(&self) -> Option<u64> {
        self.end.map(|end| end.saturating_sub(self.first))
    }

    /// The offset of the next byte when so many were received.
    pub(super) fn offset(&self, received: u64) -> u64 {
        self.first.saturating_add(received)
    }

    /// Sets the headers of the request for the rest.
    ///
    /// The rest must have the coding of the beginning, so no other is accepted. If nothing was
    /// received of a whole, the whole is requested, which works without support for ranges.
    pub(super) fn ask(&self, received: u64, headers: &mut HeaderMap) {
        let accepted = match self.codings.as_str() {
            "" => HeaderValue::from_static("identity"),
            codings => HeaderValue::try_from(codings)
                .unwrap_or_else(|_| HeaderValue::from_static("identity")),
        };
        headers.insert(ACCEPT_ENCODING, accepted);
        if self.whole && received == 0 {
            headers.remove(RANGE);
            headers.remove(IF_RANGE);
            return;
        }
        let mut range = format!("bytes={}-", self.offset(received));
        if let Some(last) = self.end.and_then(|end| end.checked_sub(1)) {
            // Writing to a string cannot fail.
            let _ = write!(range, "{last}");
        }
        if let Ok(range) = HeaderValue::try_from(range) {
            headers.insert(RANGE, range);
        }
        headers.insert(IF_RANGE, self.validator.if_range().clone());
    }

    /// Judges the answer to that request. `exact` is the length of its body, where the transport
    /// knows it.
    pub(super) fn judge(
        &mut self,
        received: u64,
        status: StatusCode,
        headers: &HeaderMap,
        exact: Option<u64>,
    ) -> Answer {
        match status {
            StatusCode::PARTIAL_CONTENT => self
                .judge_part(received, headers, exact)
                .unwrap_or_else(Answer::Refused),
            StatusCode::OK if self.whole => self.judge_whole(received, headers, exact),
            // The server took the range before, so the version that it had is gone; or, after 412
            // and 304, the caller's own conditions do not hold any more.
            StatusCode::OK | StatusCode::PRECONDITION_FAILED | StatusCode::NOT_MODIFIED => {
                Answer::Refused(ResumeErrorKind::ValidatorChanged)
            }
            StatusCode::RANGE_NOT_SATISFIABLE => self.judge_unsatisfied(received, headers),
            _ => Answer::Failed,
        }
    }

    fn judge_part(
        &mut self,
        received: u64,
        headers: &HeaderMap,
        exact: Option<u64>,
    ) -> Result<Answer, ResumeErrorKind> {
        const MISMATCH: ResumeErrorKind = ResumeErrorKind::ContentRangeMismatch;
        if is_multipart(headers) {
            return Err(MISMATCH);
        }
        let Some(ContentRange::Part { first, last, total }) = ContentRange::of(headers) else {
            return Err(MISMATCH);
        };
        if !self.validator.is_of_part(headers) {
            return Err(ResumeErrorKind::ValidatorChanged);
        }
        if codings(headers) != self.codings {
            return Err(ResumeErrorKind::EncodingChanged);
        }
        if matches!((self.total, total), (Some(one), Some(other)) if one != other) {
            return Err(MISMATCH);
        }
        let next = self.offset(received);
        // A server or a cache that stores blocks may begin earlier. One that begins with the first
        // byte of the whole has not understood the range, so the rest of its head is not trusted
        // either.
        let was_understood = first > 0 || next == 0;
        let covers = first <= next && next <= last;
        if !covers || !was_understood {
            return Err(MISMATCH);
        }
        let length = (last - first).saturating_add(1);
        match self::length(headers, exact) {
            Ok(announced) if announced.unwrap_or(length) == length => {}
            Ok(_) | Err(()) => return Err(ResumeErrorKind::LengthMismatch),
        }
        self.total = self.total.or(total);
        if self.whole {
            self.end = self.end.or(total);
        }
        Ok(Answer::Rest {
            skip: next - first,
            length: Some(length),
        })
    }

    /// Judges a whole. What the first head says of the body must still hold. If bytes of it were
    /// returned before, the server has ignored the range
    /// ([RFC 9110, section 14.2](https://www.rfc-editor.org/rfc/rfc9110#section-14.2)): a strong
    /// validator says that the same bytes come again, so they are skipped.
    fn judge_whole(&self, received: u64, headers: &HeaderMap, exact: Option<u64>) -> Answer {
        if codings(headers) != self.codings {
            return Answer::Refused(ResumeErrorKind::EncodingChanged);
        }
        // The caller has the validator of the first head, and may keep the body under it.
        if Validator::of(headers).as_ref() != Some(&self.validator) {
            return Answer::Refused(ResumeErrorKind::ValidatorChanged);
        }
        let Ok(length) = length(headers, exact) else {
            return Answer::Refused(ResumeErrorKind::LengthMismatch);
        };
        if self.end.is_some() && length != self.end {
            return Answer::Refused(ResumeErrorKind::ValidatorChanged);
        }
        if received > 0 {
            return Answer::Rest {
                skip: received,
                length,
            };
        }
        Answer::Anew(Self {
            validator: self.validator.clone(),
            codings: self.codings.clone(),
            whole: true,
            first: 0,
            end: length,
            total: length,
        })
    }

    fn judge_unsatisfied(&self, received: u64, headers: &HeaderMap) -> Answer {
        if self.validator.is_denied_by(headers) {
            return Answer::Refused(ResumeErrorKind::ValidatorChanged);
        }
        let next = self.offset(received);
        match ContentRange::of(headers) {
            Some(ContentRange::Unsatisfied { total })
                if total == next && self.end.is_none_or(|end| end == next) =>
            {
                Answer::Complete
            }
            _ => Answer::Refused(ResumeErrorKind::RangeNotSatisfiable),
        }
    }
}

/// The length of a body by `Content-Length`, or without that by the transport. An error if one is
/// not valid, or they differ.
fn length(headers: &HeaderMap, exact: Option<u64>) -> Result<Option<u64>, ()> {
    let mut announced = None;
    for value in headers.get_all(CONTENT_LENGTH) {
        let value: u64 = value
            .to_str()
            .ok()
            .and_then(|it| it.parse().ok())
            .ok_or(())?;
        if announced.is_some_and(|announced| announced != value) {
            return Err(());
        }
        announced = Some(value);
    }
    match (announced, exact) {
        (Some(announced), Some(exact)) if announced != exact => Err(()),
        (announced, exact) => Ok(announced.or(exact)),
    }
}

/// The content codings, in the order in which they were applied; nothing if there are none.
fn codings(headers: &HeaderMap) -> String {
    let mut codings = String::new();
    for value in headers.get_all(CONTENT_ENCODING) {
        for coding in String::from_utf8_lossy(value.as_bytes()).split(',') {
            let coding = coding.trim().to_ascii_lowercase();
            // RFC 9110, section 8.4.1.3.
            let coding = match coding.as_str() {
                "" | "identity" => continue,
                "x-gzip" => "gzip",
                coding => coding,
            };
            if !codings.is_empty() {
                codings.push_str(", ");
            }
            codings.push_str(coding);
        }
    }
    codings
}

fn takes_no_ranges(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(ACCEPT_RANGES).iter();
    values.any(|value| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"none"))
}

fn is_multipart(headers: &HeaderMap) -> bool {
    const NAME: &[u8] = b"multipart/byteranges";
    headers.get_all(CONTENT_TYPE).iter().any(|value| {
        let start = value.as_bytes().trim_ascii().get(..NAME.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(NAME))
    })
}

/// Whether the body of a response to this method may be continued.
pub(super) fn check_method(method: &Method) -> Result<(), NotResumable> {
    if method == Method::GET {
        Ok(())
    } else {
        Err(NotResumable::Method)
    }
}
