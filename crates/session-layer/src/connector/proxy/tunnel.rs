use std::{future::poll_fn, pin::pin, task::Poll};

use http::{
    HeaderValue, Request, StatusCode,
    header::{HOST, PROXY_AUTHORIZATION},
};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use super::{Stream, Target};
use crate::box_error::BoxError;

/// The most bytes of the head of a proxy's answer.
const MAX_HEAD: usize = 16 * 1024;

/// Asks an HTTP proxy for a tunnel
/// ([RFC 9110, section 9.3.6](https://www.rfc-editor.org/rfc/rfc9110#section-9.3.6)); an answer
/// other than success is its status.
///
/// hyper reads the answer: any 2xx opens the tunnel, and its length headers are ignored.
/// hyper-util's `Tunnel` knows 200 only, and does not return the status.
pub(super) async fn open(
    stream: Stream,
    target: Target<'_>,
    authorization: Option<HeaderValue>,
) -> Result<Result<Stream, StatusCode>, BoxError> {
    // It has no part of the origin's request: the proxy learns only host and port.
    let authority = target.authority();
    let mut request = Request::connect(&authority)
        .header(HOST, &authority)
        .body(String::new())?;
    if let Some(authorization) = authorization {
        request
            .headers_mut()
            .insert(PROXY_AUTHORIZATION, authorization);
    }
    let (mut sender, mut connection) = http1::Builder::new()
        .max_buf_size(MAX_HEAD)
        .handshake(TokioIo::new(stream))
        .await?;
    let mut answer = pin!(sender.send_request(request));
    let mut ended = false;
    let response = poll_fn(|cx| {
        // If the connection ends by an error, the answer ends by the same.
        ended = ended || connection.poll_without_shutdown(cx).is_ready();
        match answer.as_mut().poll(cx) {
            Poll::Pending if ended => Poll::Ready(None),
            answer => answer.map(Some),
        }
    })
    .await
    .ok_or("the proxy ended the connection")??;
    if !response.status().is_success() {
        return Ok(Err(response.status()));
    }
    let parts = connection.into_parts();
    // The client speaks first in TLS: bytes that come before that are not the origin's.
    if !parts.read_buf.is_empty() {
        return Err("the proxy sent bytes into the tunnel".into());
    }
    Ok(Ok(parts.io.into_inner()))
}
