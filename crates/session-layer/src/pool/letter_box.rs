#[cfg(not(all(test, session_loom)))]
use std::sync::{Mutex, MutexGuard};
use std::{
    sync::PoisonError,
    task::{Context, Poll, Waker},
};

#[cfg(all(test, session_loom))]
use loom::sync::{Mutex, MutexGuard};

/// What the pool has for a waiting request.
pub(crate) enum Mail<S, O> {
    /// It may open a connection, and goes on waiting.
    Permit(S),
    /// It waits no more.
    Served(O),
}

/// Where the pool leaves a permit or an outcome for a waiting request, which may leave at any moment.
pub(crate) struct LetterBox<S, O>(Mutex<Inbox<S, O>>);

struct Inbox<S, O> {
    permit: Option<S>,
    served: Option<O>,
    waker: Option<Waker>,
    gone: bool,
}

impl<S, O> LetterBox<S, O> {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Inbox {
            permit: None,
            served: None,
            waker: None,
            gone: false,
        }))
    }

    /// Lets the request open a connection; a permit for one that left, or waits no more, is free again
    /// at once.
    pub(super) fn grant(&self, permit: S) {
        let mut inbox = self.lock();
        if inbox.gone || inbox.served.is_some() {
            drop(inbox);
            drop(permit);
            return;
        }
        let replaced = inbox.permit.replace(permit);
        let waker = inbox.waker.take();
        drop(inbox);
        drop(replaced);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Ends the wait, and frees a permit that was not taken out, which may take long on a runtime that
    /// stands still; gives back what is meant for somebody who left.
    pub(super) fn serve(&self, outcome: O) -> Result<(), O> {
        let mut inbox = self.lock();
        if inbox.gone {
            return Err(outcome);
        }
        inbox.served = Some(outcome);
        let (waker, permit) = (inbox.waker.take(), inbox.permit.take());
        drop(inbox);
        drop(permit);
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    /// Closes the letter box, and gives what was in it.
    pub(super) fn close(&self) -> Left<S, O> {
        let mut inbox = self.lock();
        inbox.gone = true;
        Left {
            permit: inbox.permit.take(),
            served: inbox.served.take(),
            _waker: inbox.waker.take(),
        }
    }

    pub(super) fn poll_mail(&self, cx: &mut Context<'_>) -> Poll<Mail<S, O>> {
        // Cloned and dropped outside the lock: a waker is foreign code.
        let waker = cx.waker().clone();
        let mut inbox = self.lock();
        if let Some(outcome) = inbox.served.take() {
            return Poll::Ready(Mail::Served(outcome));
        }
        if let Some(permit) = inbox.permit.take() {
            return Poll::Ready(Mail::Permit(permit));
        }
        let replaced = inbox.waker.replace(waker);
        drop(inbox);
        drop(replaced);
        Poll::Pending
    }

    fn lock(&self) -> MutexGuard<'_, Inbox<S, O>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a request that leaves had not taken out of its letter box.
pub(super) struct Left<S, O> {
    pub(super) permit: Option<S>,
    pub(super) served: Option<O>,
    _waker: Option<Waker>,
}
