use std::time::Duration;

use fastrand::Rng;

/// How much of a wait is random, so that clients that failed at the same time do not retry at the same
/// time.
///
/// Applied to the wait `d` after its cap, and never beyond the cap.
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
                let wait = pick((shortest, longest), &mut Rng::with_seed(seed));
                prop_assert!(shortest <= wait && wait <= longest && longest <= cap);
            }
        }
    }
}
