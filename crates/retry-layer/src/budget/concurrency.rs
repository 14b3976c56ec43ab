use std::sync::atomic::{AtomicU64, Ordering};

use http::Uri;
use tokio::time::Instant;

use super::{Budget, Cost};
use crate::error::{BuildError, Problem};

/// Envoy's retry budget, one for all origins: at any time at most a share of the calls under way
/// are retried, and always a few may be.
///
/// Envoy's default is 20 % and 3. A call is under way from the layer's `call` until its response
/// has come. A retry is active from the decision, through its wait, until its attempt is over. It
/// limits how many retries run at the same time: many short retries of a service that refuses at
/// once are allowed, so it reduces an overload but does not end it.
#[derive(Debug)]
pub struct ConcurrencyShare {
    percent: u64,
    least: u64,
    calls: AtomicU64,
    retries: AtomicU64,
}

impl ConcurrencyShare {
    /// At most `percent` of the calls under way, but always `least` retries.
    ///
    /// # Errors
    ///
    /// If `percent` is more than 100, or `least` is 0.
    pub fn new(percent: u8, least: u32) -> Result<Self, BuildError> {
        if percent > 100 {
            return Err(Problem::Budget("a share of the calls is at most 100 percent").into());
        }
        if least == 0 {
            return Err(
                Problem::Budget("a client without other calls needs at least 1 retry").into(),
            );
        }
        Ok(Self {
            percent: u64::from(percent),
            least: u64::from(least),
            calls: AtomicU64::new(0),
            retries: AtomicU64::new(0),
        })
    }

    /// How many retries may be active now.
    #[must_use]
    pub fn limit(&self) -> u64 {
        let calls = self.calls.load(Ordering::Relaxed);
        (calls.saturating_mul(self.percent) / 100).max(self.least)
    }

    /// How many retries are active now.
    #[must_use]
    pub fn active(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }
}

// Relaxed throughout: the counts guard no other memory.
impl Budget for ConcurrencyShare {
    fn deposit(&self, _uri: &Uri) {}

    fn withdraw(&self, _uri: &Uri, cost: Cost, _now: Instant) -> bool {
        let limit = match cost {
            // As long as half of the places are free.
            Cost::Hedge => self.limit() / 2 + 1,
            Cost::Retry | Cost::Throttled | Cost::TimedOut => self.limit(),
        };
        self.retries
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |active| {
                (active < limit).then(|| active + 1)
            })
            .is_ok()
    }

    fn refund(&self, uri: &Uri, cost: Cost) {
        self.settle(uri, cost);
    }

    fn settle(&self, _uri: &Uri, _cost: Cost) {
        self.retries.fetch_sub(1, Ordering::Relaxed);
    }

    fn counts_calls(&self) -> bool {
        true
    }

    fn enter(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    fn leave(&self) {
        self.calls.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retry_that_is_over_makes_room_for_another() {
        let share = ConcurrencyShare::new(20, 1).unwrap();
        let uri = Uri::default();
        let withdraw = || share.withdraw(&uri, Cost::Retry, Instant::now());
        assert!(withdraw());
        assert!(!withdraw());
        (0..10).for_each(|_| share.enter());
        assert_eq!(share.limit(), 2);
        assert!(withdraw());
        assert!(!withdraw());
        share.settle(&uri, Cost::Retry);
        assert!(withdraw());
        (0..10).for_each(|_| share.leave());
        assert_eq!(share.limit(), 1);
        assert!(!withdraw());
    }

    #[test]
    fn a_retry_is_active_until_it_is_over_or_given_back() {
        let share = ConcurrencyShare::new(20, 2).unwrap();
        let uri = Uri::default();
        for active in 1..=2 {
            assert!(share.withdraw(&uri, Cost::Retry, Instant::now()));
            assert_eq!(share.active(), active);
        }
        share.refund(&uri, Cost::Retry);
        assert_eq!(share.active(), 1);
        share.settle(&uri, Cost::Retry);
        assert_eq!(share.active(), 0);
    }

    #[test]
    fn it_has_to_be_told_of_each_call() {
        assert!(ConcurrencyShare::new(20, 3).unwrap().counts_calls());
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        assert!(ConcurrencyShare::new(100, 1).is_ok());
        assert!(ConcurrencyShare::new(101, 3).is_err());
        assert!(ConcurrencyShare::new(20, 0).is_err());
    }
}
