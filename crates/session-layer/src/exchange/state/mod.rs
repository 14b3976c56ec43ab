//! The state that a request, its bodies, the driver of the connection and the IO share.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicBool, AtomicU8, AtomicU64,
            Ordering::{AcqRel, Acquire, Relaxed, Release},
        },
    },
    time::Duration,
};

use tokio::time::Instant;

mod clock;
mod phase;
mod signals;
mod socket;
mod stream;
mod upload;

use self::{
    clock::{Clock, nanos},
    signals::Signals,
    socket::Socket,
    stream::Stream,
    upload::Upload,
};
pub(crate) use self::{
    phase::{Began, Carrier, ExchangePhase},
    stream::StreamOwner,
};
use super::Cause;
use crate::{
    box_error::BoxError,
    config::{OwnTimeout, OwnTimes},
    connector::FailedWrite,
};

/// The most bytes of a response head.
pub(crate) const MAX_HEAD: u64 = 256 * 1024;

/// The state of an exchange. Over HTTP/1 a connection has one for all its exchanges, which follow one
/// another. Over HTTP/2 each stream has one, and the connection has one more for its socket.
///
/// It has no lock for its numbers: each is written by one side only. The IO writes the counters, and
/// the request's future writes the phase. The channel by which hyper tells a request that it has ended
/// orders the rest. Any side may abort the connection.
#[derive(Debug)]
pub(crate) struct ExchangeState {
    clock: Clock,
    /// What the IO has noted. The state of a stream has none: its socket is noted on the
    /// connection's own state.
    socket: Socket,
    /// How far the request body is.
    upload: Upload,
    /// What only the state of an HTTP/2 stream uses.
    stream: Stream,
    /// What the driver is told.
    signals: Signals,
    /// The [`ExchangePhase`].
    phase: AtomicU8,
    /// The [`OwnTimes`] of the present exchange.
    own_times: AtomicU64,
    /// When the present exchange began; 0 before the first.
    began: AtomicU64,
    /// How many bytes the connection had read and written when the present exchange began.
    read_before: AtomicU64,
    written_before: AtomicU64,
    /// When the head of the present exchange must have come; 0 if it has no deadline.
    head_deadline: AtomicU64,
    /// The most bytes that may come before the end of a response head.
    max_head: u64,
    /// Where the response begins, as a value of `socket.read`.
    response_from: AtomicU64,
    /// The value of `socket.read` above which a head that is awaited, with the informational responses
    /// before it, is too large.
    head_ends_by: AtomicU64,
    /// Whether response bytes came before hyper had taken the end of the request body.
    answered_early: AtomicBool,
    /// Since when the reader of the response body has waited; 0 while it does not.
    wanted_since: AtomicU64,
    /// An error that hyper does not pass on: that of a write, or of a request body over HTTP/2.
    error: Mutex<Option<BoxError>>,
}

impl ExchangeState {
    pub(crate) fn new(epoch: Instant, max_head: u64, failed_write: FailedWrite) -> Self {
        Self {
            clock: Clock(epoch),
            socket: Socket::new(failed_write),
            upload: Upload::default(),
            stream: Stream::default(),
            signals: Signals::default(),
            phase: AtomicU8::new(ExchangePhase::Idle as u8),
            own_times: AtomicU64::new(0),
            began: AtomicU64::new(0),
            read_before: AtomicU64::new(0),
            written_before: AtomicU64::new(0),
            head_deadline: AtomicU64::new(0),
            max_head,
            response_from: AtomicU64::new(0),
            head_ends_by: AtomicU64::new(u64::MAX),
            answered_early: AtomicBool::new(false),
            wanted_since: AtomicU64::new(0),
            error: Mutex::new(None),
        }
    }

    /// The state of a stream on this connection.
    pub(crate) fn for_stream(&self) -> Self {
        let stream = Self::new(self.clock.0, self.max_head, self.socket.failed_write);
        // No IO notes anything here, and h2 gives a stream's reader what has come: so it is as if
        // hyper always waited for the socket.
        stream.note_read_blocked(true);
        stream
    }

    /// The moment that a number of this state stands for.
    #[cfg(feature = "http2")]
    pub(crate) fn moment(&self, tick: u64) -> Option<Instant> {
        self.clock.instant(tick)
    }

    /// Begins an exchange in its `first` phase. `socket` is the state of its connection. Must be called
    /// before hyper is given the request.
    #[inline]
    pub(crate) fn begin(
        &self,
        now: Instant,
        head: Option<Duration>,
        first: ExchangePhase,
        socket: &Self,
    ) {
        self.read_before
            .store(socket.socket.read.load(Relaxed), Relaxed);
        self.written_before
            .store(socket.socket.written.load(Relaxed), Relaxed);
        let read = self.socket.read.load(Relaxed);
        self.response_from.store(read, Relaxed);
        self.head_ends_by
            .store(read.saturating_add(self.max_head), Relaxed);
        self.upload.begin();
        self.answered_early.store(false, Relaxed);
        let now = self.clock.since_epoch(now);
        self.began.store(now.max(1), Relaxed);
        self.set_head_deadline(now, head);
        self.phase.store(first as u8, Release);
    }

    /// Sets the timeouts that the request of the present exchange has of its own.
    #[inline]
    pub(crate) fn set_own_times(&self, own: OwnTimes) {
        self.own_times.store(own.bits(), Relaxed);
    }

    /// Lifts the body idle timeout of the present exchange.
    pub(crate) fn lift_body_idle(&self) {
        let mut own = self.own_times();
        own.body_idle = OwnTimeout::NONE;
        self.set_own_times(own);
    }

    /// The timeouts that the request of the present exchange has of its own.
    #[inline]
    pub(crate) fn own_times(&self) -> OwnTimes {
        OwnTimes::from_bits(self.own_times.load(Relaxed))
    }

    /// Notes that hyper has taken the end of the request body: the head timeout begins.
    pub(crate) fn request_ended(&self, head: Option<Duration>) {
        if self.socket.read.load(Relaxed) != self.response_from.load(Relaxed) {
            self.answered_early.store(true, Relaxed);
        }
        self.set_head_deadline(self.clock.since_epoch(Instant::now()), head);
        // A response that came early has set `Body` already.
        let _ = self.phase.compare_exchange(
            ExchangePhase::Sending as u8,
            ExchangePhase::Head as u8,
            AcqRel,
            Acquire,
        );
    }

    /// Notes that the head has come; returns when the response began.
    #[inline]
    pub(crate) fn head_came(&self) -> Began {
        self.head_ends_by.store(u64::MAX, Relaxed);
        let before = self.phase.swap(ExchangePhase::Body as u8, AcqRel);
        if before == ExchangePhase::Head as u8 && !self.answered_early.load(Relaxed) {
            Began::InTime
        } else {
            Began::Early
        }
    }

    /// Whether hyper has not taken the request body to its end.
    pub(crate) fn is_sending(&self) -> bool {
        self.phase() == ExchangePhase::Sending
    }

    /// Keeps an error for the request's future, which waits for the response.
    pub(crate) fn keep_error(&self, error: BoxError) {
        *self.error() = Some(error);
    }

    pub(crate) fn take_error(&self) -> Option<BoxError> {
        self.error().take()
    }

    fn error(&self) -> MutexGuard<'_, Option<BoxError>> {
        self.error.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves the rest of a response body to the driver, which reads it for this time at most.
    pub(crate) fn begin_draining(&self, time: Duration) {
        let now = Instant::now();
        self.wanted_since.store(0, Relaxed);
        self.set_head_deadline(self.clock.since_epoch(now), Some(time));
        self.phase.store(ExchangePhase::Draining as u8, Release);
        if let Some(by) = now.checked_add(time) {
            self.look_by(by);
        }
        self.wake();
    }

    /// Ends an exchange.
    #[inline]
    pub(crate) fn end(&self) {
        self.head_ends_by.store(u64::MAX, Relaxed);
        self.wanted_since.store(0, Relaxed);
        self.phase.store(ExchangePhase::Idle as u8, Release);
    }

    /// Notes that the reader of the response body waits from now on.
    pub(crate) fn note_reader_waits(&self) {
        self.wanted_since
            .store(self.clock.tick(Instant::now()), Relaxed);
    }

    /// Notes that the reader of the response body does not wait any more.
    pub(crate) fn note_reader_served(&self) {
        self.wanted_since.store(0, Relaxed);
    }

    #[inline]
    pub(crate) fn phase(&self) -> ExchangePhase {
        match self.phase.load(Acquire) {
            1 => ExchangePhase::Sending,
            2 => ExchangePhase::Head,
            3 => ExchangePhase::Body,
            4 => ExchangePhase::Orphan,
            5 => ExchangePhase::Draining,
            _ => ExchangePhase::Idle,
        }
    }

    pub(crate) fn head_deadline(&self) -> Option<Instant> {
        self.clock.instant(self.head_deadline.load(Relaxed))
    }

    /// Whether the reader of the response body waits.
    #[cfg(feature = "http2")]
    pub(crate) fn is_wanted(&self) -> bool {
        self.wanted_since.load(Relaxed) != 0
    }

    /// Since when the reader of the response body has waited for the peer.
    pub(crate) fn wanted_since(&self) -> Option<Instant> {
        // A hyper that does not ask for bytes has some which the reader has not taken: the peer is
        // not to blame.
        let waits = self.socket.read_blocked.load(Relaxed);
        let since = self.wanted_since.load(Relaxed);
        self.clock.instant(since).filter(|_| waits)
    }

    #[inline]
    fn set_head_deadline(&self, now: u64, head: Option<Duration>) {
        let deadline = head.map_or(0, |head| now.saturating_add(nanos(head)).max(1));
        self.head_deadline.store(deadline, Relaxed);
    }
}
