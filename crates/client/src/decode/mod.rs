//! Decodes response bodies by their `Content-Encoding`
//! ([RFC 9110, section 8.4](https://www.rfc-editor.org/rfc/rfc9110#section-8.4)).
//!
//! For `send` this is done above the retries, where a body streams; for `fetch` below them, before
//! the body is collected, so that one that is corrupt is an attempt that failed.

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

/// A request extension: its response is given as it came over the wire, encoded or not, and no
/// `Accept-Encoding` is sent that the request does not have itself.
///
/// [`RequestBuilder::no_decompression`](crate::RequestBuilder::no_decompression) inserts it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct NoDecompression;

/// How many codings one body may have. A server has no use for more than one; many are a way to
/// make much work of few bytes.
const MAX_CODINGS: usize = 5;

/// The codings that this build decodes, as a request says them; `None` if there are none.
pub(crate) fn accepted() -> Option<HeaderValue> {
    let names: Vec<_> = coding::ALL.iter().map(|coding| coding.name()).collect();
    HeaderValue::try_from(names.join(", "))
        .ok()
        .filter(|value| !value.is_empty())
}

/// Asks for an encoded body, unless the request has said something of its own: what it accepts, or
/// that it wants a range, which would be one of the encoded bytes.
pub(crate) fn advertise<B>(request: &mut Request<B>, accepted: &HeaderValue) {
    let headers = request.headers();
    if headers.contains_key(ACCEPT_ENCODING) || headers.contains_key(RANGE) || !is_wanted(request) {
        return;
    }
    let headers = request.headers_mut();
    headers.insert(ACCEPT_ENCODING, accepted.clone());
}

/// Whether this build decodes anything.
pub(crate) const IS_POSSIBLE: bool = !coding::ALL.is_empty();

/// Whether a response is encoded. One pass over the names costs less than a look-up of one.
#[inline]
pub(crate) fn is_encoded(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| *name == CONTENT_ENCODING)
}

/// Whether the response to this request is to be decoded.
fn is_wanted<B>(request: &Request<B>) -> bool {
    request.extensions().get::<NoDecompression>().is_none()
}

/// Within which limits the response to this request is to be decoded: its own, or else those of its
/// client. `None` if it is not to be decoded.
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
/// What stays as it is, with its headers: a body without bytes, as those of a HEAD, a 204 and a 304
/// are; a part of an encoded body; one with a coding that this build does not know.
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
    // The one that was applied last stands last, and is taken off first.
    Ok(response.map(|body| {
        codings.into_iter().rev().fold(body, |body, coding| {
            ResponseBody::wrapped(Decoded::new(coding, body, limits))
        })
    }))
}
