//! How far the body of a request is, and whether the peer takes it.

#[cfg(feature = "http2")]
use std::task::Context;
use std::{
    fmt,
    sync::{
        Arc, MutexGuard, PoisonError,
        atomic::Ordering::{Acquire, Relaxed, Release},
    },
    task::Waker,
    time::Duration,
};

use tokio::time::Instant;

use super::{Carrier, ExchangePhase, ExchangeState, NEVER, StreamOwner};

/// How the body of one request of several on a connection and its exchange end: the later of the
/// two gives their place back.
#[derive(Default)]
pub(super) struct Upload {
    /// Whether hyper has not taken the body to its end.
    goes: bool,
    /// Whether hyper sends the body in a task of its own, and who that is once it has been polled.
    has_task: bool,
    task: Option<Waker>,
    /// The exchange is over; this is for its place.
    orphaned: Option<Arc<dyn StreamOwner>>,
}

impl Upload {
    fn is_under_way(&self) -> bool {
        self.goes || self.has_task
    }
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload")
            .field("goes", &self.goes)
            .field("has_task", &self.has_task)
            .field("orphaned", &self.orphaned.is_some())
            .finish_non_exhaustive()
    }
}

impl ExchangeState {
    /// Takes note, for one request of several on a connection, that its body is on its way.
    pub(crate) fn upload_begins(&self) {
        *self.upload() = Upload {
            goes: true,
            ..Upload::default()
        };
        // The error of an earlier body that was not asked for.
        let before = self.take_error();
        drop(before);
    }

    /// Takes note that hyper has taken its end, or dropped it.
    pub(crate) fn upload_ended(exchange: &Arc<Self>) {
        exchange.upload().goes = false;
        Self::free_after_upload(exchange);
    }

    /// Takes note that hyper sends the body in a task of its own.
    #[cfg(feature = "http2")]
    pub(crate) fn upload_task_begins(&self) {
        self.upload().has_task = true;
    }

    /// Takes note that the task is no more.
    #[cfg(feature = "http2")]
    pub(crate) fn upload_task_ended(exchange: &Arc<Self>) {
        let mut upload = exchange.upload();
        upload.has_task = false;
        let ended = upload.task.take();
        drop(upload);
        drop(ended);
        Self::free_after_upload(exchange);
    }

    /// Whether the exchange is over, so that its request body is not needed any more; if not, the
    /// task is woken when it is.
    #[cfg(feature = "http2")]
    pub(crate) fn is_over_for_upload(&self, cx: &Context<'_>) -> bool {
        let mut upload = self.upload();
        let known = upload.task.as_ref();
        if known.is_some_and(|it| it.will_wake(cx.waker())) {
            return upload.orphaned.is_some();
        }
        let before = upload.task.replace(cx.waker().clone());
        let over = upload.orphaned.is_some();
        drop(upload);
        drop(before);
        over
    }

    /// Frees the place of an exchange that is over, if its request body is too.
    pub(super) fn free_after_upload(exchange: &Arc<Self>) {
        let mut upload = exchange.upload();
        let place = if upload.is_under_way() {
            None
        } else {
            upload.orphaned.take()
        };
        drop(upload);
        if let Some(place) = place {
            place.take_back(exchange.clone());
        }
    }

    /// Leaves the place of an exchange that is over to its request body, if that is still on its
    /// way; it is told to end.
    pub(crate) fn leave_to_upload(&self, place: impl FnOnce() -> Arc<dyn StreamOwner>) -> bool {
        let mut upload = self.upload();
        let goes = upload.is_under_way();
        if !goes {
            return false;
        }
        upload.orphaned = Some(place());
        self.phase.store(ExchangePhase::Orphan as u8, Release);
        let task = upload.task.clone();
        drop(upload);
        if let Some(task) = task {
            task.wake();
        }
        true
    }

    pub(crate) fn is_orphan(&self) -> bool {
        self.phase() == ExchangePhase::Orphan
    }

    pub(super) fn upload(&self) -> MutexGuard<'_, Upload> {
        self.upload.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note, for one request of several on a connection, whether its body waits for the
    /// peer to take more.
    pub(crate) fn note_upload_waits(&self, waits: bool) {
        let waited_since = self.write_blocked.load(Relaxed);
        let since = if waits { self.tick(Instant::now()) } else { 0 };
        self.write_blocked.store(since, Relaxed);
        self.note_unblocked(waited_since);
    }

    /// Has the time counted that the request of the present exchange waits for the peer.
    pub(crate) fn measure_upload(&self) {
        self.upload_blocked.store(0, Relaxed);
    }

    /// Counts a wait for the peer that is over.
    #[inline]
    pub(super) fn note_unblocked(&self, since: u64) {
        let before = self.upload_blocked.load(Relaxed);
        if before != NEVER && since != 0 {
            let waited = self.tick(Instant::now()).saturating_sub(since);
            // After the wait has been ended: who reads both never counts it twice.
            self.upload_blocked
                .store(before.saturating_add(waited), Release);
        }
    }

    /// For how long the request of the present exchange has waited for the peer to take more of it.
    pub(crate) fn upload_blocked(&self, now: Instant, carrier: Carrier) -> Duration {
        let before = self.upload_blocked.load(Acquire);
        let present = if self.is_upload_blocked(carrier) {
            let since = self.write_blocked.load(Relaxed);
            self.since_epoch(now).saturating_sub(since)
        } else {
            0
        };
        Duration::from_nanos(before.saturating_add(present))
    }

    /// Whether there are bytes of the request that the peer does not take.
    pub(crate) fn is_upload_blocked(&self, carrier: Carrier) -> bool {
        !self.has_sent(carrier) && self.write_blocked.load(Relaxed) != 0
    }

    /// Whether nothing of the request is waited for any more, as far as that is known here. What hyper
    /// has taken of a whole connection's request may still wait for the socket, and what it has taken of
    /// one of several may wait in the task in which hyper sends it.
    pub(crate) fn has_sent(&self, carrier: Carrier) -> bool {
        match self.phase() {
            ExchangePhase::Sending => false,
            ExchangePhase::Head => carrier == Carrier::Stream && !self.upload().has_task,
            ExchangePhase::Idle
            | ExchangePhase::Body
            | ExchangePhase::Orphan
            | ExchangePhase::Draining => true,
        }
    }

    /// Takes note of request body bytes that hyper has taken.
    pub(crate) fn uploaded(&self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let sum = self.uploaded.load(Relaxed).saturating_add(bytes);
        self.uploaded.store(sum, Relaxed);
    }

    #[inline]
    pub(crate) fn request_body_bytes(&self) -> u64 {
        self.uploaded.load(Relaxed)
    }

    /// Takes note that the request body itself failed.
    pub(crate) fn note_body_failed(&self) {
        self.body_failed.store(true, Relaxed);
    }

    pub(crate) fn has_body_failed(&self) -> bool {
        self.body_failed.load(Relaxed)
    }
}
