//! How a request gets a connection, or a place in the queue, and how it leaves the queue.

use std::hash::Hash;

use hashbrown::Equivalent;
use tokio::time::Instant;

use super::{
    Arrival, Cancelled, Checkout, CheckoutAnswer, Mode, Numbered, Place, State, Ticket,
    per_origin::Waiting,
};
use crate::origin::{InvalidUri, Key, Origin, OriginRef};

impl<C: Numbered, S: Numbered + Clone, W: Clone> State<C, S, W> {
    fn take<Q>(&mut self, origin: &Q) -> Option<Checkout<C, S>>
    where
        Q: Equivalent<Key> + Hash,
    {
        self.origins.get_mut(origin)?.ready.as_mut()?.take()
    }

    /// Finds a connection for a request, or a place where it waits for one. A request that comes
    /// `again` keeps the place that it had. `recall` is called before a connection of another origin
    /// is closed to make room.
    pub(crate) fn check_out(
        &mut self,
        origin: &OriginRef<'_>,
        now: Instant,
        again: Option<Arrival>,
        waiter: impl FnOnce() -> W,
        recall: impl FnOnce(&mut Self),
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
        // A request that comes again has been admitted before.
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
            // Many origins never have more than one waiter, nor more than one idle connection.
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
        let evicted = if self.wants_room() {
            recall(self);
            self.make_room_for_one(&place.origin)
        } else {
            None
        };
        Ok(CheckoutAnswer::Queue(place, evicted))
    }

    /// Removes a waiter whose request was dropped, or has timed out.
    pub(crate) fn cancel(&mut self, origin: &Origin, ticket: Ticket) -> Cancelled {
        let Some(entry) = self.origins.get_mut(origin) else {
            return Cancelled::NotQueued;
        };
        let Some(at) = entry.position(ticket) else {
            return Cancelled::NotQueued;
        };
        entry.waiters.remove(at);
        self.waiting -= 1;
        let needed = entry.waiters.len().div_ceil(entry.sharing.share());
        let surplus = entry.connecting > needed;
        self.refresh(origin);
        self.forget_if_unused(origin);
        if surplus {
            Cancelled::Surplus
        } else {
            Cancelled::Removed
        }
    }

    /// Whether the peer allows no request on any connection of this origin.
    pub(crate) fn is_refused(&self, origin: &Origin) -> bool {
        let entry = self.origins.get(origin);
        entry.is_some_and(|entry| entry.is_refused())
    }

    /// Whether a connection is being opened for this waiter.
    pub(crate) fn is_covered(&self, origin: &Origin, ticket: Ticket) -> bool {
        self.origins.get(origin).is_some_and(|entry| {
            let at = entry.position(ticket);
            at.is_some_and(|at| at < entry.covered())
        })
    }
}
