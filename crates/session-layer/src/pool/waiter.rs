use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use super::{Link, Pool, Slot, state::Place};
use crate::{Error, origin::Origin};

/// What the pool has for a waiting request.
pub(crate) enum Mail<B: Send + 'static> {
    /// It may open a connection, and goes on waiting.
    Slot(Slot<B>),
    /// It waits no more.
    Served(Result<Link<B>, Error>),
}

/// The letter box of a waiting request.
pub(crate) struct Waiter<B: Send + 'static>(Mutex<Inbox<B>>);

struct Inbox<B: Send + 'static> {
    slot: Option<Slot<B>>,
    served: Option<Result<Link<B>, Error>>,
    waker: Option<Waker>,
    gone: bool,
}

impl<B: Send + 'static> Waiter<B> {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Inbox {
            slot: None,
            served: None,
            waker: None,
            gone: false,
        }))
    }

    /// Lets the request open a connection; a slot for somebody who left is free again at once.
    pub(super) fn grant(&self, slot: Slot<B>) {
        let mut inbox = self.lock();
        if inbox.gone {
            drop(inbox);
            drop(slot);
            return;
        }
        let replaced = inbox.slot.replace(slot);
        let waker = inbox.waker.take();
        drop(inbox);
        drop(replaced);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Ends the wait; gives back what is meant for somebody who left.
    pub(super) fn serve(
        &self,
        outcome: Result<Link<B>, Error>,
    ) -> Result<(), Result<Link<B>, Error>> {
        let mut inbox = self.lock();
        if inbox.gone {
            return Err(outcome);
        }
        inbox.served = Some(outcome);
        let waker = inbox.waker.take();
        drop(inbox);
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    /// Ends the wait with an error.
    pub(super) fn tell(&self, error: Error) {
        let _ = self.serve(Err(error));
    }

    /// Ends the wait of several, who waited for the same.
    pub(super) fn tell_all(waiters: Vec<Arc<Self>>, error: &Error) {
        for waiter in waiters {
            waiter.tell(error.again());
        }
    }

    /// Closes the letter box, and gives what was in it.
    pub(super) fn close(&self) -> Left<B> {
        let mut inbox = self.lock();
        inbox.gone = true;
        Left {
            slot: inbox.slot.take(),
            served: inbox.served.take(),
            _waker: inbox.waker.take(),
        }
    }

    fn poll_mail(&self, cx: &mut Context<'_>) -> Poll<Mail<B>> {
        // Cloned and dropped outside the lock: a waker is foreign code.
        let waker = cx.waker().clone();
        let mut inbox = self.lock();
        if let Some(outcome) = inbox.served.take() {
            return Poll::Ready(Mail::Served(outcome));
        }
        if let Some(slot) = inbox.slot.take() {
            return Poll::Ready(Mail::Slot(slot));
        }
        let replaced = inbox.waker.replace(waker);
        drop(inbox);
        drop(replaced);
        Poll::Pending
    }

    fn lock(&self) -> MutexGuard<'_, Inbox<B>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a request that leaves had not taken out of its letter box.
pub(super) struct Left<B: Send + 'static> {
    pub(super) slot: Option<Slot<B>>,
    pub(super) served: Option<Result<Link<B>, Error>>,
    _waker: Option<Waker>,
}

/// What a request waits for, when its wait begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Wait {
    /// A place in the pool, for as long as the queue's timeout allows.
    Queued,
    /// A connection that is being opened, which has a timeout of its own.
    Connecting,
    /// One that may turn out to be shared, and then to be full.
    Shared,
}

/// A request's place in the queue; dropping it leaves the queue, and whatever had been meant for
/// it goes to the next.
pub(crate) struct Waiting<B: Send + 'static> {
    pool: Arc<Pool<B>>,
    place: Place<Arc<Waiter<B>>>,
    wait: Wait,
}

impl<B: Send + 'static> Waiting<B> {
    pub(super) fn new(pool: Arc<Pool<B>>, place: Place<Arc<Waiter<B>>>, wait: Wait) -> Self {
        Self { pool, place, wait }
    }

    pub(crate) fn origin(&self) -> &Origin {
        &self.place.origin
    }

    pub(crate) fn wait(&self) -> Wait {
        self.wait
    }

    /// Whether a connection is being opened that it may count on.
    pub(crate) fn is_covered(&self) -> bool {
        self.pool.is_covered(&self.place.origin, self.place.ticket)
    }

    pub(crate) fn poll_mail(&self, cx: &mut Context<'_>) -> Poll<Mail<B>> {
        self.place.waiter.poll_mail(cx)
    }
}

impl<B: Send + 'static> Drop for Waiting<B> {
    fn drop(&mut self) {
        let Place {
            origin,
            ticket,
            waiter,
        } = &self.place;
        self.pool.leave(origin, *ticket, waiter);
    }
}

impl<B: Send + 'static> fmt::Debug for Waiting<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiting")
            .field("origin", self.origin())
            .finish_non_exhaustive()
    }
}
