use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::Body as _;
use tokio::{
    io::{AsyncBufRead, AsyncRead, ReadBuf},
    task::coop::poll_proceed,
};

use crate::{Error, ResponseBody};

/// An encoded body as decoders read it: its bytes are not copied, and its trailers and its error
/// are kept aside.
pub(super) struct Input {
    body: ResponseBody,
    chunk: Bytes,
    /// How many bytes have come so far.
    came: u64,
    trailers: Option<HeaderMap>,
    error: Option<Error>,
    ended: bool,
}

impl Input {
    pub(super) fn new(body: ResponseBody) -> Self {
        Self {
            body,
            chunk: Bytes::new(),
            came: 0,
            trailers: None,
            error: None,
            ended: false,
        }
    }

    pub(super) fn empty() -> Self {
        Self::new(Bytes::new().into())
    }

    /// Waits for bytes and lends them; empty at the end. A failure is returned without its error,
    /// which [`take_error`](Self::take_error) has.
    pub(super) fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        while self.chunk.is_empty() && !self.ended {
            // Counts against the task's budget: a body that decodes to few bytes would otherwise be
            // polled for as long as its bytes come.
            let budget = ready!(poll_proceed(cx));
            let polled = ready!(Pin::new(&mut self.body).poll_frame(cx));
            budget.made_progress();
            match polled.map(|frame| frame.map(http_body::Frame::into_data)) {
                Some(Ok(Ok(data))) => {
                    let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
                    self.came = self.came.saturating_add(length);
                    self.chunk = data;
                }
                Some(Ok(Err(frame))) => self.trailers = frame.into_trailers().ok(),
                Some(Err(error)) => {
                    self.ended = true;
                    self.error = Some(error);
                    return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
                }
                None => self.ended = true,
            }
        }
        Poll::Ready(Ok(&self.chunk))
    }

    pub(super) fn body_mut(&mut self) -> &mut ResponseBody {
        &mut self.body
    }

    /// How many encoded bytes have come over the connection, also below further decoders.
    pub(super) fn encoded_bytes(&mut self) -> u64 {
        self.body.encoded_bytes().unwrap_or(self.came)
    }

    pub(super) fn take_error(&mut self) -> Option<Error> {
        self.error.take()
    }

    pub(super) fn take_trailers(&mut self) -> Option<HeaderMap> {
        self.trailers.take()
    }
}

impl AsyncBufRead for Input {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        self.get_mut().poll_chunk(cx)
    }

    fn consume(mut self: Pin<&mut Self>, amount: usize) {
        self.chunk.advance(amount);
    }
}

// `AsyncBufRead` requires this; decoders do not call it.
impl AsyncRead for Input {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let chunk = ready!(self.poll_chunk(cx))?;
        let amount = chunk.len().min(buf.remaining());
        buf.put_slice(chunk.get(..amount).unwrap_or_default());
        self.consume(amount);
        Poll::Ready(Ok(()))
    }
}
