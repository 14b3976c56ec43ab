//! What the driver of a connection is told by others: to look at its times, and to end.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicU8, AtomicU64,
            Ordering::{AcqRel, Acquire, Relaxed},
        },
    },
    task::{Context, Waker},
};

use tokio::time::Instant;

use super::{Cause, ExchangeState};
use crate::CloseReason;

#[derive(Debug, Default)]
pub(super) struct Signals {
    /// The [`Cause`] for which the connection, or this stream, was aborted; 0 while it was not.
    pub(super) aborted: AtomicU8,
    /// Why a connection is drained that was not aborted for that; 0 while no cause is known.
    end_cause: AtomicU8,
    /// When the driver must look at its times, earlier than it plans to; 0 if it need not.
    look_by: AtomicU64,
    /// The task that is woken when this is aborted: the driver, or the task that waits for this stream.
    task: Mutex<Option<Waker>>,
}

impl ExchangeState {
    /// Has the driver look at its times at `moment` at the latest; it learns of that when it is polled
    /// next.
    pub(crate) fn look_by(&self, moment: Instant) {
        let moment = self.clock.tick(moment);
        let earlier = |set: u64| (set == 0 || moment < set).then_some(moment);
        let _ = self.signals.look_by.fetch_update(AcqRel, Acquire, earlier);
    }

    /// Takes the moment that [`look_by`](Self::look_by) has set.
    #[inline]
    pub(crate) fn take_look_by(&self) -> Option<Instant> {
        if self.signals.look_by.load(Relaxed) == 0 {
            return None;
        }
        self.clock.instant(self.signals.look_by.swap(0, AcqRel))
    }

    /// Aborts the connection, or the stream: its next read or write fails, and its task ends. The first
    /// cause stays; returns whether this is the first.
    pub(crate) fn abort(&self, cause: Cause) -> bool {
        let first = self
            .signals
            .aborted
            .compare_exchange(0, cause as u8, AcqRel, Acquire)
            .is_ok();
        self.wake();
        first
    }

    #[inline]
    pub(crate) fn aborted(&self) -> Option<Cause> {
        match self.signals.aborted.load(Acquire) {
            0 => None,
            cause => Cause::of(cause),
        }
    }

    /// Notes why the connection is drained. What it carries goes on.
    pub(crate) fn note_end(&self, cause: Cause) {
        let _ = self
            .signals
            .end_cause
            .compare_exchange(0, cause as u8, Relaxed, Relaxed);
    }

    /// Why the connection ended. Where this side has noted no cause, the peer ended it.
    pub(crate) fn close_reason(&self) -> CloseReason {
        let noted = || Cause::of(self.signals.end_cause.load(Relaxed));
        let cause = self.aborted().or_else(noted);
        cause.map_or(CloseReason::Peer, Cause::reason)
    }

    /// Wakes the driver, so that it looks at what has changed.
    pub(crate) fn wake(&self) {
        let task = self.task().clone();
        if let Some(task) = task {
            task.wake();
        }
    }

    /// Keeps the task that drives the connection, or waits for this stream, to wake it later.
    #[inline]
    pub(crate) fn register(&self, cx: &Context<'_>) {
        let mut task = self.task();
        // A connection has the same task all its life, so it is mostly known.
        if task.as_ref().is_some_and(|it| it.will_wake(cx.waker())) {
            return;
        }
        let before = task.replace(cx.waker().clone());
        drop(task);
        drop(before);
    }

    /// The task that waits for this stream.
    #[cfg(feature = "http2")]
    pub(crate) fn waker(&self) -> Option<Waker> {
        self.task().clone()
    }

    /// Forgets the task, which has ended. The socket of an upgraded connection may outlive it.
    pub(crate) fn unregister(&self) {
        let ended = self.task().take();
        drop(ended);
    }

    #[inline]
    fn task(&self) -> MutexGuard<'_, Option<Waker>> {
        self.signals
            .task
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Arc, atomic::AtomicBool},
        task::Wake,
    };

    use super::*;
    use crate::connector::FailedWrite;

    struct Task(AtomicBool);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Relaxed);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_is_woken_by_a_cut_and_forgotten_when_it_has_ended() {
        let exchange = ExchangeState::new(Instant::now(), u64::MAX, FailedWrite::SentNothing);
        let task = Arc::new(Task(AtomicBool::new(false)));
        let waker = Waker::from(task.clone());
        let before = Arc::strong_count(&task);
        for _ in 0..2 {
            exchange.register(&Context::from_waker(&waker));
        }
        assert_eq!(Arc::strong_count(&task), before + 1);
        exchange.abort(Cause::Closed);
        assert!(task.0.load(Relaxed));
        exchange.unregister();
        assert_eq!(Arc::strong_count(&task), before);
    }
}
