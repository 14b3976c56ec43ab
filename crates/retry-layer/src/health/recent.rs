//! What went wrong with the attempts of a partition lately. A success is not counted: it touches nothing.

use std::time::Duration;

use tokio::time::Instant;

/// Counts of the last ten seconds, in ten buckets.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    /// The newest bucket is the first.
    buckets: [Bucket; BUCKETS],
    /// When the newest bucket began.
    start: Option<Instant>,
    last: Option<Instant>,
}

const BUCKETS: usize = 10;

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    failures: u32,
    throttled: u32,
}

/// What is counted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Bad {
    /// A breaker has counted a failure.
    Failure,
    /// A response has asked for a pause.
    Throttled,
}

impl Recent {
    pub(crate) fn count(&mut self, bad: Bad, now: Instant) {
        self.advance(now);
        if bad == Bad::Failure {
            self.last = self.last.max(Some(now));
        }
        let [newest, ..] = &mut self.buckets;
        let count = match bad {
            Bad::Failure => &mut newest.failures,
            Bad::Throttled => &mut newest.throttled,
        };
        *count = count.saturating_add(1);
    }

    /// How many there were in the ten seconds before this moment: of the oldest of them not all may be
    /// counted.
    pub(super) fn of(&self, bad: Bad, now: Instant) -> u32 {
        let steps = self.steps(now);
        let buckets = self.buckets.iter().take(BUCKETS.saturating_sub(steps));
        buckets.fold(0, |sum, bucket| {
            sum.saturating_add(match bad {
                Bad::Failure => bucket.failures,
                Bad::Throttled => bucket.throttled,
            })
        })
    }

    /// When the last failure was.
    pub(super) fn last_failure(&self) -> Option<Instant> {
        self.last
    }

    /// How many buckets have begun since the newest one.
    fn steps(&self, now: Instant) -> usize {
        let passed = self
            .start
            .map_or(0, |start| now.saturating_duration_since(start).as_secs());
        usize::try_from(passed).unwrap_or(usize::MAX)
    }

    /// Makes the first bucket the one of this moment.
    fn advance(&mut self, now: Instant) {
        let steps = self.steps(now).min(BUCKETS);
        // By whole seconds: what has passed of this one belongs to its bucket.
        let seconds = Duration::from_secs(u64::try_from(steps).unwrap_or_default());
        let same = self.start.filter(|_| steps < BUCKETS);
        self.start = Some(
            same.and_then(|start| start.checked_add(seconds))
                .unwrap_or(now),
        );
        self.buckets.rotate_right(steps);
        for bucket in self.buckets.iter_mut().take(steps) {
            *bucket = Bucket::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn what_is_older_than_ten_seconds_does_not_count() {
        let (mut recent, start) = (Recent::default(), Instant::now());
        for second in 0..20 {
            recent.count(Bad::Failure, start + SECOND * second);
        }
        recent.count(Bad::Throttled, start + SECOND * 19);
        let at = |bad, second| recent.of(bad, start + SECOND * second);
        assert_eq!((at(Bad::Failure, 19), at(Bad::Throttled, 19)), (10, 1));
        assert_eq!((at(Bad::Failure, 24), at(Bad::Throttled, 28)), (5, 1));
        assert_eq!((at(Bad::Failure, 29), at(Bad::Throttled, 86_400)), (0, 0));
        assert_eq!(recent.last_failure(), Some(start + SECOND * 19));
    }

    #[test]
    fn failures_that_come_slowly_do_not_stretch_the_ten_seconds() {
        let (mut recent, start) = (Recent::default(), Instant::now());
        let apart = Duration::from_millis(1_900);
        for number in 0..20 {
            recent.count(Bad::Failure, start + apart * number);
        }
        // Those of the last 9.5 seconds.
        let count = recent.of(Bad::Failure, start + apart * 19);
        assert!((5..=6).contains(&count), "{count}");
        // After a long time without any, it begins anew.
        recent.count(Bad::Failure, start + Duration::from_secs(86_400));
        assert_eq!(
            recent.of(Bad::Failure, start + Duration::from_secs(86_409)),
            1
        );
    }

    #[test]
    fn threads_may_count_in_another_order_than_they_read_the_clock() {
        let (mut recent, start) = (Recent::default(), Instant::now());
        recent.count(Bad::Failure, start + SECOND);
        recent.count(Bad::Failure, start);
        assert_eq!(recent.of(Bad::Failure, start + SECOND), 2);
        assert_eq!(recent.last_failure(), Some(start + SECOND));
    }
}
