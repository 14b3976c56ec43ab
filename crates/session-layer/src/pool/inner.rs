use std::{
    collections::VecDeque,
    ops::{Deref, DerefMut},
    sync::{Arc, MutexGuard},
};

use hashbrown::HashMap;
use tokio::sync::oneshot;

use super::{
    Idle, PooledConnection, Shared, Streams,
    close::close_idle,
    connect::Never,
    lent::Lent,
    state::{Checkout, State, Ticket},
    waiter::Waiter,
};
use crate::{
    Closed,
    exchange::{Cause, ExchangeState},
    origin::{Lookup, Origin},
    step::Steps,
};

/// The state over the real types: HTTP/1 connections, shared connections, and waiters.
pub(super) type Decisions<B> = State<PooledConnection<B>, Arc<Shared<B>>, Arc<Waiter<B>>>;

/// What is lent of it.
pub(super) type LentConnections<B> = Lent<PooledConnection<B>, Arc<Shared<B>>>;

/// The pool's lock, to ask the state about one origin. The origin is not lent meanwhile.
///
/// When it is dropped, idle connections are closed if requests wait for room since the state was
/// asked.
pub(super) struct Recalled<'a, B: Send + 'static, Q: Lookup> {
    // The fields are dropped in this order: the lock is released before anything is closed.
    inner: MutexGuard<'a, Inner<B>>,
    evicted: Evicted<B>,
    lent: &'a LentConnections<B>,
    origin: &'a Q,
}

/// Idle connections that make room for others. They are closed when this is dropped.
struct Evicted<B: Send + 'static>(Vec<Idle<B>>);

impl<B: Send + 'static> Drop for Evicted<B> {
    fn drop(&mut self) {
        for idle in self.0.drain(..) {
            close_idle(idle, Cause::Evicted);
        }
    }
}

impl<'a, B: Send + 'static, Q: Lookup> Recalled<'a, B, Q> {
    pub(super) fn new(
        mut inner: MutexGuard<'a, Inner<B>>,
        lent: &'a LentConnections<B>,
        origin: &'a Q,
    ) -> Self {
        lent.recall(&mut inner.state, origin);
        Self {
            inner,
            evicted: Evicted(Vec::new()),
            lent,
            origin,
        }
    }
}

impl<B: Send + 'static, Q: Lookup> Deref for Recalled<'_, B, Q> {
    type Target = Inner<B>;

    fn deref(&self) -> &Inner<B> {
        &self.inner
    }
}

impl<B: Send + 'static, Q: Lookup> DerefMut for Recalled<'_, B, Q> {
    fn deref_mut(&mut self) -> &mut Inner<B> {
        &mut self.inner
    }
}

impl<B: Send + 'static, Q: Lookup> Drop for Recalled<'_, B, Q> {
    fn drop(&mut self) {
        self.evicted.0 = self.lent.settle(&mut self.inner.state, self.origin);
    }
}

pub(super) struct Inner<B: Send + 'static> {
    pub(super) state: Decisions<B>,
    /// Connections whose driver runs.
    pub(super) live: HashMap<u64, Live<B>>,
    /// Connections being opened.
    pub(super) opening: HashMap<u64, Opening>,
    /// Waiters that were granted a permit which was not handed over yet.
    pub(super) granted: VecDeque<(Origin, Arc<Waiter<B>>)>,
    /// Whether a call is handing permits over.
    pub(super) granting: bool,
    pub(super) closed: Closed,
}

pub(super) struct Live<B> {
    pub(super) state: Arc<ExchangeState>,
    /// Set for a shared connection.
    pub(super) streams: Option<Arc<Streams<B>>>,
}

pub(super) struct Opening {
    pub(super) origin: Origin,
    /// Each waiter with a place before this has waited for it since it began.
    pub(super) began: Ticket,
    /// Dropped to cancel the connect. The state does not count on it from then on, but a connection
    /// that is there by then is kept.
    pub(super) needed: Option<oneshot::Sender<Never>>,
    /// How far the connect has come.
    pub(super) steps: Arc<Steps>,
}

impl<B> Live<B> {
    /// How many exchanges it carries. An HTTP/1 connection counts as one even while it is idle.
    pub(super) fn exchanges(&self) -> usize {
        match &self.streams {
            Some(streams) => streams.count(),
            None => usize::from(self.state.aborted().is_none()),
        }
    }

    /// Aborts the connection; returns how many exchanges that ends.
    pub(super) fn abort(&self) -> usize {
        let streams = self.streams.as_ref().map(|it| it.abort_all(Cause::Closed));
        let whole = self.state.abort(Cause::Closed);
        streams.unwrap_or(usize::from(whole))
    }
}

impl<B> Clone for Live<B> {
    fn clone(&self) -> Self {
        Self {
            state: self.state.clone(),
            streams: self.streams.clone(),
        }
    }
}

impl<B: Send + 'static> Inner<B> {
    /// How many exchanges are under way, if these connections are idle.
    pub(super) fn in_use(&self, idle: &[Idle<B>]) -> usize {
        let own = idle.iter().filter(|idle| matches!(idle, Checkout::Own(_)));
        let all: usize = self.live.values().map(Live::exchanges).sum();
        all.saturating_sub(own.count())
    }

    /// Notes that a connect has ended; returns when it began, if the state still counts on it.
    pub(super) fn end_opening(&mut self, id: u64) -> Option<Ticket> {
        let ended = self.opening.remove(&id)?;
        ended.needed.is_some().then_some(ended.began)
    }

    /// Cancels the connect that began last. The caller drops the sender after it has released the
    /// lock.
    pub(super) fn call_off_newest(&mut self, origin: &Origin) -> Option<oneshot::Sender<Never>> {
        let (_, newest) = self
            .opening
            .iter_mut()
            .filter(|(_, opening)| opening.origin.is_same_key(origin) && opening.needed.is_some())
            .max_by_key(|(id, _)| **id)?;
        let needed = newest.needed.take();
        self.state.connect_cancelled(origin);
        needed
    }
}
