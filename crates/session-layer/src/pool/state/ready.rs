use std::ops::Range;

use tokio::time::Instant;

use super::{Checkout, Numbered, Ticket, per_origin::Idle, shared::Shared};

/// The connections of one origin that take requests.
///
/// It is all that a request needs where no other step follows. So the state can lend it out: requests
/// then take connections and give them back without the state, as [`State`](super::State) would do it.
#[derive(Debug)]
pub(crate) struct Ready<C, S> {
    /// HTTP/1 connections; the one that was used last comes last.
    pub(super) idle: Vec<Idle<C>>,
    /// HTTP/2 connections. They stay here while they carry requests.
    pub(super) shared: Vec<Shared<S>>,
    /// The tickets that it was lent with: one for each request that takes a connection.
    pub(super) tickets: Range<u64>,
}

impl<C, S> Default for Ready<C, S> {
    fn default() -> Self {
        Self {
            idle: Vec::new(),
            shared: Vec::new(),
            tickets: 0..0,
        }
    }
}

/// What follows from the end of a request on a shared connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum StreamEnd {
    Noted,
    /// The state has to decide.
    Open,
}

impl<C, S> Ready<C, S> {
    pub(super) fn is_empty(&self) -> bool {
        self.idle.is_empty() && self.shared.is_empty()
    }

    /// Whether its connections are known to carry several requests at once.
    pub(crate) fn shares(&self) -> bool {
        !self.shared.is_empty()
    }

    /// Keeps a connection that no request waits for.
    #[inline]
    pub(crate) fn put_back(&mut self, connection: C, now: Instant) {
        if self.idle.capacity() == 0 {
            // Many origins never have more than one.
            self.idle.reserve_exact(1);
        }
        self.idle.push(Idle {
            since: now,
            connection,
        });
    }
}

impl<C, S: Numbered + Clone> Ready<C, S> {
    #[inline]
    pub(super) fn take(&mut self) -> Option<Checkout<C, S>> {
        if let Some(idle) = self.idle.pop() {
            return Some(Checkout::Own(idle.connection));
        }
        let stream = self.shared.iter_mut().find_map(Shared::take)?;
        Some(Checkout::Stream(stream))
    }

    /// Takes a connection for a request that has just come. The ticket is the place at which the
    /// request waits if the connection turns out to be unusable.
    #[inline]
    pub(crate) fn take_first(&mut self) -> Option<(Checkout<C, S>, Ticket)> {
        if self.tickets.is_empty() {
            return None;
        }
        let given = self.take()?;
        Some((given, Ticket(self.tickets.next()?)))
    }

    /// Notes that a request on a shared connection is over. `now` is missing if the caller knows
    /// that the connection carries others.
    #[inline]
    pub(crate) fn end_stream(&mut self, id: u64, now: Option<Instant>) -> StreamEnd {
        let Some(shared) = self.shared.iter_mut().find(|shared| shared.id() == id) else {
            // It was drained: the state has let go of it.
            return StreamEnd::Noted;
        };
        if shared.end_one(now) {
            StreamEnd::Noted
        } else {
            StreamEnd::Open
        }
    }

    /// How many connections carry nothing.
    pub(crate) fn count_idle(&self) -> usize {
        let shared = self.shared.iter().filter(|shared| shared.is_idle());
        self.idle.len().saturating_add(shared.count())
    }
}
