//! Decodes response bodies by their `Content-Encoding`
//! ([RFC 9110, section 8.4](https://www.rfc-editor.org/rfc/rfc9110#section-8.4)).
//!
//! For `send`, a body that streams is decoded above the retries. For `fetch`, it is decoded below
//! the retries, before it is collected, so that a corrupt body is a failed attempt.

mod body;
mod coding;
mod input;
mod limits;

use http::{
    HeaderMap, HeaderValue, Request, Response, StatusCode,
    header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, RANGE},
};
use http_body::Body as _;

use self::coding::Codings;
pub use self::limits::DecodeLimits;
pub(crate) use self::{body::Decoded, limits::DecodeLimit};
use crate::{Error, ResponseBody, error::Kind};

/// A request extension: the body of the response is given as it comes over the wire, encoded or
/// not, and no `Accept-Encoding` is added.
///
/// [`RequestBuilder::no_decompression`](crate::RequestBuilder::no_decompression) inserts it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct NoDecompression;

/// How many codings one body may have. A server needs one at most; with many, a few bytes could
/// cause much work.
const MAX_CODINGS: usize = 5;

/// The value of `Accept-Encoding` for the codings that this build decodes; `None` if there are
/// none.
pub(crate) fn accepted() -> Option<HeaderValue> {
    let names: Vec<_> = coding::ALL.iter().map(|coding| coding.name()).collect();
    HeaderValue::try_from(names.join(", "))
        .ok()
        .filter(|value| !value.is_empty())
}

/// Adds `Accept-Encoding`, unless the request has one, or asks for a range, which would be a range
/// of the encoded bytes.
pub(crate) fn advertise<B>(request: &mut Request<B>, accepted: &HeaderValue) {
    let headers = request.headers();
    if headers.contains_key(ACCEPT_ENCODING) || headers.contains_key(RANGE) || !is_wanted(request) {
        return;
    }
    let headers = request.headers_mut();
    headers.insert(ACCEPT_ENCODING, accepted.clone());
}

/// Whether this build decodes any coding.
pub(crate) const IS_POSSIBLE: bool = !coding::ALL.is_empty();

/// Whether a response is encoded. One pass over the names costs less than one look-up.
#[inline]
pub(crate) fn is_encoded(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| *name == CONTENT_ENCODING)
}

/// Whether the response to this request is to be decoded.
fn is_wanted<B>(request: &Request<B>) -> bool {
    request.extensions().get::<NoDecompression>().is_none()
}

/// Returns the limits within which the response to this request is decoded: the request's own, or
/// the client's. `None` if it is not decoded.
#[inline]
pub(crate) fn wanted<B>(request: &Request<B>, of_client: DecodeLimits) -> Option<DecodeLimits> {
    if !IS_POSSIBLE || !is_wanted(request) {
        return None;
    }
    let own = request.extensions().get::<DecodeLimits>();
    Some(own.copied().unwrap_or(of_client))
}

/// Puts decoders over the body of a response, if it is encoded.
///
/// These stay as they are, with their headers: a response without a body, such as that of a HEAD, a
/// 204 or a 304; a part of an encoded body; a body with a coding that this build does not know.
#[inline]
pub(crate) fn response(
    response: Response<ResponseBody>,
    limits: DecodeLimits,
) -> Result<Response<ResponseBody>, Error> {
    if is_encoded(response.headers()) {
        encoded(response, limits)
    } else {
        Ok(response)
    }
}

fn encoded(
    mut response: Response<ResponseBody>,
    limits: DecodeLimits,
) -> Result<Response<ResponseBody>, Error> {
    let body = response.body();
    let has_none = body.is_end_stream() || body.size_hint().exact() == Some(0);
    if response.status() == StatusCode::PARTIAL_CONTENT || has_none {
        return Ok(response);
    }
    let codings = match Codings::of(response.headers()) {
        Codings::Unknown => return Ok(response),
        Codings::Known(codings) if codings.len() > MAX_CODINGS => {
            let error = Error::new(Kind::TooManyCodings(codings.len()));
            return Err(error.answered(&response, &[]));
        }
        Codings::Known(codings) => codings,
    };
    if codings.is_empty() {
        return Ok(response);
    }
    response.headers_mut().remove(CONTENT_ENCODING);
    response.headers_mut().remove(CONTENT_LENGTH);
    // The coding that was applied last stands last, and is removed first.
    Ok(response.map(|body| {
        codings.into_iter().rev().fold(body, |body, coding| {
            ResponseBody::wrapped(Decoded::new(coding, body, limits))
        })
    }))
}
