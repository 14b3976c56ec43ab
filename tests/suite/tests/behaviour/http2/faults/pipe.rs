//! Byte streams within the process that can be cut.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::{
    client::legacy::connect::{Connected, Connection},
    rt::TokioIo,
};
use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, DuplexStream, ReadBuf};

/// How a connection breaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Break {
    Fin,
    Rst,
}

pin_project! {
    /// The client's end of a stream.
    pub(crate) struct Pipe<T> {
        #[pin]
        io: T,
        // How many more bytes come in, and what comes then.
        left: usize,
        then: Break,
        read: Arc<AtomicUsize>,
    }
}

impl<T> Pipe<T> {
    /// A stream that breaks after so many bytes from the peer; `read` counts them.
    pub(crate) fn cut(io: T, after: usize, then: Break, read: Arc<AtomicUsize>) -> Self {
        Self {
            io,
            left: after,
            then,
            read,
        }
    }
}

impl Pipe<TokioIo<DuplexStream>> {
    /// A stream that breaks only where the peer breaks it, and the peer's end of it.
    pub(crate) fn whole() -> (Self, DuplexStream) {
        Self::sized(64 * 1024)
    }

    /// The same, where no more than so many bytes are under way.
    pub(crate) fn sized(size: usize) -> (Self, DuplexStream) {
        let (near, far) = tokio::io::duplex(size);
        let pipe = Self::cut(TokioIo::new(near), usize::MAX, Break::Fin, Arc::default());
        (pipe, far)
    }
}

impl<T> Connection for Pipe<T> {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl<T: Read> Read for Pipe<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.project();
        if *this.left == 0 {
            return Poll::Ready(match this.then {
                Break::Fin => Ok(()),
                Break::Rst => Err(io::ErrorKind::ConnectionReset.into()),
            });
        }
        let mut scratch = [0; 8 * 1024];
        let room = scratch.len().min(buffer.remaining()).min(*this.left);
        let mut some = ReadBuf::new(scratch.get_mut(..room).unwrap_or_default());
        ready!(Pin::new(&mut TokioIo::new(this.io)).poll_read(cx, &mut some))?;
        *this.left -= some.filled().len();
        this.read.fetch_add(some.filled().len(), Ordering::Relaxed);
        buffer.put_slice(some.filled());
        Poll::Ready(Ok(()))
    }
}

impl<T: Write> Write for Pipe<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.project().io.poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().io.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().io.poll_shutdown(cx)
    }
}
