use std::time::Duration;

use fastrand::Rng;

/// How much of a wait is random, so that clients that failed at the same time do not retry at the same
/// time.
///
/// Applied to the wait `d` after its cap, and never beyond the cap.
///
/// Of two waits in a row the second one is as far from the longest that it may be as the first one was
/// from the shortest: after a fifth of `d` come four fifths of the next. So each wait is anywhere in
/// its range, and yet no call has two short ones. With full jitter, a base of 100 ms and the factor 2 the
/// first two waits take 100 ms to 200 ms, and all retries of a call that fails within a blip of 100 ms
/// cannot fall into it.
///
/// Each wait is drawn for itself where the range of one of the two is less than half as long again as that of
/// the other, such as at the cap or with a fixed schedule: there the two would always take the same time
/// together, and calls that failed at the same time would meet again. So are
/// [`Decorrelated`](Self::Decorrelated) waits, which depend on the one before already.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Jitter {
    /// Anything from nothing to `d`: the default, which spreads many clients best.
    #[default]
    Full,
    /// Anything from half of `d` to `d`.
    Equal,
    /// Anything from the base to three times the wait before, whatever `d`.
    Decorrelated,
    /// `d`, give or take this many percent of it: at most 100. gRPC takes 20.
    Proportional(u8),
    /// Exactly `d`. For tests, and for a single client.
    None,
}

/// What a range of waits is computed from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    pub(crate) delay: Duration,
    pub(crate) base: Duration,
    pub(crate) previous: Duration,
    pub(crate) cap: Duration,
}

impl Jitter {
    /// The shortest and the longest wait, both possible.
    pub(crate) fn range(self, spread: Spread) -> (Duration, Duration) {
        let Spread {
            delay,
            base,
            previous,
            cap,
        } = spread;
        let (shortest, longest) = match self {
            Self::Full => (Duration::ZERO, delay),
            Self::Equal => (delay / 2, delay),
            Self::Decorrelated => (base, previous.saturating_mul(3).max(base)),
            Self::Proportional(percent) => {
                let part = (delay / 100).saturating_mul(u32::from(percent));
                (delay.saturating_sub(part), delay.saturating_add(part))
            }
            Self::None => (delay, delay),
        };
        (shortest.min(cap), longest.min(cap))
    }
}

/// Where in its range a wait is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Position(u32);

impl Position {
    /// Anywhere, all alike.
    pub(crate) fn random(random: &mut Rng) -> Self {
        Self(random.u32(..))
    }

    /// As far from the longest wait as this is from the shortest.
    pub(crate) const fn opposite(self) -> Self {
        Self(u32::MAX - self.0)
    }

    /// The wait at this position; both ends of the range are waits.
    pub(crate) fn of(self, (shortest, longest): (Duration, Duration)) -> Duration {
        // Less than 2^94, so the product is no more than a `u128` can hold.
        let span = longest.saturating_sub(shortest).as_nanos();
        let nanos = span.saturating_mul(self.0.into()) / u128::from(u32::MAX);
        shortest.saturating_add(from_nanos(nanos))
    }
}

/// Any duration from `shortest` to `longest`, both included, all alike.
pub(crate) fn pick((shortest, longest): (Duration, Duration), random: &mut Rng) -> Duration {
    let span = longest.saturating_sub(shortest);
    if span.is_zero() {
        return shortest;
    }
    shortest.saturating_add(from_nanos(random.u128(0..=span.as_nanos())))
}

/// A duration of so many nanoseconds, or the longest there is.
pub(crate) fn from_nanos(nanos: u128) -> Duration {
    const NANOS_PER_SECOND: u128 = 1_000_000_000;
    let rest = u32::try_from(nanos % NANOS_PER_SECOND).unwrap_or_default();
    u64::try_from(nanos / NANOS_PER_SECOND)
        .map_or(Duration::MAX, |seconds| Duration::new(seconds, rest))
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::any, prop_assert, proptest};

    use super::*;

    const ALL: [Jitter; 5] = [
        Jitter::Full,
        Jitter::Equal,
        Jitter::Decorrelated,
        Jitter::Proportional(20),
        Jitter::None,
    ];

    fn millis(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn range(jitter: Jitter, delay: u64, previous: u64) -> (Duration, Duration) {
        jitter.range(Spread {
            delay: millis(delay),
            base: millis(100),
            previous: millis(previous),
            cap: millis(1_000),
        })
    }

    #[test]
    fn ranges_are_as_described() {
        assert_eq!(range(Jitter::Full, 200, 0), (millis(0), millis(200)));
        assert_eq!(range(Jitter::Equal, 200, 0), (millis(100), millis(200)));
        assert_eq!(
            range(Jitter::Decorrelated, 1, 150),
            (millis(100), millis(450))
        );
        assert_eq!(
            range(Jitter::Decorrelated, 1, 900),
            (millis(100), millis(1_000))
        );
        assert_eq!(
            range(Jitter::Proportional(20), 200, 0),
            (millis(160), millis(240))
        );
        assert_eq!(
            range(Jitter::Proportional(20), 1_000, 0),
            (millis(800), millis(1_000))
        );
        assert_eq!(range(Jitter::None, 200, 0), (millis(200), millis(200)));
    }

    #[test]
    fn full_jitter_waits_half_as_long_on_average() {
        let mut random = Rng::with_seed(7);
        let sum: Duration = (0..10_000)
            .map(|_| pick((millis(0), millis(1_000)), &mut random))
            .sum();
        assert!((sum / 10_000).abs_diff(millis(500)) < millis(10));
    }

    #[test]
    fn a_position_and_its_opposite_are_equally_far_from_the_ends() {
        let range = (millis(100), millis(300));
        for (position, wait, opposite) in [
            (0, 100, 300),
            (u32::MAX, 300, 100),
            (u32::MAX / 4, 150, 250),
        ] {
            let position = Position(position);
            let near = |is: Duration, wait| is.abs_diff(millis(wait)) < Duration::from_nanos(100);
            assert!(near(position.of(range), wait));
            assert!(near(position.opposite().of(range), opposite));
        }
        let all = (Duration::ZERO, Duration::MAX);
        assert_eq!(Position(u32::MAX).of(all), Duration::MAX);
    }

    proptest! {
        #[test]
        fn no_wait_leaves_its_range(
            delay in any::<u64>(), base in any::<u64>(), previous in any::<u64>(),
            cap in any::<u64>(), seed in any::<u64>(),
        ) {
            let [delay, base, previous, cap] = [delay, base, previous, cap].map(Duration::from_secs);
            let spread = Spread { delay: delay.min(cap), base: base.min(cap), previous, cap };
            for jitter in ALL {
                let (shortest, longest) = jitter.range(spread);
                let mut random = Rng::with_seed(seed);
                let position = Position::random(&mut random);
                for wait in [
                    pick((shortest, longest), &mut random),
                    position.of((shortest, longest)),
                    position.opposite().of((shortest, longest)),
                ] {
                    prop_assert!(shortest <= wait && wait <= longest && longest <= cap);
                }
            }
        }
    }
}
