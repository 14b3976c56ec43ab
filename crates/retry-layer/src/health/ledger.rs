use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
};

use http::{Request, Uri};
use tokio::time::Instant;

use super::{
    Health, HealthObserver, PartitionKey, RequestHead,
    key::OriginRef,
    memo::{self, LedgerId},
    partition::{Evict, Partition, Word},
    table::{Place, Slot, Table},
};
use crate::budget::SuccessCounts;

pub(super) type KeyBy = Arc<dyn Fn(&RequestHead<'_>) -> Option<PartitionKey> + Send + Sync>;

/// What is known of each origin, or of each [partition](super::LedgerBuilder::key_by) of its requests.
/// Clones share it. See the [module docs](super).
#[derive(Clone)]
pub struct Ledger {
    inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) id: LedgerId,
    pub(super) key_by: Option<KeyBy>,
    pub(super) observer: Option<Arc<dyn HealthObserver>>,
    pub(super) table: Table,
    /// The zero of the times of latencies.
    pub(super) start: Instant,
    pub(super) success_counts: SuccessCounts,
}

/// The partition of a request: its hash, and where it stands if anything is known of it.
pub(crate) struct Lookup {
    pub(crate) hash: u64,
    pub(crate) found: Option<(Place, Word)>,
    named: Option<PartitionKey>,
}

impl Ledger {
    pub(super) fn new(inner: Inner) -> Self {
        Self {
            inner: Arc::new(inner),
        }
    }

    /// What is known of a partition. One that nothing is known of is healthy.
    ///
    /// ```
    /// use http::Uri;
    /// use retry_layer::{breaker::CircuitState, health::{Ledger, PartitionKey}};
    ///
    /// let ledger = Ledger::default();
    /// let health = ledger.health(&PartitionKey::of(&Uri::from_static("http://peer/")));
    /// assert_eq!(health.circuit(), CircuitState::Closed);
    /// ```
    #[must_use]
    pub fn health(&self, key: &PartitionKey) -> Health {
        let now = Instant::now();
        let start = self.start();
        let known = self.change_known(key, |partition| Health::of(partition, start, now));
        known.unwrap_or_else(|| Health::healthy(key.clone()))
    }

    /// The health of the partitions that are not healthy, in no order.
    #[must_use]
    pub fn unhealthy(&self) -> Vec<Health> {
        let now = Instant::now();
        let mut unhealthy = Vec::new();
        self.inner.table.for_each(|partition| {
            let health = Health::of(partition, self.start(), now);
            if !health.is_healthy() {
                unhealthy.push(health);
            }
        });
        unhealthy
    }

    /// Finds the partition of a request: without a lock, an allocation or a look at the clock.
    #[inline]
    pub(crate) fn find<B>(&self, request: &Request<B>) -> Lookup {
        let named = self
            .inner
            .key_by
            .as_ref()
            .and_then(|key_by| key_by(&RequestHead::of(request)));
        let hash = match &named {
            Some(key) => self.hash_of(key),
            None => self.hash_of_origin(request.uri()),
        };
        Lookup {
            hash,
            found: self.inner.table.find(hash),
            named,
        }
    }

    /// Finds the partition of this key, or adds a healthy one. `None` if there is no room for it.
    #[cold]
    pub(crate) fn find_or_add(&self, key: &PartitionKey, evict: Evict) -> Option<(Place, Word)> {
        let hash = self.hash_of(key);
        self.inner.table.find_or_add(hash, key, evict)
    }

    /// Finds the partition of this key, without a lock.
    pub(crate) fn find_key(&self, key: &PartitionKey) -> Option<(Place, Word)> {
        self.inner.table.find(self.hash_of(key))
    }

    #[inline]
    pub(crate) fn slot(&self, place: Place) -> Option<&Slot> {
        self.inner.table.slot(place)
    }

    /// Changes the partition of this key, if anything is known of it.
    pub(crate) fn change_known<T>(
        &self,
        key: &PartitionKey,
        change: impl FnOnce(&mut Partition) -> T,
    ) -> Option<T> {
        self.change_counted(key, |partition, _| change(partition))
    }

    /// The same, with the number of successes that were counted.
    pub(crate) fn change_counted<T>(
        &self,
        key: &PartitionKey,
        change: impl FnOnce(&mut Partition, u64) -> T,
    ) -> Option<T> {
        let hash = self.hash_of(key);
        let (place, _) = self.inner.table.find(hash)?;
        let slot = self.slot(place)?;
        let successes = slot.successes.load(Ordering::Relaxed);
        slot.change_of(hash, |partition| change(partition, successes))
    }

    pub(crate) fn start(&self) -> Instant {
        self.inner.start
    }

    pub(crate) fn observer(&self) -> Option<&dyn HealthObserver> {
        self.inner.observer.as_deref()
    }

    // The table has 0 for no partition.
    pub(crate) fn hash_of(&self, key: &PartitionKey) -> u64 {
        key.hash(&self.inner.table.seed).max(1)
    }

    /// What the [budgets](crate::budget) of this ledger have in common.
    #[inline]
    pub(crate) fn success_counts(&self) -> &SuccessCounts {
        &self.inner.success_counts
    }

    /// Finds the partition of this hash.
    pub(crate) fn find_hash(&self, hash: u64) -> Option<Place> {
        self.inner.table.find(hash).map(|(place, _)| place)
    }

    /// Whether there is room for one more partition of this hash.
    pub(crate) fn has_room(&self, hash: u64) -> bool {
        self.inner.table.has_room(hash)
    }

    /// Changes the partition that was found at this place, unless another has got it.
    pub(crate) fn change_at<T>(
        &self,
        place: Place,
        hash: u64,
        change: impl FnOnce(&mut Partition) -> T,
    ) -> Option<T> {
        self.slot(place)?.change_of(hash, change)
    }

    /// Changes all partitions. The closure gets the hash of each.
    pub(crate) fn change_all(&self, mut change: impl FnMut(u64, &mut Partition)) {
        self.inner
            .table
            .change_all(|partition| change(partition.hash, partition));
    }

    #[inline]
    pub(crate) fn hash_of_origin(&self, uri: &Uri) -> u64 {
        memo::hash_of(self.inner.id, uri, || {
            OriginRef::of(uri).hash(&self.inner.table.seed).max(1)
        })
    }
}

impl Lookup {
    /// The key, made if it is that of the origin.
    pub(crate) fn into_key(self, uri: &Uri) -> PartitionKey {
        self.named.unwrap_or_else(|| PartitionKey::of(uri))
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger")
            .field("unhealthy", &self.unhealthy())
            .finish_non_exhaustive()
    }
}
