//! Learns how long each origin keeps its idle connections, so that none is used that the peer is about to
//! close: a request that crosses the close fails, and one that is not idempotent cannot be sent again.

mod ages;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use hashbrown::HashMap;
use tokio::time::Instant;

use self::ages::IdleAges;
use crate::origin::{Key, Origin};

/// How many origins are known at most; connections to any more learn nothing.
const MAX_ORIGINS: usize = 1024;

/// What is learned of all origins.
#[derive(Debug, Default)]
pub(super) struct KeepAlives(Mutex<HashMap<Key, Arc<KeepAlive>>>);

/// What is learned of one origin; all its connections have it.
#[derive(Debug)]
pub(super) struct KeepAlive {
    /// The least idle age in nanoseconds that anything is known of: none of less need be looked at, which
    /// are nearly all. [`NOTHING`] where nothing is known.
    interest: AtomicU64,
    /// Where anything was noted, which is rare.
    ages: Mutex<Option<Box<IdleAges>>>,
}

const NOTHING: u64 = u64::MAX;

impl KeepAlives {
    /// What is learned of this origin, for a new connection to it.
    pub(super) fn of(&self, origin: &Origin) -> Option<Arc<KeepAlive>> {
        let mut origins = self.lock();
        if let Some(known) = origins.get(origin) {
            return Some(known.clone());
        }
        if origins.len() >= MAX_ORIGINS {
            origins.retain(|_, it| Arc::strong_count(it) > 1 || !it.is_empty());
        }
        if origins.len() >= MAX_ORIGINS {
            origins.retain(|_, it| Arc::strong_count(it) > 1);
        }
        if origins.len() >= MAX_ORIGINS {
            return None;
        }
        let new = Arc::new(KeepAlive {
            interest: AtomicU64::new(NOTHING),
            ages: Mutex::default(),
        });
        origins.insert(Key(origin.clone()), new.clone());
        Some(new)
    }

    /// For how many origins there is a limit now.
    pub(super) fn learned(&self, now: Instant) -> usize {
        let origins = self.lock();
        let learned = origins.values().filter(|it| it.limit(now).is_some());
        learned.count()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Arc<KeepAlive>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KeepAlive {
    /// Whether nothing is known.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.interest.load(Relaxed) == NOTHING
    }

    /// Whether a connection may be used that has been idle for this long.
    pub(super) fn allows(&self, age: Duration, now: Instant) -> bool {
        if nanos(age) < self.interest.load(Relaxed) {
            return true;
        }
        let mut ages = self.ages();
        let ages = ages.get_or_insert_default();
        let allowed = ages.limit(now).is_none_or(|limit| age < limit);
        if allowed {
            ages.lived(age, now);
        }
        self.set_interest(ages);
        allowed
    }

    /// Whether a connection may be used that has been there for this long, and has carried no request yet.
    /// It is not noted: a peer may wait for another time for the first one.
    pub(super) fn allows_unused(&self, age: Duration, now: Instant) -> bool {
        self.limit(now).is_none_or(|limit| age < limit)
    }

    /// Takes note that a connection was open that had been idle for this long.
    pub(super) fn lived(&self, age: Duration, now: Instant) {
        if nanos(age) >= self.interest.load(Relaxed) {
            let mut ages = self.ages();
            let ages = ages.get_or_insert_default();
            ages.lived(age, now);
            self.set_interest(ages);
        }
    }

    /// Takes note that the peer closed a connection that had been idle for this long.
    pub(super) fn closed(&self, age: Duration, now: Instant) {
        let mut ages = self.ages();
        let ages = ages.get_or_insert_default();
        ages.closed(age, now);
        self.set_interest(ages);
    }

    /// The limit, if it was learned or has fallen since this was asked last.
    pub(super) fn news(&self, now: Instant) -> Option<Duration> {
        self.ages().as_mut()?.news(now)
    }

    fn limit(&self, now: Instant) -> Option<Duration> {
        if self.is_empty() {
            return None;
        }
        self.ages().as_mut()?.limit(now)
    }

    fn set_interest(&self, ages: &IdleAges) {
        let interest = ages.interest().map_or(NOTHING, nanos);
        self.interest.store(interest, Relaxed);
    }

    fn ages(&self) -> MutexGuard<'_, Option<Box<IdleAges>>> {
        self.ages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A time as a number below [`NOTHING`].
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).map_or(NOTHING - 1, |nanos| nanos.min(NOTHING - 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origin::RawOrigin;

    fn origin(number: usize) -> Origin {
        let uri = format!("http://host-{number}/").parse().expect("it is one");
        let raw = RawOrigin::of(&uri).expect("it is one");
        let read = raw.read().expect("it is one");
        read.to_origin().expect("it is one")
    }

    #[test]
    fn ten_thousand_origins_leave_what_the_capacity_allows_and_those_in_use() {
        let keep_alives = KeepAlives::default();
        let used = keep_alives.of(&origin(0)).expect("there is room");
        for number in 1..10_000 {
            keep_alives.of(&origin(number)).expect("there is room");
        }
        assert!(keep_alives.lock().len() <= MAX_ORIGINS);
        let same = keep_alives.of(&origin(0)).expect("it is known");
        assert!(Arc::ptr_eq(&same, &used));
    }

    #[test]
    fn what_was_learned_makes_room_only_for_what_is_in_use() {
        let keep_alives = KeepAlives::default();
        let (second, now) = (Duration::from_secs(1), Instant::now());
        for number in 0..MAX_ORIGINS {
            let it = keep_alives.of(&origin(number)).expect("there is room");
            for minute in 0..4 {
                it.closed(5 * second, now + minute * 60 * second);
            }
            assert!(!it.allows(5 * second, now + 240 * second));
            assert!(it.allows(4 * second, now + 240 * second));
        }
        assert_eq!(keep_alives.learned(now + 240 * second), MAX_ORIGINS);
        assert!(keep_alives.of(&origin(MAX_ORIGINS)).is_some());
        assert!(keep_alives.lock().len() <= MAX_ORIGINS);
    }
}
