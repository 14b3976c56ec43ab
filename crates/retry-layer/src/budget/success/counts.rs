use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::{bucket::Bucket, window::Window};

/// What the buckets of all origins have in common: how much succeeds, and who has a bucket.
///
/// Its lock is taken after that of a partition, and never before.
pub(crate) struct SuccessCounts {
    /// Of all origins together: what a new bucket takes its size from.
    pub(super) successes: AtomicU64,
    /// The marks of all buckets.
    pub(super) marks: AtomicU64,
    common: Mutex<Common>,
}

pub(super) struct Common {
    pub(super) window: Window,
    /// The bucket of what has no host or no room for a bucket of its own, so that made-up hosts get
    /// neither tokens nor memory.
    pub(super) shared: Option<Bucket>,
    /// How many buckets have each mark.
    marked: [u32; u64::BITS as usize],
    /// When the buckets were last looked through.
    swept: Instant,
}

impl SuccessCounts {
    /// After this time without a withdrawal a bucket is removed.
    pub(super) const IDLE: Duration = Duration::from_secs(600);

    pub(crate) fn new(now: Instant) -> Self {
        Self {
            successes: AtomicU64::new(0),
            marks: AtomicU64::new(0),
            common: Mutex::new(Common {
                window: Window::new(now, 0, None),
                shared: None,
                marked: [0; u64::BITS as usize],
                swept: now,
            }),
        }
    }

    // Only arithmetic runs under the lock: a panic cannot leave a balance half changed.
    pub(super) fn common(&self) -> MutexGuard<'_, Common> {
        self.common.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An origin of this hash has a bucket now.
    pub(super) fn mark(&self, hash: u64) {
        self.change_mark(hash, |count| count.saturating_add(1));
    }

    /// An origin of this hash has no bucket any more.
    pub(super) fn unmark(&self, hash: u64) {
        self.change_mark(hash, |count| count.saturating_sub(1));
    }

    fn change_mark(&self, hash: u64, change: impl FnOnce(u32) -> u32) {
        let mut common = self.common();
        let Some(count) = common.marked.get_mut(bit(hash)) else {
            return;
        };
        *count = change(*count);
        let is_marked = *count > 0;
        // With a shared bucket all marks are set, and stay so.
        if common.shared.is_some() {
            return;
        }
        // Stored under the lock, as all changes of the marks are.
        let others = self.marks.load(Ordering::Relaxed) & !mark(hash);
        let own = if is_marked { mark(hash) } else { 0 };
        self.marks.store(others | own, Ordering::Relaxed);
    }

    /// Publishes the marks to those who deposit, which take no lock. The bucket that several origins
    /// share has all marks.
    pub(super) fn publish(&self, common: &Common) {
        let marks = match common.shared {
            Some(_) => u64::MAX,
            None => common
                .marked
                .iter()
                .zip(0..)
                .filter(|(count, _)| **count > 0)
                .fold(0, |marks, (_, bit)| marks | 1 << bit),
        };
        self.marks.store(marks, Ordering::Relaxed);
    }

    /// The successes per second.
    pub(super) fn rate(&self, now: Instant) -> u64 {
        let successes = self.successes.load(Ordering::Relaxed);
        self.common().window.rate(successes, now)
    }

    /// Whether the buckets have to be looked through, which is then to be done.
    pub(super) fn is_sweep_due(&self, now: Instant) -> bool {
        let mut common = self.common();
        let due = now.saturating_duration_since(common.swept) >= Self::IDLE;
        if due {
            common.swept = now;
        }
        due
    }

    pub(super) fn buckets(&self) -> usize {
        let common = self.common();
        let own: u32 = common
            .marked
            .iter()
            .fold(0, |sum, n| sum.saturating_add(*n));
        let shared = usize::from(common.shared.is_some());
        usize::try_from(own)
            .unwrap_or(usize::MAX)
            .saturating_add(shared)
    }
}

/// One of 64 bits. The bits of all buckets together show for most origins without a bucket that they
/// have none.
pub(super) fn mark(hash: u64) -> u64 {
    1 << (hash % u64::from(u64::BITS))
}

fn bit(hash: u64) -> usize {
    usize::try_from(hash % u64::from(u64::BITS)).unwrap_or_default()
}
