#[cfg(not(all(test, session_loom)))]
use std::sync::{Mutex, MutexGuard};
use std::{
    mem,
    sync::PoisonError,
    task::{Context, Poll, Waker},
};

#[cfg(all(test, session_loom))]
use loom::sync::{Mutex, MutexGuard};

/// What the pool tells a waiter.
pub(crate) enum Notification<S, O> {
    /// It may open a connection, and waits on.
    Permit(S),
    /// The wait is over.
    Served(O),
}

/// Passes permits or an outcome from the pool to a waiter, which may leave at any moment.
pub(crate) struct WaiterCell<S, O>(Mutex<Contents<S, O>>);

struct Contents<S, O> {
    /// More than one where a request with an earlier place came back into the queue before this
    /// one was polled: the pool counts permits, and not who has them.
    permits: Vec<S>,
    served: Option<O>,
    waker: Option<Waker>,
    gone: bool,
}

impl<S, O> WaiterCell<S, O> {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Contents {
            permits: Vec::new(),
            served: None,
            waker: None,
            gone: false,
        }))
    }

    /// Lets the waiter open a connection. The permit is released at once if the waiter has left, or
    /// its wait is over.
    pub(super) fn grant(&self, permit: S) {
        let mut contents = self.lock();
        if contents.gone || contents.served.is_some() {
            drop(contents);
            drop(permit);
            return;
        }
        contents.permits.push(permit);
        let waker = contents.waker.take();
        drop(contents);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Ends the wait, and releases the permits that the waiter has not taken out: on a runtime that is
    /// not driven, it might never take them. If the waiter has left, the outcome is returned.
    pub(super) fn serve(&self, outcome: O) -> Result<(), O> {
        let mut contents = self.lock();
        if contents.gone {
            return Err(outcome);
        }
        contents.served = Some(outcome);
        let (waker, permits) = (contents.waker.take(), mem::take(&mut contents.permits));
        drop(contents);
        drop(permits);
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    /// Closes the cell, and returns what was in it.
    pub(super) fn close(&self) -> Left<S, O> {
        let mut contents = self.lock();
        contents.gone = true;
        Left {
            permits: mem::take(&mut contents.permits),
            served: contents.served.take(),
            _waker: contents.waker.take(),
        }
    }

    pub(super) fn poll_notification(&self, cx: &mut Context<'_>) -> Poll<Notification<S, O>> {
        // Cloned and dropped outside the lock: a waker is foreign code.
        let waker = cx.waker().clone();
        let mut contents = self.lock();
        if let Some(outcome) = contents.served.take() {
            return Poll::Ready(Notification::Served(outcome));
        }
        if let Some(permit) = contents.permits.pop() {
            return Poll::Ready(Notification::Permit(permit));
        }
        let replaced = contents.waker.replace(waker);
        drop(contents);
        drop(replaced);
        Poll::Pending
    }

    fn lock(&self) -> MutexGuard<'_, Contents<S, O>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a waiter had not taken out of its cell when it left.
pub(super) struct Left<S, O> {
    pub(super) permits: Vec<S>,
    pub(super) served: Option<O>,
    _waker: Option<Waker>,
}

#[cfg(all(test, not(session_loom)))]
mod tests {
    use std::{sync::Arc, task::Waker};

    use super::*;

    #[test]
    fn a_request_that_is_polled_late_keeps_each_permit_that_it_was_granted() {
        let permit = Arc::new(());
        let cell = WaiterCell::<_, ()>::new();
        cell.grant(permit.clone());
        cell.grant(permit.clone());
        // One that goes back is granted anew at once, and to the same waiter.
        assert_eq!(Arc::strong_count(&permit), 3);
        let mut cx = Context::from_waker(Waker::noop());
        for held in [2, 1] {
            let polled = cell.poll_notification(&mut cx);
            assert!(matches!(polled, Poll::Ready(Notification::Permit(_))));
            drop(polled);
            assert_eq!(Arc::strong_count(&permit), held);
        }
        assert!(cell.poll_notification(&mut cx).is_pending());
    }
}
