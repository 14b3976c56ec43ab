//! Which origins the total limit starves, and which connections make room for them.

use std::time::Duration;

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
            && self.wanted > self.evicting.len().saturating_add(self.draining_soon(now))
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

    /// Takes out the connection that has been idle for longest, if this origin waits for a permit
    /// that no closing connection is about to free. Connections of the origin's own runtime go
    /// first: only they are sure to close at once, since the runtime of another may not be driven.
    /// A paused connection of the origin itself is not taken, since its peer is about to answer a
    /// PING.
    pub(super) fn evict(&mut self, asks: &Origin) -> Option<Checkout<C, S>> {
        if !self.wants_room() {
            return None;
        }
        // Only origins that hold a permit are in the map, so this looks at no more than the limit.
        let (is_foreign, _, id, origin) = self
            .origins
            .iter()
            .filter_map(|(Key(origin), entry)| {
                let own = entry.idle().iter();
                let own = own.filter(|it| self.holding.contains(&it.connection.id()));
                let own = own.take(1).map(|idle| (idle.since, idle.connection.id()));
                let shared = entry.shared().iter();
                let shared = shared.filter(|it| !it.is_paused() || !origin.is_same_key(asks));
                let shared = shared.filter_map(|it| Some((it.idle_since()?, it.id())));
                let shared = shared.filter(|(_, id)| self.holding.contains(id));
                let (since, id) = own.chain(shared).min()?;
                Some((origin.runtime() != asks.runtime(), since, id, origin))
            })
            .min_by_key(|(is_foreign, since, id, _)| (*is_foreign, *since, *id))?;
        let origin = origin.clone();
        let evicted = self.remove(&origin, id)?;
        if !is_foreign {
            self.evicting.push(id);
        }
        Some(evicted)
    }

    /// Whether a connection has to be closed so that another can be opened.
    pub(super) fn wants_room(&self) -> bool {
        self.wanted > self.evicting.len()
    }

    /// Counts a connection that is not kept as evicted, if another origin waits for its permit.
    pub(super) fn evict_if_wanted(&mut self, id: u64) {
        if self.wants_room() && self.holding.contains(&id) {
            self.evicting.push(id);
        }
    }
}
