//! The partitions of a ledger. A request finds its own without a lock.

use std::{
    array,
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use fastrand::Rng;
use hashbrown::DefaultHashBuilder;

use super::{
    PartitionKey,
    partition::{Evict, Partition, Word},
};

/// A table of fixed size: sets of eight slots, of which each partition uses one of one set.
///
/// A set is allocated with its first partition and then stays, and so does a slot: it is only given to
/// another partition. So a reader needs no lock. A partition is known by its hash of 64 bits, which is
/// random per table: two of the same hash would share what is known of them.
pub(crate) struct Table {
    /// Random, because an attacker may choose the hosts.
    pub(super) seed: DefaultHashBuilder,
    sets: Box<[OnceLock<Box<Set>>]>,
    /// How many partitions have been added: the age of the slots.
    added: AtomicU64,
    random: Mutex<Rng>,
}

const WAYS: usize = 8;

struct Set {
    /// The hashes of the partitions, beside each other so that one cache line has all; 0 for none.
    tags: [AtomicU64; WAYS],
    slots: [Slot; WAYS],
    /// Held while a slot is given to another partition.
    replacing: Mutex<()>,
}

pub(crate) struct Slot {
    word: AtomicU64,
    /// All successes that were counted, if a breaker has a rule about their rate.
    pub(crate) successes: AtomicU64,
    /// The value of [`Table::added`] at the last request.
    used: AtomicU64,
    partition: Mutex<Option<Partition>>,
}

/// Where a partition is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Place {
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

impl Table {
    /// Room for at least so many partitions.
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
    pub(crate) fn slot(&self, place: Place) -> Option<&Slot> {
        let set = usize::try_from(place.set).ok()?;
        self.set(set)?.slots.get(usize::from(place.way))
    }

    /// Finds the partition of this hash, which is never 0.
    #[inline]
    pub(crate) fn find(&self, hash: u64) -> Option<(Place, Word)> {
        let index = self.set_of(hash);
        let set = self.set(index)?;
        let way = set.way_of(hash)?;
        let slot = set.slots.get(way)?;
        let word = Word::from_bits(slot.word.load(Ordering::Acquire));
        // If the slot went to another partition in between, the word may be that one's.
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

    /// Finds the partition of this hash, or adds a healthy one. `None` if there is no room for it.
    #[cold]
    pub(crate) fn find_or_add(
        &self,
        hash: u64,
        key: &PartitionKey,
        evict: Evict,
    ) -> Option<(Place, Word)> {
        let index = self.set_of(hash);
        let set = self.sets.get(index)?.get_or_init(Box::default);
        let _replacing = lock(&set.replacing);
        if let Some(found) = self.find(hash) {
            return Some(found);
        }
        let way = set.way_to_give(hash, evict)?;
        let (slot, tag) = (set.slots.get(way)?, set.tags.get(way)?);
        let mut partition = slot.lock();
        // Something may have become known of it since it was chosen.
        if partition.as_ref().is_some_and(|it| !it.may_go(evict)) {
            return None;
        }
        tag.store(0, Ordering::Relaxed);
        let successes = slot.successes.load(Ordering::Relaxed);
        let random = lock(&self.random).fork();
        let new = Partition::new(hash, key.clone(), partition.as_ref(), successes, random);
        let word = new.word();
        // A reader that sees this word sees that the tag is no longer that of the partition before.
        slot.word.store(word.bits(), Ordering::Release);
        let added = self.added.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        slot.used.store(added, Ordering::Relaxed);
        *partition = Some(new);
        tag.store(hash, Ordering::Release);
        Some((Place::of(index, way)?, word))
    }

    /// Whether there is room for one more partition of this hash.
    pub(super) fn has_room(&self, hash: u64) -> bool {
        let set = self.set(self.set_of(hash));
        set.is_none_or(|set| set.way_to_give(hash, Evict::Healthy).is_some())
    }

    /// Changes each partition.
    pub(super) fn change_all(&self, mut change: impl FnMut(&mut Partition)) {
        let slots = self.sets.iter().filter_map(OnceLock::get);
        for slot in slots.flat_map(|set| &set.slots) {
            slot.change_any(&mut change);
        }
    }

    /// Calls this for each partition.
    pub(super) fn for_each(&self, mut call: impl FnMut(&Partition)) {
        let slots = self.sets.iter().filter_map(OnceLock::get);
        for slot in slots.flat_map(|set| &set.slots) {
            if let Some(partition) = &*slot.lock() {
                call(partition);
            }
        }
    }
}

impl Set {
    #[inline]
    fn way_of(&self, hash: u64) -> Option<usize> {
        let first = Self::first_way(hash);
        if self.tags.get(first)?.load(Ordering::Acquire) == hash {
            return Some(first);
        }
        self.search(hash)
    }

    /// The slot that a partition gets if it is free: most are found at once.
    #[inline]
    fn first_way(hash: u64) -> usize {
        // The upper three bits; the lower ones have chosen the set.
        usize::try_from(hash >> 61).unwrap_or_default()
    }

    fn search(&self, hash: u64) -> Option<usize> {
        self.tags
            .iter()
            .position(|tag| tag.load(Ordering::Acquire) == hash)
    }

    /// An empty slot, or the one that was not used for the longest time.
    fn way_to_give(&self, hash: u64, evict: Evict) -> Option<usize> {
        let first = Self::first_way(hash);
        let is_free = |way: usize| {
            let tag = self.tags.get(way);
            tag.is_some_and(|tag| tag.load(Ordering::Relaxed) == 0)
        };
        let free = Some(first).filter(|first| is_free(*first));
        free.or_else(|| self.search(0)).or_else(|| {
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
                partition: Mutex::new(None),
            }),
            replacing: Mutex::new(()),
        }
    }
}

impl Slot {
    #[inline]
    pub(crate) fn word(&self) -> Word {
        Word::from_bits(self.word.load(Ordering::Acquire))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Partition>> {
        lock(&self.partition)
    }

    /// Looks at the partition of this hash, or changes what no request asks for without the lock.
    pub(crate) fn look_at<T>(
        &self,
        hash: u64,
        look: impl FnOnce(&mut Partition) -> T,
    ) -> Option<T> {
        let mut partition = self.lock();
        Some(look(partition.as_mut().filter(|it| it.hash == hash)?))
    }

    /// Changes the partition, and publishes what has come of it. `None` if there is none.
    fn change<T>(
        &self,
        is_meant: impl FnOnce(&Partition) -> bool,
        change: impl FnOnce(&mut Partition) -> T,
    ) -> Option<T> {
        let mut partition = self.lock();
        let partition = partition.as_mut().filter(|it| is_meant(it))?;
        let changed = change(partition);
        self.word.store(partition.word().bits(), Ordering::Release);
        Some(changed)
    }

    /// Changes whichever partition has the slot.
    pub(crate) fn change_any<T>(&self, change: impl FnOnce(&mut Partition) -> T) -> Option<T> {
        self.change(|_| true, change)
    }

    /// Changes the partition of this hash, unless another has got the slot.
    pub(crate) fn change_of<T>(
        &self,
        hash: u64,
        change: impl FnOnce(&mut Partition) -> T,
    ) -> Option<T> {
        self.change(|it| it.hash == hash, change)
    }
}

// Nothing that may panic runs under these locks: no state can be left half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
