use std::collections::VecDeque;

use tokio::time::Instant;

use super::{
    Checkout, Ticket,
    ready::Ready,
    shared::{Shared, Sharing},
};

#[derive(Debug)]
pub(super) struct PerOrigin<C, S, W> {
    pub(super) open: usize,
    pub(super) connecting: usize,
    /// `None` while it is lent, or where no connection was there yet.
    pub(super) ready: Option<Box<Ready<C, S>>>,
    pub(super) sharing: Sharing,
    /// Whether the connection that was opened last allowed nothing and had not answered.
    pub(super) refused: bool,
    pub(super) waiters: VecDeque<Waiting<W>>,
    /// The key under which `starved` has this origin.
    pub(super) starved: Option<Place>,
    /// This origin's share of the pool's `wanted`.
    pub(super) wanted: usize,
    /// Whether it is an address that its name has no more: nothing is kept.
    pub(super) retired: bool,
    pub(super) is_lent: bool,
}

#[derive(Debug)]
pub(super) struct Idle<C> {
    pub(super) since: Instant,
    pub(super) connection: C,
}

#[derive(Debug)]
pub(super) struct Waiting<W> {
    pub(super) ticket: Ticket,
    pub(super) since: Instant,
    /// How many connects have failed while it waited for them.
    pub(super) failures: u8,
    pub(super) waiter: W,
}

/// A place in the order of arrival over all origins. Requests of different origins that come at the same
/// moment have different tickets.
pub(super) type Place = (Instant, Ticket);

impl<W> Waiting<W> {
    pub(super) fn place(&self) -> Place {
        (self.since, self.ticket)
    }
}

impl<C, S, W> PerOrigin<C, S, W> {
    pub(super) fn new(sharing: Sharing) -> Self {
        Self {
            open: 0,
            connecting: 0,
            ready: None,
            sharing,
            refused: false,
            waiters: VecDeque::new(),
            starved: None,
            wanted: 0,
            retired: false,
            is_lent: false,
        }
    }

    /// Its connections, to change them. While they are lent, they are not here, and must not be asked for.
    pub(super) fn ready(&mut self) -> &mut Ready<C, S> {
        debug_assert!(!self.is_lent, "recalled before");
        self.ready.get_or_insert_default()
    }

    pub(super) fn idle(&self) -> &[Idle<C>] {
        debug_assert!(!self.is_lent, "recalled before");
        self.ready.as_ref().map_or(&[], |ready| &ready.idle)
    }

    pub(super) fn shared(&self) -> &[Shared<S>] {
        debug_assert!(!self.is_lent, "recalled before");
        self.ready.as_ref().map_or(&[], |ready| &ready.shared)
    }

    pub(super) fn position(&self, ticket: Ticket) -> Option<usize> {
        let found = self
            .waiters
            .binary_search_by_key(&ticket, |waiting| waiting.ticket);
        found.ok()
    }
}

impl<C> Idle<C> {
    pub(super) fn into_checkout<S>(self) -> Checkout<C, S> {
        Checkout::Own(self.connection)
    }
}
