//! The pool's decisions, pure: no lock, no clock, no waker, no IO.
//!
//! What stands idle (`C`) and who waits (`W`) are values that the caller hands in and gets back;
//! time is a parameter. Whatever must be done outside (close a connection, open one, serve a
//! waiter) is in the returned value.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use hashbrown::HashMap;
use tokio::time::Instant;

use crate::{
    error::Error,
    origin::{Origin, OriginRef},
};

/// How many connections and waiters a pool may have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) connections: usize,
    pub(crate) per_origin: usize,
    pub(crate) waiting: usize,
    pub(crate) steal_after: Duration,
}

/// What a pool holds: slots, idle connections, and waiters in the order in which they came.
///
/// A *slot* is the right to have one connection. It is taken before the connection is opened and
/// given back when its socket is closed. Between the two, `connecting` counts the slots whose
/// connection is not there yet. Connections being opened belong to nobody: whichever connection
/// gets ready first, returned or new, serves the waiter that came first.
///
/// Invariants, checked by the tests after each step:
/// - the slots never exceed either limit;
/// - an origin with waiters has nothing idle;
/// - an origin is in `starved` exactly while it has more waiters than connections being opened and
///   may open another; and while anything is in `starved`, the total limit is reached.
#[derive(Debug)]
pub(crate) struct State<C, W> {
    limits: Limits,
    origins: HashMap<Origin, PerOrigin<C, W>>,
    open: usize,
    connecting: usize,
    idle: usize,
    waiting: usize,
    /// Idle connections that were told to close, and whose slots have not come back yet.
    evicting: usize,
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
    /// Has no session any more: serves whoever waits, keeps nothing.
    Abandoned,
    /// Refuses everything.
    Closed,
}

#[derive(Debug)]
struct PerOrigin<C, W> {
    open: usize,
    connecting: usize,
    idle: Vec<Idle<C>>,
    waiters: VecDeque<Waiting<W>>,
    /// The key under which `starved` has this origin.
    starved: Option<u64>,
    /// This origin's share of the pool's `wanted`.
    wanted: usize,
}

#[derive(Debug)]
struct Idle<C> {
    sequence: u64,
    since: Instant,
    connection: C,
}

#[derive(Debug)]
struct Waiting<W> {
    ticket: Ticket,
    since: Instant,
    waiter: W,
}

/// A waiter's place in the order of arrival.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Ticket(u64);

/// The answer to a request that asks for a connection.
#[derive(Debug)]
#[must_use]
pub(crate) enum CheckOut<C, W> {
    /// This connection stood idle.
    Idle(C),
    /// Wait; a slot was taken, so open a connection.
    Connect(Place<W>),
    /// Wait; a connection that is being opened will do, or a returned one.
    Covered(Place<W>),
    /// Wait until a connection or a slot is free; close the one that was taken out for it.
    Queue(Place<W>, Option<C>),
    /// As many wait as may.
    Full(Origin),
    /// The pool is closed.
    Closed,
}

/// Where a request waits.
#[derive(Debug)]
pub(crate) struct Place<W> {
    pub(crate) origin: Origin,
    pub(crate) ticket: Ticket,
    pub(crate) waiter: W,
}

/// What becomes of a connection that is ready for a request.
#[derive(Debug)]
#[must_use]
pub(crate) enum Placed<C, W> {
    /// It stands idle.
    Idle,
    /// Give it to this waiter, who is no longer in the queue.
    Serve(W, C),
    /// Close it.
    Close(C),
}

/// The figures of a pool at one moment.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Counts {
    pub(crate) open: usize,
    pub(crate) connecting: usize,
    pub(crate) idle: usize,
    pub(crate) waiting: usize,
}

impl<C, W: Clone> State<C, W> {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            origins: HashMap::new(),
            open: 0,
            connecting: 0,
            idle: 0,
            waiting: 0,
            evicting: 0,
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

    /// Finds a connection for a request, or the place where it waits for one.
    pub(crate) fn check_out(
        &mut self,
        origin: &OriginRef<'_>,
        now: Instant,
        waiter: impl FnOnce() -> W,
    ) -> Result<CheckOut<C, W>, Error> {
        if self.mode == Mode::Closed {
            return Ok(CheckOut::Closed);
        }
        let entry = self.origins.get_mut(origin);
        if let Some(idle) = entry.and_then(|entry| entry.idle.pop()) {
            self.idle -= 1;
            return Ok(CheckOut::Idle(idle.connection));
        }
        let origin = match self.origins.get_key_value(origin) {
            Some((known, _)) => known.clone(),
            None => origin.to_origin()?,
        };
        let total_is_free = self.open < self.limits.connections;
        let entry = self.origins.entry(origin.clone()).or_default();
        let uncovered = entry.waiters.len() >= entry.connecting;
        let may_connect = uncovered && total_is_free && entry.open < self.limits.per_origin;
        if uncovered && !may_connect && self.waiting >= self.limits.waiting {
            self.forget_if_unused(&origin);
            return Ok(CheckOut::Full(origin));
        }

        let place = Place {
            ticket: Ticket(self.sequence()),
            waiter: waiter(),
            origin,
        };
        let entry = self.origins.entry(place.origin.clone()).or_default();
        entry.waiters.push_back(Waiting {
            ticket: place.ticket,
            since: now,
            waiter: place.waiter.clone(),
        });
        self.waiting += 1;
        if may_connect {
            self.take_slot(&place.origin);
            return Ok(CheckOut::Connect(place));
        }
        self.refresh(&place.origin);
        if !uncovered {
            return Ok(CheckOut::Covered(place));
        }
        let evicted = self.evict();
        Ok(CheckOut::Queue(place, evicted))
    }

    /// Takes back a connection whose exchange is over.
    pub(crate) fn put_back(
        &mut self,
        origin: &Origin,
        connection: C,
        now: Instant,
    ) -> Placed<C, W> {
        // Connections follow their own origin's waiters, until another's have waited too long.
        let overdue = |(ticket, waited): (u64, Duration), first: u64| {
            ticket < first && waited >= self.limits.steal_after
        };
        let first = self
            .origins
            .get(origin)
            .and_then(|entry| entry.waiters.front());
        let yields = match (self.longest_starved(now), first) {
            (Some(starved), Some(first)) => overdue(starved, first.ticket.0),
            (Some(_) | None, None) | (None, Some(_)) => false,
        };
        if yields && self.wanted > self.evicting {
            self.evicting += 1;
            return Placed::Close(connection);
        }
        self.place(origin, connection, now)
    }

    /// Places a connection that has just been opened.
    pub(crate) fn connected(
        &mut self,
        origin: &Origin,
        connection: C,
        now: Instant,
    ) -> Placed<C, W> {
        self.stop_connecting(origin);
        let placed = self.place(origin, connection, now);
        self.refresh(origin);
        placed
    }

    fn place(&mut self, origin: &Origin, connection: C, now: Instant) -> Placed<C, W> {
        let keeps = self.mode == Mode::Open && self.wanted <= self.evicting;
        let sequence = self.sequence();
        let Some(entry) = self.origins.get_mut(origin) else {
            return Placed::Close(connection);
        };
        if let Some(waiting) = entry.waiters.pop_front() {
            self.waiting -= 1;
            self.refresh(origin);
            return Placed::Serve(waiting.waiter, connection);
        }
        if !keeps {
            // Where another origin waits for the slot, it counts as evicted.
            self.evicting += usize::from(self.wanted > self.evicting);
            return Placed::Close(connection);
        }
        entry.idle.push(Idle {
            sequence,
            since: now,
            connection,
        });
        self.idle += 1;
        Placed::Idle
    }

    /// Takes note that a connection could not be opened; returns whom to tell.
    ///
    /// Its slot stays taken until [`slot_freed`](Self::slot_freed).
    pub(crate) fn connect_failed(&mut self, origin: &Origin) -> Option<W> {
        self.stop_connecting(origin);
        let entry = self.origins.get_mut(origin)?;
        // Where as many are being opened as there are waiters, each still has its own.
        let told = (entry.waiters.len() > entry.connecting)
            .then(|| entry.waiters.pop_front())
            .flatten()
            .map(|waiting| waiting.waiter);
        self.waiting -= usize::from(told.is_some());
        self.refresh(origin);
        told
    }

    /// Whether everything is refused.
    pub(crate) fn is_closed(&self) -> bool {
        self.mode == Mode::Closed
    }

    /// Counts a connection out that nobody opens any more, without an error to tell. Its slot
    /// stays taken until [`slot_freed`](Self::slot_freed).
    pub(crate) fn connect_abandoned(&mut self, origin: &Origin) {
        self.stop_connecting(origin);
        self.refresh(origin);
    }

    /// Takes back a slot; returns the waiter, still in the queue, who may open a connection now,
    /// with the origin for which the slot was taken again.
    pub(crate) fn slot_freed(&mut self, origin: &Origin) -> Option<(Origin, W)> {
        self.open = self.open.saturating_sub(1);
        self.evicting = self.evicting.saturating_sub(1);
        if let Some(entry) = self.origins.get_mut(origin) {
            entry.open = entry.open.saturating_sub(1);
        }
        self.refresh(origin);
        let granted = self.grant();
        self.forget_if_unused(origin);
        granted
    }

    /// Removes a waiter that went away; returns whether it was still waiting, and whether one
    /// connection more than needed is now being opened for its origin.
    pub(crate) fn cancel(&mut self, origin: &Origin, ticket: Ticket) -> (bool, bool) {
        let Some(entry) = self.origins.get_mut(origin) else {
            return (false, false);
        };
        let Ok(at) = entry
            .waiters
            .binary_search_by_key(&ticket, |waiting| waiting.ticket)
        else {
            return (false, false);
        };
        entry.waiters.remove(at);
        self.waiting -= 1;
        let surplus = entry.connecting > entry.waiters.len();
        self.refresh(origin);
        self.forget_if_unused(origin);
        (true, surplus)
    }

    /// Takes out the idle connection for which `is` holds, if it came back before `moment`; else
    /// returns when it did. `None` means that it does not stand idle.
    pub(crate) fn expire(
        &mut self,
        origin: &Origin,
        is: impl Fn(&C) -> bool,
        moment: Instant,
    ) -> Option<Result<C, Instant>> {
        let entry = self.origins.get_mut(origin)?;
        let at = entry.idle.iter().position(|idle| is(&idle.connection))?;
        let since = entry.idle.get(at)?.since;
        if since > moment {
            return Some(Err(since));
        }
        self.idle -= 1;
        Some(Ok(entry.idle.remove(at).connection))
    }

    /// Takes out the idle connection for which `is` holds.
    pub(crate) fn remove(&mut self, origin: &Origin, is: impl Fn(&C) -> bool) -> Option<C> {
        let entry = self.origins.get_mut(origin)?;
        let at = entry.idle.iter().position(|idle| is(&idle.connection))?;
        self.idle -= 1;
        Some(entry.idle.remove(at).connection)
    }

    /// Takes out what has stood idle since before `moment`.
    pub(crate) fn retire(&mut self, origin: &Origin, moment: Instant) -> Vec<C> {
        let Some(entry) = self.origins.get_mut(origin) else {
            return Vec::new();
        };
        let old = entry.idle.iter().take_while(|idle| idle.since <= moment);
        let old = old.count();
        self.idle -= old;
        let old = entry.idle.drain(..old).map(|idle| idle.connection);
        old.collect()
    }

    /// Stops keeping connections; returns those that stood idle.
    pub(crate) fn abandon(&mut self) -> Vec<C> {
        if self.mode == Mode::Open {
            self.mode = Mode::Abandoned;
        }
        self.drain_idle()
    }

    /// Refuses everything from now on; returns what stood idle and who waited.
    pub(crate) fn close(&mut self) -> (Vec<C>, Vec<W>) {
        self.mode = Mode::Closed;
        let mut waiters = Vec::with_capacity(self.waiting);
        for entry in self.origins.values_mut() {
            entry.starved = None;
            entry.wanted = 0;
            waiters.extend(entry.waiters.drain(..).map(|waiting| waiting.waiter));
        }
        self.starved.clear();
        self.wanted = 0;
        self.waiting = 0;
        (self.drain_idle(), waiters)
    }

    fn drain_idle(&mut self) -> Vec<C> {
        let mut idle = Vec::with_capacity(self.idle);
        for entry in self.origins.values_mut() {
            idle.extend(entry.idle.drain(..).map(|idle| idle.connection));
        }
        self.idle = 0;
        idle
    }

    fn sequence(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn stop_connecting(&mut self, origin: &Origin) {
        self.connecting = self.connecting.saturating_sub(1);
        if let Some(entry) = self.origins.get_mut(origin) {
            entry.connecting = entry.connecting.saturating_sub(1);
        }
    }

    fn take_slot(&mut self, origin: &Origin) {
        self.open += 1;
        self.connecting += 1;
        if let Some(entry) = self.origins.get_mut(origin) {
            entry.open += 1;
            entry.connecting += 1;
        }
        self.refresh(origin);
    }

    /// Gives a free slot to the waiter that came first among those who may take it.
    fn grant(&mut self) -> Option<(Origin, W)> {
        if self.open >= self.limits.connections {
            return None;
        }
        let (_, origin) = self.starved.first_key_value()?;
        let origin = origin.clone();
        let entry = self.origins.get(&origin)?;
        let waiter = entry.waiters.get(entry.connecting)?.waiter.clone();
        self.take_slot(&origin);
        Some((origin, waiter))
    }

    /// Brings `starved` up to date for one origin.
    fn refresh(&mut self, origin: &Origin) {
        let Some(entry) = self.origins.get_mut(origin) else {
            return;
        };
        let free = self.limits.per_origin.saturating_sub(entry.open);
        let uncovered = entry.waiters.len().saturating_sub(entry.connecting);
        let wanted = uncovered.min(free);
        self.wanted = self.wanted - entry.wanted + wanted;
        entry.wanted = wanted;
        let first = entry
            .waiters
            .get(entry.connecting)
            .filter(|_| wanted > 0)
            .map(|waiting| waiting.ticket.0);
        if first == entry.starved {
            return;
        }
        if let Some(old) = entry.starved.take() {
            self.starved.remove(&old);
        }
        if let Some(first) = first {
            entry.starved = Some(first);
            self.starved.insert(first, origin.clone());
        }
    }

    /// The first waiter whom only the total limit stops: its place, and how long it has waited.
    fn longest_starved(&self, now: Instant) -> Option<(u64, Duration)> {
        let (&ticket, origin) = self.starved.first_key_value()?;
        let entry = self.origins.get(origin)?;
        let waiting = entry.waiters.get(entry.connecting)?;
        Some((ticket, now.saturating_duration_since(waiting.since)))
    }

    /// Takes out the connection that has stood idle longest, where an origin waits for a slot
    /// that no closing connection is about to free.
    fn evict(&mut self) -> Option<C> {
        if self.wanted <= self.evicting {
            return None;
        }
        // Only origins that hold a slot are in the map, so this looks at no more than the limit.
        let longest_idle = self
            .origins
            .values_mut()
            .filter(|entry| !entry.idle.is_empty())
            .min_by_key(|entry| entry.idle.first().map(|idle| idle.sequence))?;
        self.idle -= 1;
        self.evicting += 1;
        Some(longest_idle.idle.remove(0).connection)
    }

    fn forget_if_unused(&mut self, origin: &Origin) {
        let unused = self
            .origins
            .get(origin)
            .is_some_and(|entry| entry.open == 0 && entry.waiters.is_empty());
        if unused {
            self.origins.remove(origin);
        }
    }
}

impl<C, W> Default for PerOrigin<C, W> {
    fn default() -> Self {
        Self {
            open: 0,
            connecting: 0,
            idle: Vec::new(),
            waiters: VecDeque::new(),
            starved: None,
            wanted: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use http::Uri;
    use proptest::prelude::*;

    use super::*;

    type Ids = State<u32, u32>;

    const STEAL_AFTER: Duration = Duration::from_millis(100);

    fn state(connections: usize, per_origin: usize) -> Ids {
        State::new(Limits {
            connections,
            per_origin,
            waiting: 100,
            steal_after: STEAL_AFTER,
        })
    }

    fn uri(name: &str) -> Uri {
        format!("http://{name}").parse().unwrap()
    }

    fn origin(name: &str) -> Origin {
        OriginRef::of(&uri(name)).unwrap().to_origin().unwrap()
    }

    fn ask(state: &mut Ids, name: &str, waiter: u32, now: Instant) -> CheckOut<u32, u32> {
        let uri = uri(name);
        state
            .check_out(&OriginRef::of(&uri).unwrap(), now, || waiter)
            .unwrap()
    }

    impl<C: Copy, W: Clone> State<C, W> {
        fn assert_consistent(&self) {
            let sum = |part: fn(&PerOrigin<C, W>) -> usize| -> usize {
                self.origins.values().map(part).sum()
            };
            assert_eq!(self.open, sum(|entry| entry.open));
            assert_eq!(self.connecting, sum(|entry| entry.connecting));
            assert_eq!(self.idle, sum(|entry| entry.idle.len()));
            assert_eq!(self.waiting, sum(|entry| entry.waiters.len()));
            assert_eq!(self.wanted, sum(|entry| entry.wanted));
            assert!(self.open <= self.limits.connections);
            for (origin, entry) in &self.origins {
                assert!(entry.open <= self.limits.per_origin);
                assert!(entry.connecting + entry.idle.len() <= entry.open);
                assert!(entry.idle.is_empty() || entry.waiters.is_empty());
                let uncovered = entry.waiters.len().saturating_sub(entry.connecting);
                let could_open = entry.open < self.limits.per_origin;
                assert_eq!(entry.starved.is_some(), uncovered > 0 && could_open);
                assert_eq!(entry.wanted > 0, entry.starved.is_some());
                if let Some(ticket) = entry.starved {
                    assert_eq!(self.starved.get(&ticket), Some(origin));
                    assert_eq!(self.open, self.limits.connections);
                }
                assert!(entry.open > 0 || !entry.waiters.is_empty());
            }
            assert_eq!(
                self.starved.len(),
                self.origins
                    .values()
                    .filter(|entry| entry.starved.is_some())
                    .count()
            );
        }
    }

    #[test]
    fn the_connection_used_last_is_reused_first() {
        let (mut state, now) = (state(9, 9), Instant::now());
        let a = origin("a");
        for id in [1, 2] {
            assert!(matches!(
                ask(&mut state, "a", id, now),
                CheckOut::Connect(_)
            ));
        }
        for id in [1, 2] {
            assert!(
                matches!(state.connected(&a, id, now), Placed::Serve(waiter, _) if waiter == id)
            );
        }
        for id in [1, 2] {
            assert!(matches!(state.put_back(&a, id, now), Placed::Idle));
        }
        assert!(matches!(ask(&mut state, "a", 3, now), CheckOut::Idle(2)));
    }

    #[test]
    fn a_returned_connection_serves_who_came_first_and_the_new_one_is_kept() {
        let (mut state, now) = (state(9, 9), Instant::now());
        let a = origin("a");
        assert!(matches!(ask(&mut state, "a", 1, now), CheckOut::Connect(_)));
        assert!(matches!(state.connected(&a, 1, now), Placed::Serve(1, 1)));
        assert!(matches!(ask(&mut state, "a", 2, now), CheckOut::Connect(_)));
        assert!(matches!(state.put_back(&a, 1, now), Placed::Serve(2, 1)));
        assert!(matches!(state.connected(&a, 2, now), Placed::Idle));
        assert_eq!(state.counts().idle, 1);
    }

    #[test]
    fn a_failed_connect_fails_one_waiter_and_frees_its_slot_for_the_next() {
        let (mut state, now) = (state(1, 1), Instant::now());
        let a = origin("a");
        assert!(matches!(ask(&mut state, "a", 1, now), CheckOut::Connect(_)));
        assert!(matches!(
            ask(&mut state, "a", 2, now),
            CheckOut::Queue(_, None)
        ));
        assert_eq!(state.connect_failed(&a), Some(1));
        assert!(matches!(state.slot_freed(&a), Some((_, 2))));
        state.assert_consistent();
    }

    #[test]
    fn a_failed_connect_that_nobody_needs_fails_nobody() {
        let (mut state, now) = (state(9, 9), Instant::now());
        let a = origin("a");
        assert!(matches!(ask(&mut state, "a", 1, now), CheckOut::Connect(_)));
        assert!(matches!(state.connected(&a, 1, now), Placed::Serve(1, 1)));
        assert!(matches!(ask(&mut state, "a", 2, now), CheckOut::Connect(_)));
        assert!(matches!(ask(&mut state, "a", 3, now), CheckOut::Connect(_)));
        assert!(matches!(state.put_back(&a, 1, now), Placed::Serve(2, 1)));
        assert_eq!(state.connect_failed(&a), None);
        assert_eq!(state.connect_failed(&a), Some(3));
    }

    #[test]
    fn an_idle_connection_of_another_origin_makes_room_at_the_total_limit() {
        let (mut state, now) = (state(2, 2), Instant::now());
        let a = origin("a");
        for id in [1, 2] {
            assert!(matches!(
                ask(&mut state, "a", id, now),
                CheckOut::Connect(_)
            ));
            assert!(matches!(state.connected(&a, id, now), Placed::Serve(_, _)));
            assert!(matches!(state.put_back(&a, id, now), Placed::Idle));
            assert!(matches!(ask(&mut state, "a", 0, now), CheckOut::Idle(_)));
        }
        for id in [1, 2] {
            assert!(matches!(state.put_back(&a, id, now), Placed::Idle));
        }
        // The one that has stood longest, and one only for each that waits.
        assert!(matches!(
            ask(&mut state, "b", 7, now),
            CheckOut::Queue(_, Some(1))
        ));
        assert!(matches!(
            ask(&mut state, "b", 8, now),
            CheckOut::Queue(_, Some(2))
        ));
        assert!(matches!(
            ask(&mut state, "b", 9, now),
            CheckOut::Queue(_, None)
        ));
        assert!(matches!(state.slot_freed(&a), Some((_, 7))));
        assert!(matches!(state.slot_freed(&a), Some((_, 8))));
        state.assert_consistent();
    }

    #[test]
    fn a_busy_origin_keeps_its_connection_until_another_has_waited_too_long() {
        let (mut state, now) = (state(1, 1), Instant::now());
        let (a, b) = (origin("a"), origin("b"));
        assert!(matches!(ask(&mut state, "a", 1, now), CheckOut::Connect(_)));
        assert!(matches!(state.connected(&a, 1, now), Placed::Serve(1, 1)));
        assert!(matches!(
            ask(&mut state, "b", 2, now),
            CheckOut::Queue(_, None)
        ));
        assert!(matches!(
            ask(&mut state, "a", 3, now),
            CheckOut::Queue(_, None)
        ));
        assert!(matches!(
            ask(&mut state, "a", 4, now),
            CheckOut::Queue(_, None)
        ));
        assert!(matches!(state.put_back(&a, 1, now), Placed::Serve(3, 1)));
        let later = now + STEAL_AFTER;
        assert!(matches!(state.put_back(&a, 1, later), Placed::Close(1)));
        let granted = state.slot_freed(&a);
        assert!(matches!(granted, Some((ref origin, 2)) if *origin == b));
        state.assert_consistent();
    }

    #[test]
    fn no_newcomer_overtakes_a_waiter() {
        let (mut state, now) = (state(1, 1), Instant::now());
        let a = origin("a");
        assert!(matches!(ask(&mut state, "a", 1, now), CheckOut::Connect(_)));
        assert!(matches!(state.connected(&a, 1, now), Placed::Serve(1, 1)));
        assert!(matches!(ask(&mut state, "a", 2, now), CheckOut::Queue(..)));
        assert!(matches!(state.put_back(&a, 1, now), Placed::Serve(2, 1)));
        assert!(matches!(ask(&mut state, "a", 3, now), CheckOut::Queue(..)));
    }

    #[test]
    fn a_full_queue_refuses_and_forgets() {
        let now = Instant::now();
        let mut state: Ids = State::new(Limits {
            connections: 1,
            per_origin: 1,
            waiting: 1,
            steal_after: STEAL_AFTER,
        });
        assert!(matches!(ask(&mut state, "a", 1, now), CheckOut::Connect(_)));
        assert!(matches!(ask(&mut state, "b", 2, now), CheckOut::Full(_)));
        assert_eq!(state.origins.len(), 1);
        state.assert_consistent();
    }

    #[test]
    fn what_came_back_before_a_stale_request_began_is_retired() {
        let (mut state, now) = (state(9, 9), Instant::now());
        let a = origin("a");
        for id in [1, 2] {
            assert!(matches!(
                ask(&mut state, "a", id, now),
                CheckOut::Connect(_)
            ));
            assert!(matches!(state.connected(&a, id, now), Placed::Serve(..)));
        }
        let later = now + Duration::from_secs(1);
        assert!(matches!(state.put_back(&a, 1, now), Placed::Idle));
        assert!(matches!(state.put_back(&a, 2, later), Placed::Idle));
        assert_eq!(state.retire(&a, now), [1]);
        assert_eq!(state.counts().idle, 1);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Ask(u8),
        Connected(u8),
        ConnectFailed(u8),
        PutBack(u8),
        Closed(u8),
        Leave(u8),
        Wait,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..3_u8).prop_map(Step::Ask),
            3 => any::<u8>().prop_map(Step::Connected),
            1 => any::<u8>().prop_map(Step::ConnectFailed),
            3 => any::<u8>().prop_map(Step::PutBack),
            2 => any::<u8>().prop_map(Step::Closed),
            1 => any::<u8>().prop_map(Step::Leave),
            1 => Just(Step::Wait),
        ]
    }

    /// The world around the state: what the shell would hold in its hands.
    #[derive(Default)]
    struct World {
        connecting: Vec<Origin>,
        in_use: Vec<(Origin, u32)>,
        closing: Vec<Origin>,
        waiting: Vec<(Origin, Ticket, u32)>,
        served: usize,
        failed: usize,
        left: usize,
        asked: usize,
    }

    impl World {
        fn placed(&mut self, origin: &Origin, placed: &Placed<u32, u32>) {
            match *placed {
                Placed::Idle => {}
                Placed::Close(_) => self.closing.push(origin.clone()),
                Placed::Serve(waiter, id) => {
                    // First come, first served, among the origin's own.
                    let first = self.waiting.iter().position(|(of, _, _)| of == origin);
                    let (_, _, first) = self.waiting.remove(first.expect("somebody waits"));
                    assert_eq!(first, waiter);
                    self.served += 1;
                    self.in_use.push((origin.clone(), id));
                }
            }
        }

        fn freed(&mut self, granted: Option<(Origin, u32)>) {
            if let Some((origin, waiter)) = granted {
                assert!(self.waiting.iter().any(|(_, _, id)| *id == waiter));
                self.connecting.push(origin);
            }
        }
    }

    fn pick<T>(from: &mut Vec<T>, at: u8) -> Option<T> {
        (!from.is_empty()).then(|| from.swap_remove(usize::from(at) % from.len()))
    }

    proptest! {
        #[test]
        fn any_order_of_events_keeps_the_limits_and_serves_everybody(
            steps in proptest::collection::vec(step(), 0..400),
            connections in 1..5_usize,
            per_origin in 1..4_usize,
        ) {
            let names = ["a", "b", "c"];
            let mut state = state(connections, per_origin);
            let mut world = World::default();
            let mut now = Instant::now();
            let mut id = 0;
            let mut run = |state: &mut Ids, world: &mut World, step: Step| {
                id += 1;
                match step {
                    Step::Ask(name) => {
                        world.asked += 1;
                        let name = names[usize::from(name)];
                        match ask(state, name, id, now) {
                            CheckOut::Idle(link) => {
                                assert!(!world.waiting.iter().any(|(of, _, _)| *of == origin(name)));
                                world.served += 1;
                                world.in_use.push((origin(name), link));
                            }
                            CheckOut::Connect(place) => {
                                world.connecting.push(place.origin.clone());
                                world.waiting.push((place.origin, place.ticket, id));
                            }
                            CheckOut::Queue(place, evicted) => {
                                if evicted.is_some() {
                                    // Which origin it was of, its slot's owner knows: find it.
                                    let of = lost(state, world);
                                    world.closing.push(of);
                                }
                                world.waiting.push((place.origin, place.ticket, id));
                            }
                            CheckOut::Covered(place) => {
                                world.waiting.push((place.origin, place.ticket, id));
                            }
                            CheckOut::Full(_) | CheckOut::Closed => world.failed += 1,
                        }
                    }
                    Step::Connected(at) => {
                        if let Some(of) = pick(&mut world.connecting, at) {
                            let placed = state.connected(&of, id, now);
                            world.placed(&of, &placed);
                        }
                    }
                    Step::ConnectFailed(at) => {
                        if let Some(of) = pick(&mut world.connecting, at) {
                            if let Some(waiter) = state.connect_failed(&of) {
                                world.waiting.retain(|(_, _, id)| *id != waiter);
                                world.failed += 1;
                            }
                            let granted = state.slot_freed(&of);
                            world.freed(granted);
                        }
                    }
                    Step::PutBack(at) => {
                        if let Some((of, link)) = pick(&mut world.in_use, at) {
                            let placed = state.put_back(&of, link, now);
                            world.placed(&of, &placed);
                        }
                    }
                    Step::Closed(at) => {
                        if let Some(of) = pick(&mut world.closing, at) {
                            let granted = state.slot_freed(&of);
                            world.freed(granted);
                        }
                    }
                    Step::Leave(at) => {
                        if let Some((of, ticket, _)) = pick(&mut world.waiting, at) {
                            world.waiting.sort_by_key(|(_, ticket, _)| *ticket);
                            prop_assert_eq!(state.cancel(&of, ticket).0, true);
                            world.left += 1;
                        }
                    }
                    Step::Wait => now += STEAL_AFTER,
                }
                Ok(())
            };
            for step in steps {
                run(&mut state, &mut world, step)?;
                world.waiting.sort_by_key(|(_, ticket, _)| *ticket);
                state.assert_consistent();
            }
            // When all that is under way ends, nobody is left waiting.
            for _ in 0..10_000 {
                for step in [Step::Connected(0), Step::PutBack(0), Step::Closed(0)] {
                    run(&mut state, &mut world, step)?;
                    world.waiting.sort_by_key(|(_, ticket, _)| *ticket);
                    state.assert_consistent();
                }
                if world.waiting.is_empty() && world.in_use.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(state.counts().waiting, 0);
            prop_assert_eq!(world.asked, world.served + world.failed + world.left);
        }
    }

    /// The origin that holds one slot more than the world knows of.
    fn lost(state: &Ids, world: &World) -> Origin {
        let count = |of: &Origin| {
            world.connecting.iter().filter(|o| *o == of).count()
                + world.in_use.iter().filter(|(o, _)| o == of).count()
                + world.closing.iter().filter(|o| *o == of).count()
        };
        let (origin, _) = state
            .origins
            .iter()
            .find(|(origin, entry)| entry.open > count(origin) + entry.idle.len())
            .expect("a connection was evicted");
        origin.clone()
    }
}
