//! The types that the state takes and returns.

use tokio::time::Instant;

use crate::origin::Origin;

/// A request's place in the order of arrival.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Ticket(pub(super) u64);

/// When a request came. If the connection that it was given is unusable, it waits again at the
/// place that it had.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) ticket: Ticket,
    pub(crate) since: Instant,
}

/// What the failure of a connect means for the waiters that had only this connect to wait for.
///
/// Where a connection serves one request at a time, each failure fails one of them. Where one
/// connect is to serve them all, one bad connection (one of several servers behind an address, a
/// server that restarts) must not fail them all: the first of them fails, and the next connect
/// begins at once. So there are never more connects than failed requests, and never two at a time;
/// a host that is down fails all of them by the third connect.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Failure {
    /// The next connect may succeed.
    Passing,
    /// The connect took the whole connect timeout, and each request that came before this one has
    /// waited for as long.
    TimedOut(Ticket),
    /// The next connect would fail as well.
    Lasting,
}

/// A connection for one request: its own, or a stream on a shared one.
#[derive(Debug)]
pub(crate) enum Checkout<C, S> {
    Own(C),
    Stream(S),
}

/// The answer to a request that asks for a connection.
#[derive(Debug)]
#[must_use]
pub(crate) enum CheckoutAnswer<C, S, W> {
    /// This connection takes it at once. The ticket is its place if the connection turns out to be
    /// unusable.
    Ready(Checkout<C, S>, Ticket),
    /// Wait; a permit was taken, so open a connection.
    Connect(Place<W>),
    /// Wait for a connection that is being opened, or a returned one.
    Covered(Place<W>),
    /// Wait until a connection or a permit is free, and close the connection that was evicted for
    /// it.
    Queue(Place<W>, Option<Checkout<C, S>>),
    /// The queue is full.
    Full(Origin),
    /// The pool is closed.
    Closed,
}

/// What came of the removal of a waiter.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use]
pub(crate) enum Cancelled {
    /// It was not in the queue any more.
    NotQueued,
    /// All connects of its origin are still needed.
    Removed,
    /// One connect of its origin is not needed any more.
    Surplus,
}

/// Where a request waits.
#[derive(Debug)]
pub(crate) struct Place<W> {
    pub(crate) origin: Origin,
    pub(crate) arrival: Arrival,
    pub(crate) waiter: W,
}

/// What becomes of a connection that is ready for a request.
#[derive(Debug)]
#[must_use]
pub(crate) enum Returned<C, W> {
    /// It is idle.
    Idle,
    /// Give it to this waiter, which is no longer in the queue.
    Serve(W, C),
    /// Close it.
    Close(C),
}

/// What follows from a change of a shared connection.
#[derive(Debug)]
#[must_use]
pub(crate) struct Effects<S, W> {
    /// Give each of these waiters its stream; they are no longer in the queue.
    pub(crate) serve: Vec<(W, S)>,
    /// These waiters may open a connection. They stay in the queue, and a permit was taken for
    /// each.
    pub(crate) grant: Vec<(Origin, W)>,
    /// Close these.
    pub(crate) close: Vec<S>,
    /// Fail these waiters; they are no longer in the queue.
    pub(crate) tell: Vec<W>,
}

impl<S, W> Default for Effects<S, W> {
    fn default() -> Self {
        Self {
            serve: Vec::new(),
            grant: Vec::new(),
            close: Vec::new(),
            tell: Vec::new(),
        }
    }
}

/// The figures of a pool at one moment.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Counts {
    pub(crate) open: usize,
    pub(crate) connecting: usize,
    pub(crate) idle: usize,
    pub(crate) waiting: usize,
}
