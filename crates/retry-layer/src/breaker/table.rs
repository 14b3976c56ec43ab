//! The circuits of all origins. A request finds its own without a lock.

use std::{
    array,
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use fastrand::Rng;
use hashbrown::DefaultHashBuilder;
use tokio::time::Instant;

use super::{CircuitKey, circuit::Circuit, settings::Rules};

/// A table of fixed size: sets of eight slots, of which each origin uses one of one set.
///
/// A set is allocated with its first origin and then stays, and so does a slot: it is only given to
/// another origin. So a reader needs no lock. An origin is known by its hash of 64 bits, which is
/// random per table: two origins of the same hash would share a circuit.
pub(super) struct Table {
    /// Random, because an attacker may choose the hosts.
    pub(super) seed: DefaultHashBuilder,
    sets: Box<[OnceLock<Box<Set>>]>,
    /// How many origins have been added: the age of the slots.
    added: AtomicU64,
    random: Mutex<Rng>,
}

const WAYS: usize = 8;

struct Set {
    /// The hashes of the origins, beside each other so that one cache line has all; 0 for none.
    tags: [AtomicU64; WAYS],
    slots: [Slot; WAYS],
    /// Held while a slot is given to another origin.
    replacing: Mutex<()>,
}

pub(super) struct Slot {
    word: AtomicU64,
    /// All successes that were counted, if there is a rule about their rate.
    pub(super) successes: AtomicU64,
    /// The value of [`Table::added`] at the last request.
    used: AtomicU64,
    tenant: Mutex<Option<Tenant>>,
}

/// The origin that has the slot.
pub(super) struct Tenant {
    hash: u64,
    pub(super) key: CircuitKey,
    pub(super) circuit: Circuit,
}

/// Where a circuit is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Place {
    set: u32,
    way: u8,
}

impl Place {
    #[inline]
    fn of(set: usize, way: usize) -> Option<Self> {
        Some(Self {
            set: u32::try_from(set).ok()?,
            way: u8::try_from(way).ok()?,
        })
    }
}

/// What a request needs to know of a circuit: its era, and whether it has to take the lock.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Word(u64);

impl Word {
    const CLEAN: u64 = 0;
    const FAILING: u64 = 1;
    const NOT_CLOSED: u64 = 2;

    fn of(circuit: &Circuit, rules: &Rules) -> Self {
        let gate = if !circuit.is_closed() {
            Self::NOT_CLOSED
        } else if circuit.awaits_success() && rules.consecutive_failures.is_some() {
            Self::FAILING
        } else {
            Self::CLEAN
        };
        Self(circuit.era() << 2 | gate)
    }

    #[inline]
    pub(super) fn era(self) -> u64 {
        self.0 >> 2
    }

    #[inline]
    pub(super) fn is_closed(self) -> bool {
        self.0 & 3 != Self::NOT_CLOSED
    }

    /// Whether it is closed, and a success changes nothing.
    #[inline]
    pub(super) fn is_clean(self) -> bool {
        self.0 & 3 == Self::CLEAN
    }
}

/// Which circuits may make room for another.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Evict {
    Closed,
    /// Also those that opened by themselves.
    NotByHand,
}

impl Table {
    /// Room for at least so many origins.
    pub(super) fn new(origins: usize, random: Rng) -> Self {
        let sets = origins.div_ceil(WAYS).next_power_of_two();
        Self {
            seed: DefaultHashBuilder::default(),
            sets: (0..sets).map(|_| OnceLock::new()).collect(),
            added: AtomicU64::new(0),
            random: Mutex::new(random),
        }
    }

    #[inline]
    fn set_of(&self, hash: u64) -> usize {
        // The upper bits do not matter: there are far fewer sets.
        let bits = usize::try_from(hash & u64::from(u32::MAX)).unwrap_or_default();
        // Their number is a power of two.
        bits & self.sets.len().wrapping_sub(1)
    }

    #[inline]
    fn set(&self, index: usize) -> Option<&Set> {
        self.sets.get(index)?.get().map(Box::as_ref)
    }

    #[inline]
    pub(super) fn slot(&self, place: Place) -> Option<&Slot> {
        let set = usize::try_from(place.set).ok()?;
        self.set(set)?.slots.get(usize::from(place.way))
    }

    /// Finds the circuit of this hash, which is never 0.
    #[inline]
    pub(super) fn find(&self, hash: u64) -> Option<(Place, Word)> {
        let index = self.set_of(hash);
        let set = self.set(index)?;
        let way = set.way_of(hash)?;
        let slot = set.slots.get(way)?;
        let word = Word(slot.word.load(Ordering::Acquire));
        // If the slot went to another origin in between, the word may be that one's.
        let tag = set.tags.get(way)?.load(Ordering::Relaxed);
        if tag != hash {
            return None;
        }
        let added = self.added.load(Ordering::Relaxed);
        // Most find that nothing was added, and write nothing.
        if slot.used.load(Ordering::Relaxed) != added {
            slot.used.store(added, Ordering::Relaxed);
        }
        Some((Place::of(index, way)?, word))
    }

    /// Finds the circuit of this hash, or adds a closed one. `None` if there is no room for it.
    #[cold]
    pub(super) fn find_or_add(
        &self,
        hash: u64,
        key: &CircuitKey,
        rules: &Rules,
        evict: Evict,
    ) -> Option<(Place, Word)> {
        let index = self.set_of(hash);
        let set = self.sets.get(index)?.get_or_init(Box::default);
        let _replacing = lock(&set.replacing);
        if let Some(found) = self.find(hash) {
            return Some(found);
        }
        let way = set.way_to_give(evict)?;
        let (slot, tag) = (set.slots.get(way)?, set.tags.get(way)?);
        let mut tenant = slot.lock();
        // It may have opened since it was chosen.
        if tenant.as_ref().is_some_and(|it| !it.may_go(evict)) {
            return None;
        }
        let era = tenant.as_ref().map_or(0, |it| it.circuit.era() + 1);
        tag.store(0, Ordering::Relaxed);
        let successes = slot.successes.load(Ordering::Relaxed);
        let random = lock(&self.random).fork();
        let circuit = Circuit::closed(era, rules, Instant::now(), successes, random);
        let word = Word::of(&circuit, rules);
        // A reader that sees this word sees that the tag is no longer that of the origin before.
        slot.word.store(word.0, Ordering::Release);
        let added = self.added.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        slot.used.store(added, Ordering::Relaxed);
        *tenant = Some(Tenant {
            hash,
            key: key.clone(),
            circuit,
        });
        tag.store(hash, Ordering::Release);
        Some((Place::of(index, way)?, word))
    }

    /// Calls this for each circuit.
    pub(super) fn for_each(&self, mut call: impl FnMut(&Tenant)) {
        let slots = self.sets.iter().filter_map(OnceLock::get);
        for slot in slots.flat_map(|set| &set.slots) {
            if let Some(tenant) = &*slot.lock() {
                call(tenant);
            }
        }
    }
}

impl Set {
    #[inline]
    fn way_of(&self, hash: u64) -> Option<usize> {
        self.tags
            .iter()
            .position(|tag| tag.load(Ordering::Acquire) == hash)
    }

    /// An empty slot, or the one that was not used for the longest time.
    fn way_to_give(&self, evict: Evict) -> Option<usize> {
        self.way_of(0).or_else(|| {
            let slots = self.slots.iter().enumerate();
            slots
                .filter(|(_, slot)| slot.lock().as_ref().is_none_or(|it| it.may_go(evict)))
                .min_by_key(|(_, slot)| slot.used.load(Ordering::Relaxed))
                .map(|(way, _)| way)
        })
    }
}

impl Default for Set {
    fn default() -> Self {
        Self {
            tags: array::from_fn(|_| AtomicU64::new(0)),
            slots: array::from_fn(|_| Slot {
                word: AtomicU64::new(0),
                successes: AtomicU64::new(0),
                used: AtomicU64::new(0),
                tenant: Mutex::new(None),
            }),
            replacing: Mutex::new(()),
        }
    }
}

impl Slot {
    #[inline]
    pub(super) fn word(&self) -> Word {
        Word(self.word.load(Ordering::Acquire))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Tenant>> {
        lock(&self.tenant)
    }

    /// Changes the circuit, and publishes what has come of it. `None` if the slot has no circuit.
    pub(super) fn change<T>(
        &self,
        rules: &Rules,
        change: impl FnOnce(&mut Circuit) -> T,
    ) -> Option<(CircuitKey, T)> {
        let mut tenant = self.lock();
        let tenant = tenant.as_mut()?;
        let changed = change(&mut tenant.circuit);
        let word = Word::of(&tenant.circuit, rules);
        self.word.store(word.0, Ordering::Release);
        Some((tenant.key.clone(), changed))
    }

    /// As [`change`](Self::change), unless the slot went to another origin.
    pub(super) fn change_of<T>(
        &self,
        hash: u64,
        rules: &Rules,
        change: impl FnOnce(&mut Circuit) -> T,
    ) -> Option<T> {
        let mut tenant = self.lock();
        let tenant = tenant.as_mut().filter(|it| it.hash == hash)?;
        let changed = change(&mut tenant.circuit);
        let word = Word::of(&tenant.circuit, rules);
        self.word.store(word.0, Ordering::Release);
        Some(changed)
    }
}

impl Tenant {
    fn may_go(&self, evict: Evict) -> bool {
        match evict {
            Evict::Closed => self.circuit.is_closed(),
            Evict::NotByHand => !self.circuit.is_open_by_hand(),
        }
    }
}

// Nothing that may panic runs under these locks: no state can be left half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
