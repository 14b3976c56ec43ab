use std::time::Duration;

use tokio::time::Instant;

/// Successes per second over about ten seconds, computed from counts on demand.
#[derive(Debug)]
pub(super) struct Window {
    pub(super) start: Instant,
    /// The count at the start.
    count: u64,
    /// The rate before the start.
    known: Option<u64>,
}

impl Window {
    pub(super) const LENGTH: Duration = Duration::from_secs(10);
    /// After how many successes the window is updated without a withdrawal.
    pub(super) const ROLLED_EVERY: u64 = 256;
    const SECOND: Duration = Duration::from_secs(1);

    pub(super) fn new(start: Instant, count: u64, known: Option<u64>) -> Self {
        Self {
            start,
            count,
            known,
        }
    }

    pub(super) fn rate(&mut self, count: u64, now: Instant) -> u64 {
        let elapsed = now.saturating_duration_since(self.start);
        let gained = count.saturating_sub(self.count);
        let rate = per_second(gained, elapsed.max(Self::SECOND));
        if elapsed >= Self::LENGTH {
            *self = Self {
                start: now,
                count,
                known: Some(rate),
            };
            return rate;
        }
        // Within a window the larger one counts: the previous rate, or the rate so far.
        self.known
            .map_or(rate, |known| known.max(per_second(gained, Self::LENGTH)))
    }
}

fn per_second(count: u64, time: Duration) -> u64 {
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    count.saturating_mul(1_000) / millis.max(1)
}
