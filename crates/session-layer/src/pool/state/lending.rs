//! Which origins may be lent, so that requests take their connections and give them back without the
//! state.

use std::hash::Hash;

use hashbrown::Equivalent;

use super::{Mode, Numbered, Ready, State};
use crate::origin::Key;

/// How many tickets an origin is lent with. Then it is lent anew, which costs little once in so many
/// requests; and of 64 bits, so many can be taken each time.
const TICKETS: u64 = 1 << 16;

impl<C: Numbered, S: Numbered + Clone, W: Clone> State<C, S, W> {
    /// Whether connections are kept, and no request waits for room. Only then may origins be lent.
    pub(crate) fn is_calm(&self) -> bool {
        self.mode == Mode::Open && self.starved.is_empty()
    }

    /// Whether any origin is lent.
    pub(crate) fn has_lent(&self) -> bool {
        self.lent > 0
    }

    /// Whether this origin is lent.
    pub(crate) fn is_lent<Q>(&self, origin: &Q) -> bool
    where
        Q: Equivalent<Key> + Hash + ?Sized,
    {
        let entry = self.origins.get(origin);
        entry.is_some_and(|entry| entry.is_lent)
    }

    /// Lends the connections of an origin, if requests may use them without asking the state:
    ///
    /// - A request that takes a connection overtakes no other, since none waits at this origin.
    /// - A connection that comes back may be kept, since no request waits for it or for its permit, and the
    ///   address is in use.
    pub(crate) fn lend<Q>(&mut self, origin: &Q) -> Option<(Key, Box<Ready<C, S>>)>
    where
        Q: Equivalent<Key> + Hash + ?Sized,
    {
        if !self.is_calm() {
            return None;
        }
        let (key, entry) = self.origins.get_key_value_mut(origin)?;
        if !entry.waiters.is_empty() || entry.retired || entry.open == entry.connecting {
            return None;
        }
        let mut ready = entry.ready.take().unwrap_or_default();
        entry.is_lent = true;
        // Most origins hardly ever have a waiter again.
        entry.waiters.shrink_to_fit();
        // All tickets that the origin had before are smaller, and those that it gets after the next
        // recall are larger.
        let end = self.next.saturating_add(TICKETS);
        ready.tickets = self.next.saturating_add(1)..end;
        self.next = end;
        self.lent = self.lent.saturating_add(1);
        Some((key.clone(), ready))
    }

    /// Takes back what was lent.
    pub(crate) fn recall<Q>(&mut self, origin: &Q, ready: Box<Ready<C, S>>)
    where
        Q: Equivalent<Key> + Hash + ?Sized,
    {
        self.lent = self.lent.saturating_sub(1);
        if let Some(entry) = self.origins.get_mut(origin) {
            entry.ready = Some(ready);
            entry.is_lent = false;
        }
    }
}
