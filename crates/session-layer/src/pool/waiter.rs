use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use super::{
    Arrival, Permit, Pool, PooledConnection,
    state::Place,
    waiter_cell::{Notification, WaiterCell},
};
use crate::{Error, Step, origin::Origin};

/// What the pool knows of a waiting request.
pub(crate) type Waiter<B> = WaiterCell<Permit<B>, Outcome<B>>;

type Outcome<B> = Result<PooledConnection<B>, Error>;

impl<B: Send + 'static> Waiter<B> {
    /// Ends the wait with an error.
    pub(super) fn tell(&self, error: Error) {
        let _ = self.serve(Err(error));
    }

    /// Ends the waits of all these with the same error.
    pub(super) fn tell_all(waiters: Vec<Arc<Self>>, error: &Error) {
        for waiter in waiters {
            waiter.tell(error.again());
        }
    }
}

/// What a waiter waits for, when its wait begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Wait {
    /// A place in the pool, for as long as the queue's timeout allows.
    Queued,
    /// A connection that is being opened, which has a timeout of its own.
    Connecting,
}

/// A waiter's place in the queue. Dropping it leaves the queue, and what was meant for the waiter
/// goes to the next one.
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

    pub(crate) fn arrival(&self) -> Arrival {
        self.place.arrival
    }

    /// Whether a connection is being opened for it.
    pub(crate) fn is_covered(&self) -> bool {
        self.pool
            .is_covered(&self.place.origin, self.place.arrival.ticket)
    }

    /// What it waits for.
    pub(crate) fn step(&self) -> Step {
        self.pool.step(&self.place.origin, self.place.arrival)
    }

    pub(crate) fn poll_notification(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<Notification<Permit<B>, Outcome<B>>> {
        self.place.waiter.poll_notification(cx)
    }
}

impl<B: Send + 'static> Drop for Waiting<B> {
    fn drop(&mut self) {
        let Place {
            origin,
            arrival,
            waiter,
        } = &self.place;
        self.pool.cancel(origin, arrival.ticket, waiter);
    }
}

impl<B: Send + 'static> fmt::Debug for Waiting<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiting")
            .field("origin", self.origin())
            .finish_non_exhaustive()
    }
}
