//! The pool: the one place that takes its lock.
//!
//! `state` decides, without a lock, a clock or a waker; this file asks it and does what it says.
//! Nothing foreign runs, and no connection is dropped, while the lock is held.

#[cfg(feature = "http2")]
mod calm;
mod connect;
mod lease;
mod letter_box;
#[cfg(all(test, session_loom))]
mod loom;
#[cfg_attr(
    not(feature = "http2"),
    allow(dead_code, reason = "only HTTP/2 shares connections")
)]
mod shared;
mod slot;
#[cfg_attr(
    not(feature = "http2"),
    allow(dead_code, reason = "only HTTP/2 shares connections")
)]
mod state;
#[cfg_attr(
    not(feature = "http2"),
    allow(dead_code, reason = "only HTTP/2 shares connections")
)]
mod submission;
mod waiter;

use std::{
    collections::VecDeque,
    fmt, mem,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use hashbrown::HashMap;
use tokio::{
    runtime::Handle,
    sync::{Notify, oneshot},
    time::Instant,
};

use self::{
    connect::Never,
    state::{CheckOut, Effects, Failed, Failure, Given, Placed, State},
    waiter::Waiter,
};
pub(crate) use self::{
    connect::{CalledOff, Connect},
    lease::{Connection, Link, Unanswered, Unsent},
    letter_box::Mail,
    shared::{Shared, Streams},
    slot::Slot,
    state::{Arrival, Numbered, Ticket},
    waiter::{Wait, Waiting},
};
use crate::{
    CloseReport, Closed, Error, Event, Stats, Step,
    config::Config,
    error::Kind,
    exchange::{Cause, Release, Wire},
    origin::{Origin, OriginRef, Spelled},
    runtime,
    step::Steps,
};

pub(crate) struct Pool<B: Send + 'static> {
    inner: Mutex<Inner<B>>,
    config: Config,
    connector: Box<dyn Connect<B>>,
    /// The zero of all times that are kept in atomics.
    epoch: Instant,
    next_id: AtomicU64,
    opened: AtomicU64,
    reused: AtomicU64,
    /// Told when a connection or an attempt to open one is gone.
    gone: Notify,
    #[cfg(feature = "http2")]
    calm: calm::Calm,
}

/// What the state decides about: exclusive connections, shared ones, and letter boxes.
type Decisions<B> = State<Link<B>, Arc<Shared<B>>, Arc<Waiter<B>>>;

struct Inner<B: Send + 'static> {
    state: Decisions<B>,
    /// Connections whose task runs.
    live: HashMap<u64, Live<B>>,
    /// Connections being opened.
    opening: HashMap<u64, Opening>,
    /// Who has been granted a slot, and waits for it to be handed over.
    granted: VecDeque<(Origin, Arc<Waiter<B>>)>,
    /// Whether somebody is handing slots over.
    granting: bool,
    closed: Closed,
}

struct Live<B> {
    wire: Arc<Wire>,
    /// Of a connection that carries several requests.
    streams: Option<Arc<Streams<B>>>,
}

struct Opening {
    origin: Origin,
    /// Whoever has a place before this waits for it since it began.
    began: Ticket,
    /// Dropped to call it off, from when on the state does not count on it. That has no effect on
    /// a connection that is there by then.
    needed: Option<oneshot::Sender<Never>>,
    /// How far it has come.
    steps: Arc<Steps>,
}

/// What is told of an origin whose HTTP/2 connections take no request.
pub(crate) const ALLOWS_NO_REQUEST: &str =
    "the peer allows no requests: its SETTINGS_MAX_CONCURRENT_STREAMS is 0";

/// How long the tasks of connections that were cut may take to end.
const CUT_DEADLINE: Duration = Duration::from_secs(1);

/// A connection for a request, or the place where it waits for one.
pub(crate) enum CheckedOut<B: Send + 'static> {
    Link(Link<B>, Arrival),
    Waiting(Waiting<B>),
}

/// Lets others hand slots over, should somebody's connector panic meanwhile.
struct Granting<'a, B: Send + 'static>(&'a Pool<B>);

impl<B: Send + 'static> Drop for Granting<'_, B> {
    fn drop(&mut self) {
        self.0.lock().granting = false;
    }
}

impl<B: Send + 'static> Pool<B> {
    pub(crate) fn new(config: Config, connector: Box<dyn Connect<B>>) -> Arc<Self> {
        Arc::new(Self {
            inner: Mutex::new(Inner {
                closed: Closed::default(),
                state: State::new(config.limits()),
                live: HashMap::new(),
                opening: HashMap::new(),
                granted: VecDeque::new(),
                granting: false,
            }),
            config,
            connector,
            epoch: Instant::now(),
            next_id: AtomicU64::new(0),
            opened: AtomicU64::new(0),
            reused: AtomicU64::new(0),
            gone: Notify::new(),
            #[cfg(feature = "http2")]
            calm: calm::Calm::default(),
        })
    }

    /// How long an HTTP/2 connection to this origin may be silent before a PING is sent.
    #[cfg(feature = "http2")]
    pub(crate) fn keep_alive_interval(&self, origin: &Origin) -> Option<Duration> {
        let interval = self.config.http2.keep_alive_interval?;
        Some(self.calm.interval(origin, interval))
    }

    /// Takes note that an origin ended a connection because of its PINGs.
    #[cfg(feature = "http2")]
    pub(crate) fn ping_less(&self, origin: &Origin) {
        self.calm.double(origin);
    }

    /// Whether all connections to this origin are such that allow no request.
    pub(crate) fn is_refused(&self, origin: &Origin) -> bool {
        self.lock().state.is_refused(origin)
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn epoch(&self) -> Instant {
        self.epoch
    }

    /// Takes a usable connection that is there.
    #[inline]
    pub(crate) fn take(
        self: &Arc<Self>,
        origin: &Spelled<'_>,
        now: Instant,
    ) -> Option<(Link<B>, Ticket)> {
        loop {
            let (given, ticket) = self.lock().state.take_first(origin)?;
            if let Some(link) = self.usable(given, now) {
                return Some((link, ticket));
            }
        }
    }

    /// Lets go of what takes no more requests.
    fn usable(self: &Arc<Self>, given: Idle<B>, now: Instant) -> Option<Link<B>> {
        let link = Link::of(given);
        if link.is_usable(now) {
            // It stood idle, so the peer may have closed it: that is stale, too.
            link.mark_used();
            return Some(link);
        }
        self.refuse(link);
        None
    }

    /// Finds a usable connection, or takes a place in the queue: where it comes `again`, the one
    /// that it had.
    pub(crate) fn check_out(
        self: &Arc<Self>,
        origin: &OriginRef<'_>,
        now: Instant,
        again: Option<Arrival>,
    ) -> Result<CheckedOut<B>, Error> {
        let mut again = again;
        loop {
            let waiter = || Arc::new(Waiter::new());
            let answer = self.lock().state.check_out(origin, now, again, waiter)?;
            let (place, wait) = match answer {
                CheckOut::Ready(given, ticket) => {
                    let since = again.map_or(now, |arrival| arrival.since);
                    let arrival = Arrival { ticket, since };
                    match self.usable(given, now) {
                        Some(link) => return Ok(CheckedOut::Link(link, arrival)),
                        None => again = Some(arrival),
                    }
                    continue;
                }
                CheckOut::Closed => return Err(Error::new(Kind::Closed)),
                CheckOut::Full(origin) => {
                    let limit = self.config.pool.max_waiting;
                    return Err(Error::new(Kind::QueueFull(limit)).at(&origin));
                }
                CheckOut::Connect(place) => {
                    self.start(
                        Slot::granted(self.clone(), place.origin.clone()),
                        &place.waiter,
                    );
                    (place, Wait::Connecting)
                }
                CheckOut::Covered(place) => (place, Wait::Connecting),
                CheckOut::Queue(place, evicted) => {
                    if let Some(given) = evicted {
                        retire(given, Cause::Evicted);
                    }
                    let origin = &place.origin;
                    self.config.listener.tell(|| Event::Queued { origin });
                    (place, Wait::Queued)
                }
            };
            return Ok(CheckedOut::Waiting(Waiting::new(self.clone(), place, wait)));
        }
    }

    /// Takes note of a request that goes over a connection used before.
    pub(crate) fn reused(&self, connection: &Connection<B>) {
        self.reused.fetch_add(1, Relaxed);
        self.config.listener.tell(|| Event::Reused {
            origin: connection.origin(),
            connection: connection.id(),
        });
    }

    /// Tells whoever listens that a request has its connection, and how long it waited for that.
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
    fn refuse(self: &Arc<Self>, link: Link<B>) {
        if link.is_part() {
            link.connection().let_go();
            self.withdraw(link.connection(), None);
        }
        link.let_go();
    }

    /// Takes back a link whose exchange is over and left it clean.
    pub(crate) fn put_back(link: Link<B>) {
        let now = Instant::now();
        if !link.is_usable(now) {
            link.let_go();
            return;
        }
        let connection = link.connection().clone();
        let (pool, origin) = (connection.pool(), connection.origin());
        let placed = pool.lock().state.put_back(origin, link, now);
        if matches!(placed, Placed::Idle) {
            pool.keep(&connection);
        } else {
            pool.carry_out(origin, placed);
        }
    }

    /// Keeps a connection that was put back, unless its task ended at that very moment: nothing
    /// else would take it out again, where its runtime is gone.
    #[inline]
    fn keep(&self, connection: &Connection<B>) {
        // Set before the pool's lock is taken to look for it, so it is seen here if that came first.
        if connection.has_ended() {
            drop(self.take_idle(connection.id(), connection.origin()));
        }
    }

    /// Why a connection is closed that the state does not keep.
    fn unkept(&self) -> Cause {
        if self.lock().state.is_open() {
            Cause::Evicted
        } else {
            Cause::Closed
        }
    }

    fn carry_out(self: &Arc<Self>, origin: &Origin, placed: Placed<Link<B>, Arc<Waiter<B>>>) {
        let mut placed = placed;
        loop {
            match placed {
                Placed::Idle => return,
                Placed::Close(link) => return link.abort(self.unkept()),
                Placed::Serve(waiter, link) => match waiter.serve(Ok(link)) {
                    Ok(()) | Err(Err(_)) => return,
                    // The waiter left after the state had chosen it.
                    Err(Ok(link)) => {
                        let connection = link.connection().clone();
                        placed = self.lock().state.put_back(origin, link, Instant::now());
                        if matches!(placed, Placed::Idle) {
                            self.keep(&connection);
                        }
                    }
                },
            }
        }
    }

    /// Gives a slot back, and hands it to whoever waits for one; `id` is the connection that had it.
    fn free_slot(self: &Arc<Self>, origin: &Origin, id: Option<u64>) {
        let mut inner = self.lock();
        let granted = match id {
            Some(id) => inner.state.closed(origin, id),
            None => inner.state.slot_freed(origin),
        };
        drop(inner);
        self.grant(granted);
        self.gone.notify_waiters();
    }

    /// Takes back the slot of a connection that nobody began to open, or whose opening its runtime
    /// cut off; it failed nobody.
    fn reopen(self: &Arc<Self>, id: Option<u64>, origin: &Origin) {
        let mut inner = self.lock();
        if id.is_none_or(|id| inner.end_opening(id).is_some()) {
            inner.state.connect_abandoned(origin);
        }
        let granted = inner.state.slot_freed(origin);
        drop(inner);
        self.grant_late(granted);
        self.gone.notify_waiters();
    }

    /// Hands slots over, one after the other: where a runtime ends, each may come back at once and
    /// go on to the next, and so on through the whole queue.
    fn grant(self: &Arc<Self>, granted: Vec<(Origin, Arc<Waiter<B>>)>) {
        if granted.is_empty() {
            return;
        }
        let mut inner = self.lock();
        inner.granted.extend(granted);
        if mem::replace(&mut inner.granting, true) {
            return;
        }
        drop(inner);
        let granting = Granting(self);
        while let Some((origin, waiter)) = self.next_granted() {
            self.start(Slot::granted(self.clone(), origin), &waiter);
        }
        mem::forget(granting);
    }

    /// Who is handed a slot next. If it is nobody, the next that is granted one begins anew.
    fn next_granted(&self) -> Option<(Origin, Arc<Waiter<B>>)> {
        let mut inner = self.lock();
        let next = inner.granted.pop_front();
        inner.granting = next.is_some();
        next
    }

    /// Opens a connection at once, whoever polls what: others may wait for it. On another runtime
    /// than the waiter's, or outside of any, the waiter does it when it is polled: a connection is
    /// driven by the runtime that opens it.
    fn start(self: &Arc<Self>, slot: Slot<B>, waiter: &Waiter<B>) {
        let here = runtime::current();
        if here.is_some() && here == slot.origin().runtime() {
            self.open(slot);
        } else {
            waiter.grant(slot);
        }
    }

    /// Lets waiters open connections by themselves, when a runtime ended that was to open one.
    fn grant_late(self: &Arc<Self>, granted: Vec<(Origin, Arc<Waiter<B>>)>) {
        for (origin, waiter) in granted {
            waiter.grant(Slot::granted(self.clone(), origin));
        }
    }

    /// Does what a change about shared connections asks for; `failed` says what those are told who
    /// waited for one that failed, if that is more than just so.
    fn follow(
        self: &Arc<Self>,
        effects: Effects<Arc<Shared<B>>, Arc<Waiter<B>>>,
        failed: Option<Error>,
    ) {
        let Effects {
            serve,
            grant,
            close,
            tell,
        } = effects;
        for (waiter, shared) in serve {
            // A waiter that left after the state had chosen it drops its part, which goes on to
            // the next.
            let _ = waiter.serve(Ok(Link::part(shared)));
        }
        self.grant(grant);
        for shared in close {
            shared.connection().wire().leave(self.unkept());
        }
        if !tell.is_empty() {
            let error = failed.unwrap_or_else(|| Error::new(Kind::Connect));
            Waiter::tell_all(tell, &error);
        }
    }

    /// Starts to open a connection in a task of its own.
    ///
    /// The task belongs to the pool, not to the request that asks: whoever waits longest gets its
    /// connection, and if all were served meanwhile, it is kept.
    pub(crate) fn open(self: &Arc<Self>, mut slot: Slot<B>) {
        let id = self.next_id.fetch_add(1, Relaxed);
        let (needed, called_off) = oneshot::channel();
        let steps = Arc::<Steps>::default();
        let mut inner = self.lock();
        if inner.state.is_closed() {
            // Whoever waited was told.
            drop(inner);
            return drop(slot);
        }
        let opening = Opening {
            origin: slot.origin().clone(),
            began: inner.state.next_ticket(),
            needed: Some(needed),
            steps: steps.clone(),
        };
        inner.opening.insert(id, opening);
        drop(inner);
        slot.opening(id);
        self.connector.open(slot, id, called_off, steps);
    }

    /// Takes note of a connection that is there, and whose task is about to run.
    pub(crate) fn opened(self: &Arc<Self>, link: Link<B>) {
        self.tell_opened(link.connection());
        let (origin, id) = (link.origin().clone(), link.id());
        let now = Instant::now();
        let live = Live {
            wire: link.wire().clone(),
            streams: None,
        };
        let mut inner = self.lock();
        inner.live.insert(id, live);
        let (placed, granted) = if inner.end_opening(id).is_some() {
            inner.state.connected(&origin, link, now)
        } else {
            (inner.state.put_back(&origin, link, now), Vec::new())
        };
        drop(inner);
        self.carry_out(&origin, placed);
        self.grant(granted);
    }

    fn tell_opened(&self, connection: &Connection<B>) {
        self.opened.fetch_add(1, Relaxed);
        let facts = connection.facts();
        self.config.listener.tell(|| Event::Opened {
            origin: connection.origin(),
            connection: facts.id,
            version: facts.version,
            took: facts.took,
        });
    }

    /// Takes note of a connection that carries several requests, as [`opened`](Self::opened) does.
    #[cfg(feature = "http2")]
    pub(crate) fn opened_shared(self: &Arc<Self>, shared: Arc<Shared<B>>) {
        let connection = shared.connection().clone();
        self.tell_opened(&connection);
        let (origin, id) = (connection.origin(), connection.id());
        let live = Live {
            wire: connection.wire_arc().clone(),
            streams: Some(shared.streams().clone()),
        };
        let expected = self.config.http2.max_concurrent_streams;
        let mut inner = self.lock();
        inner.live.insert(id, live);
        let counted = inner.end_opening(id).is_some();
        let state = &mut inner.state;
        let effects = state.connected_shared(origin, shared, expected, counted, Instant::now());
        drop(inner);
        self.follow(effects, None);
    }

    /// Takes note of how many requests the peer of a shared connection allows at the same time.
    #[cfg(feature = "http2")]
    pub(crate) fn set_limit(self: &Arc<Self>, origin: &Origin, id: u64, limit: usize) {
        let mut inner = self.lock();
        let effects = inner.state.set_limit(origin, id, limit, Instant::now());
        drop(inner);
        self.follow(effects, None);
    }

    /// Gives no more requests to a connection whose peer may be dead, or gives it some again.
    #[cfg(feature = "http2")]
    pub(crate) fn set_paused(self: &Arc<Self>, origin: &Origin, id: u64, paused: bool) {
        let mut inner = self.lock();
        let effects = inner.state.set_paused(origin, id, paused, Instant::now());
        drop(inner);
        self.follow(effects, None);
    }

    /// Takes note that a request on a shared connection is over.
    fn part_ended(self: &Arc<Self>, origin: &Origin, id: u64) {
        let mut inner = self.lock();
        if inner.state.part_ended_quietly(origin, id) {
            return;
        }
        let effects = inner.state.part_ended(origin, id, Instant::now());
        drop(inner);
        self.follow(effects, None);
    }

    /// Gives no more requests to a shared connection; those on it go on to their end. `failed`
    /// says why it never came to carry any, where that is so.
    pub(crate) fn withdraw(self: &Arc<Self>, connection: &Connection<B>, failed: Option<Error>) {
        let (origin, id) = (connection.origin(), connection.id());
        let how = failed.as_ref().map(|error| {
            if error.is_timeout() {
                Failed::TimedOut
            } else {
                Failed::Broken
            }
        });
        let mut inner = self.lock();
        let effects = inner.state.withdraw(origin, id, how);
        drop(inner);
        self.follow(effects, failed);
    }

    /// Gives no more requests to a shared connection, if another may be opened in its place.
    fn replace(self: &Arc<Self>, connection: &Connection<B>) {
        let (origin, id) = (connection.origin(), connection.id());
        let mut inner = self.lock();
        if !inner.state.may_replace(origin, id) {
            return;
        }
        connection.wire().leave(Cause::Dropped);
        let effects = inner.state.withdraw(origin, id, None);
        drop(inner);
        self.follow(effects, None);
    }

    /// Takes note of a connection that did not come to be; returns whom to tell.
    fn open_failed(&self, id: u64, origin: &Origin, error: &Error) -> Vec<Arc<Waiter<B>>> {
        let is_lasting = error.is_host_not_found() || error.is_address_refused();
        let mut inner = self.lock();
        // Nobody counts on one that was called off.
        let Some(began) = inner.end_opening(id) else {
            return Vec::new();
        };
        let failure = if is_lasting {
            Failure::Lasting
        } else if error.is_timeout() {
            Failure::TimedOut(began)
        } else {
            Failure::Passing
        };
        inner.state.connect_failed(origin, failure)
    }

    pub(crate) fn tell_failed(&self, id: u64, origin: &Origin, error: &Error) {
        self.config
            .listener
            .tell(|| Event::OpenFailed { origin, error });
        Waiter::tell_all(self.open_failed(id, origin, error), error);
    }

    /// Takes note of a connection whose task ended before it was there: its stream panicked, or its
    /// runtime ended. Its slot is free by then.
    pub(crate) fn open_broke_off(self: &Arc<Self>, id: u64, origin: &Origin) {
        let panicked = thread::panicking().then(|| {
            let why = "the stream panicked";
            Error::new(Kind::Connect).with(why).at(origin)
        });
        let told = panicked
            .as_ref()
            .map(|error| self.open_failed(id, origin, error));
        let mut inner = self.lock();
        if inner.end_opening(id).is_some() {
            inner.state.connect_abandoned(origin);
        }
        let granted = inner.state.grant_all();
        drop(inner);
        let Some(error) = panicked else {
            return self.grant_late(granted);
        };
        self.grant(granted);
        Waiter::tell_all(told.unwrap_or_default(), &error);
    }

    /// Takes note that a connection's task ends.
    pub(crate) fn ended(self: &Arc<Self>, connection: &Connection<B>) {
        let (id, origin) = (connection.id(), connection.origin());
        let reason = connection.wire().close_reason();
        connection.note_ended();
        let mut inner = self.lock();
        inner.closed.count(reason);
        inner.live.remove(&id);
        drop(inner);
        drop(self.take_idle(id, origin));
        self.gone.notify_waiters();
        self.config.listener.tell(|| Event::Closed {
            origin,
            connection: id,
            version: connection.facts().version,
            lived: connection.facts().opened.elapsed(),
            reason,
        });
    }

    /// Takes out a connection that has stood idle too long; else says when to ask again.
    pub(crate) fn expire(&self, connection: &Connection<B>, now: Instant) -> Expiry<B> {
        let (id, origin) = (connection.id(), connection.origin());
        let Some(timeout) = connection.idle_timeout() else {
            return Expiry::InUse;
        };
        // A pool younger than the timeout has nothing that old.
        let moment = now.checked_sub(timeout).unwrap_or(self.epoch);
        let expired = self.lock().state.expire(origin, id, moment);
        match expired {
            Some(Ok(given)) => Expiry::Expired(given),
            Some(Err(since)) => since.checked_add(timeout).map_or(Expiry::InUse, Expiry::At),
            None => Expiry::InUse,
        }
    }

    /// Takes out a connection, if it stands idle.
    pub(crate) fn take_idle(&self, id: u64, origin: &Origin) -> Option<Idle<B>> {
        self.lock().state.remove(origin, id)
    }

    /// Closes what of this origin has stood idle since before `moment`: when a reused connection
    /// turned out to be dead, its older neighbours most likely are too.
    pub(crate) fn retire_idle(&self, origin: &Origin, moment: Instant) {
        let retired = self.lock().state.retire(origin, moment);
        for idle in retired {
            retire(idle, Cause::Suspect);
        }
    }

    /// Whether a connection is being opened that this waiter may count on.
    fn is_covered(&self, origin: &Origin, ticket: Ticket) -> bool {
        self.lock().state.is_covered(origin, ticket)
    }

    /// What a waiting request waits for: a place, or a step of the connect that began first of those
    /// to its origin.
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

    /// Takes a waiter out of the queue, with whatever had been meant for it.
    ///
    /// The waiter is closed under the lock that the state chooses waiters under: so nobody is
    /// chosen after having left.
    fn leave(self: &Arc<Self>, origin: &Origin, ticket: Ticket, waiter: &Waiter<B>) {
        let mut inner = self.lock();
        let mut left = waiter.close();
        if let Some(slot) = &mut left.slot {
            // Its own, so none that another could do with.
            inner.state.connect_abandoned(origin);
            slot.settle();
        }
        let (_, surplus) = inner.state.cancel(origin, ticket);
        let unneeded = surplus.then(|| inner.call_off_newest(origin)).flatten();
        drop(inner);
        drop(unneeded);
        drop(left.slot);
        if let Some(Ok(link)) = left.served {
            link.give_back();
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        let inner = self.lock();
        let counts = inner.state.counts();
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
            reused: self.reused.load(Relaxed),
            streams,
            closed,
        }
    }

    /// Stops keeping connections, when no session is left; returns how many are in use.
    pub(crate) fn abandon(&self) -> usize {
        let mut inner = self.lock();
        let idle = inner.state.abandon();
        let in_use = inner.in_use(&idle);
        drop(inner);
        for idle in idle {
            retire(idle, Cause::Closed);
        }
        in_use
    }

    /// Refuses new requests, waits for those in flight, cuts what is left at the deadline.
    pub(crate) async fn close(self: Arc<Self>, deadline: Duration) -> CloseReport {
        let in_flight = self.refuse_all();
        let in_time = within(deadline, self.drained()).await.is_some();
        let aborted = if in_time { 0 } else { self.cut_all() };
        // What was cut ends at once, unless its runtime does not run any more.
        let _ = within(CUT_DEADLINE, self.drained()).await;
        CloseReport {
            finished: in_flight.saturating_sub(aborted),
            aborted,
        }
    }

    /// Refuses new requests and those that wait, closes what stands idle, calls off what is being
    /// opened; returns how many connections are in use.
    fn refuse_all(&self) -> usize {
        let mut inner = self.lock();
        let (idle, busy, waiters) = inner.state.close();
        let mut called_off = Vec::new();
        let Inner { state, opening, .. } = &mut *inner;
        for opening in opening.values_mut() {
            if let Some(needed) = opening.needed.take() {
                state.connect_abandoned(&opening.origin);
                called_off.push(needed);
            }
        }
        let in_flight = inner.in_use(&idle);
        drop(inner);
        Waiter::tell_all(waiters, &Error::new(Kind::Closed));
        drop(called_off);
        for shared in busy {
            shared.connection().wire().leave(Cause::Closed);
        }
        for idle in idle {
            retire(idle, Cause::Closed);
        }
        in_flight
    }

    fn cut_all(&self) -> usize {
        let left: Vec<_> = self.lock().live.values().cloned().collect();
        left.iter().map(Live::cut).sum()
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
        let inner = self.lock();
        // What still connects has been granted, and is on its way to its waiter.
        let none_granted = inner.state.counts().connecting == 0;
        inner.live.is_empty() && inner.opening.is_empty() && none_granted
    }

    fn lock(&self) -> MutexGuard<'_, Inner<B>> {
        // No foreign code runs under the lock, so a panic cannot have left it half-changed.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits no longer than this, if there is a runtime whose timer can tell.
async fn within<T>(time: Duration, future: impl Future<Output = T>) -> Option<T> {
    match Handle::try_current() {
        Ok(_) => tokio::time::timeout(time, future).await.ok(),
        Err(_) => Some(future.await),
    }
}

/// A connection that stood idle, and was taken out.
pub(crate) type Idle<B> = Given<Link<B>, Arc<Shared<B>>>;

/// Closes a connection that stood idle.
pub(crate) fn retire<B: Send + 'static>(idle: Idle<B>, cause: Cause) {
    match idle {
        Given::Own(link) => link.abort(cause),
        // hyper ends what nobody can send on.
        Given::Part(shared) => shared.connection().wire().leave(cause),
    }
}

impl<B> Live<B> {
    /// How many exchanges go on over it; an idle connection counts as one that is its own.
    fn exchanges(&self) -> usize {
        match &self.streams {
            Some(streams) => streams.count(),
            None => usize::from(self.wire.severed().is_none()),
        }
    }

    /// Cuts it; returns how many exchanges that cuts off.
    fn cut(&self) -> usize {
        let parts = self.streams.as_ref().map(|it| it.sever_all(Cause::Closed));
        let whole = self.wire.sever(Cause::Closed);
        parts.unwrap_or(usize::from(whole))
    }
}

impl<B> Clone for Live<B> {
    fn clone(&self) -> Self {
        Self {
            wire: self.wire.clone(),
            streams: self.streams.clone(),
        }
    }
}

impl<B: Send + 'static> Inner<B> {
    /// How many exchanges go on, where these connections stand idle.
    fn in_use(&self, idle: &[Idle<B>]) -> usize {
        let own = idle.iter().filter(|idle| matches!(idle, Given::Own(_)));
        let all: usize = self.live.values().map(Live::exchanges).sum();
        all.saturating_sub(own.count())
    }

    /// Takes note of the end of an opening; returns when it began, if the state still counts on it.
    fn end_opening(&mut self, id: u64) -> Option<Ticket> {
        let ended = self.opening.remove(&id)?;
        ended.needed.is_some().then_some(ended.began)
    }

    /// Calls off what was begun last; the sender is to be dropped after the lock.
    fn call_off_newest(&mut self, origin: &Origin) -> Option<oneshot::Sender<Never>> {
        let (_, newest) = self
            .opening
            .iter_mut()
            .filter(|(_, opening)| opening.origin.is_same_key(origin) && opening.needed.is_some())
            .max_by_key(|(id, _)| **id)?;
        let needed = newest.needed.take();
        self.state.connect_abandoned(origin);
        needed
    }
}

/// What a connection's task learns when it asks whether to close.
pub(crate) enum Expiry<B: Send + 'static> {
    Expired(Idle<B>),
    At(Instant),
    InUse,
}

impl<B: Send + 'static> fmt::Debug for Pool<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").finish_non_exhaustive()
    }
}
