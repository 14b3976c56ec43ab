//! What is known of the answers of each origin: it is kept in the [ledger](crate::health).

use std::{sync::Arc, time::Duration};

use http::Uri;
use tokio::time::Instant;

use super::latency::Latency;
use crate::health::{Evict, Ledger, PartitionKey};

/// The answers of one origin.
#[derive(Clone)]
pub(super) struct OriginLatency {
    /// The zero of all times of the ledger.
    start: Instant,
    latency: Arc<Latency>,
}

impl OriginLatency {
    /// The answers of the origin of this URI, whichever partition of it a request belongs to: how long a
    /// server takes is the same for all. `None` if the ledger has no room for the origin.
    pub(super) fn of(ledger: &Ledger, uri: &Uri) -> Option<Self> {
        let hash = ledger.hash_of_origin(uri);
        let place = ledger.find_hash(hash).or_else(|| {
            let (place, _) = ledger.find_or_add(&PartitionKey::of(uri), Evict::Healthy)?;
            Some(place)
        })?;
        let slot = ledger.slot(place)?;
        let latency = slot.look_at(hash, |partition| {
            Arc::clone(partition.latency.get_or_insert_with(Arc::default))
        })?;
        Some(Self {
            start: ledger.start(),
            latency,
        })
    }

    pub(super) fn record(&self, now: Instant, took: Duration) {
        self.latency.record(self.millis(now), took);
    }

    pub(super) fn quantile(&self, now: Instant, percent: u8, fewest: u32) -> Option<Duration> {
        self.latency.quantile(self.millis(now), percent, fewest)
    }

    fn millis(&self, now: Instant) -> u64 {
        Latency::time(self.start, now)
    }
}
