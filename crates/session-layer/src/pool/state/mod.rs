//! The pool's decisions, pure: no lock, no clock, no waker, no IO.
//!
//! What stands idle (`C`), what serves several requests at once (`S`) and who waits (`W`) are
//! values that the caller hands in and gets back; time is a parameter. Whatever must be done
//! outside (close a connection, open one, serve a waiter) is in the returned value.

use std::{
    collections::{BTreeMap, HashSet},
    hash::{BuildHasherDefault, Hash},
};

use hashbrown::{Equivalent, HashMap};
use tokio::time::Instant;

mod answers;
mod per_origin;
mod shared;
mod starved;
#[cfg(test)]
mod tests;

pub(crate) use self::{
    answers::{
        Arrival, Checkout, CheckoutAnswer, Counts, Effects, Failure, Place, Returned, Ticket,
    },
    shared::Failed,
};
use self::{
    per_origin::{Idle, PerOrigin, Waiting},
    shared::{Shared, Sharing},
};
use crate::{
    config::Limits,
    origin::{Hashed, InvalidUri, Key, Origin, OriginRef},
};

/// What a pool holds: permits, connections, and waiters in the order in which they came.
///
/// A *permit* is the right to have one connection. It is taken before the connection is opened and
/// given back when its socket is closed. Between the two, `connecting` counts the permits whose
/// connection is not there yet. A connection that is being opened belongs to no request: whichever connection
/// gets ready first, returned or new, serves the waiter that came first.
///
/// A waiter is *covered* while enough connections are being opened for it and those before it. An
/// HTTP/2 connect covers as many waiters as its streams will serve; while the protocol is unknown, it
/// covers all, so that only one connect starts and the others learn from it.
///
/// Invariants, checked by the tests after each step:
/// - the permits never exceed either limit;
/// - an origin with waiters has nothing idle, and no shared connection with room;
/// - an origin is in `starved` exactly while it has waiters that are not covered and may open
///   another connection; and while anything is in `starved`, the total limit is reached, or a
///   permit is about to come back.
#[derive(Debug)]
pub(crate) struct State<C, S, W> {
    limits: Limits,
    /// The connections of each runtime are those of an origin of its own.
    origins: HashMap<Key, PerOrigin<C, S, W>, BuildHasherDefault<Hashed>>,
    open: usize,
    connecting: usize,
    idle: usize,
    waiting: usize,
    /// Connections that have their permits. One that has closed gives its permit back before it is taken
    /// out here: until then it must not be chosen to make room.
    holding: HashSet<u64>,
    /// Connections that were told to close for another origin, and whose permits are about to come
    /// back.
    evicting: Vec<u64>,
    /// Shared connections that were chosen to close for another origin when they carry nothing any
    /// more, and when that was. What they carry may take long.
    draining: Vec<(u64, Instant)>,
    /// Connections that would be opened at once if the total limit did not forbid it.
    wanted: usize,
    next: u64,
    /// Origins that only the total limit keeps from opening a connection, by the arrival of their
    /// first waiter that no connection is being opened for.
    starved: BTreeMap<u64, Origin>,
    mode: Mode,
}

/// How a pool treats what comes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Mode {
    /// Serves, and keeps connections.
    Open,
    /// Has no session any more: serves those that wait, keeps nothing.
    Draining,
    /// Refuses everything.
    Closed,
}

/// What the pool knows a connection by.
pub(crate) trait Numbered {
    fn id(&self) -> u64;
    /// Whether a response has come over it.
    fn has_answered(&self) -> bool;
}

/// How many failed connects a request waits through where one connect is to serve many.
const MAX_FAILURES: u8 = 3;

impl<C: Numbered, S: Numbered + Clone, W: Clone> State<C, S, W> {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            origins: HashMap::default(),
            open: 0,
            connecting: 0,
            idle: 0,
            waiting: 0,
            holding: HashSet::new(),
            evicting: Vec::new(),
            draining: Vec::new(),
            wanted: 0,
            next: 0,
            starved: BTreeMap::new(),
            mode: Mode::Open,
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        Counts {
            open: self.open,
            connecting: self.connecting,
            idle: self.idle,
            waiting: self.waiting,
        }
    }

    /// Takes a connection that is there for a request that has just come, and gives the request's
    /// place, should the connection turn out to take no requests.
    #[inline]
    pub(crate) fn take_first<Q>(&mut self, origin: &Q) -> Option<(Checkout<C, S>, Ticket)>
    where
        Q: Equivalent<Key> + Hash,
    {
        let given = self.take(origin)?;
        Some((given, Ticket(self.sequence())))
    }

    #[inline]
    fn take<Q>(&mut self, origin: &Q) -> Option<Checkout<C, S>>
    where
        Q: Equivalent<Key> + Hash,
    {
        let entry = self.origins.get_mut(origin)?;
        if let Some(idle) = entry.idle.pop() {
            self.idle -= 1;
            return Some(Checkout::Own(idle.connection));
        }
        let (stream, was_idle) = entry.shared.iter_mut().find_map(Shared::take)?;
        self.idle -= usize::from(was_idle);
        Some(Checkout::Stream(stream))
    }

    /// Finds a connection for a request, or the place where it waits for one. A request that
    /// comes `again` has the place that it had.
    pub(crate) fn check_out(
        &mut self,
        origin: &OriginRef<'_>,
        now: Instant,
        again: Option<Arrival>,
        waiter: impl FnOnce() -> W,
    ) -> Result<CheckoutAnswer<C, S, W>, InvalidUri> {
        if self.mode == Mode::Closed {
            return Ok(CheckoutAnswer::Closed);
        }
        if let Some(given) = self.take(origin) {
            let ticket = match again {
                Some(arrival) => arrival.ticket,
                None => Ticket(self.sequence()),
            };
            return Ok(CheckoutAnswer::Ready(given, ticket));
        }
        let origin = match self.origins.get_key_value(origin) {
            Some((Key(known), _)) => known.clone(),
            None => origin.to_origin()?,
        };
        let total_is_free = self.open < self.limits.connections;
        let per_origin = self.limits.per_origin;
        let entry = self.entry(&origin);
        let covered = entry.waiters.len() < entry.covered();
        let may_connect =
            !covered && total_is_free && entry.open < per_origin && !entry.is_refused();
        // Whoever comes again was let in before.
        let must_queue = !covered && !may_connect && again.is_none();
        if must_queue && self.waiting >= self.limits.waiting {
            self.forget_if_unused(&origin);
            return Ok(CheckoutAnswer::Full(origin));
        }

        let arrival = again.unwrap_or_else(|| Arrival {
            ticket: Ticket(self.sequence()),
            since: now,
        });
        let place = Place {
            arrival,
            waiter: waiter(),
            origin,
        };
        let entry = self.entry(&place.origin);
        if entry.waiters.capacity() == 0 {
            // Many origins never have more than one, nor more than one connection that stands idle.
            entry.waiters.reserve_exact(1);
        }
        let waiting = Waiting {
            ticket: arrival.ticket,
            since: arrival.since,
            failures: 0,
            waiter: place.waiter.clone(),
        };
        let at = entry
            .waiters
            .partition_point(|other| other.ticket < arrival.ticket);
        entry.waiters.insert(at, waiting);
        self.waiting += 1;
        if may_connect {
            self.take_permit(&place.origin);
            return Ok(CheckoutAnswer::Connect(place));
        }
        self.refresh(&place.origin);
        if covered {
            return Ok(CheckoutAnswer::Covered(place));
        }
        let evicted = self.evict(&place.origin);
        Ok(CheckoutAnswer::Queue(place, evicted))
    }

    /// Takes back a connection whose exchange is over.
    pub(crate) fn release(
        &mut self,
        origin: &Origin,
        connection: C,
        now: Instant,
    ) -> Returned<C, W> {
        // Connections follow their own origin's waiters, until another's have waited too long.
        if !self.starved.is_empty() && self.yields(connection.id(), origin, now) {
            self.evicting.push(connection.id());
            return Returned::Close(connection);
        }
        self.place(origin, connection, now)
    }

    /// Places a connection that has just been opened, and serves one request at a time.
    ///
    /// That may be news, after which others need connections of their own.
    pub(crate) fn connected(
        &mut self,
        origin: &Origin,
        connection: C,
        now: Instant,
    ) -> (Returned<C, W>, Vec<(Origin, W)>) {
        self.stop_connecting(origin);
        self.holding.insert(connection.id());
        self.learn(origin, Sharing::One);
        let returned = self.place(origin, connection, now);
        self.refresh(origin);
        (returned, self.grant_all())
    }

    #[inline]
    fn place(&mut self, origin: &Origin, connection: C, now: Instant) -> Returned<C, W> {
        let keeps = self.keeps();
        let sequence = self.sequence();
        let Some(entry) = self.origins.get_mut(origin) else {
            return Returned::Close(connection);
        };
        if let Some(waiting) = entry.waiters.pop_front() {
            self.waiting -= 1;
            self.refresh(origin);
            return Returned::Serve(waiting.waiter, connection);
        }
        if !keeps {
            self.evict_if_wanted(connection.id());
            return Returned::Close(connection);
        }
        if entry.idle.capacity() == 0 {
            entry.idle.reserve_exact(1);
        }
        entry.idle.push(Idle {
            sequence,
            since: now,
            connection,
        });
        self.idle += 1;
        Returned::Idle
    }

    /// Whether a connection without waiters may stand idle.
    fn keeps(&self) -> bool {
        self.mode == Mode::Open && self.wanted <= self.evicting.len()
    }

    /// Takes note that a connection could not be opened; returns whom to tell.
    ///
    /// Its permit stays taken until [`permit_freed`](Self::permit_freed).
    pub(crate) fn connect_failed(&mut self, origin: &Origin, failure: Failure) -> Vec<W> {
        self.stop_connecting(origin);
        self.fail_uncovered(origin, failure)
    }

    /// Takes those out of the queue whom a failure fails, among those who had only the connection
    /// that failed to wait for. Where enough others are being opened, each still has its own.
    fn fail_uncovered(&mut self, origin: &Origin, failure: Failure) -> Vec<W> {
        let Some(entry) = self.origins.get_mut(origin) else {
            return Vec::new();
        };
        let uncovered = entry.waiters.len().saturating_sub(entry.covered());
        let met = uncovered.min(entry.sharing.share());
        let mut told = Vec::new();
        let mut left = Vec::with_capacity(met.saturating_sub(1));
        for mut waiting in entry.waiters.drain(..met) {
            waiting.failures = waiting.failures.saturating_add(1);
            let fails = told.is_empty()
                || waiting.failures >= MAX_FAILURES
                || match failure {
                    Failure::Passing => false,
                    Failure::TimedOut(before) => waiting.ticket < before,
                    Failure::Lasting => true,
                };
            if fails {
                told.push(waiting.waiter);
            } else {
                left.push(waiting);
            }
        }
        for waiting in left.into_iter().rev() {
            entry.waiters.push_front(waiting);
        }
        self.waiting -= told.len();
        self.refresh(origin);
        told
    }

    /// A place behind everybody who has come so far.
    pub(crate) fn next_ticket(&self) -> Ticket {
        Ticket(self.next.saturating_add(1))
    }

    /// Whether connections are kept.
    pub(crate) fn is_open(&self) -> bool {
        self.mode == Mode::Open
    }

    /// Whether everything is refused.
    pub(crate) fn is_closed(&self) -> bool {
        self.mode == Mode::Closed
    }

    /// Counts a connect attempt out that was cancelled, without an error to tell. Its permit
    /// stays taken until [`permit_freed`](Self::permit_freed).
    pub(crate) fn connect_cancelled(&mut self, origin: &Origin) {
        self.stop_connecting(origin);
        self.refresh(origin);
    }

    /// Takes back the permit of a connection that has closed, as [`permit_freed`](Self::permit_freed)
    /// does.
    pub(crate) fn closed(&mut self, origin: &Origin, id: u64) -> Vec<(Origin, W)> {
        self.holding.remove(&id);
        self.evicting.retain(|evicting| *evicting != id);
        self.permit_freed(origin)
    }

    /// Takes back a permit; returns the waiters, still in the queue, who may open a connection now,
    /// with the origins for which permits were taken again.
    pub(crate) fn permit_freed(&mut self, origin: &Origin) -> Vec<(Origin, W)> {
        self.open = self.open.saturating_sub(1);
        if let Some(entry) = self.origins.get_mut(origin) {
            entry.open = entry.open.saturating_sub(1);
        }
        self.refresh(origin);
        let granted = self.grant_all();
        self.forget_if_unused(origin);
        granted
    }

    /// Removes a waiter that went away; returns whether it was still waiting, and whether one
    /// connection more than needed is now being opened for its origin.
    pub(crate) fn cancel(&mut self, origin: &Origin, ticket: Ticket) -> (bool, bool) {
        let Some(entry) = self.origins.get_mut(origin) else {
            return (false, false);
        };
        let Some(at) = entry.position(ticket) else {
            return (false, false);
        };
        entry.waiters.remove(at);
        self.waiting -= 1;
        let needed = entry.waiters.len().div_ceil(entry.sharing.share());
        let surplus = entry.connecting > needed;
        self.refresh(origin);
        self.forget_if_unused(origin);
        (true, surplus)
    }

    /// Whether the peer allows no request on any connection of this origin.
    pub(crate) fn is_refused(&self, origin: &Origin) -> bool {
        self.origins.get(origin).is_some_and(PerOrigin::is_refused)
    }

    /// Whether a connection is being opened for this waiter.
    pub(crate) fn is_covered(&self, origin: &Origin, ticket: Ticket) -> bool {
        self.origins.get(origin).is_some_and(|entry| {
            let at = entry.position(ticket);
            at.is_some_and(|at| at < entry.covered())
        })
    }

    /// Takes out an idle connection, if it came back before `moment`; else returns when it did.
    /// `None` means that it does not stand idle.
    pub(crate) fn expire(
        &mut self,
        origin: &Origin,
        id: u64,
        moment: Instant,
    ) -> Option<Result<Checkout<C, S>, Instant>> {
        let entry = self.origins.get(origin)?;
        let own = entry.idle.iter().find(|idle| idle.connection.id() == id);
        let since = match own {
            Some(idle) => idle.since,
            None => entry.shared(id)?.idle_since()?,
        };
        if since > moment {
            return Some(Err(since));
        }
        self.remove(origin, id).map(Ok)
    }

    /// Takes out an idle connection.
    pub(crate) fn remove(&mut self, origin: &Origin, id: u64) -> Option<Checkout<C, S>> {
        let entry = self.origins.get_mut(origin)?;
        let own = entry
            .idle
            .iter()
            .position(|idle| idle.connection.id() == id);
        let removed = if let Some(at) = own {
            Checkout::Own(entry.idle.remove(at).connection)
        } else {
            let idle = |shared: &Shared<S>| shared.id() == id && shared.is_idle();
            let at = entry.shared.iter().position(idle)?;
            Checkout::Stream(entry.shared.remove(at).into_handle())
        };
        self.idle -= 1;
        // Whoever the peer refused on it may try another, when this one's permit comes back.
        self.refresh(origin);
        self.forget_if_unused(origin);
        Some(removed)
    }

    /// Takes out what has stood idle since before `moment`.
    pub(crate) fn take_idle_before(
        &mut self,
        origin: &Origin,
        moment: Instant,
    ) -> Vec<Checkout<C, S>> {
        let Some(entry) = self.origins.get_mut(origin) else {
            return Vec::new();
        };
        let old = entry.idle.iter().take_while(|idle| idle.since <= moment);
        let own = old.count();
        let mut taken: Vec<_> = entry.idle.drain(..own).map(Idle::into_checkout).collect();
        let old = |shared: &mut Shared<S>| shared.idle_since().is_some_and(|it| it <= moment);
        taken.extend(entry.take_shared(old).map(Checkout::Stream));
        self.idle -= taken.len();
        self.refresh(origin);
        taken
    }

    /// Stops keeping connections; returns those that stood idle.
    pub(crate) fn stop_keeping(&mut self) -> Vec<Checkout<C, S>> {
        if self.mode == Mode::Open {
            self.mode = Mode::Draining;
        }
        self.drain_idle()
    }

    /// Refuses everything from now on; returns what stood idle, what takes new requests no more,
    /// and who waited.
    pub(crate) fn close(&mut self) -> (Vec<Checkout<C, S>>, Vec<S>, Vec<W>) {
        self.mode = Mode::Closed;
        let idle = self.drain_idle();
        let mut busy = Vec::new();
        let mut waiters = Vec::with_capacity(self.waiting);
        for entry in self.origins.values_mut() {
            entry.starved = None;
            entry.wanted = 0;
            busy.extend(entry.take_shared(|_| true));
            self.draining.clear();
            waiters.extend(entry.waiters.drain(..).map(|waiting| waiting.waiter));
        }
        self.starved.clear();
        self.wanted = 0;
        self.waiting = 0;
        (idle, busy, waiters)
    }

    fn drain_idle(&mut self) -> Vec<Checkout<C, S>> {
        let mut idle = Vec::with_capacity(self.idle);
        for entry in self.origins.values_mut() {
            idle.extend(entry.idle.drain(..).map(Idle::into_checkout));
            idle.extend(
                entry
                    .take_shared(|shared| shared.is_idle())
                    .map(Checkout::Stream),
            );
        }
        self.idle = 0;
        idle
    }

    fn entry(&mut self, origin: &Origin) -> &mut PerOrigin<C, S, W> {
        let multiplexing = self.limits.multiplexing;
        self.origins
            .entry(Key(origin.clone()))
            .or_insert_with(|| PerOrigin::new(Sharing::expected(multiplexing, origin)))
    }

    fn sequence(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn learn(&mut self, origin: &Origin, sharing: Sharing) {
        if let Some(entry) = self.origins.get_mut(origin) {
            entry.sharing = sharing;
        }
    }

    fn stop_connecting(&mut self, origin: &Origin) {
        self.connecting = self.connecting.saturating_sub(1);
        if let Some(entry) = self.origins.get_mut(origin) {
            entry.connecting = entry.connecting.saturating_sub(1);
        }
    }

    fn take_permit(&mut self, origin: &Origin) {
        self.open += 1;
        self.connecting += 1;
        if let Some(entry) = self.origins.get_mut(origin) {
            entry.open += 1;
            entry.connecting += 1;
        }
        self.refresh(origin);
    }

    fn forget_if_unused(&mut self, origin: &Origin) {
        let unused = self.origins.get(origin).is_some_and(|entry| {
            entry.open == 0
                && entry.waiters.is_empty()
                && entry.idle.is_empty()
                && entry.shared.is_empty()
        });
        if unused {
            self.origins.remove(origin);
        }
    }
}
