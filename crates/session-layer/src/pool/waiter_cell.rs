#[cfg(not(all(test, session_loom)))]
use std::sync::{Mutex, MutexGuard};
use std::{
    sync::PoisonError,
    task::{Context, Poll, Waker},
};

#[cfg(all(test, session_loom))]
use loom::sync::{Mutex, MutexGuard};

/// What the pool tells a waiting request.
pub(crate) enum Notification<S, O> {
    /// It may open a connection, and goes on waiting.
    Permit(S),
    /// It waits no more.
    Served(O),
}

/// Where the pool leaves a permit or an outcome for a waiting request, which may leave at any moment.
pub(crate) struct WaiterCell<S, O>(Mutex<Contents<S, O>>);

struct Contents<S, O> {
    permit: Option<S>,
    served: Option<O>,
    waker: Option<Waker>,
    gone: bool,
}

impl<S, O> WaiterCell<S, O> {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Contents {
            permit: None,
            served: None,
            waker: None,
            gone: false,
        }))
    }

    /// Lets the request open a connection; a permit for one that left, or waits no more, is free again
    /// at once.
    pub(super) fn grant(&self, permit: S) {
        let mut contents = self.lock();
        if contents.gone || contents.served.is_some() {
            drop(contents);
            drop(permit);
            return;
        }
        let replaced = contents.permit.replace(permit);
        let waker = contents.waker.take();
        drop(contents);
        drop(replaced);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Ends the wait, and frees a permit that was not taken out, which may take long on a runtime that
    /// stands still; gives back what was meant for a request that left.
    pub(super) fn serve(&self, outcome: O) -> Result<(), O> {
        let mut contents = self.lock();
        if contents.gone {
            return Err(outcome);
        }
        contents.served = Some(outcome);
        let (waker, permit) = (contents.waker.take(), contents.permit.take());
        drop(contents);
        drop(permit);
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    /// Takes no more, and gives what was in it.
    pub(super) fn close(&self) -> Left<S, O> {
        let mut contents = self.lock();
        contents.gone = true;
        Left {
            permit: contents.permit.take(),
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
        if let Some(permit) = contents.permit.take() {
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

/// What a request that leaves had not taken out of its cell.
pub(super) struct Left<S, O> {
    pub(super) permit: Option<S>,
    pub(super) served: Option<O>,
    _waker: Option<Waker>,
}
