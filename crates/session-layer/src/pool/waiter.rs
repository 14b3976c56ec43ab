use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use super::{Link, Pool, Slot, state::Ticket};
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

    /// Ends the wait of somebody, if there is one who has not left.
    pub(super) fn tell(waiter: Option<Arc<Self>>, error: Error) {
        if let Some(waiter) = waiter {
            let _ = waiter.serve(Err(error));
        }
    }

    fn poll_mail(&self, cx: &mut Context<'_>) -> Poll<Mail<B>> {
        let mut inbox = self.lock();
        if let Some(outcome) = inbox.served.take() {
            return Poll::Ready(Mail::Served(outcome));
        }
        if let Some(slot) = inbox.slot.take() {
            return Poll::Ready(Mail::Slot(slot));
        }
        match &mut inbox.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            None => inbox.waker = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    fn lock(&self) -> MutexGuard<'_, Inbox<B>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request's place in the queue; dropping it leaves the queue, and whatever had been meant for
/// it goes to the next.
pub(crate) struct Waiting<B: Send + 'static> {
    pool: Arc<Pool<B>>,
    origin: Origin,
    ticket: Ticket,
    waiter: Arc<Waiter<B>>,
}

impl<B: Send + 'static> Waiting<B> {
    pub(super) fn new(
        pool: Arc<Pool<B>>,
        origin: Origin,
        ticket: Ticket,
        waiter: Arc<Waiter<B>>,
    ) -> Self {
        Self {
            pool,
            origin,
            ticket,
            waiter,
        }
    }

    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }

    pub(crate) fn poll_mail(&self, cx: &mut Context<'_>) -> Poll<Mail<B>> {
        self.waiter.poll_mail(cx)
    }
}

impl<B: Send + 'static> Drop for Waiting<B> {
    fn drop(&mut self) {
        let mut inbox = self.waiter.lock();
        inbox.gone = true;
        let slot = inbox.slot.take();
        let served = inbox.served.take();
        drop(inbox);
        self.pool.leave(&self.origin, self.ticket);
        drop(slot);
        if let Some(Ok(link)) = served {
            self.pool.put_back(link);
        }
    }
}

impl<B: Send + 'static> fmt::Debug for Waiting<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiting")
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}
