//! What the IO of a connection notes, and what is known of an exchange by that.

use std::{
    io,
    sync::atomic::{
        AtomicU64,
        Ordering::{Acquire, Relaxed, Release},
    },
    task::Poll,
    time::Duration,
};

use tokio::time::Instant;

use super::{ExchangePhase, ExchangeState, MAX_HEAD};
use crate::{connector::counted::Read, exchange::Cause};

impl ExchangeState {
    /// Takes note that the peer takes no more bytes, and keeps the error. It may have answered
    /// before: what it has sent is still to be read.
    pub(crate) fn note_write_failed(&self, error: io::Error) {
        let now = Instant::now();
        self.keep_error(error.into());
        // Whatever comes, not all of the request was taken.
        self.answered_early.store(true, Relaxed);
        self.write_blocked.store(0, Relaxed);
        self.write_failed.store(self.tick(now), Release);
        self.look_by(now.checked_add(AFTER_FAILED_WRITE).unwrap_or(now));
    }

    #[inline]
    pub(crate) fn has_write_failed(&self) -> bool {
        self.write_failed.load(Relaxed) != 0
    }

    /// Until when the response of a request may come that could not be written.
    #[inline]
    pub(crate) fn failed_write_deadline(&self) -> Option<Instant> {
        let failed = self.instant(self.write_failed.load(Acquire));
        failed.and_then(|failed| failed.checked_add(AFTER_FAILED_WRITE))
    }

    /// Takes note that hyper has ended the connection by itself. Where the head was too large for it,
    /// hyper tells that only to the request that waits for the head.
    pub(crate) fn hyper_ended(&self) {
        let waits = matches!(self.phase(), ExchangePhase::Sending | ExchangePhase::Head);
        let from = self.response_from.load(Relaxed);
        let head = self.read.load(Relaxed).wrapping_sub(from);
        if waits && !self.has_read_ended.load(Relaxed) && head >= MAX_HEAD {
            self.note_end(Cause::HeadTooLarge);
        }
    }

    #[inline]
    pub(crate) fn check(&self) -> io::Result<()> {
        if self.aborted.load(Acquire) != 0 {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(())
    }

    /// Whether more has come than informational responses and a head may have.
    #[inline]
    pub(crate) fn check_head(&self) -> io::Result<()> {
        if self.read.load(Relaxed) > self.head_ends_by.load(Relaxed) {
            self.abort(Cause::HeadTooLarge);
        }
        self.check()
    }

    #[inline]
    pub(crate) fn note_read(&self, read: Read) {
        // The answer begins while the request still waits to be written: it was not read whole.
        let begins = self.read.load(Relaxed) == self.response_from.load(Relaxed);
        if begins {
            self.class.store(read.class, Relaxed);
            if self.write_blocked.load(Relaxed) != 0 {
                self.answered_early.store(true, Relaxed);
            }
        }
        self.tail.store(read.tail, Relaxed);
        count(&self.read, read.bytes);
    }

    #[inline]
    pub(crate) fn note_written(&self, polled: &Poll<io::Result<usize>>) {
        note_blocked(&self.write_blocked, self, polled);
        match polled {
            Poll::Ready(Ok(bytes)) => {
                count(&self.written, *bytes);
                if self.uploaded.load(Relaxed) > 0 {
                    self.wrote_at.store(self.tick(Instant::now()), Relaxed);
                }
            }
            Poll::Ready(Err(_)) if self.torn_writes => count(&self.written, 1),
            Poll::Ready(Err(_)) | Poll::Pending => {}
        }
    }

    /// Takes note whether hyper waits for bytes of the socket.
    #[inline]
    pub(crate) fn note_read_blocked(&self, waits: bool) {
        self.read_blocked.store(waits, Relaxed);
    }

    /// Takes note that the peer has ended or broken the connection.
    pub(crate) fn note_read_ended(&self) {
        self.has_read_ended.store(true, Relaxed);
    }

    /// Whether a write that fails may have sent a part before.
    #[inline]
    pub(crate) fn has_torn_writes(&self) -> bool {
        self.torn_writes
    }

    /// Whether hyper waits for bytes of the socket: what has come is with its reader.
    pub(crate) fn is_read_blocked(&self) -> bool {
        self.read_blocked.load(Relaxed)
    }

    /// Whether bytes of the request, or of a response, have crossed this socket since the present
    /// exchange began.
    pub(crate) fn since_begun(&self, socket: &Self) -> (bool, bool) {
        let wrote = self.written_before.load(Relaxed) != socket.written.load(Relaxed);
        let read = self.read_before.load(Relaxed) != socket.read.load(Relaxed);
        (wrote, read)
    }

    /// How many bytes were written to this socket since the present exchange began.
    pub(crate) fn written_since_begun(&self, socket: &Self) -> u64 {
        let written = socket.written.load(Relaxed);
        written.wrapping_sub(self.written_before.load(Relaxed))
    }

    /// How many bytes have come over this socket since the present exchange began.
    pub(crate) fn read_since_begun(&self, socket: &Self) -> u64 {
        let read = socket.read.load(Relaxed);
        read.wrapping_sub(self.read_before.load(Relaxed))
    }

    /// How many bytes have come, wrapping.
    #[cfg(feature = "http2")]
    pub(crate) fn bytes_read(&self) -> u64 {
        self.read.load(Relaxed)
    }

    /// Takes note of an informational response: what comes after it is the beginning of the answer.
    pub(crate) fn note_informational(&self) {
        self.response_from.store(self.read.load(Relaxed), Relaxed);
    }

    /// Whether anything has come since the exchange began, or since an informational response that
    /// was noted.
    pub(crate) fn has_heard(&self) -> bool {
        self.read.load(Relaxed) != self.response_from.load(Relaxed)
    }

    /// Whether the head is there, and waits for its request to be polled: response bytes have come,
    /// and hyper asks for no more, or they end with the head.
    #[inline]
    pub(crate) fn is_answered(&self) -> bool {
        self.has_heard() && (!self.read_blocked.load(Relaxed) || self.ends_with_head())
    }

    /// Whether what has come of the response is a head and nothing else. hyper asks for more then,
    /// since it does not wait until the body is wanted.
    ///
    /// An informational response before it hides the head.
    pub(super) fn ends_with_head(&self) -> bool {
        const EMPTY_LINES: [(u32, u32); 2] =
            [(0x00ff_ffff, 0x000a_0d0a), (0x0000_ffff, 0x0000_0a0a)];
        let is_final = (b'2'..=b'9').contains(&self.class.load(Relaxed));
        let tail = self.tail.load(Relaxed);
        is_final
            && EMPTY_LINES
                .into_iter()
                .any(|(mask, line)| tail & mask == line)
    }
}

#[inline]
fn count(counter: &AtomicU64, bytes: usize) {
    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
    // One task reads and writes a socket, so nothing comes between.
    counter.store(counter.load(Relaxed).wrapping_add(bytes), Relaxed);
}

/// Notes since when one direction waits, or that it waits no more.
#[inline]
fn note_blocked<T>(since: &AtomicU64, exchange: &ExchangeState, polled: &Poll<T>) {
    let noted = since.load(Relaxed) != 0;
    match polled {
        Poll::Pending if !noted => since.store(exchange.tick(Instant::now()), Relaxed),
        Poll::Ready(_) if noted => {
            let blocked_since = since.swap(0, Relaxed);
            exchange.note_unblocked(blocked_since);
        }
        Poll::Pending | Poll::Ready(_) => {}
    }
}

/// How long a response may take to come when its request cannot be written any more: what the peer
/// had sent before is there at once, but a proxy may have it still on the way.
const AFTER_FAILED_WRITE: Duration = Duration::from_secs(1);
