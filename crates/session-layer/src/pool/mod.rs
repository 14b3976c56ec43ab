//! The pool. Only its files take its lock.
//!
//! `state` decides, without a lock, a clock or a waker. The files here ask it and carry out what it
//! decides. While the lock is held, no foreign code runs and no connection is dropped.

mod answer;
#[cfg(feature = "http2")]
mod calm;
mod close;
mod connect;
mod connection;
mod effects;
mod grant;
#[cfg(test)]
#[cfg(not(session_loom))]
mod hold;
mod inner;
mod keep_alive;
mod lent;
#[cfg(all(test, session_loom))]
mod loom;
mod open;
mod permit;
mod pooled;
#[cfg_attr(
    not(feature = "http2"),
    allow(dead_code, reason = "only HTTP/2 shares connections")
)]
mod shared;
mod spread;
#[cfg_attr(
    not(feature = "http2"),
    allow(dead_code, reason = "only HTTP/2 shares connections")
)]
mod state;
#[cfg_attr(
    not(feature = "http2"),
    allow(dead_code, reason = "only HTTP/2 shares connections")
)]
mod stream;
#[cfg_attr(
    not(feature = "http2"),
    allow(dead_code, reason = "only HTTP/2 shares connections")
)]
mod streams;
#[cfg_attr(
    not(feature = "http2"),
    allow(dead_code, reason = "only HTTP/2 shares connections")
)]
mod submission;
mod waiter;
mod waiter_cell;

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use hashbrown::HashMap;
use tokio::{sync::Notify, time::Instant};

pub(crate) use self::{
    answer::{Unanswered, Unsent},
    close::{Expiry, close_idle},
    connect::{CalledOff, Connect, RuntimeEnded},
    connection::Connection,
    permit::Permit,
    pooled::PooledConnection,
    shared::Shared,
    spread::{Assigned, Name},
    state::{Arrival, Ticket},
    streams::Streams,
    waiter::{Wait, Waiting},
    waiter_cell::Notification,
};
use self::{
    inner::{Inner, LentConnections, Recalled},
    keep_alive::{KeepAlive, KeepAlives},
    lent::Lent,
    spread::Spreading,
    state::{Cancelled, Checkout, CheckoutAnswer, Returned, State},
    waiter::Waiter,
};
use crate::{
    Closed, Error, Event, Spread, Stats, Step,
    config::Config,
    error::Kind,
    exchange::{Cause, Release},
    origin::{Lookup, Origin, OriginRef, RawOrigin},
};

pub(crate) struct Pool<B: Send + 'static> {
    inner: Mutex<Inner<B>>,
    /// Connections that are taken and given back without the lock of `inner`.
    lent: LentConnections<B>,
    config: Config,
    connector: Box<dyn Connect<B>>,
    /// The moment from which all times in atomics are counted.
    epoch: Instant,
    next_id: AtomicU64,
    opened: AtomicU64,
    /// Notified when a connection, or a connect, has ended, and when the session closes.
    gone: Notify,
    keep_alives: KeepAlives,
    /// Where requests are spread over the addresses of their names.
    spreading: Option<Box<Spreading>>,
    #[cfg(feature = "http2")]
    calm: calm::Calm,
}

/// The error text for an origin whose HTTP/2 connections allow no request.
pub(crate) const ALLOWS_NO_REQUEST: &str =
    "the peer allows no requests: its SETTINGS_MAX_CONCURRENT_STREAMS is 0";

/// A connection for a request, or the place where it waits for one.
pub(crate) enum CheckedOut<B: Send + 'static> {
    Connection(PooledConnection<B>, Arrival),
    Waiting(Waiting<B>),
}

impl<B: Send + 'static> Pool<B> {
    pub(crate) fn new(
        config: Config,
        spread: Option<Spread>,
        connector: Box<dyn Connect<B>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            inner: Mutex::new(Inner {
                closed: Closed::default(),
                state: State::new(config.limits()),
                live: HashMap::new(),
                opening: HashMap::new(),
                granted: VecDeque::new(),
                granting: false,
            }),
            lent: Lent::new(),
            config,
            connector,
            epoch: Instant::now(),
            next_id: AtomicU64::new(0),
            opened: AtomicU64::new(0),
            gone: Notify::new(),
            keep_alives: KeepAlives::default(),
            spreading: spread.map(|spread| Box::new(Spreading::new(spread))),
            #[cfg(feature = "http2")]
            calm: calm::Calm::default(),
        })
    }

    /// What is learned of how long an origin keeps idle connections, where that is wanted.
    fn keep_alive_of(&self, origin: &Origin) -> Option<Arc<KeepAlive>> {
        let is_on = self.config.pool.learned_keep_alive;
        is_on.then(|| self.keep_alives.of(origin)).flatten()
    }

    /// How long an HTTP/2 connection to this origin may be silent before a PING is sent.
    #[cfg(feature = "http2")]
    pub(crate) fn keep_alive_interval(&self, origin: &Origin) -> Option<Duration> {
        let interval = self.config.http2.keep_alive_interval?;
        Some(self.calm.interval(origin, interval))
    }

    /// Notes that an origin ended a connection because of its PINGs.
    #[cfg(feature = "http2")]
    pub(crate) fn ping_less(&self, origin: &Origin) {
        self.calm.double(origin);
    }

    /// Whether the peer allows no request on any connection of this origin.
    pub(crate) fn is_refused(&self, origin: &Origin) -> bool {
        self.lock_for(origin).state.is_refused(origin)
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn epoch(&self) -> Instant {
        self.epoch
    }

    /// The same origin for a request of this group, unless its connections carry one request at a time.
    #[cold]
    pub(crate) fn in_group<'a>(&self, origin: RawOrigin<'a>, group: u8) -> RawOrigin<'a> {
        let may_share = self.config.may_share(&origin) && !origin.is_http1_only();
        if !may_share && !origin.is_http2_only() {
            return origin;
        }
        let grouped = origin.in_group(group);
        if self.lent.shares(&grouped) || !self.lock().state.takes_turns(&origin) {
            grouped
        } else {
            origin
        }
    }

    /// Takes a usable connection of the origin, if it is lent and there is one.
    #[inline]
    pub(crate) fn take<Q: Lookup>(
        self: &Arc<Self>,
        origin: &Q,
        now: Instant,
    ) -> Option<(PooledConnection<B>, Ticket)> {
        loop {
            let (checkout, ticket) = self.lent.take(origin)?;
            if let Some(pooled) = self.usable(checkout, now) {
                return Some((pooled, ticket));
            }
        }
    }

    /// Returns the connection if it can take a request, and closes it if not.
    fn usable(self: &Arc<Self>, checkout: Idle<B>, now: Instant) -> Option<PooledConnection<B>> {
        let pooled = PooledConnection::of(checkout);
        if pooled.is_about_to_close(now) {
            close_early(pooled);
            return None;
        }
        if pooled.is_usable(now) {
            // It was idle, so the peer may have closed it: an error then says that it was stale.
            pooled.mark_used();
            return Some(pooled);
        }
        self.discard(pooled);
        None
    }

    /// Finds a usable connection, or takes a place in the queue. A request that comes `again` gets
    /// the place that it had.
    pub(crate) fn check_out(
        self: &Arc<Self>,
        origin: &OriginRef<'_>,
        now: Instant,
        again: Option<Arrival>,
    ) -> Result<CheckedOut<B>, Error> {
        let mut again = again;
        loop {
            let waiter = || Arc::new(Waiter::new());
            let recall = |state: &mut _| self.lent.recall_all(state);
            let mut inner = self.lock_for(origin);
            let answer = inner.state.check_out(origin, now, again, waiter, recall)?;
            drop(inner);
            let (place, wait) = match answer {
                CheckoutAnswer::Ready(checkout, ticket) => {
                    let since = again.map_or(now, |arrival| arrival.since);
                    let arrival = Arrival { ticket, since };
                    match self.usable(checkout, now) {
                        Some(pooled) => return Ok(CheckedOut::Connection(pooled, arrival)),
                        None => again = Some(arrival),
                    }
                    continue;
                }
                CheckoutAnswer::Closed => return Err(Error::new(Kind::Closed)),
                CheckoutAnswer::Full(origin) => {
                    let limit = self.config.pool.max_waiting;
                    return Err(Error::new(Kind::QueueFull(limit)).at(&origin));
                }
                CheckoutAnswer::Connect(place) => {
                    self.start(
                        Permit::granted(self.clone(), place.origin.clone()),
                        &place.waiter,
                    );
                    (place, Wait::Connecting)
                }
                CheckoutAnswer::Covered(place) => (place, Wait::Connecting),
                CheckoutAnswer::Queue(place, evicted) => {
                    if let Some(checkout) = evicted {
                        close_idle(checkout, Cause::Evicted);
                    }
                    let origin = &place.origin;
                    self.config.listener.tell(|| Event::Queued { origin });
                    (place, Wait::Queued)
                }
            };
            return Ok(CheckedOut::Waiting(Waiting::new(self.clone(), place, wait)));
        }
    }

    /// Counts a request that goes over a reused connection.
    pub(crate) fn reused(&self, connection: &Connection<B>) {
        self.lent.count_reused(connection.origin());
        self.config.listener.tell(|| Event::Reused {
            origin: connection.origin(),
            connection: connection.id(),
        });
    }

    /// Tells the observer that a request has its connection, and how long it waited for that.
    #[inline]
    pub(crate) fn tell_acquired(
        &self,
        connection: &Connection<B>,
        waited: impl FnOnce() -> Duration,
    ) {
        self.config.listener.tell(|| Event::Acquired {
            origin: connection.origin(),
            connection: connection.id(),
            waited: waited(),
        });
    }

    #[cold]
    fn discard(self: &Arc<Self>, pooled: PooledConnection<B>) {
        if pooled.is_stream() {
            pooled.connection().note_unusable();
            self.drain(pooled.connection(), None);
        }
        pooled.abort_unusable();
    }

    /// Takes back a pooled connection whose exchange is over and left it clean.
    pub(crate) fn release(pooled: PooledConnection<B>) {
        let now = Instant::now();
        pooled.connection().note_idle(now);
        Self::take_back(pooled, now);
    }

    /// The same at `now`, which is noted as the moment since which the connection is idle.
    #[inline]
    fn take_back(pooled: PooledConnection<B>, now: Instant) {
        if !pooled.is_usable(now) {
            pooled.abort_unusable();
            return;
        }
        let connection = pooled.connection().clone();
        let (pool, origin) = (connection.pool(), connection.origin());
        match pool.lent.put_back(origin, pooled, now) {
            Ok(()) => pool.keep(&connection),
            Err(pooled) => pool.place(pooled, now),
        }
    }

    /// Asks the state what becomes of a pooled connection.
    fn place(self: &Arc<Self>, pooled: PooledConnection<B>, now: Instant) {
        let connection = pooled.connection().clone();
        let origin = connection.origin();
        let returned = self.lock_for(origin).state.release(origin, pooled, now);
        if matches!(returned, Returned::Idle) {
            self.keep(&connection);
        } else {
            self.carry_out(origin, returned);
        }
    }

    /// Keeps a released connection, unless its driver ended at that very moment: nothing else would
    /// take it out again.
    #[inline]
    fn keep(&self, connection: &Connection<B>) {
        // The driver sets this before it takes the pool's lock to remove the connection. So it is
        // seen here if that came first.
        if connection.has_ended() {
            drop(self.take_idle(connection.id(), connection.origin()));
        }
    }

    /// The cause for closing a connection that the state does not keep.
    fn unkept(&self, origin: &Origin) -> Cause {
        let inner = self.lock();
        if inner.state.is_retired(origin) {
            Cause::AddressGone
        } else if inner.state.is_open() {
            Cause::Evicted
        } else {
            Cause::Closed
        }
    }

    fn carry_out(
        self: &Arc<Self>,
        origin: &Origin,
        returned: Returned<PooledConnection<B>, Arc<Waiter<B>>>,
    ) {
        let mut returned = returned;
        loop {
            match returned {
                Returned::Idle => return,
                Returned::Close(pooled) => return pooled.abort(self.unkept(origin)),
                Returned::Serve(waiter, pooled) => match waiter.serve(Ok(pooled)) {
                    Ok(()) | Err(Err(_)) => return,
                    // The waiter left after the state had chosen it.
                    Err(Ok(pooled)) => {
                        let connection = pooled.connection().clone();
                        let now = Instant::now();
                        returned = self.lock_for(origin).state.release(origin, pooled, now);
                        if matches!(returned, Returned::Idle) {
                            self.keep(&connection);
                        }
                    }
                },
            }
        }
    }

    /// Whether a connection is being opened for this waiter.
    fn is_covered(&self, origin: &Origin, ticket: Ticket) -> bool {
        self.lock().state.is_covered(origin, ticket)
    }

    /// The step that a waiter waits for: a place in the pool, or a step of the connect that began
    /// first among those to its origin.
    pub(crate) fn step(&self, origin: &Origin, arrival: Arrival) -> Step {
        let inner = self.lock();
        if !inner.state.is_covered(origin, arrival.ticket) {
            return Step::Queue;
        }
        let opening = inner
            .opening
            .iter()
            .filter(|(_, opening)| opening.origin.is_same_key(origin) && opening.needed.is_some());
        let first = opening.min_by_key(|(id, _)| **id);
        first.map_or(Step::Connect, |(_, opening)| opening.steps.get())
    }

    /// Removes a waiter from the queue, and releases what was meant for it.
    ///
    /// The waiter is closed under the same lock under which the state chooses waiters, so that none
    /// is chosen after it has left.
    fn cancel(self: &Arc<Self>, origin: &Origin, ticket: Ticket, waiter: &Waiter<B>) {
        let mut inner = self.lock_for(origin);
        let mut left = waiter.close();
        for permit in &mut left.permits {
            // No connect has begun with it that another waiter could use.
            inner.state.connect_cancelled(origin);
            permit.called_off();
        }
        let unneeded = match inner.state.cancel(origin, ticket) {
            Cancelled::Surplus => inner.call_off_newest(origin),
            Cancelled::NotQueued | Cancelled::Removed => None,
        };
        drop(inner);
        drop(unneeded);
        drop(left.permits);
        if let Some(Ok(pooled)) = left.served {
            pooled.release();
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        let inner = self.lock();
        let mut counts = inner.state.counts();
        counts.idle = counts.idle.saturating_add(self.lent.count_idle());
        let streams = inner.live.values().filter_map(|live| live.streams.as_ref());
        let streams = streams.map(|streams| streams.count()).sum();
        let closed = inner.closed;
        drop(inner);
        Stats {
            open: counts.open,
            connecting: counts.connecting,
            idle: counts.idle,
            in_use: counts
                .open
                .saturating_sub(counts.connecting)
                .saturating_sub(counts.idle),
            waiting: counts.waiting,
            opened: self.opened.load(Relaxed),
            reused: self.lent.reused(),
            streams,
            learned_keep_alives: self.keep_alives.learned(Instant::now()),
            closed,
        }
    }

    /// Takes the lock to ask the state about an origin's connections or waiters.
    fn lock_for<'a, Q: Lookup>(&'a self, origin: &'a Q) -> Recalled<'a, B, Q> {
        Recalled::new(self.lock(), &self.lent, origin)
    }

    /// Takes the lock. What the state is asked must not depend on connections that may be lent.
    fn lock(&self) -> MutexGuard<'_, Inner<B>> {
        // No foreign code runs under the lock, so no panic can have left the state half changed.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes what its peer is about to close.
#[cold]
fn close_early<B: Send + 'static>(pooled: PooledConnection<B>) {
    let cause = Cause::KeepAlive;
    if pooled.is_stream() {
        pooled.drain(cause);
    }
    pooled.abort(cause);
}

/// A connection that stood idle, and was taken out.
pub(crate) type Idle<B> = Checkout<PooledConnection<B>, Arc<Shared<B>>>;

impl<B: Send + 'static> fmt::Debug for Pool<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").finish_non_exhaustive()
    }
}
