//! What the tests of request bodies share.

use std::convert::Infallible;

use bytes::Bytes;
use http::StatusCode;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use session_layer::{Error, SessionBody};

/// A body in frames that does not know its end, nor its length, beforehand.
pub(super) fn stream(
    frames: &[&'static str],
) -> StreamBody<impl futures_core::Stream<Item = Result<Frame<Bytes>, Infallible>> + use<>> {
    let frames: Vec<_> = frames
        .iter()
        .map(|frame| Ok(Frame::data(Bytes::from_static(frame.as_bytes()))))
        .collect();
    StreamBody::new(tokio_stream::iter(frames))
}

/// The status and the whole body of an answer.
pub(super) async fn read(
    response: http::Response<SessionBody>,
) -> Result<(StatusCode, Bytes), Error> {
    let status = response.status();
    Ok((status, response.into_body().collect().await?.to_bytes()))
}
