//! Who has which connection, as it is at the sockets.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Counts open sockets by host. Clones share the counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    now: BTreeMap<&'static str, usize>,
    most: BTreeMap<&'static str, usize>,
    most_in_all: usize,
    total: u64,
}

/// One open socket, or one that is being opened.
#[derive(Debug)]
pub(crate) struct Open {
    host: &'static str,
    ledger: Ledger,
}

impl Ledger {
    pub(crate) fn open(&self, host: &'static str) -> Open {
        let mut counts = self.lock();
        let now = counts.now.entry(host).or_default();
        *now += 1;
        let now = *now;
        let most = counts.most.entry(host).or_default();
        *most = now.max(*most);
        let all = counts.now.values().sum();
        counts.most_in_all = counts.most_in_all.max(all);
        counts.total += 1;
        drop(counts);
        Open {
            host,
            ledger: self.clone(),
        }
    }

    /// How many there are now, with any one host at most, and in all.
    pub(crate) fn now(&self) -> (usize, usize) {
        let counts = self.lock();
        let most = counts.now.values().copied().max().unwrap_or_default();
        (most, counts.now.values().sum())
    }

    /// How many there ever were at the same time, with any one host at most, and in all.
    pub(crate) fn most(&self) -> (usize, usize) {
        let counts = self.lock();
        let most = counts.most.values().copied().max().unwrap_or_default();
        (most, counts.most_in_all)
    }

    /// How many were opened.
    pub(crate) fn total(&self) -> u64 {
        self.lock().total
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        *self.ledger.lock().now.entry(self.host).or_default() -= 1;
    }
}

/// For how many looks in a row a condition has held, at most.
#[derive(Debug, Default)]
pub(crate) struct Streak {
    now: u32,
    longest: u32,
}

impl Streak {
    pub(crate) fn look(&mut self, holds: bool) {
        self.now = if holds { self.now + 1 } else { 0 };
        self.longest = self.longest.max(self.now);
    }

    pub(crate) fn longest(&self) -> u32 {
        self.longest
    }
}
