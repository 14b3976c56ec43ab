mod bucket;
mod counts;
#[cfg(test)]
mod tests;
mod window;

use std::{fmt, sync::atomic::Ordering};

use http::Uri;
use tokio::time::Instant;

pub(crate) use self::{bucket::Bucket, counts::SuccessCounts};
use self::{counts::mark, window::Window};
use super::{Budget, Cost, MAX_PERCENT, PERCENT};
use crate::{
    error::{BuildError, Problem},
    health::{Evict, Ledger, PartitionKey, Place},
};

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
///
/// The buckets are in a [ledger](crate::health), each with its origin, also where the ledger divides the
/// requests to it: what a budget protects is the server. Where the ledger has no room for an origin, it
/// shares a bucket with all others without one.
pub struct SuccessBudget {
    deposit: u64,
    sharing: Sharing,
    ledger: Ledger,
}

/// Whose bucket it is.
enum Owner {
    /// An origin that is known.
    Known(u64, Place),
    /// An origin that is not known, and so has no bucket.
    Unknown,
    /// All that have none of their own.
    Shared,
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

    /// Keeps the buckets in this ledger, whose [`health`](Ledger::health) tells what is left. Default: a
    /// ledger of the budget's own. Budgets with one ledger share its buckets.
    #[must_use]
    pub fn ledger(self, ledger: Ledger) -> Self {
        Self { ledger, ..self }
    }

    fn with_percent(percent: u16) -> Self {
        Self {
            deposit: u64::from(percent) * PERCENT,
            sharing: Sharing::PerOrigin,
            ledger: Ledger::default(),
        }
    }

    fn counts(&self) -> &SuccessCounts {
        self.ledger.success_counts()
    }

    fn owner(&self, uri: &Uri) -> Owner {
        self.owner_by(uri, self.ledger.hash_of_origin(uri))
    }

    /// The same, where the hash of the origin is known.
    fn owner_by(&self, uri: &Uri, hash: u64) -> Owner {
        if self.shares(uri) {
            return Owner::Shared;
        }
        match self.ledger.find_hash(hash) {
            Some(place) => Owner::Known(hash, place),
            None if self.ledger.has_room(hash) => Owner::Unknown,
            None => Owner::Shared,
        }
    }

    /// Whether a request has a bucket with others, whatever its origin.
    fn shares(&self, uri: &Uri) -> bool {
        matches!(self.sharing, Sharing::Shared) || uri.authority().is_none()
    }

    /// Updates the window and removes old buckets. Without it the rate would be averaged over all the time
    /// since the last withdrawal, and the bucket of an origin without traffic would stay for ever.
    #[cold]
    fn roll(&self) {
        let now = Instant::now();
        let _ = self.counts().rate(now);
        self.sweep(now);
    }

    /// Removes the buckets without a withdrawal for a long time.
    fn sweep(&self, now: Instant) {
        let counts = self.counts();
        if !counts.is_sweep_due(now) {
            return;
        }
        let is_old =
            |bucket: &Bucket| now.saturating_duration_since(bucket.asked) >= SuccessCounts::IDLE;
        self.ledger.change_all(|hash, partition| {
            if partition.bucket.take_if(|bucket| is_old(bucket)).is_some() {
                counts.unmark(hash);
            }
        });
        let mut common = counts.common();
        common.shared.take_if(|bucket| is_old(bucket));
        counts.publish(&common);
    }

    #[inline(never)]
    fn deposit_if_marked(&self, uri: &Uri, marks: u64) {
        let counts = self.counts();
        let hash = self.ledger.hash_of_origin(uri);
        // Which is sooner known than whether it shares a bucket.
        if marks != u64::MAX && marks & mark(hash) == 0 {
            return;
        }
        let deposit = |bucket: &mut Bucket| {
            bucket.successes = bucket.successes.saturating_add(1);
            bucket.add(self.deposit)
        };
        match self.owner_by(uri, hash) {
            Owner::Known(hash, place) => {
                self.ledger.change_at(place, hash, |partition| {
                    let bucket = partition.bucket.as_mut();
                    if bucket.is_some_and(|bucket| deposit(bucket)) {
                        partition.bucket = None;
                        counts.unmark(hash);
                    }
                });
            }
            Owner::Unknown => {}
            Owner::Shared => {
                let mut common = counts.common();
                common.shared.take_if(|bucket| deposit(bucket));
                counts.publish(&common);
            }
        }
    }

    /// Takes from the bucket of an origin, which is made if there is none; `None` if there is no room for it.
    fn withdraw_of_origin(&self, uri: &Uri, cost: Cost, now: Instant) -> Option<bool> {
        let counts = self.counts();
        if self.shares(uri) {
            return None;
        }
        let rate = counts.rate(now);
        let hash = self.ledger.hash_of_origin(uri);
        let withdraw = |place| {
            self.ledger.change_at(place, hash, |partition| {
                let bucket = partition.bucket.get_or_insert_with(|| {
                    counts.mark(hash);
                    Box::new(Bucket::full(rate, now))
                });
                bucket.withdraw(cost, now)
            })
        };
        // An origin that failed before is found without its key, which is allocated.
        let known = self.ledger.find_hash(hash);
        known.and_then(withdraw).or_else(|| {
            let key = PartitionKey::of(uri);
            let (place, _) = self.ledger.find_or_add(&key, Evict::Healthy)?;
            withdraw(place)
        })
    }
}

impl Default for SuccessBudget {
    fn default() -> Self {
        Self::with_percent(Self::PERCENT)
    }
}

impl Budget for SuccessBudget {
    fn deposit(&self, uri: &Uri) {
        let counts = self.counts();
        // Loaded before the addition, so that the load does not wait for that. A bucket that is
        // made at this moment may miss this success; the next one counts.
        let marks = counts.marks.load(Ordering::Relaxed);
        let before = counts.successes.fetch_add(1, Ordering::Relaxed);
        if before % Window::ROLLED_EVERY == Window::ROLLED_EVERY - 1 {
            self.roll();
        }
        if marks != 0 {
            self.deposit_if_marked(uri, marks);
        }
    }

    fn withdraw(&self, uri: &Uri, cost: Cost, now: Instant) -> bool {
        if let Some(granted) = self.withdraw_of_origin(uri, cost, now) {
            // Afterwards, so that the bucket that was asked is not among the old ones.
            self.sweep(now);
            return granted;
        }
        self.sweep(now);
        let counts = self.counts();
        let rate = counts.rate(now);
        let mut common = counts.common();
        let shared = &mut common.shared;
        let bucket = shared.get_or_insert_with(|| Bucket::full(rate, now));
        let granted = bucket.withdraw(cost, now);
        counts.publish(&common);
        granted
    }

    fn refund(&self, uri: &Uri, cost: Cost) {
        // A bucket that has vanished was full.
        let refund = |bucket: &mut Bucket| {
            bucket.add(cost.millitokens());
        };
        match self.owner(uri) {
            Owner::Known(hash, place) => {
                self.ledger.change_at(place, hash, |partition| {
                    partition.bucket.as_deref_mut().map(refund);
                });
            }
            Owner::Unknown => {}
            Owner::Shared => {
                self.counts().common().shared.as_mut().map(refund);
            }
        }
    }
}

// The origins are left out: an authority may hold a password.
impl fmt::Debug for SuccessBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SuccessBudget")
            .field("deposit_millitokens", &self.deposit)
            .field("sharing", &self.sharing)
            .field("troubled_origins", &self.counts().buckets())
            .finish_non_exhaustive()
    }
}
