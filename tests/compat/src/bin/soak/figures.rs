//! What is counted.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) calls: AtomicU64,
    pub(crate) answered: AtomicU64,
    /// POSTs that may have been executed, or that the server declined.
    pub(crate) failed: AtomicU64,
    pub(crate) cancelled: AtomicU64,
    /// More attempts than calls.
    pub(crate) again: AtomicU64,
    lost: AtomicU64,
    wrong: AtomicU64,
    leaked: AtomicU64,
    kinds: Mutex<BTreeMap<String, u64>>,
}

impl Figures {
    /// A call that had to be answered and was not.
    pub(crate) fn lost(&self, why: &str) {
        add(&self.lost);
        self.note(format!("lost: {why}"));
    }

    /// An answer that is not the one of its call.
    pub(crate) fn wrong(&self, why: &str) {
        add(&self.wrong);
        self.note(format!("wrong: {why}"));
    }

    /// What is still there and should not be.
    pub(crate) fn leaked(&self, what: &str, count: usize) {
        if count > 0 {
            self.leaked.fetch_add(count as u64, Ordering::Relaxed);
            self.note(format!("leaked: {count} {what}"));
        }
    }

    /// A POST that failed as it may.
    pub(crate) fn failed(&self, why: &str) {
        add(&self.failed);
        self.note(format!("failed: {why}"));
    }

    /// Prints all of it; returns whether nothing was lost, wrong, sent twice or leaked.
    pub(crate) fn report(&self, twice: usize) -> bool {
        println!("\n{self}");
        for (kind, count) in self.lock().iter() {
            println!("  {count:>8}  {kind}");
        }
        let [lost, wrong, leaked] = [&self.lost, &self.wrong, &self.leaked].map(read);
        println!("lost {lost}, wrong {wrong}, sent twice {twice}, leaked {leaked}");
        (lost, wrong, twice, leaked) == (0, 0, 0, 0) && read(&self.answered) > 0
    }

    fn note(&self, kind: String) {
        let mut kinds = self.lock();
        // Ports and ids make every text a new one; a report has room for so many.
        if kinds.len() < 64 || kinds.contains_key(&kind) {
            *kinds.entry(kind).or_default() += 1;
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} calls: {} answered, {} POSTs failed, {} cancelled, {} attempts more than calls",
            read(&self.calls),
            read(&self.answered),
            read(&self.failed),
            read(&self.cancelled),
            read(&self.again)
        )
    }
}
