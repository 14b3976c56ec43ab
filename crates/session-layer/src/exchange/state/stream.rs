//! What only an HTTP/2 stream's state has.

#[cfg(feature = "http2")]
use std::task::Context;
use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicU64,
            Ordering::{AcqRel, Acquire, Relaxed, Release},
        },
    },
    task::Waker,
};

use super::{Cause, ExchangePhase, ExchangeState};
use crate::exchange::Gate;

/// Owns the streams of a connection, and takes one back whose request body has ended after its
/// exchange.
pub(crate) trait StreamOwner: Send + Sync {
    fn take_back(self: Arc<Self>, stream: Arc<ExchangeState>);
}

#[derive(Debug)]
pub(super) struct Stream {
    /// The number of the request on its connection, if no other was under way when it began; 0 else.
    alone: AtomicU64,
    /// How many streams the connection had opened when hyper was given the request; [`NEVER`] before.
    sent_from: AtomicU64,
    body: Mutex<UploadEnd>,
}

/// Of a request that hyper was not given.
const NEVER: u64 = u64::MAX;

/// How the exchange and its request body end. The later of the two gives the stream back.
#[derive(Default)]
struct UploadEnd {
    /// Whether hyper has not taken the body to its end.
    goes: bool,
    /// Whether hyper sends the body in a task of its own.
    has_task: bool,
    /// That task, once it has been polled.
    task: Option<Waker>,
    /// Set when the exchange ends before its body: where the stream is given back.
    orphaned: Option<Arc<dyn StreamOwner>>,
}

impl Default for Stream {
    fn default() -> Self {
        Self {
            alone: AtomicU64::new(0),
            sent_from: AtomicU64::new(NEVER),
            body: Mutex::default(),
        }
    }
}

impl UploadEnd {
    fn is_under_way(&self) -> bool {
        self.goes || self.has_task
    }
}

impl fmt::Debug for UploadEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UploadEnd")
            .field("goes", &self.goes)
            .field("has_task", &self.has_task)
            .field("orphaned", &self.orphaned.is_some())
            .finish_non_exhaustive()
    }
}

impl ExchangeState {
    /// Sets the number of the request on its connection if no other is under way, and 0 else.
    pub(crate) fn set_alone(&self, number: u64) {
        self.stream.alone.store(number, Relaxed);
    }

    /// The number of the request on its connection, if no other was under way when it began.
    pub(crate) fn alone(&self) -> Option<u64> {
        Some(self.stream.alone.load(Relaxed)).filter(|number| *number != 0)
    }

    /// When the exchange began, if nothing has come on its connection since then;
    /// [`moment`](Self::moment) makes a moment of it.
    #[inline]
    pub(crate) fn unheard_since(&self, socket: &Self) -> Option<u64> {
        if self.read_before.load(Relaxed) != socket.socket.read.load(Relaxed) {
            return None;
        }
        Some(self.began.load(Relaxed)).filter(|began| *began != 0)
    }

    /// Since when the reader has waited for the next piece, if the response body was aborted because it
    /// came too slowly.
    pub(crate) fn too_slow_since(&self) -> Option<u64> {
        let is_cut = self.aborted() == Some(Cause::TooSlow);
        Some(self.wanted_since.load(Relaxed)).filter(|since| is_cut && *since != 0)
    }

    /// Notes that hyper is given the request, when the connection has `opened` so many streams.
    #[cfg(feature = "http2")]
    pub(crate) fn note_given(&self, opened: u64) {
        self.stream.sent_from.store(opened, Release);
    }

    /// Whether the HEADERS of the request may have been written.
    pub(crate) fn may_be_sent(&self, gate: &Gate) -> bool {
        let from = self.stream.sent_from.load(Acquire);
        from != NEVER && gate.opened() != from
    }

    /// Makes the state as new, for the next stream.
    pub(crate) fn reset(&self) {
        self.phase.store(ExchangePhase::Idle as u8, Release);
        self.signals.aborted.store(0, Release);
        self.began.store(0, Relaxed);
        self.stream.sent_from.store(NEVER, Relaxed);
        self.wanted_since.store(0, Relaxed);
        self.upload.blocked_since.store(0, Relaxed);
        self.upload.failed.store(false, Relaxed);
    }

    /// Undoes a timeout, since the awaited data had arrived but was not read yet.
    #[inline]
    pub(crate) fn forgive(&self, cause: Cause) {
        let cause = cause as u8;
        let _ = self
            .signals
            .aborted
            .compare_exchange(cause, 0, AcqRel, Acquire);
    }

    /// Notes that hyper is given a request body.
    pub(crate) fn upload_begins(&self) {
        *self.upload_end() = UploadEnd {
            goes: true,
            ..UploadEnd::default()
        };
        // An earlier body may have left an error that its request did not ask for.
        let before = self.take_error();
        drop(before);
    }

    /// Notes that hyper has taken the end of the body, or dropped it.
    pub(crate) fn upload_ended(exchange: &Arc<Self>) {
        exchange.upload_end().goes = false;
        Self::free_after_upload(exchange);
    }

    /// Notes that hyper sends the body in a task of its own.
    #[cfg(feature = "http2")]
    pub(crate) fn upload_task_begins(&self) {
        self.upload_end().has_task = true;
    }

    /// Notes that the task has ended.
    #[cfg(feature = "http2")]
    pub(crate) fn upload_task_ended(exchange: &Arc<Self>) {
        let mut upload = exchange.upload_end();
        upload.has_task = false;
        let ended = upload.task.take();
        drop(upload);
        drop(ended);
        Self::free_after_upload(exchange);
    }

    /// Whether hyper sends the body in a task of its own.
    pub(super) fn has_upload_task(&self) -> bool {
        self.upload_end().has_task
    }

    /// Whether the exchange is over, so that its request body is of no more use. If it is not, the task
    /// is woken when it ends.
    #[cfg(feature = "http2")]
    pub(crate) fn is_over_for_upload(&self, cx: &Context<'_>) -> bool {
        let mut upload = self.upload_end();
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

    /// Gives the stream back if both the exchange and its request body are over.
    fn free_after_upload(exchange: &Arc<Self>) {
        let mut upload = exchange.upload_end();
        let owner = if upload.is_under_way() {
            None
        } else {
            upload.orphaned.take()
        };
        drop(upload);
        if let Some(owner) = owner {
            owner.take_back(exchange.clone());
        }
    }

    /// Leaves the stream of an exchange that is over to its request body if that is under way, and has
    /// the body ended; returns whether it is.
    pub(crate) fn leave_to_upload(&self, owner: impl FnOnce() -> Arc<dyn StreamOwner>) -> bool {
        let mut upload = self.upload_end();
        if !upload.is_under_way() {
            return false;
        }
        upload.orphaned = Some(owner());
        self.phase.store(ExchangePhase::Orphan as u8, Release);
        let task = upload.task.clone();
        drop(upload);
        if let Some(task) = task {
            task.wake();
        }
        true
    }

    /// Whether the exchange is over and its request body is not.
    pub(crate) fn is_orphan(&self) -> bool {
        self.phase() == ExchangePhase::Orphan
    }

    fn upload_end(&self) -> MutexGuard<'_, UploadEnd> {
        self.stream
            .body
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::connector::FailedWrite;

    #[test]
    fn the_error_of_one_request_body_is_not_told_of_the_next() {
        let exchange =
            ExchangeState::new(Instant::now(), u64::MAX, FailedWrite::SentNothing).for_stream();
        exchange.upload_begins();
        exchange.keep_error("of the first".into());
        exchange.reset();
        exchange.upload_begins();
        assert!(exchange.take_error().is_none());
    }
}
