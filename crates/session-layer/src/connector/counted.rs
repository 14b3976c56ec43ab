use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use hyper::rt::ReadBufCursor;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, ReadBuf};

/// Counts the bytes that are read, since hyper's cursor cannot be asked how far a read got. Writes
/// bypass it.
#[derive(Debug)]
pub(crate) struct Counted<T> {
    inner: T,
    last: Read,
}

/// How many bytes a read brought, and some of them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Read {
    pub(crate) bytes: usize,
    /// The first digit of the status, if a response begins with this read; 0 if it is too short for
    /// that.
    pub(crate) class: u8,
    /// The last four bytes of all that was read so far.
    pub(crate) tail: u32,
}

impl Read {
    #[inline]
    fn then(self, bytes: &[u8]) -> Self {
        const STATUS: usize = "HTTP/1.1 ".len();
        let tail = match bytes.last_chunk() {
            Some(last) => u32::from_be_bytes(*last),
            None => bytes
                .iter()
                .fold(self.tail, |tail, byte| (tail << 8) | u32::from(*byte)),
        };
        Self {
            bytes: bytes.len(),
            class: bytes.get(STATUS).copied().unwrap_or_default(),
            tail,
        }
    }
}

impl<T> Counted<T> {
    pub(crate) fn new(inner: T) -> Self {
        Self {
            inner,
            last: Read::default(),
        }
    }

    pub(crate) fn get_ref(&self) -> &T {
        &self.inner
    }

    pub(crate) fn get_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

/// Reads, and returns what [`Read`] says of the bytes.
#[inline]
pub(crate) fn poll_read<T>(
    io: &mut TokioIo<Counted<T>>,
    cx: &mut Context<'_>,
    buf: ReadBufCursor<'_>,
) -> (Poll<io::Result<()>>, Read)
where
    T: AsyncRead + Unpin,
{
    let polled = hyper::rt::Read::poll_read(Pin::new(&mut *io), cx, buf);
    let last = &mut io.inner_mut().last;
    let read = *last;
    last.bytes = 0;
    (polled, read)
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
        let read = buf.filled().get(before..).unwrap_or_default();
        self.last = self.last.then(read);
        polled
    }
}
