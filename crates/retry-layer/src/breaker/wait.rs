//! How long a circuit stays open.

use std::time::Duration;

use fastrand::Rng;

use crate::jitter;

/// The schedule of the waits: exponential, from `min` to `max`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waits {
    pub(super) min: Duration,
    pub(super) max: Duration,
    /// The most that is added at random, in percent of the wait.
    pub(super) jitter_percent: u8,
    /// The longest hint that is followed.
    pub(super) max_retry_after: Duration,
}

impl Waits {
    /// Returns the wait after so many openings in a row, the first being 0.
    pub(super) fn next(&self, earlier: u32, hint: Option<Duration>, random: &mut Rng) -> Duration {
        const LONGEST_STAGGER: Duration = Duration::from_secs(5);
        let factor = 1_u32.checked_shl(earlier).unwrap_or(u32::MAX);
        let base = self.min.saturating_mul(factor).min(self.max);
        let part = (base / 100).saturating_mul(u32::from(self.jitter_percent));
        let longest = base.saturating_add(part).min(self.max);
        let backoff = jitter::pick((base, longest), random);
        let Some(hint) = hint.map(|hint| hint.min(self.max_retry_after)) else {
            return backoff;
        };
        if hint <= backoff {
            return backoff;
        }
        // Never earlier than asked, and not all clients at the same moment.
        let stagger = (hint / 10).min(LONGEST_STAGGER);
        hint.saturating_add(jitter::pick((Duration::ZERO, stagger), random))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, proptest};

    use super::*;

    const WAITS: Waits = Waits {
        min: Duration::from_secs(1),
        max: Duration::from_secs(60),
        jitter_percent: 50,
        max_retry_after: Duration::from_secs(120),
    };

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn waits_double_up_to_the_maximum() {
        let waits = Waits {
            jitter_percent: 0,
            ..WAITS
        };
        let mut random = Rng::with_seed(1);
        let waits = [0, 1, 2, 5, 6, 63, 128, u32::MAX].map(|n| waits.next(n, None, &mut random));
        assert_eq!(waits, [1, 2, 4, 32, 60, 60, 60, 60].map(seconds));
    }

    #[test]
    fn a_hint_lengthens_a_wait_up_to_its_bound_and_never_shortens_it() {
        let mut random = Rng::with_seed(1);
        let wait = WAITS.next(0, Some(seconds(30)), &mut random);
        assert!(seconds(30) <= wait && wait <= seconds(33), "{wait:?}");
        let wait = WAITS.next(0, Some(Duration::MAX), &mut random);
        assert!(seconds(120) <= wait && wait <= seconds(125), "{wait:?}");
        let wait = WAITS.next(6, Some(seconds(1)), &mut random);
        assert_eq!(wait, seconds(60));
    }

    proptest! {
        #[test]
        fn a_wait_without_a_hint_is_from_its_base_to_the_maximum(n in 0_u32..70, seed in any::<u64>()) {
            let wait = WAITS.next(n, None, &mut Rng::with_seed(seed));
            let base = seconds(1).saturating_mul(1_u32.checked_shl(n).unwrap_or(u32::MAX));
            let base = base.min(seconds(60));
            prop_assert!(base <= wait && wait <= (base + base / 2).min(seconds(60)));
        }
    }
}
