mod bucket;
mod table;
#[cfg(test)]
mod tests;
mod window;

use std::{
    fmt,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use hashbrown::DefaultHashBuilder;
use http::Uri;
use tokio::time::Instant;

use self::{bucket::mark, table::Table, window::Window};
use super::{Budget, Cost, MAX_PERCENT, PERCENT, origin::Origin};
use crate::error::{BuildError, Problem};

/// A bucket for each origin that scales with the client's own successes: the default budget.
///
/// Its capacity is the number of recent successes of the client per second, and at least 5 tokens.
/// It starts full. A success adds a fifth of a token, and a retry takes one. So in a short outage a
/// busy client can retry each of its calls, and in a longer one it soon sends few retries. One
/// token in 30 seconds, up to two, is added without a success, so that a script which calls once a
/// minute is not left without retries for ever.
///
/// An origin without failures has no bucket and counts as full. A success costs one relaxed
/// atomic addition, and takes no lock, unless its origin has a bucket. Buckets vanish when they are
/// full again, or when nothing asked for them in ten minutes.
pub struct SuccessBudget {
    deposit: u64,
    sharing: Sharing,
    /// The successes of all origins together, which give a new bucket its size.
    successes: AtomicU64,
    /// The marks of all buckets: see [`Bucket::mark`](bucket::Bucket::mark).
    marks: AtomicU64,
    /// Random, because an attacker may choose the hosts.
    seed: DefaultHashBuilder,
    table: Mutex<Table>,
}

#[derive(Clone, Copy, Debug)]
enum Sharing {
    PerOrigin,
    Shared,
}

impl SuccessBudget {
    const PERCENT: u16 = 20;

    /// A budget to which each success adds `percent` of a token; the default is 20.
    ///
    /// # Errors
    ///
    /// If `percent` is 0, or more than 1000.
    pub fn new(percent: u16) -> Result<Self, BuildError> {
        if percent == 0 || percent > MAX_PERCENT {
            return Err(
                Problem::Budget("a success earns from 1 to 1000 percent of a retry").into(),
            );
        }
        Ok(Self::with_percent(percent))
    }

    /// Uses one bucket for all origins, in place of one for each: for endpoints that are one
    /// service, or that fail together.
    #[must_use]
    pub fn shared(self) -> Self {
        Self {
            sharing: Sharing::Shared,
            ..self
        }
    }

    fn with_percent(percent: u16) -> Self {
        Self {
            deposit: u64::from(percent) * PERCENT,
            sharing: Sharing::PerOrigin,
            successes: AtomicU64::new(0),
            marks: AtomicU64::new(0),
            seed: DefaultHashBuilder::default(),
            table: Mutex::new(Table::new(Instant::now())),
        }
    }

    fn origin<'a>(&self, uri: &'a Uri) -> Origin<'a> {
        match self.sharing {
            Sharing::PerOrigin => Origin::of(uri, &self.seed),
            Sharing::Shared => Origin::any(),
        }
    }

    // Only arithmetic runs under the lock: a panic cannot leave a balance half changed.
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Updates the window and sweeps the table. Without it the rate would be averaged over all the time
    /// since the last withdrawal, and the bucket of an origin without traffic would stay for ever.
    #[cold]
    fn roll(&self, successes: u64) {
        let now = Instant::now();
        let mut table = self.table();
        let _ = table.window.rate(successes, now);
        table.sweep(now);
        self.publish_marks(&table);
    }

    /// Publishes the marks of the buckets to [`deposit`](Budget::deposit), which takes no lock.
    fn publish_marks(&self, table: &Table) {
        self.marks.store(table.marks, Ordering::Relaxed);
    }

    #[inline(never)]
    fn deposit_if_marked(&self, uri: &Uri, marks: u64) {
        let origin = self.origin(uri);
        if marks & mark(origin.hash()) == 0 {
            return;
        }
        let mut table = self.table();
        let Some(mut entry) = table.find(origin) else {
            return;
        };
        let bucket = entry.get_mut();
        bucket.successes = bucket.successes.saturating_add(1);
        if bucket.add(self.deposit) {
            entry.remove();
            table.mark_anew();
            self.publish_marks(&table);
        }
    }
}

impl Default for SuccessBudget {
    fn default() -> Self {
        Self::with_percent(Self::PERCENT)
    }
}

impl Budget for SuccessBudget {
    fn deposit(&self, uri: &Uri) {
        // Loaded before the addition, so that the load does not wait for that. A bucket that is
        // made at this moment may miss this success; the next one counts.
        let marks = self.marks.load(Ordering::Relaxed);
        let before = self.successes.fetch_add(1, Ordering::Relaxed);
        if before % Window::ROLLED_EVERY == Window::ROLLED_EVERY - 1 {
            self.roll(before);
        }
        if marks != 0 {
            self.deposit_if_marked(uri, marks);
        }
    }

    fn withdraw(&self, uri: &Uri, cost: Cost, now: Instant) -> bool {
        let successes = self.successes.load(Ordering::Relaxed);
        let origin = self.origin(uri);
        let mut table = self.table();
        let granted = table.bucket(origin, successes, now).withdraw(cost, now);
        self.publish_marks(&table);
        granted
    }

    fn refund(&self, uri: &Uri, cost: Cost) {
        // A bucket that has vanished was full.
        if let Some(mut entry) = self.table().find(self.origin(uri)) {
            entry.get_mut().add(cost.millitokens());
        }
    }
}

// The origins are left out: an authority may hold a password.
impl fmt::Debug for SuccessBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SuccessBudget")
            .field("deposit_millitokens", &self.deposit)
            .field("sharing", &self.sharing)
            .field("troubled_origins", &self.table().buckets.len())
            .finish_non_exhaustive()
    }
}
