//! The success rate of the last seconds, computed at failures only.

use std::time::Duration;

use tokio::time::Instant;

const BUCKETS: usize = 10;

/// Counts of a sliding time window, in ten buckets.
///
/// A success is counted by a relaxed addition elsewhere, without a look at the clock. At each failure
/// the window receives the count so far and spreads the successes since the last failure evenly over
/// the time between. So a success that came long ago does not count as recent.
#[derive(Clone, Debug)]
pub(super) struct Window {
    /// The length of one bucket; never zero.
    width: Duration,
    /// The newest bucket is the first.
    buckets: [Bucket; BUCKETS],
    /// When the newest bucket began.
    start: Instant,
    /// When successes were last taken over, and how many there had been by then.
    seen_at: Instant,
    seen: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    successes: u64,
    failures: u64,
}

/// What a window contains.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Sample {
    pub(super) successes: u64,
    pub(super) failures: u64,
}

impl Sample {
    pub(super) fn total(self) -> u64 {
        self.successes.saturating_add(self.failures)
    }

    /// Whether fewer than `percent` of a hundred succeeded.
    pub(super) fn is_below(self, percent: u8) -> bool {
        u128::from(self.successes) * 100 < u128::from(self.total()) * u128::from(percent)
    }
}

impl Window {
    pub(super) const SHORTEST: Duration = Duration::from_millis(10);

    pub(super) fn new(length: Duration, now: Instant, successes: u64) -> Self {
        Self {
            width: length.max(Self::SHORTEST) / 10,
            buckets: [Bucket::default(); BUCKETS],
            start: now,
            seen_at: now,
            seen: successes,
        }
    }

    /// Adds a failure, and the successes since the last one. `successes` is the count since the
    /// beginning.
    pub(super) fn add_failure(&mut self, now: Instant, successes: u64) -> Sample {
        // Threads may come here in another order than the one in which they read the clock.
        let now = now.max(self.seen_at);
        self.advance(now);
        self.spread_successes(now, successes.saturating_sub(self.seen));
        self.seen = successes;
        self.seen_at = now;
        let [newest, ..] = &mut self.buckets;
        newest.failures = newest.failures.saturating_add(1);
        self.sample()
    }

    fn sample(&self) -> Sample {
        let empty = Sample {
            successes: 0,
            failures: 0,
        };
        self.buckets.iter().fold(empty, |sum, bucket| Sample {
            successes: sum.successes.saturating_add(bucket.successes),
            failures: sum.failures.saturating_add(bucket.failures),
        })
    }

    /// Makes the first bucket the one of this moment.
    fn advance(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.start).as_nanos();
        let width = self.width.as_nanos().max(1);
        let steps = usize::try_from(passed / width).unwrap_or(usize::MAX);
        if steps == 0 {
            return;
        }
        let kept = BUCKETS.saturating_sub(steps);
        self.buckets.rotate_right(steps.min(BUCKETS));
        for bucket in self.buckets.iter_mut().take(BUCKETS - kept) {
            *bucket = Bucket::default();
        }
        let rest = crate::jitter::from_nanos(passed % width);
        self.start = now.checked_sub(rest).unwrap_or(now);
    }

    fn spread_successes(&mut self, now: Instant, gained: u64) {
        let gap = now.saturating_duration_since(self.seen_at).as_nanos();
        let mut end = now;
        let mut start = self.start;
        // How many had come by a moment, if they came evenly.
        let by = |moment: Instant| {
            let passed = moment.saturating_duration_since(self.seen_at).as_nanos();
            let share = u128::from(gained).saturating_mul(passed).checked_div(gap);
            share.map_or(gained, |share| u64::try_from(share).unwrap_or(gained))
        };
        let seen_at = self.seen_at;
        for bucket in &mut self.buckets {
            let before = if start <= seen_at { 0 } else { by(start) };
            bucket.successes = bucket
                .successes
                .saturating_add(by(end).saturating_sub(before));
            let Some(earlier) = start.checked_sub(self.width).filter(|_| start > seen_at) else {
                return;
            };
            (start, end) = (earlier, start);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LENGTH: Duration = Duration::from_secs(10);

    fn after(start: Instant, millis: u64) -> Instant {
        start + Duration::from_millis(millis)
    }

    #[test]
    fn failures_older_than_the_window_do_not_count() {
        let start = Instant::now();
        let mut window = Window::new(LENGTH, start, 0);
        for second in 0..5 {
            window.add_failure(after(start, second * 1_000), 0);
        }
        assert_eq!(window.add_failure(after(start, 9_999), 0).failures, 6);
        // The buckets of the seconds 0, 1 and 2 are gone.
        assert_eq!(window.add_failure(after(start, 12_000), 0).failures, 4);
        assert_eq!(window.add_failure(after(start, 3_600_000), 0).failures, 1);
    }

    #[test]
    fn successes_count_as_if_they_had_come_evenly_since_the_last_failure() {
        let start = Instant::now();
        let mut window = Window::new(LENGTH, start, 0);
        // 1,000 in 100 s are 90 to 100 in the last 9 to 10 s.
        let sample = window.add_failure(after(start, 100_000), 1_000);
        assert!((90..=100).contains(&sample.successes), "{sample:?}");
        // All of these came within the window.
        let sample = window.add_failure(after(start, 101_000), 1_500);
        assert!((580..=600).contains(&sample.successes), "{sample:?}");
        assert_eq!(sample.failures, 2);
    }

    #[test]
    fn successes_of_the_same_moment_count() {
        let start = Instant::now();
        let mut window = Window::new(LENGTH, start, 7);
        let sample = window.add_failure(start, 10);
        assert_eq!((sample.successes, sample.failures), (3, 1));
    }

    #[test]
    fn a_rate_is_compared_exactly() {
        let sample = |successes, failures| Sample {
            successes,
            failures,
        };
        assert!(!sample(80, 20).is_below(80));
        assert!(sample(79, 20).is_below(80));
        assert!(sample(99, 1).is_below(100));
        assert!(!sample(u64::MAX, 0).is_below(100));
    }

    proptest! {
        #[test]
        fn no_success_is_lost_or_invented_within_the_window(
            steps in prop::collection::vec((0_u64..400, 0_u64..50), 1..25),
        ) {
            let start = Instant::now();
            let mut window = Window::new(LENGTH, start, 0);
            let (mut now, mut successes) = (0, 0);
            for (step, gained) in steps {
                now += step;
                successes += gained;
                let sample = window.add_failure(after(start, now), successes);
                prop_assert!(sample.successes <= successes);
                if now < 9_000 {
                    prop_assert_eq!(sample.successes, successes);
                }
            }
        }
    }
}
