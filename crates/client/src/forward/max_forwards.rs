//! `Max-Forwards`, which limits how far OPTIONS and TRACE go
//! ([RFC 9110, section 7.6.2](https://www.rfc-editor.org/rfc/rfc9110#section-7.6.2)).

use std::fmt::Write as _;

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response,
    header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, MAX_FORWARDS, PROXY_AUTHORIZATION},
};

use crate::ResponseBody;

/// Counts down. Returns the response to a request that may not be forwarded.
pub(super) fn count<B>(request: &mut Request<B>) -> Option<Response<ResponseBody>> {
    let method = request.method();
    if method != Method::OPTIONS && method != Method::TRACE {
        return None;
    }
    let left = request.headers().get(MAX_FORWARDS).and_then(number)?;
    let Some(left) = left.checked_sub(1) else {
        return Some(answer(request));
    };
    request.headers_mut().insert(MAX_FORWARDS, left.into());
    None
}

/// Reads a number of any length; one that is too large becomes the largest.
fn number(value: &HeaderValue) -> Option<u64> {
    let digits = value.to_str().ok()?;
    let all = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    all.then(|| digits.parse().unwrap_or(u64::MAX))
}

fn answer<B>(request: &Request<B>) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::default());
    if request.method() == Method::TRACE {
        let message = HeaderValue::from_static("message/http");
        response.headers_mut().insert(CONTENT_TYPE, message);
        *response.body_mut() = Bytes::from(reflection(request)).into();
    }
    response
}

/// The request as it was received, without headers that may be secret ([RFC 9110, section
/// 9.3.8](https://www.rfc-editor.org/rfc/rfc9110#section-9.3.8)).
fn reflection<B>(request: &Request<B>) -> Vec<u8> {
    let mut line = String::new();
    let (method, uri, version) = (request.method(), request.uri(), request.version());
    // Writing to a `String` cannot fail.
    let _ = write!(line, "{method} {uri} {version:?}\r\n");
    let mut message = line.into_bytes();
    for (name, value) in request.headers() {
        let secret = [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION].contains(name);
        if !secret && !value.is_sensitive() {
            message.extend_from_slice(name.as_str().as_bytes());
            message.extend_from_slice(b": ");
            message.extend_from_slice(value.as_bytes());
            message.extend_from_slice(b"\r\n");
        }
    }
    message.extend_from_slice(b"\r\n");
    message
}
