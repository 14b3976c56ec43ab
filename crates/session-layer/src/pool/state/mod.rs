//! The pool's decisions, pure: no lock, no clock, no waker, no IO.
//!
//! Idle connections (`C`), shared connections (`S`) and waiters (`W`) are values that the caller
//! hands in and gets back; time is a parameter. The returned values say what the caller must do:
//! close a connection, open one, serve a waiter.

use std::{
    collections::{BTreeMap, HashSet},
    hash::{BuildHasherDefault, Hash},
};

use hashbrown::{Equivalent, HashMap};
use tokio::time::Instant;

mod answers;
mod checkout;
mod connecting;
mod idle;
mod lending;
mod load;
mod per_origin;
mod ready;
mod shared;
mod starved;
#[cfg(test)]
mod tests;

pub(crate) use self::{
    answers::{
        Arrival, Cancelled, Checkout, CheckoutAnswer, Counts, Effects, Failure, Place, Returned,
        Ticket,
    },
    ready::{Ready, StreamEnd},
    shared::Failed,
};
use self::{
    per_origin::{PerOrigin, Place as Starved},
    shared::Sharing,
    starved::Shortage,
};
use crate::{
    config::Limits,
    origin::{Hashed, Key, Origin},
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
///   permit is about to come back;
/// - while more connections are wanted than permits are about to come back, no connection is idle
///   that could be closed to make room.
#[derive(Debug)]
pub(crate) struct State<C, S, W> {
    limits: Limits,
    /// The key has the runtime: each runtime has connections of its own to an origin.
    origins: Origins<C, S, W>,
    /// How many origins are lent.
    lent: usize,
    open: usize,
    connecting: usize,
    waiting: usize,
    /// The connections that hold a permit. Only such a one frees a permit when it is closed to make
    /// room.
    holding: HashSet<u64>,
    /// Connections that were evicted for another origin, and whose permits are about to come back.
    evicting: Vec<u64>,
    /// Shared connections that are drained for another origin, and since when. The requests on them
    /// may take long.
    draining: Vec<(u64, Instant)>,
    /// Connections that would be opened at once if the total limit did not forbid it.
    wanted: usize,
    /// For which shortage idle connections were sought last. They are sought again when it grows.
    sought: Shortage,
    next: u64,
    /// Origins that could open a connection but for the total limit, by the place of their first
    /// uncovered waiter.
    starved: BTreeMap<Starved, Origin>,
    mode: Mode,
}

/// Boxed, since a map has room for up to twice as many as it has.
type Origins<C, S, W> = HashMap<Key, Box<PerOrigin<C, S, W>>, BuildHasherDefault<Hashed>>;

/// Which requests a pool serves, and whether it keeps connections.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Mode {
    /// It serves all requests, and keeps connections.
    Open,
    /// The last session was dropped: it serves the waiters, and keeps no connection.
    Draining,
    /// It refuses all requests.
    Closed,
}

/// A connection, as the state knows it.
pub(crate) trait Numbered {
    fn id(&self) -> u64;
    /// Whether a response has come over it.
    fn has_answered(&self) -> bool;
}

impl<C: Numbered, S: Numbered + Clone, W: Clone> State<C, S, W> {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            origins: HashMap::default(),
            lent: 0,
            open: 0,
            connecting: 0,
            waiting: 0,
            holding: HashSet::new(),
            evicting: Vec::new(),
            draining: Vec::new(),
            wanted: 0,
            sought: Shortage::default(),
            next: 0,
            starved: BTreeMap::new(),
            mode: Mode::Open,
        }
    }

    /// The connections of origins that are lent do not count as idle.
    pub(crate) fn counts(&self) -> Counts {
        let ready = self
            .origins
            .values()
            .filter_map(|entry| entry.ready.as_ref());
        Counts {
            open: self.open,
            connecting: self.connecting,
            idle: ready.map(|ready| ready.count_idle()).sum(),
            waiting: self.waiting,
        }
    }

    /// Whether a connection is being opened, or may be.
    pub(crate) fn is_connecting(&self) -> bool {
        self.connecting > 0
    }

    /// Takes back a connection whose exchange is over.
    pub(crate) fn release(
        &mut self,
        origin: &Origin,
        connection: C,
        now: Instant,
    ) -> Returned<C, W> {
        // A connection serves the waiters of its own origin, until those of another have waited too
        // long.
        if !self.starved.is_empty() && self.yields(connection.id(), origin, now) {
            self.evicting.push(connection.id());
            return Returned::Close(connection);
        }
        self.place(origin, connection, now)
    }

    #[inline]
    fn place(&mut self, origin: &Origin, connection: C, now: Instant) -> Returned<C, W> {
        let keeps = self.keeps();
        let Some(entry) = self.origins.get_mut(origin) else {
            return Returned::Close(connection);
        };
        if let Some(waiting) = entry.waiters.pop_front() {
            self.waiting -= 1;
            self.refresh(origin);
            return Returned::Serve(waiting.waiter, connection);
        }
        if !keeps || entry.retired {
            self.evict_if_wanted(origin, connection.id());
            return Returned::Close(connection);
        }
        entry.ready().put_back(connection, now);
        Returned::Idle
    }

    /// Whether a connection without waiters is kept.
    fn keeps(&self) -> bool {
        self.mode == Mode::Open && !self.wants_room()
    }

    /// The place behind all requests that have come so far.
    pub(crate) fn next_ticket(&self) -> Ticket {
        Ticket(self.next.saturating_add(1))
    }

    /// Whether connections are kept.
    pub(crate) fn is_open(&self) -> bool {
        self.mode == Mode::Open
    }

    /// Whether all requests are refused.
    pub(crate) fn is_closed(&self) -> bool {
        self.mode == Mode::Closed
    }

    /// Stops keeping connections; returns the idle ones.
    pub(crate) fn stop_keeping(&mut self) -> Vec<Checkout<C, S>> {
        if self.mode == Mode::Open {
            self.mode = Mode::Draining;
        }
        self.drain_idle()
    }

    /// Refuses all requests from now on; returns the idle connections, the busy shared connections,
    /// and the waiters.
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

    fn entry(&mut self, origin: &Origin) -> &mut PerOrigin<C, S, W> {
        let multiplexing = self.limits.multiplexing;
        self.origins
            .entry(Key(origin.clone()))
            .or_insert_with(|| Box::new(PerOrigin::new(Sharing::expected(multiplexing, origin))))
    }

    fn sequence(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Whether the connections of this origin are known to carry one request at a time.
    pub(crate) fn takes_turns<Q>(&self, origin: &Q) -> bool
    where
        Q: Equivalent<Key> + Hash,
    {
        let entry = self.origins.get(origin);
        entry.is_some_and(|entry| entry.sharing == Sharing::One)
    }

    fn learn(&mut self, origin: &Origin, sharing: Sharing) {
        if let Some(entry) = self.origins.get_mut(origin) {
            entry.sharing = sharing;
        }
    }

    fn forget_if_unused(&mut self, origin: &Origin) {
        let unused = self.origins.get(origin).is_some_and(|entry| {
            entry.open == 0
                && entry.waiters.is_empty()
                && entry.ready.as_ref().is_none_or(|it| it.is_empty())
        });
        if unused {
            self.origins.remove(origin);
        }
    }
}
