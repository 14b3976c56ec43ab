use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::origin::Origin;

/// How many origins are remembered. For any other the interval of the settings holds.
const MAX_ORIGINS: usize = 1024;

/// How many times the interval is doubled at most.
const MAX_DOUBLINGS: u32 = 10;

/// The origins that want fewer PINGs than the settings say ([gRFC
/// A8](https://github.com/grpc/proposal/blob/master/A8-client-side-keepalive.md)).
#[derive(Debug, Default)]
pub(super) struct Calm(Mutex<HashMap<Origin, u32>>);

impl Calm {
    /// The interval for this origin, where the settings say `interval`.
    pub(super) fn interval(&self, origin: &Origin, interval: Duration) -> Duration {
        let doublings = self.lock().get(origin).copied().unwrap_or_default();
        interval.saturating_mul(1 << doublings.min(MAX_DOUBLINGS))
    }

    /// Doubles the interval for an origin that ended a connection because of its PINGs.
    pub(super) fn double(&self, origin: &Origin) {
        let mut doublings = self.lock();
        if doublings.len() < MAX_ORIGINS || doublings.contains_key(origin) {
            let times = doublings.entry(origin.clone()).or_default();
            *times = times.saturating_add(1).min(MAX_DOUBLINGS);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Origin, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
