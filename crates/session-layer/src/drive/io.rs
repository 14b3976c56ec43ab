use std::{
    any::Any,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use super::frames::Outgoing;
use crate::{
    connector::{
        FailedWrite, Transport,
        counted::{self, Counted},
    },
    exchange::{ExchangePhase, ExchangeState, Gate},
};
use hyper::rt::ReadBufCursor;
use hyper_util::rt::TokioIo;

/// The IO of one connection: it counts bytes, keeps the limits, can be aborted from outside, and
/// owns the pool's permit, which is released when this is dropped.
///
/// A failed write does not end it. A peer that refuses a request may answer and close without
/// reading the rest ([RFC 9112, section 9.5](https://www.rfc-editor.org/rfc/rfc9112#section-9.5)),
/// and hyper would end at the failed write without reading that answer. So hyper is not told:
/// reading goes on, and ends by the answer, by the end of the stream, or a second later.
#[derive(Debug)]
pub(crate) struct Io<T, S> {
    inner: TokioIo<Counted<TokioIo<T>>>,
    state: Arc<ExchangeState>,
    writes: Writes,
    /// What becomes of further bytes when a write has failed.
    when_failed: WhenFailed,
    /// The frames of an HTTP/2 connection. Boxed, since an HTTP/1 connection would have room for them.
    outgoing: Option<Box<Outgoing>>,
    #[expect(dead_code, reason = "its life is what the pool counts")]
    permit: S,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Writes {
    Pass,
    Failed,
}

/// What becomes of bytes that cannot be written any more.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum WhenFailed {
    /// They wait, and so does the body that they come from.
    Wait,
    /// They are dropped: HTTP/2 does not read while it waits to write.
    Discard,
}

impl<T, S> Io<T, S> {
    pub(crate) fn new(
        inner: T,
        state: Arc<ExchangeState>,
        when_failed: WhenFailed,
        permit: S,
    ) -> Self {
        Self {
            inner: TokioIo::new(Counted::new(TokioIo::new(inner))),
            state,
            writes: Writes::Pass,
            when_failed,
            outgoing: None,
            permit,
        }
    }

    /// The same, for a connection that speaks HTTP/2.
    pub(crate) fn with_frames(mut self, gate: Arc<Gate>) -> Self {
        self.outgoing = Some(Box::new(Outgoing::new(gate)));
        self
    }

    /// The transport itself, below the wrapper that counts.
    #[inline]
    fn transport(&mut self) -> &mut T {
        self.inner.inner_mut().get_mut().inner_mut()
    }

    /// Ends writing, while reading goes on; returns what hyper is told.
    #[cold]
    fn fail_writes<R>(
        &mut self,
        cx: &Context<'_>,
        error: io::Error,
        done: R,
    ) -> Poll<io::Result<R>> {
        if self.is_upgraded() {
            return Poll::Ready(Err(error));
        }
        self.writes = Writes::Failed;
        self.state.note_write_failed(error);
        // hyper reads first and writes then: bytes that have come since would be missed.
        cx.waker().wake_by_ref();
        self.unwritten(done)
    }

    /// What hyper is told of bytes that cannot be written any more. `done` is the value that says
    /// they were written.
    #[cold]
    fn unwritten<R>(&self, done: R) -> Poll<io::Result<R>> {
        match self.when_failed {
            WhenFailed::Wait if self.is_upgraded() => {
                Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
            }
            WhenFailed::Wait => Poll::Pending,
            WhenFailed::Discard => Poll::Ready(Ok(done)),
        }
    }

    /// Whether the connection was upgraded, so that no response may come that is worth waiting for.
    fn is_upgraded(&self) -> bool {
        self.when_failed == WhenFailed::Wait && self.state.phase() == ExchangePhase::Idle
    }

    /// How many bytes of a write may have reached the peer: all of them, if it failed and may have
    /// sent a part.
    #[inline]
    fn may_have_left(
        &self,
        polled: &Poll<io::Result<usize>>,
        all: impl FnOnce() -> usize,
    ) -> usize {
        match polled {
            Poll::Ready(Ok(bytes)) => *bytes,
            Poll::Ready(Err(_)) if self.state.failed_write() == FailedWrite::MaySendPart => all(),
            Poll::Ready(Err(_)) | Poll::Pending => 0,
        }
    }

    /// Notes how a write ended, and keeps its failure from hyper.
    #[inline]
    fn wrote(
        &mut self,
        cx: &Context<'_>,
        polled: Poll<io::Result<usize>>,
        all: impl FnOnce() -> usize,
    ) -> Poll<io::Result<usize>> {
        self.state.note_written(&polled);
        let error = match polled {
            Poll::Ready(Err(error)) => error,
            Poll::Ready(Ok(0)) => io::ErrorKind::WriteZero.into(),
            polled => return polled,
        };
        self.fail_writes(cx, error, all())
    }
}

impl<T: hyper::rt::Read + Unpin + 'static, S: Unpin> hyper::rt::Read for Io<T, S> {
    #[expect(
        clippy::inline_always,
        reason = "most reads find nothing, and whether it is inlined would else depend on the types of bodies"
    )]
    #[inline(always)]
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        self.state.check_head()?;
        if let Some(outgoing) = &self.outgoing {
            if outgoing.gate().puts_off() {
                return Poll::Pending;
            }
        }
        // The compiler resolves this downcast. A stream of this crate counts by itself, which saves
        // two conversions of the buffer.
        let transport: &mut dyn Any = self.transport();
        let (polled, read) = match transport.downcast_mut::<Transport>() {
            Some(transport) => transport.poll_counted(cx, buf),
            None => counted::poll_read(&mut self.inner, cx, buf),
        };
        let state = &*self.state;
        state.note_read_blocked(polled.is_pending());
        // hyper reads several times for a response, and mostly nothing has come yet.
        if polled.is_pending() {
            if let Some(outgoing) = &self.outgoing {
                outgoing.gate().note_drained();
            }
        } else if read.bytes > 0 {
            state.note_read(read);
        } else {
            state.note_read_ended();
        }
        polled
    }
}

impl<T: hyper::rt::Write + Unpin, S: Unpin> hyper::rt::Write for Io<T, S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.state.check()?;
        if self.writes == Writes::Failed {
            return self.unwritten(buf.len());
        }
        let polled = Pin::new(self.transport()).poll_write(cx, buf);
        let left = self.may_have_left(&polled, || buf.len());
        if let Some(outgoing) = &mut self.outgoing {
            outgoing.pass(buf.get(..left).unwrap_or(buf));
        }
        self.wrote(cx, polled, || buf.len())
    }

    #[inline]
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.writes == Writes::Failed {
            return self.unwritten(());
        }
        match Pin::new(self.transport()).poll_flush(cx) {
            Poll::Ready(Err(error)) => self.fail_writes(cx, error, ()),
            polled => polled,
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.transport()).poll_shutdown(cx)
    }

    #[inline]
    fn is_write_vectored(&self) -> bool {
        self.inner.inner().get_ref().inner().is_write_vectored()
    }

    #[expect(
        clippy::inline_always,
        reason = "whether it is inlined would else depend on the types of bodies"
    )]
    #[inline(always)]
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.state.check()?;
        let all = || bufs.iter().map(|buf| buf.len()).sum();
        if self.writes == Writes::Failed {
            return self.unwritten(all());
        }
        let polled = Pin::new(self.transport()).poll_write_vectored(cx, bufs);
        let left = self.may_have_left(&polled, all);
        if let Some(outgoing) = &mut self.outgoing {
            outgoing.pass_slices(bufs, left);
        }
        self.wrote(cx, polled, all)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use tokio::time::Instant;

    use super::*;

    /// A stream whose writes fail.
    struct Failing;

    impl hyper::rt::Read for Failing {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: ReadBufCursor<'_>,
        ) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    impl hyper::rt::Write for Failing {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &[u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn headers_in_a_failed_write_may_be_sent_if_a_part_may_have_left() {
        const HEADERS: [u8; 10] = [0, 0, 1, 1, 4, 0, 0, 0, 1, 0x82];
        let preface = [b'x'; 24];
        let cx = &mut Context::from_waker(Waker::noop());
        for failed_write in [FailedWrite::SentNothing, FailedWrite::MaySendPart] {
            for is_vectored in [false, true] {
                let state = Arc::new(ExchangeState::new(Instant::now(), u64::MAX, failed_write));
                let gate = Arc::<Gate>::default();
                let stream = state.for_stream();
                stream.note_given(gate.opened());
                let io = Io::new(Failing, state, WhenFailed::Discard, ());
                let mut io = io.with_frames(gate.clone());
                let io = Pin::new(&mut io);
                let polled = if is_vectored {
                    let bufs = [io::IoSlice::new(&preface), io::IoSlice::new(&HEADERS)];
                    hyper::rt::Write::poll_write_vectored(io, cx, &bufs)
                } else {
                    hyper::rt::Write::poll_write(io, cx, &[&preface[..], &HEADERS].concat())
                };
                assert!(matches!(polled, Poll::Ready(Ok(34))));
                let may_be_sent = failed_write == FailedWrite::MaySendPart;
                assert_eq!(stream.may_be_sent(&gate), may_be_sent, "{is_vectored}");
            }
        }
    }
}
