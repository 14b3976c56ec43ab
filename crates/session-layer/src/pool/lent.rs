//! The fast path of the pool: most requests take a connection of their origin and give it back here, and
//! never take the pool's lock.
//!
//! The state lends an origin's connections while no request waits at that origin, and none anywhere for
//! want of room. Whatever the state is asked of an origin, the connections are recalled before, under the
//! pool's lock; afterwards they are lent again if that still holds. So the state decides alone, as if the
//! requests of lent origins had asked it too. See `docs/threads.md`.

#[cfg(not(all(test, session_loom)))]
use std::sync::{Mutex, MutexGuard};
use std::{
    array,
    hash::BuildHasherDefault,
    sync::{
        PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use hashbrown::HashMap;
#[cfg(all(test, session_loom))]
use loom::sync::{Mutex, MutexGuard};
use tokio::time::Instant;

use super::state::{Checkout, Numbered, Ready, State, StreamEnd, Ticket};
use crate::origin::{Hashed, Key, Lookup};

/// How many locks the origins are spread over. A power of two.
#[cfg(not(all(test, session_loom)))]
const SHARDS: usize = 64;
#[cfg(all(test, session_loom))]
const SHARDS: usize = 1;

/// The origins that are lent.
pub(super) struct Lent<C, S>([Shard<C, S>; SHARDS]);

/// Aligned to two cache lines, since a processor may fetch the neighbour of each.
#[repr(align(128))]
struct Shard<C, S> {
    origins: Mutex<Origins<C, S>>,
    /// How many requests to these origins went over a reused connection.
    reused: AtomicU64,
}

type Origins<C, S> = HashMap<Key, Box<Ready<C, S>>, BuildHasherDefault<Hashed>>;

impl<C, S> Lent<C, S> {
    pub(super) fn new() -> Self {
        Self(array::from_fn(|_| Shard {
            origins: Mutex::new(HashMap::default()),
            reused: AtomicU64::new(0),
        }))
    }

    #[inline]
    fn shard<Q: Lookup + ?Sized>(&self, origin: &Q) -> &Shard<C, S> {
        // The lower bits choose the place within a map, and the upper seven are compared there.
        let at = usize::try_from((origin.spread() >> 32) & 0xffff).unwrap_or_default();
        let [first, ..] = &self.0;
        self.0.get(at % SHARDS).unwrap_or(first)
    }

    #[inline]
    fn lock<Q: Lookup + ?Sized>(&self, origin: &Q) -> MutexGuard<'_, Origins<C, S>> {
        self.shard(origin).lock()
    }

    /// Counts a request that goes over a reused connection.
    #[inline]
    pub(super) fn count_reused<Q: Lookup + ?Sized>(&self, origin: &Q) {
        self.shard(origin).reused.fetch_add(1, Relaxed);
    }

    pub(super) fn reused(&self) -> u64 {
        let reused = self.0.iter().map(|shard| shard.reused.load(Relaxed));
        reused.fold(0, u64::wrapping_add)
    }
}

impl<C, S> Shard<C, S> {
    #[inline]
    fn lock(&self) -> MutexGuard<'_, Origins<C, S>> {
        // No foreign code runs under the lock.
        self.origins.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C: Numbered, S: Numbered + Clone> Lent<C, S> {
    /// Takes a connection of the origin, if it is lent and has one.
    #[inline]
    pub(super) fn take<Q: Lookup + ?Sized>(&self, origin: &Q) -> Option<(Checkout<C, S>, Ticket)> {
        self.lock(origin).get_mut(origin)?.take_first()
    }

    /// Keeps a connection whose exchange is over.
    ///
    /// # Errors
    ///
    /// Returns the connection if the state has to decide what becomes of it.
    #[inline]
    pub(super) fn put_back<Q: Lookup + ?Sized>(
        &self,
        origin: &Q,
        connection: C,
        now: Instant,
    ) -> Result<(), C> {
        match self.lock(origin).get_mut(origin) {
            Some(ready) => {
                ready.put_back(connection, now);
                Ok(())
            }
            None => Err(connection),
        }
    }

    /// Notes that a request on a shared connection is over. `now` is missing if the caller knows
    /// that the connection carries others.
    #[inline]
    pub(super) fn end_stream<Q: Lookup + ?Sized>(
        &self,
        origin: &Q,
        id: u64,
        now: Option<Instant>,
    ) -> StreamEnd {
        let mut origins = self.lock(origin);
        let ready = origins.get_mut(origin);
        ready.map_or(StreamEnd::Open, |ready| ready.end_stream(id, now))
    }

    /// Whether the origin is lent, with connections that carry several requests at once.
    pub(super) fn shares<Q: Lookup + ?Sized>(&self, origin: &Q) -> bool {
        let origins = self.lock(origin);
        origins.get(origin).is_some_and(|ready| ready.shares())
    }

    /// How many connections carry nothing.
    pub(super) fn count_idle(&self) -> usize {
        let shard = |shard: &Shard<C, S>| -> usize {
            let origins = shard.lock();
            origins.values().map(|ready| ready.count_idle()).sum()
        };
        self.0.iter().map(shard).sum()
    }

    /// Takes an origin back, before the state is asked something about it.
    pub(super) fn recall<Q, W>(&self, state: &mut State<C, S, W>, origin: &Q)
    where
        Q: Lookup + ?Sized,
        W: Clone,
    {
        if !state.is_lent(origin) {
            return;
        }
        let ready = self.lock(origin).remove(origin);
        if let Some(ready) = ready {
            state.recall(origin, ready);
        }
    }

    /// Takes all origins back.
    pub(super) fn recall_all<W: Clone>(&self, state: &mut State<C, S, W>) {
        if !state.has_lent() {
            return;
        }
        for shard in &self.0 {
            for (Key(origin), ready) in shard.lock().drain() {
                state.recall(&origin, ready);
            }
        }
    }

    /// Lends an origin again, after the state was asked about it. If a request waits for room
    /// anywhere, all others are taken back: whatever is given back may have to make room.
    ///
    /// Returns the idle connections that have to be closed to make room.
    #[must_use]
    pub(super) fn settle<Q, W>(&self, state: &mut State<C, S, W>, origin: &Q) -> Vec<Checkout<C, S>>
    where
        Q: Lookup + ?Sized,
        W: Clone,
    {
        if !state.is_calm() {
            self.recall_all(state);
        } else if let Some((key, ready)) = state.lend(origin) {
            self.lock(origin).insert(key, ready);
        }
        state.make_room(origin)
    }
}
