use std::time::Duration;

use tokio::time::Instant;

/// Turns moments into numbers, which atomics can hold: nanoseconds since the moment in here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock(pub(super) Instant);

impl Clock {
    /// The moment as a number that is never 0: 0 stands for "no moment".
    #[inline]
    pub(super) fn tick(&self, moment: Instant) -> u64 {
        self.since_epoch(moment).max(1)
    }

    /// The moment as a number, which is 0 for the first one.
    #[inline]
    pub(super) fn since_epoch(&self, moment: Instant) -> u64 {
        nanos(moment.saturating_duration_since(self.0))
    }

    /// The moment that [`tick`](Self::tick) made this number of; `None` for 0.
    pub(super) fn instant(&self, tick: u64) -> Option<Instant> {
        (tick != 0)
            .then(|| self.0.checked_add(Duration::from_nanos(tick)))
            .flatten()
    }
}

/// The duration in nanoseconds; one of centuries becomes the longest that fits.
#[inline]
pub(super) fn nanos(time: Duration) -> u64 {
    time.as_secs()
        .saturating_mul(1_000_000_000)
        .saturating_add(time.subsec_nanos().into())
}
