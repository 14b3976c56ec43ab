//! What is known of the answers of each origin.

use std::{
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use hashbrown::{DefaultHashBuilder, HashMap};
use http::Uri;
use tokio::time::Instant;

use super::latency::Latency;
use crate::health::OriginRef;

/// A [`Latency`] for each origin, of at most [`MOST`](Self::MOST).
pub(super) struct Origins {
    /// The zero of all times.
    start: Instant,
    /// Random, because an attacker may choose the hosts.
    seed: DefaultHashBuilder,
    /// By the hash of the origin, as in the [ledger](crate::health).
    table: RwLock<HashMap<u64, Entry>>,
}

struct Entry {
    latency: Arc<Latency>,
    /// When it was asked for last.
    used: AtomicU64,
}

/// The answers of one origin.
#[derive(Clone)]
pub(super) struct OriginLatency {
    start: Instant,
    latency: Arc<Latency>,
}

impl Origins {
    /// Beyond this many, the one that was not asked for for the longest time makes room.
    pub(super) const MOST: usize = 256;

    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
            seed: DefaultHashBuilder::default(),
            table: RwLock::default(),
        }
    }

    /// The answers of the origin of this URI.
    pub(super) fn of(&self, uri: &Uri, now: Instant) -> OriginLatency {
        let origin = OriginRef::of(uri).hash(&self.seed);
        let latency = self
            .find(origin, now)
            .unwrap_or_else(|| self.add(origin, now));
        OriginLatency {
            start: self.start,
            latency,
        }
    }

    // Neither lock is held while code runs that may panic: what it guards is never half changed.
    fn find(&self, origin: u64, now: Instant) -> Option<Arc<Latency>> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        let entry = table.get(&origin)?;
        entry.used.store(millis(self.start, now), Ordering::Relaxed);
        Some(Arc::clone(&entry.latency))
    }

    #[cold]
    fn add(&self, origin: u64, now: Instant) -> Arc<Latency> {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        if table.len() >= Self::MOST && !table.contains_key(&origin) {
            let oldest = table
                .iter()
                .min_by_key(|(_, entry)| entry.used.load(Ordering::Relaxed))
                .map(|(oldest, _)| *oldest);
            if let Some(oldest) = oldest {
                table.remove(&oldest);
            }
        }
        let entry = table.entry(origin).or_insert_with(|| Entry {
            latency: Arc::new(Latency::new()),
            used: AtomicU64::new(millis(self.start, now)),
        });
        Arc::clone(&entry.latency)
    }
}

fn millis(start: Instant, now: Instant) -> u64 {
    u64::try_from(now.saturating_duration_since(start).as_millis()).unwrap_or(u64::MAX)
}

impl OriginLatency {
    pub(super) fn record(&self, now: Instant, took: Duration) {
        self.latency.record(millis(self.start, now), took);
    }

    pub(super) fn quantile(&self, now: Instant, percent: u8, fewest: u32) -> Option<Duration> {
        let now = millis(self.start, now);
        self.latency.quantile(now, percent, fewest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(number: usize) -> Uri {
        format!("http://peer-{number}/").parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn each_origin_has_its_own_and_the_one_that_nobody_asks_for_makes_room() {
        let origins = Origins::new();
        let know = |number: usize| {
            let latency = origins.of(&peer(number), Instant::now());
            latency.quantile(Instant::now(), 95, 1).is_some()
        };
        for number in 0..Origins::MOST {
            let latency = origins.of(&peer(number), Instant::now());
            latency.record(Instant::now(), Duration::from_millis(3));
            tokio::time::advance(Duration::from_millis(10)).await;
        }
        assert!(know(0), "it is asked for, so it stays");
        tokio::time::advance(Duration::from_millis(10)).await;
        assert!(!know(Origins::MOST), "a new one");
        assert!(!know(1), "made room, and comes anew");
        assert!(know(0));
        assert!(know(3));
        assert_eq!(origins.table.read().unwrap().len(), Origins::MOST);
    }
}
