//! Which origins the total limit starves, and which connections make room for them.

use std::{hash::Hash, time::Duration};

use hashbrown::Equivalent;
use tokio::time::Instant;

use super::{
    Checkout, Numbered, State,
    per_origin::{Place, Waiting},
};
use crate::origin::{Key, Origin};

impl<C: Numbered, S: Numbered + Clone, W: Clone> State<C, S, W> {
    /// Whether a connection of this origin should make room for another origin, whose first waiter
    /// came before all waiters of this origin and has waited too long.
    pub(super) fn yields(&self, id: u64, origin: &Origin, now: Instant) -> bool {
        let Some((place, waited)) = self.longest_starved(now) else {
            return false;
        };
        let own = self.origins.get(origin);
        let first = own.and_then(|entry| entry.waiters.front());
        waited >= self.limits.steal_after
            && self.holding.contains(&id)
            && first.is_none_or(|first| place < first.place())
            && self.missing() > self.draining_soon(now)
    }

    /// How many of the drained connections may be expected to close soon. One that has been drained
    /// for longer does not keep another from being chosen.
    pub(super) fn draining_soon(&self, now: Instant) -> usize {
        let soon = |since: Instant| now.saturating_duration_since(since) < self.limits.steal_after;
        let soon = self.draining.iter().filter(|(_, since)| soon(*since));
        soon.count()
    }

    /// Gives all free permits to waiters that may have them.
    pub(crate) fn grant_all(&mut self) -> Vec<(Origin, W)> {
        let mut granted = Vec::new();
        while let Some(grant) = self.grant() {
            granted.push(grant);
        }
        granted
    }

    /// Gives a free permit to the first waiter that may take it.
    pub(super) fn grant(&mut self) -> Option<(Origin, W)> {
        if self.open >= self.limits.connections {
            return None;
        }
        let (_, origin) = self.starved.first_key_value()?;
        let origin = origin.clone();
        let entry = self.origins.get(&origin)?;
        let waiter = entry.waiters.get(entry.covered())?.waiter.clone();
        self.take_permit(&origin);
        Some((origin, waiter))
    }

    /// Brings `starved` up to date for one origin.
    pub(super) fn refresh(&mut self, origin: &Origin) {
        let Some(entry) = self.origins.get_mut(origin) else {
            return;
        };
        let covered = entry.covered();
        let uncovered = entry.waiters.len().saturating_sub(covered);
        let free = self.limits.per_origin.saturating_sub(entry.open);
        let wanted = if entry.is_refused() {
            0
        } else {
            uncovered.div_ceil(entry.sharing.share()).min(free)
        };
        self.wanted = self.wanted - entry.wanted + wanted;
        entry.wanted = wanted;
        let first = entry
            .waiters
            .get(covered)
            .filter(|_| wanted > 0)
            .map(Waiting::place);
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

    /// The first waiter that only the total limit stops: its place, and how long it has waited.
    pub(super) fn longest_starved(&self, now: Instant) -> Option<(Place, Duration)> {
        let (&place, origin) = self.starved.first_key_value()?;
        let entry = self.origins.get(origin)?;
        let waiting = entry.waiters.get(entry.covered())?;
        Some((place, now.saturating_duration_since(waiting.since)))
    }

    /// Takes out idle connections, so that they can be closed, until enough permits are about to come
    /// back. `asks` is the origin that the state was asked about.
    ///
    /// It is called after each change, since not only a request that comes may want a connection:
    /// requests that have waited for one connection need several once it turns out to serve fewer
    /// than was thought. While the shortage stays the same there is nothing to find, because what
    /// comes back while room is wanted is not kept.
    pub(crate) fn make_room<Q>(&mut self, asks: &Q) -> Vec<Checkout<C, S>>
    where
        Q: Equivalent<Key> + Hash + ?Sized,
    {
        let before = self.sought;
        let shortage = self.note_sought();
        let grown = shortage.missing.saturating_sub(before.missing);
        let is_same = before.only.is_none() || before.only == shortage.only;
        if shortage.missing == 0 || (grown == 0 && is_same) {
            return Vec::new();
        }
        let known = self.origins.get_key_value(asks).map(|(Key(asks), _)| asks);
        let Some(asks) = known.or_else(|| self.starved.values().next()).cloned() else {
            return Vec::new();
        };
        let mut taken = Vec::new();
        while self.wants_room() {
            let Some((origin, id)) = self.evictable(&asks) else {
                break;
            };
            // Those of another runtime are not counted on, so their number is limited here.
            if taken.len() >= grown && origin.runtime() != asks.runtime() {
                break;
            }
            let origin = origin.clone();
            let Some(evicted) = self.take_evicted(&origin, id, &asks) else {
                break;
            };
            taken.push(evicted);
        }
        self.note_sought();
        taken
    }

    /// Takes out an idle connection for a request that comes and has to wait.
    pub(super) fn make_room_for_one(&mut self, asks: &Origin) -> Option<Checkout<C, S>> {
        let before = self.evicting.len();
        let evicted = self.evict(asks);
        if evicted.is_none() {
            self.sought.missing = self.missing();
        } else if self.evicting.len() == before {
            // It is of another runtime, and not counted on; but it is the one for this request.
            self.sought.missing = self.sought.missing.saturating_add(1);
        }
        evicted
    }

    /// Takes note that idle connections were sought for the present shortage.
    fn note_sought(&mut self) -> Shortage {
        self.sought = Shortage {
            missing: self.missing(),
            only: self.only_starved().map(|(place, _)| place),
        };
        self.sought
    }

    /// Takes out the connection that has been idle for longest, if this origin waits for a permit
    /// that no closing connection is about to free.
    pub(super) fn evict(&mut self, asks: &Origin) -> Option<Checkout<C, S>> {
        if !self.wants_room() {
            return None;
        }
        let (origin, id) = self.evictable(asks)?;
        let origin = origin.clone();
        self.take_evicted(&origin, id, asks)
    }

    fn take_evicted(&mut self, origin: &Origin, id: u64, asks: &Origin) -> Option<Checkout<C, S>> {
        let evicted = self.take_out(origin, id)?;
        if origin.runtime() == asks.runtime() {
            self.evicting.push(id);
        }
        Some(evicted)
    }

    /// The connection that makes room for this origin: the one that has been idle for longest.
    /// Connections of the origin's own runtime go first: only they are sure to close at once, since
    /// the runtime of another may not be driven. A paused connection does not make room for its own
    /// origin, since its peer is about to answer a PING.
    pub(super) fn evictable(&self, asks: &Origin) -> Option<(&Origin, u64)> {
        let only = self.only_starved().map(|(_, origin)| origin);
        // Only origins that hold a permit are in the map, so this looks at no more than the limit.
        let (_, _, id, origin) = self
            .origins
            .iter()
            .filter_map(|(Key(origin), entry)| {
                let own = entry.idle().iter();
                let own = own.filter(|it| self.holding.contains(&it.connection.id()));
                let own = own.take(1).map(|idle| (idle.since, idle.connection.id()));
                let is_only = only.is_some_and(|only| only.is_same_key(origin));
                let shared = entry.shared().iter();
                let shared = shared.filter(|it| !(is_only && it.is_paused()));
                let shared = shared.filter_map(|it| Some((it.idle_since()?, it.id())));
                let shared = shared.filter(|(_, id)| self.holding.contains(id));
                let (since, id) = own.chain(shared).min()?;
                Some((origin.runtime() != asks.runtime(), since, id, origin))
            })
            .min_by_key(|(is_foreign, since, id, _)| (*is_foreign, *since, *id))?;
        Some((origin, id))
    }

    /// Whether a connection has to be closed so that another can be opened.
    pub(super) fn wants_room(&self) -> bool {
        self.missing() > 0
    }

    /// The origin that starves, and the place of its first waiter, if no other starves.
    fn only_starved(&self) -> Option<(Place, &Origin)> {
        let (&place, origin) = self.starved.first_key_value()?;
        (self.starved.len() == 1).then_some((place, origin))
    }

    /// How many of the wanted connections have no permit that is free or about to come back. Of a
    /// connect that was cancelled it is not known when that ends: its runtime may not be driven.
    fn missing(&self) -> usize {
        let free = self.limits.connections.saturating_sub(self.open);
        let coming = self.evicting.len().saturating_add(free);
        self.wanted.saturating_sub(coming)
    }

    /// Counts a connection that is not kept as evicted, if an origin of its runtime waits for its
    /// permit.
    pub(super) fn evict_if_wanted(&mut self, origin: &Origin, id: u64) {
        let first = self.starved.values().next();
        let closes_soon = first.is_some_and(|first| first.runtime() == origin.runtime());
        if closes_soon && self.wants_room() && self.holding.contains(&id) {
            self.evicting.push(id);
        }
    }
}

/// How much room is missing.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Shortage {
    /// How many connections are wanted whose permits are neither free nor about to come back.
    missing: usize,
    /// The place of the first waiter, if only one origin wants any. Its own paused connections make
    /// no room for it.
    only: Option<Place>,
}
