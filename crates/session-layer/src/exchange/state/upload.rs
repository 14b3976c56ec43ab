//! How far the body of a request is, and whether the peer takes it.

use std::{
    sync::atomic::{
        AtomicBool, AtomicU64,
        Ordering::{Acquire, Relaxed, Release},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::{Carrier, ExchangePhase, ExchangeState};

/// How far the request of the present exchange is.
#[derive(Debug)]
pub(super) struct Upload {
    /// How many bytes of the request body hyper has taken.
    pub(super) taken: AtomicU64,
    /// When the peer last took bytes of a request whose body hyper has taken to its end; 0 if it has
    /// taken none since. Before that end, no deadline depends on it.
    pub(super) wrote_at: AtomicU64,
    /// Since when the peer has been waited for to take more; 0 while it is not. Over HTTP/1 it is a write
    /// that waits for room, and over HTTP/2 a piece that waits to be asked for.
    pub(super) blocked_since: AtomicU64,
    /// For how long the peer was waited for before, in nanoseconds; [`UNMEASURED`] where no floor of
    /// throughput needs that.
    blocked_for: AtomicU64,
    /// Whether the request body gave an error, or panicked.
    pub(super) failed: AtomicBool,
}

const UNMEASURED: u64 = u64::MAX;

impl Default for Upload {
    fn default() -> Self {
        Self {
            taken: AtomicU64::new(0),
            wrote_at: AtomicU64::new(0),
            blocked_since: AtomicU64::new(0),
            blocked_for: AtomicU64::new(UNMEASURED),
            failed: AtomicBool::new(false),
        }
    }
}

impl Upload {
    /// Begins a request.
    #[inline]
    pub(super) fn begin(&self) {
        self.taken.store(0, Relaxed);
        self.wrote_at.store(0, Relaxed);
    }
}

impl ExchangeState {
    /// Since when the peer has been waited for to take more of the request.
    pub(crate) fn write_blocked(&self) -> Option<Instant> {
        self.clock.instant(self.upload.blocked_since.load(Relaxed))
    }

    /// When the peer last took bytes of a request whose body hyper has taken to its end.
    pub(crate) fn wrote_at(&self) -> Option<Instant> {
        self.clock.instant(self.upload.wrote_at.load(Relaxed))
    }

    /// Notes that hyper has been given a piece of a stream's body, and asks for more when the peer has
    /// taken that.
    pub(crate) fn note_piece_given(&self) {
        let waited_since = self.upload.blocked_since.load(Relaxed);
        let now = self.clock.tick(Instant::now());
        self.upload.blocked_since.store(now, Relaxed);
        self.note_unblocked(waited_since);
    }

    /// Notes that hyper has asked for more of a stream's body than there is: the peer is not waited for.
    pub(crate) fn note_piece_asked_for(&self) {
        let waited_since = self.upload.blocked_since.swap(0, Relaxed);
        self.note_unblocked(waited_since);
    }

    /// Begins to measure for how long the request of the present exchange waits for the peer.
    pub(crate) fn measure_upload(&self) {
        self.upload.blocked_for.store(0, Relaxed);
    }

    /// Adds a wait for the peer that is over to the sum.
    #[inline]
    pub(super) fn note_unblocked(&self, since: u64) {
        let before = self.upload.blocked_for.load(Relaxed);
        if before != UNMEASURED && since != 0 {
            let waited = self.clock.tick(Instant::now()).saturating_sub(since);
            // Stored after the end of the wait, so that a reader of both never counts it twice.
            self.upload
                .blocked_for
                .store(before.saturating_add(waited), Release);
        }
    }

    /// For how long the request of the present exchange has waited for the peer in all.
    pub(crate) fn upload_blocked(&self, now: Instant, carrier: Carrier) -> Duration {
        let before = self.upload.blocked_for.load(Acquire);
        let present = if self.is_upload_blocked(carrier) {
            let since = self.upload.blocked_since.load(Relaxed);
            self.clock.since_epoch(now).saturating_sub(since)
        } else {
            0
        };
        Duration::from_nanos(before.saturating_add(present))
    }

    /// Whether bytes of the request wait for the peer to take them.
    pub(crate) fn is_upload_blocked(&self, carrier: Carrier) -> bool {
        !self.has_sent(carrier) && self.upload.blocked_since.load(Relaxed) != 0
    }

    /// Whether the peer has taken the whole request, as far as that is known. Bytes that hyper has taken
    /// may still wait: over HTTP/1 for the socket, over HTTP/2 in the task in which hyper sends them.
    pub(crate) fn has_sent(&self, carrier: Carrier) -> bool {
        match self.phase() {
            ExchangePhase::Sending => false,
            ExchangePhase::Head => carrier == Carrier::Stream && !self.has_upload_task(),
            ExchangePhase::Idle
            | ExchangePhase::Body
            | ExchangePhase::Orphan
            | ExchangePhase::Draining => true,
        }
    }

    /// Notes that hyper has taken bytes of the request body.
    pub(crate) fn uploaded(&self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let sum = self.upload.taken.load(Relaxed).saturating_add(bytes);
        self.upload.taken.store(sum, Relaxed);
    }

    /// How many bytes of the request body hyper has taken.
    #[inline]
    pub(crate) fn request_body_bytes(&self) -> u64 {
        self.upload.taken.load(Relaxed)
    }

    /// Notes that the request body gave an error, or panicked.
    pub(crate) fn note_body_failed(&self) {
        self.upload.failed.store(true, Relaxed);
    }

    pub(crate) fn has_body_failed(&self) -> bool {
        self.upload.failed.load(Relaxed)
    }
}
