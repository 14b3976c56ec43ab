//! What the IO of a connection notes, and what follows from that for the exchange.

use std::{
    io,
    sync::atomic::{
        AtomicBool, AtomicU8, AtomicU32, AtomicU64,
        Ordering::{Acquire, Relaxed, Release},
    },
    task::Poll,
    time::Duration,
};

use tokio::time::Instant;

use super::{ExchangePhase, ExchangeState, MAX_HEAD};
use crate::{
    connector::{FailedWrite, counted::Read},
    exchange::Cause,
};

/// What the IO has noted of its socket.
#[derive(Debug)]
pub(super) struct Socket {
    /// How many bytes have come, wrapping.
    pub(super) read: AtomicU64,
    /// How many bytes were written, wrapping.
    pub(super) written: AtomicU64,
    /// The first digit of the status that the response begins with; 0 if it is not known.
    class: AtomicU8,
    /// The last four bytes that were read.
    tail: AtomicU32,
    /// Whether hyper waits for bytes. It may ask for more before a reader wants them, and the bytes that
    /// come need not be content.
    pub(super) read_blocked: AtomicBool,
    /// Whether the peer has ended or broken the connection, as far as it was read.
    has_read_ended: AtomicBool,
    /// Since when writes have failed; 0 while they have not.
    write_failed: AtomicU64,
    pub(super) failed_write: FailedWrite,
}

impl Socket {
    pub(super) fn new(failed_write: FailedWrite) -> Self {
        Self {
            read: AtomicU64::new(0),
            written: AtomicU64::new(0),
            class: AtomicU8::new(0),
            tail: AtomicU32::new(0),
            read_blocked: AtomicBool::new(false),
            has_read_ended: AtomicBool::new(false),
            write_failed: AtomicU64::new(0),
            failed_write,
        }
    }
}

impl ExchangeState {
    /// Notes that a write has failed, and keeps the error. The peer may have answered before that, so
    /// reading goes on.
    pub(crate) fn note_write_failed(&self, error: io::Error) {
        let now = Instant::now();
        self.keep_error(error.into());
        // The peer has not taken all of the request, whatever it answers.
        self.answered_early.store(true, Relaxed);
        self.upload.blocked_since.store(0, Relaxed);
        self.socket
            .write_failed
            .store(self.clock.tick(now), Release);
        self.look_by(now.checked_add(AFTER_FAILED_WRITE).unwrap_or(now));
    }

    #[inline]
    pub(crate) fn has_write_failed(&self) -> bool {
        self.socket.write_failed.load(Relaxed) != 0
    }

    /// When the wait for a response ends whose request could not be written.
    #[inline]
    pub(crate) fn failed_write_deadline(&self) -> Option<Instant> {
        let failed = self.clock.instant(self.socket.write_failed.load(Acquire));
        failed.and_then(|failed| failed.checked_add(AFTER_FAILED_WRITE))
    }

    /// Notes that hyper has ended the connection by itself. If it found the head too large, it tells
    /// only the request, and not the driver; so that is found out here.
    pub(crate) fn hyper_ended(&self) {
        let waits = matches!(self.phase(), ExchangePhase::Sending | ExchangePhase::Head);
        let from = self.response_from.load(Relaxed);
        let head = self.socket.read.load(Relaxed).wrapping_sub(from);
        if waits && !self.socket.has_read_ended.load(Relaxed) && head >= MAX_HEAD {
            self.note_end(Cause::HeadTooLarge);
        }
    }

    /// Fails if the connection was aborted.
    #[inline]
    pub(crate) fn check(&self) -> io::Result<()> {
        if self.signals.aborted.load(Acquire) != 0 {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(())
    }

    /// Fails as [`check`](Self::check) does, and aborts the connection if its response has no head within
    /// the bytes that a head may have.
    #[inline]
    pub(crate) fn check_head(&self) -> io::Result<()> {
        if self.socket.read.load(Relaxed) > self.head_ends_by.load(Relaxed) {
            self.abort(Cause::HeadTooLarge);
        }
        self.check()
    }

    /// Notes bytes that have come.
    #[inline]
    pub(crate) fn note_read(&self, read: Read) {
        // The peer answers while the request waits to be written: it has not read the whole of it.
        let begins = self.socket.read.load(Relaxed) == self.response_from.load(Relaxed);
        if begins {
            self.socket.class.store(read.class, Relaxed);
            if self.upload.blocked_since.load(Relaxed) != 0 {
                self.answered_early.store(true, Relaxed);
            }
        }
        self.socket.tail.store(read.tail, Relaxed);
        count(&self.socket.read, read.bytes);
    }

    /// Notes how a write has ended, or that it waits.
    #[inline]
    pub(crate) fn note_written(&self, polled: &Poll<io::Result<usize>>) {
        note_blocked(&self.upload.blocked_since, self, polled);
        match polled {
            Poll::Ready(Ok(bytes)) => {
                count(&self.socket.written, *bytes);
                if self.upload.taken.load(Relaxed) > 0 && !self.is_sending() {
                    self.upload
                        .wrote_at
                        .store(self.clock.tick(Instant::now()), Relaxed);
                }
            }
            Poll::Ready(Err(_)) if self.socket.failed_write == FailedWrite::MaySendPart => {
                count(&self.socket.written, 1);
            }
            Poll::Ready(Err(_)) | Poll::Pending => {}
        }
    }

    /// Notes whether hyper waits for bytes of the socket.
    #[inline]
    pub(crate) fn note_read_blocked(&self, waits: bool) {
        self.socket.read_blocked.store(waits, Relaxed);
    }

    /// Whether the peer has ended or broken the connection, as far as it was read.
    pub(crate) fn has_read_ended(&self) -> bool {
        self.socket.has_read_ended.load(Relaxed)
    }

    /// Notes that the peer has ended or broken the connection.
    pub(crate) fn note_read_ended(&self) {
        self.socket.has_read_ended.store(true, Relaxed);
    }

    /// How much of a write that fails may have left.
    #[inline]
    pub(crate) fn failed_write(&self) -> FailedWrite {
        self.socket.failed_write
    }

    /// Whether hyper waits for bytes of the socket, and so has given its reader all that has come.
    pub(crate) fn is_read_blocked(&self) -> bool {
        self.socket.read_blocked.load(Relaxed)
    }

    /// How many bytes were written to this socket since the present exchange began.
    pub(crate) fn written_since_begun(&self, socket: &Self) -> u64 {
        let written = socket.socket.written.load(Relaxed);
        written.wrapping_sub(self.written_before.load(Relaxed))
    }

    /// How many bytes have come over this socket since the present exchange began.
    pub(crate) fn read_since_begun(&self, socket: &Self) -> u64 {
        let read = socket.socket.read.load(Relaxed);
        read.wrapping_sub(self.read_before.load(Relaxed))
    }

    /// How many bytes have come, wrapping.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.socket.read.load(Relaxed)
    }

    /// Notes that an informational response has come. The next bytes begin the response proper.
    pub(crate) fn note_informational(&self) {
        self.response_from
            .store(self.socket.read.load(Relaxed), Relaxed);
    }

    /// Whether bytes have come since the exchange began, or since the informational response that was
    /// noted last.
    pub(crate) fn has_heard(&self) -> bool {
        self.socket.read.load(Relaxed) != self.response_from.load(Relaxed)
    }

    /// Whether the head has come and the request's future need only be polled: response bytes have
    /// come, and hyper asks for no more, or they end with the head.
    #[inline]
    pub(crate) fn is_answered(&self) -> bool {
        self.has_heard() && (!self.socket.read_blocked.load(Relaxed) || self.ends_with_head())
    }

    /// Whether the bytes of the response are a head and nothing else. hyper then asks for more, since
    /// it does not wait until a reader wants the body.
    ///
    /// It is not seen of a head that follows an informational response in one read.
    pub(super) fn ends_with_head(&self) -> bool {
        const EMPTY_LINES: [(u32, u32); 2] =
            [(0x00ff_ffff, 0x000a_0d0a), (0x0000_ffff, 0x0000_0a0a)];
        let is_final = (b'2'..=b'9').contains(&self.socket.class.load(Relaxed));
        let tail = self.socket.tail.load(Relaxed);
        is_final
            && EMPTY_LINES
                .into_iter()
                .any(|(mask, line)| tail & mask == line)
    }
}

#[inline]
fn count(counter: &AtomicU64, bytes: usize) {
    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
    // One task reads and writes a socket, so no other adds in between.
    counter.store(counter.load(Relaxed).wrapping_add(bytes), Relaxed);
}

/// Notes since when writes wait, or that they do not wait any more.
#[inline]
fn note_blocked<T>(since: &AtomicU64, exchange: &ExchangeState, polled: &Poll<T>) {
    let noted = since.load(Relaxed) != 0;
    match polled {
        Poll::Pending if !noted => since.store(exchange.clock.tick(Instant::now()), Relaxed),
        Poll::Ready(_) if noted => {
            let blocked_since = since.swap(0, Relaxed);
            exchange.note_unblocked(blocked_since);
        }
        Poll::Pending | Poll::Ready(_) => {}
    }
}

/// How long a response may take to come after a write of its request has failed. What the peer had sent
/// before is there at once, but may still be on its way through a proxy.
const AFTER_FAILED_WRITE: Duration = Duration::from_secs(1);
