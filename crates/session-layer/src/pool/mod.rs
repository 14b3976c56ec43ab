//! The pool: the one place that takes its lock.
//!
//! `state` decides, without a lock, a clock or a waker; this file asks it and does what it says.
//! Nothing foreign runs, and no connection is dropped, while the lock is held.

mod config;
mod lease;
mod slot;
mod state;
mod waiter;

use std::{
    collections::HashMap,
    fmt,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, oneshot},
    time::Instant,
};

pub use self::config::PoolConfig;
pub(crate) use self::{
    lease::{Channel, Connection, Link, Release},
    slot::Slot,
    waiter::{Mail, Wait, Waiting},
};
use self::{
    state::{CheckOut, Placed, State, Ticket},
    waiter::Waiter,
};
use crate::{
    CloseReport, Error, Stats,
    connect::{Cause, Connect, Never, Wire},
    error::Kind,
    layer::Config,
    origin::{Origin, OriginRef},
};

pub(crate) struct Pool<B: Send + 'static> {
    shared: Mutex<Shared<B>>,
    config: Config,
    connector: Box<dyn Connect<B>>,
    /// The zero of all times that are kept in atomics.
    epoch: Instant,
    next_id: AtomicU64,
    opened: AtomicU64,
    reused: AtomicU64,
    closed: AtomicU64,
    /// Told when a connection or an attempt to open one is gone.
    gone: Notify,
}

struct Shared<B: Send + 'static> {
    state: State<Link<B>, Arc<Waiter<B>>>,
    /// Connections whose task runs.
    live: HashMap<u64, Arc<Wire>>,
    /// Connections being opened.
    opening: HashMap<u64, Opening>,
}

struct Opening {
    origin: Origin,
    /// Dropped to call it off, from when on the state does not count on it. That has no effect on
    /// a connection that is there by then.
    needed: Option<oneshot::Sender<Never>>,
}

/// How long the tasks of connections that were cut may take to end.
const CUT_DEADLINE: Duration = Duration::from_secs(1);

/// A connection for a request, or the place where it waits for one.
pub(crate) enum CheckedOut<B: Send + 'static> {
    Link(Link<B>),
    Waiting(Waiting<B>),
}

impl<B: Send + 'static> Pool<B> {
    pub(crate) fn new(config: Config, connector: Box<dyn Connect<B>>) -> Arc<Self> {
        Arc::new(Self {
            shared: Mutex::new(Shared {
                state: State::new(config.pool.limits()),
                live: HashMap::new(),
                opening: HashMap::new(),
            }),
            config,
            connector,
            epoch: Instant::now(),
            next_id: AtomicU64::new(0),
            opened: AtomicU64::new(0),
            reused: AtomicU64::new(0),
            closed: AtomicU64::new(0),
            gone: Notify::new(),
        })
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn epoch(&self) -> Instant {
        self.epoch
    }

    /// Finds a usable connection, or takes a place in the queue.
    pub(crate) fn check_out(
        self: &Arc<Self>,
        origin: &OriginRef<'_>,
        now: Instant,
    ) -> Result<CheckedOut<B>, Error> {
        loop {
            let answer = self
                .lock()
                .state
                .check_out(origin, now, || Arc::new(Waiter::new()))?;
            let (place, wait) = match answer {
                CheckOut::Idle(link) => {
                    if link.is_usable(now) {
                        if link.has_been_used() {
                            self.reused.fetch_add(1, Relaxed);
                        }
                        // It stood idle, so the peer may have closed it: that is stale, too.
                        link.mark_used();
                        return Ok(CheckedOut::Link(link));
                    }
                    link.retire();
                    continue;
                }
                CheckOut::Closed => return Err(Error::new(Kind::Closed)),
                CheckOut::Full(origin) => {
                    let limit = self.config.pool.max_waiting;
                    return Err(Error::new(Kind::QueueFull(limit)).at(&origin));
                }
                CheckOut::Connect(place) => {
                    let slot = Slot::granted(self.clone(), place.origin.clone());
                    place.waiter.grant(slot);
                    (place, Wait::Connecting)
                }
                CheckOut::Covered(place) => (place, Wait::Connecting),
                CheckOut::Queue(place, evicted) => {
                    if let Some(link) = evicted {
                        link.retire();
                    }
                    (place, Wait::Queued)
                }
            };
            return Ok(CheckedOut::Waiting(Waiting::new(self.clone(), place, wait)));
        }
    }

    /// Takes back a link whose exchange is over and left it clean.
    pub(crate) fn put_back(self: &Arc<Self>, link: Link<B>) {
        let now = Instant::now();
        if !link.is_usable(now) {
            link.retire();
            return;
        }
        let origin = link.origin().clone();
        let placed = self.lock().state.put_back(&origin, link, now);
        self.carry_out(&origin, placed);
    }

    fn carry_out(self: &Arc<Self>, origin: &Origin, placed: Placed<Link<B>, Arc<Waiter<B>>>) {
        let mut placed = placed;
        loop {
            match placed {
                Placed::Idle => return,
                Placed::Close(link) => return link.retire(),
                Placed::Serve(waiter, link) => match waiter.serve(Ok(link)) {
                    Ok(()) | Err(Err(_)) => return,
                    // The waiter left after the state had chosen it.
                    Err(Ok(link)) => {
                        placed = self.lock().state.put_back(origin, link, Instant::now());
                    }
                },
            }
        }
    }

    /// Gives a slot back, and hands it to whoever waits for one.
    fn free_slot(self: &Arc<Self>, origin: &Origin) {
        let granted = self.lock().state.slot_freed(origin);
        if let Some((origin, waiter)) = granted {
            waiter.grant(Slot::granted(self.clone(), origin));
        }
        self.gone.notify_waiters();
    }

    /// Starts to open a connection in a task of its own.
    ///
    /// The task belongs to the pool, not to the request that asks: whoever waits longest gets its
    /// connection, and if all were served meanwhile, it is kept.
    pub(crate) fn open(self: &Arc<Self>, mut slot: Slot<B>) {
        let id = self.next_id.fetch_add(1, Relaxed);
        let (needed, called_off) = oneshot::channel();
        let opening = Opening {
            origin: slot.origin().clone(),
            needed: Some(needed),
        };
        let mut shared = self.lock();
        if shared.state.is_closed() {
            // Whoever waited was told.
            drop(shared);
            return drop(slot);
        }
        shared.opening.insert(id, opening);
        drop(shared);
        slot.opening(id);
        self.connector.open(slot, id, called_off);
    }

    /// Takes note of a connection that is there, and whose task is about to run.
    pub(crate) fn opened(self: &Arc<Self>, id: u64, link: Link<B>) {
        self.opened.fetch_add(1, Relaxed);
        let origin = link.origin().clone();
        let now = Instant::now();
        let mut shared = self.lock();
        shared.live.insert(id, link.wire().clone());
        let placed = if shared.end_opening(id) {
            shared.state.connected(&origin, link, now)
        } else {
            shared.state.put_back(&origin, link, now)
        };
        drop(shared);
        self.carry_out(&origin, placed);
    }

    /// Takes note of a connection that did not come to be; returns whom to tell.
    fn open_failed(&self, id: u64, origin: &Origin) -> Option<Arc<Waiter<B>>> {
        let mut shared = self.lock();
        // Nobody counts on one that was called off.
        let counted = shared.end_opening(id);
        counted
            .then(|| shared.state.connect_failed(origin))
            .flatten()
    }

    pub(crate) fn tell_failed(&self, id: u64, origin: &Origin, error: Error) {
        Waiter::tell(self.open_failed(id, origin), error);
    }

    fn open_abandoned(&self, origin: &Origin) {
        self.lock().state.connect_abandoned(origin);
    }

    /// Takes note that a connection's task ends.
    pub(crate) fn ended(self: &Arc<Self>, id: u64, origin: &Origin) {
        self.closed.fetch_add(1, Relaxed);
        let mut shared = self.lock();
        shared.live.remove(&id);
        drop(shared);
        drop(self.take_idle(id, origin));
        self.gone.notify_waiters();
    }

    /// Takes out a connection that has stood idle too long; else says when to ask again.
    pub(crate) fn expire(&self, id: u64, origin: &Origin, now: Instant) -> Expiry<B> {
        let Some(timeout) = self.config.pool.idle_timeout else {
            return Expiry::InUse;
        };
        // A pool younger than the timeout has nothing that old.
        let moment = now.checked_sub(timeout).unwrap_or(self.epoch);
        let expired = self
            .lock()
            .state
            .expire(origin, |link| link.id() == id, moment);
        match expired {
            Some(Ok(link)) => Expiry::Expired(link),
            Some(Err(since)) => since.checked_add(timeout).map_or(Expiry::InUse, Expiry::At),
            None => Expiry::InUse,
        }
    }

    /// Takes out a connection, if it stands idle.
    pub(crate) fn take_idle(&self, id: u64, origin: &Origin) -> Option<Link<B>> {
        self.lock().state.remove(origin, |link| link.id() == id)
    }

    /// Closes what of this origin has stood idle since before `moment`: when a reused connection
    /// turned out to be dead, its older neighbours most likely are too.
    pub(crate) fn retire_idle(&self, origin: &Origin, moment: Instant) {
        let retired = self.lock().state.retire(origin, moment);
        retired.into_iter().for_each(Link::retire);
    }

    /// Takes a waiter out of the queue, with whatever had been meant for it.
    ///
    /// The waiter is closed under the lock that the state chooses waiters under: so nobody is
    /// chosen after having left.
    fn leave(self: &Arc<Self>, origin: &Origin, ticket: Ticket, waiter: &Waiter<B>) {
        let mut shared = self.lock();
        let mut left = waiter.close();
        if let Some(slot) = &mut left.slot {
            // Its own, so none that another could do with.
            shared.state.connect_abandoned(origin);
            slot.settle();
        }
        let (_, surplus) = shared.state.cancel(origin, ticket);
        let unneeded = surplus.then(|| shared.call_off_newest(origin)).flatten();
        drop(shared);
        drop(unneeded);
        drop(left.slot);
        if let Some(Ok(link)) = left.served {
            self.put_back(link);
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        let counts = self.lock().state.counts();
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
            reused: self.reused.load(Relaxed),
            closed: self.closed.load(Relaxed),
        }
    }

    /// Stops keeping connections, when no session is left; returns how many are in use.
    pub(crate) fn abandon(&self) -> usize {
        let mut shared = self.lock();
        let idle = shared.state.abandon();
        let in_use = shared.in_use(idle.len());
        drop(shared);
        idle.into_iter().for_each(Link::retire);
        in_use
    }

    /// Refuses new requests, waits for those in flight, cuts what is left at the deadline.
    pub(crate) async fn close(self: Arc<Self>, deadline: Duration) -> CloseReport {
        let in_flight = self.refuse_all();
        let in_time = tokio::time::timeout(deadline, self.drained()).await.is_ok();
        let aborted = if in_time { 0 } else { self.cut_all() };
        // What was cut ends at once, unless its runtime does not run any more.
        let _ = tokio::time::timeout(CUT_DEADLINE, self.drained()).await;
        CloseReport {
            finished: in_flight.saturating_sub(aborted),
            aborted,
        }
    }

    /// Refuses new requests and those that wait, closes what stands idle, calls off what is being
    /// opened; returns how many connections are in use.
    fn refuse_all(&self) -> usize {
        let mut shared = self.lock();
        let (idle, waiters) = shared.state.close();
        let mut called_off = Vec::new();
        let Shared { state, opening, .. } = &mut *shared;
        for opening in opening.values_mut() {
            if let Some(needed) = opening.needed.take() {
                state.connect_abandoned(&opening.origin);
                called_off.push(needed);
            }
        }
        let in_flight = shared.in_use(idle.len());
        drop(shared);
        for waiter in waiters {
            Waiter::tell(Some(waiter), Error::new(Kind::Closed));
        }
        drop(called_off);
        idle.into_iter().for_each(Link::retire);
        in_flight
    }

    fn cut_all(&self) -> usize {
        let left: Vec<_> = self.lock().live.values().cloned().collect();
        left.iter().filter(|wire| wire.sever(Cause::Closed)).count()
    }

    /// Waits until no connection's task runs and none is being opened.
    async fn drained(&self) {
        loop {
            // Registered before the look, so that no end between the two is missed.
            let mut gone = pin!(self.gone.notified());
            gone.as_mut().enable();
            if self.is_drained() {
                return;
            }
            gone.await;
        }
    }

    fn is_drained(&self) -> bool {
        let shared = self.lock();
        shared.live.is_empty() && shared.opening.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Shared<B>> {
        // No foreign code runs under the lock, so a panic cannot have left it half-changed.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B: Send + 'static> Shared<B> {
    /// Connections that somebody uses: neither idle, nor cut and about to end.
    fn in_use(&self, idle: usize) -> usize {
        let whole = self.live.values().filter(|wire| wire.severed().is_none());
        whole.count().saturating_sub(idle)
    }

    /// Takes note of the end of an opening; returns whether the state still counts on it.
    fn end_opening(&mut self, id: u64) -> bool {
        let ended = self.opening.remove(&id);
        ended.is_some_and(|opening| opening.needed.is_some())
    }

    /// Calls off what was begun last; the sender is to be dropped after the lock.
    fn call_off_newest(&mut self, origin: &Origin) -> Option<oneshot::Sender<Never>> {
        let (_, newest) = self
            .opening
            .iter_mut()
            .filter(|(_, opening)| opening.origin == *origin && opening.needed.is_some())
            .max_by_key(|(id, _)| **id)?;
        let needed = newest.needed.take();
        self.state.connect_abandoned(origin);
        needed
    }
}

/// What a connection's task learns when it asks whether to close.
pub(crate) enum Expiry<B: Send + 'static> {
    Expired(Link<B>),
    At(Instant),
    InUse,
}

impl<B: Send + 'static> fmt::Debug for Pool<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").finish_non_exhaustive()
    }
}
