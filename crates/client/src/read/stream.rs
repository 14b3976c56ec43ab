use std::{
    fmt,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_core::Stream;
use http::HeaderMap;
use http_body::Body as _;

use crate::{Error, ResponseBody, description::Description, error::Kind};

/// A response's body as a stream of its bytes, in the pieces in which they come; made by
/// [`Response::stream`](crate::Response::stream).
///
/// It ends after the first error. The deadline of the call does not apply: a stream may go on for
/// as long as bytes come.
///
/// # Cancel safety
///
/// Dropping it before its end closes its connection, unless the rest has come already.
#[must_use = "a stream does nothing unless polled"]
pub struct ByteStream {
    /// `None` after its end.
    body: Option<ResponseBody>,
    request: Description,
    trailers: Option<HeaderMap>,
}

impl ByteStream {
    pub(crate) fn new(body: ResponseBody, request: Description) -> Self {
        Self {
            body: Some(body),
            request,
            trailers: None,
        }
    }

    /// Waits for the next piece; `None` at the end.
    ///
    /// # Cancel safety
    ///
    /// No piece is lost if the future is dropped.
    pub async fn next(&mut self) -> Option<Result<Bytes, Error>> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// Returns the trailers, once the stream has ended.
    #[must_use]
    pub fn trailers(&self) -> Option<&HeaderMap> {
        self.trailers.as_ref()
    }

    /// How many bytes will come, if known.
    pub(super) fn length(&self) -> Option<u64> {
        self.body.as_ref()?.size_hint().exact()
    }

    /// Ends the stream, and makes an error of this kind.
    pub(super) fn fail(&mut self, kind: Kind) -> Error {
        self.body = None;
        self.request.name(Error::new(kind))
    }
}

impl Stream for ByteStream {
    type Item = Result<Bytes, Error>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Error>>> {
        while let Some(body) = &mut self.body {
            let frame = ready!(Pin::new(body).poll_frame(cx));
            match frame.map(|frame| frame.map(http_body::Frame::into_data)) {
                Some(Ok(Ok(data))) if data.is_empty() => {}
                Some(Ok(Ok(data))) => return Poll::Ready(Some(Ok(data))),
                Some(Ok(Err(frame))) => self.trailers = frame.into_trailers().ok(),
                Some(Err(error)) => {
                    self.body = None;
                    return Poll::Ready(Some(Err(self.request.name(error))));
                }
                None => self.body = None,
            }
        }
        Poll::Ready(None)
    }
}

impl fmt::Debug for ByteStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByteStream")
            .field("ended", &self.body.is_none())
            .finish_non_exhaustive()
    }
}
