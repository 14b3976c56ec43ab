use std::collections::VecDeque;

use tokio::time::Instant;

use super::{
    Checkout, Ticket,
    shared::{Shared, Sharing},
};

#[derive(Debug)]
pub(super) struct PerOrigin<C, S, W> {
    pub(super) open: usize,
    pub(super) connecting: usize,
    pub(super) idle: Vec<Idle<C>>,
    /// shared connections, and take new ones.
    pub(super) shared: Vec<Shared<S>>,
    pub(super) sharing: Sharing,
    /// Whether the connection that was opened last allowed nothing and had not answered.
    pub(super) refused: bool,
    pub(super) waiters: VecDeque<Waiting<W>>,
    /// The key under which `starved` has this origin.
    pub(super) starved: Option<u64>,
    /// This origin's share of the pool's `wanted`.
    pub(super) wanted: usize,
    /// Whether it is an address that its name has no more: nothing is kept.
    pub(super) retired: bool,
}

#[derive(Debug)]
pub(super) struct Idle<C> {
    pub(super) sequence: u64,
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

impl<C, S, W> PerOrigin<C, S, W> {
    pub(super) fn new(sharing: Sharing) -> Self {
        Self {
            open: 0,
            connecting: 0,
            idle: Vec::new(),
            shared: Vec::new(),
            sharing,
            refused: false,
            waiters: VecDeque::new(),
            starved: None,
            wanted: 0,
            retired: false,
        }
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
