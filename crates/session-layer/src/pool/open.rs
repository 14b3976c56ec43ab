//! Opens connections, and notes how each connect ends.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    thread,
};

use tokio::{sync::oneshot, time::Instant};

#[cfg(feature = "http2")]
use super::Shared;
use super::{
    Connection, Permit, Pool, PooledConnection,
    connect::RuntimeEnded,
    inner::{Inner, Live, Opening},
    state::{Failure, Numbered},
    waiter::Waiter,
};
use crate::{Error, Event, error::Kind, exchange::Release, origin::Origin, step::Steps};

impl<B: Send + 'static> Pool<B> {
    /// Begins to open a connection in a task of its own.
    ///
    /// The task belongs to the pool and not to the request that asks. The waiter that has waited
    /// for longest gets the connection. If no waiter is left, the connection is kept.
    ///
    /// # Errors
    ///
    /// If the runtime of the caller has ended. A waiter of that runtime may have been granted the
    /// permit again.
    pub(crate) fn open(self: &Arc<Self>, mut permit: Permit<B>) -> Result<(), RuntimeEnded> {
        let id = self.next_id.fetch_add(1, Relaxed);
        let (needed, called_off) = oneshot::channel();
        let steps = Arc::<Steps>::default();
        let origin = permit.origin().clone();
        let mut inner = self.lock_for(&origin);
        if inner.state.is_closed() {
            // All waiters were told when the pool closed.
            drop(inner);
            drop(permit);
            return Ok(());
        }
        let opening = Opening {
            origin: origin.clone(),
            began: inner.state.next_ticket(),
            needed: Some(needed),
            steps: steps.clone(),
        };
        inner.opening.insert(id, opening);
        drop(inner);
        permit.opening(id);
        self.connector.open(permit, id, called_off, steps)
    }

    /// Notes that a connection was opened, and that its driver is about to run.
    pub(crate) fn opened(self: &Arc<Self>, pooled: PooledConnection<B>) {
        self.tell_opened(pooled.connection());
        let (origin, id) = (pooled.origin().clone(), pooled.id());
        let now = Instant::now();
        let live = Live {
            state: pooled.exchange().clone(),
            streams: None,
        };
        let mut inner = self.lock_for(&origin);
        inner.live.insert(id, live);
        let (returned, granted) = if inner.end_opening(id).is_some() {
            inner.state.connected(&origin, pooled, now)
        } else {
            (inner.state.connected_late(&origin, pooled, now), Vec::new())
        };
        drop(inner);
        self.carry_out(&origin, returned);
        self.grant(granted);
    }

    pub(super) fn tell_opened(&self, connection: &Connection<B>) {
        self.opened.fetch_add(1, Relaxed);
        let facts = connection.facts();
        self.config.listener.tell(|| Event::Opened {
            origin: connection.origin(),
            connection: facts.id,
            version: facts.version,
            took: facts.took,
        });
    }

    /// Notes that a shared connection was opened, as [`opened`](Self::opened) does.
    #[cfg(feature = "http2")]
    pub(crate) fn opened_shared(self: &Arc<Self>, shared: Arc<Shared<B>>) {
        let connection = shared.connection().clone();
        self.tell_opened(&connection);
        let (origin, id) = (connection.origin(), connection.id());
        let live = Live {
            state: connection.state_arc().clone(),
            streams: Some(shared.streams().clone()),
        };
        let expected = self.config.http2.max_concurrent_streams;
        let mut inner = self.lock_for(origin);
        inner.live.insert(id, live);
        let now = Instant::now();
        let effects = match inner.end_opening(id) {
            Some(_) => inner.state.connected_shared(origin, shared, expected, now),
            None => inner
                .state
                .connected_shared_late(origin, shared, expected, now),
        };
        drop(inner);
        self.follow(effects, None);
    }

    /// Notes that a connect has failed whose permit is free; returns the waiters that fail by it.
    fn open_failed(&self, id: u64, origin: &Origin, error: &Error) -> Vec<Arc<Waiter<B>>> {
        self.address_failed(origin);
        self.lock_for(origin).open_failed(id, origin, error)
    }

    /// The same for a connect that has its permit, which is released. Both are done at once, so that
    /// no idle connection is closed to make room that the permit gives.
    pub(super) fn open_failed_with_permit(
        self: &Arc<Self>,
        id: u64,
        origin: &Origin,
        error: &Error,
    ) -> Vec<Arc<Waiter<B>>> {
        self.address_failed(origin);
        let mut inner = self.lock_for(origin);
        let told = inner.open_failed(id, origin, error);
        let granted = inner.state.permit_freed(origin);
        drop(inner);
        self.grant(granted);
        self.gone.notify_waiters();
        told
    }

    pub(crate) fn tell_failed(&self, id: u64, origin: &Origin, error: &Error) {
        self.config
            .listener
            .tell(|| Event::OpenFailed { origin, error });
        Waiter::tell_all(self.open_failed(id, origin, error), error);
    }

    /// Notes that the task of a connect has ended before the connection was open: the stream
    /// panicked, or the runtime ended. Its permit is free by then.
    pub(crate) fn open_broke_off(self: &Arc<Self>, id: u64, origin: &Origin) {
        let panicked = thread::panicking().then(|| {
            let why = "the stream panicked";
            Error::new(Kind::Connect).with(why).at(origin)
        });
        let told = panicked
            .as_ref()
            .map(|error| self.open_failed(id, origin, error));
        let mut inner = self.lock_for(origin);
        if inner.end_opening(id).is_some() {
            inner.state.connect_cancelled(origin);
        }
        let granted = inner.state.grant_all();
        drop(inner);
        let Some(error) = panicked else {
            return self.grant_late(granted);
        };
        self.grant(granted);
        Waiter::tell_all(told.unwrap_or_default(), &error);
    }
}

impl<B: Send + 'static> Inner<B> {
    fn open_failed(&mut self, id: u64, origin: &Origin, error: &Error) -> Vec<Arc<Waiter<B>>> {
        // No waiter counts on a connect that was cancelled.
        let Some(began) = self.end_opening(id) else {
            return Vec::new();
        };
        let failure = if error.is_host_not_found() || error.is_address_refused() {
            Failure::Lasting
        } else if error.is_timeout() {
            Failure::TimedOut(began)
        } else {
            Failure::Passing
        };
        self.state.connect_failed(origin, failure)
    }
}
