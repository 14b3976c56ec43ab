use std::{
    io, mem,
    pin::Pin,
    task::{Context, Poll},
};

use hyper::rt::ReadBufCursor;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, ReadBuf};

/// Counts what is read: hyper's cursor cannot be asked how far a read got. What is written goes past
/// it.
#[derive(Debug)]
pub(super) struct Counted<T> {
    inner: T,
    /// The bytes of the last read.
    read: usize,
}

impl<T> Counted<T> {
    pub(super) fn new(inner: T) -> Self {
        Self { inner, read: 0 }
    }

    pub(super) fn get_ref(&self) -> &T {
        &self.inner
    }

    pub(super) fn get_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

/// Reads, and says how much.
#[inline]
pub(super) fn poll_read<T>(
    io: &mut TokioIo<Counted<T>>,
    cx: &mut Context<'_>,
    buf: ReadBufCursor<'_>,
) -> (Poll<io::Result<()>>, usize)
where
    T: AsyncRead + Unpin,
{
    let polled = hyper::rt::Read::poll_read(Pin::new(&mut *io), cx, buf);
    (polled, mem::take(&mut io.inner_mut().read))
}

impl<T: AsyncRead + Unpin> AsyncRead for Counted<T> {
    #[inline]
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        self.read = buf.filled().len().saturating_sub(before);
        polled
    }
}
