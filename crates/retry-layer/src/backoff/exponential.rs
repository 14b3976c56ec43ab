use std::{iter, time::Duration};

use tokio_retry::strategy::ExponentialBackoff;

use crate::{
    error::{BuildError, Problem},
    jitter,
};

/// An exponential schedule: the base, then the base times the factor, and so on up to the cap.
///
/// The multipliers 1, 2, 4, … come from [`tokio_retry`]'s strategy, which takes *powers of
/// milliseconds* (`from_millis(2)` means 2, 4, 8 ms, and `from_millis(100)` means 100 ms, 10 s,
/// 17 minutes). Here the base is a [`Duration`] of any size, and the factor is a factor:
///
/// ```
/// use std::time::Duration;
/// use retry_layer::Exponential;
///
/// let waits = Exponential::new(Duration::from_micros(500)).factor(3).cap(Duration::from_millis(10));
/// let waits: Vec<_> = waits.into_iter().take(4).map(|wait| wait.as_micros()).collect();
/// assert_eq!(waits, [500, 1_500, 4_500, 10_000]);
/// ```
///
/// The schedule itself has no jitter; a [`Backoff`](crate::Backoff) made of it has [`Jitter::Full`](crate::Jitter::Full).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exponential {
    base: Duration,
    throttled_base: Duration,
    factor: f64,
    pub(super) cap: Duration,
}

impl Exponential {
    const BASE: Duration = Duration::from_millis(100);
    const THROTTLED_BASE: Duration = Duration::from_secs(1);
    const CAP: Duration = Duration::from_secs(20);

    /// A schedule that starts with `base`, doubles, and ends at 20 seconds.
    #[must_use]
    pub const fn new(base: Duration) -> Self {
        let throttled_base = Self::THROTTLED_BASE;
        Self {
            base,
            throttled_base,
            factor: 2.0,
            cap: Self::CAP,
        }
    }

    /// What the schedule starts with: 100 milliseconds unless set.
    #[must_use]
    pub const fn base(mut self, base: Duration) -> Self {
        self.base = base;
        self
    }

    /// What each wait is multiplied with to get the next: 2 unless set. Must be finite and at
    /// least 1; [`build`](crate::RetryPolicyBuilder::build) refuses anything else.
    #[must_use]
    pub fn factor(mut self, factor: impl Into<f64>) -> Self {
        self.factor = factor.into();
        self
    }

    /// The longest wait: 20 seconds unless set. Must not be shorter than the base.
    /// [`Duration::MAX`] is no cap at all.
    #[must_use]
    pub const fn cap(mut self, cap: Duration) -> Self {
        self.cap = cap;
        self
    }

    /// What the schedule starts with, if that is longer than its base, when the server says that
    /// it is overloaded: 429, or 503 with a `Retry-After`. One second unless set, and never more
    /// than the cap.
    #[must_use]
    pub const fn throttled_base(mut self, base: Duration) -> Self {
        self.throttled_base = base;
        self
    }

    pub(super) fn check(&self) -> Result<(), BuildError> {
        if !(self.factor.is_finite() && self.factor >= 1.0) {
            return Err(Problem::Factor(self.factor).into());
        }
        if self.cap < self.base {
            return Err(Problem::CapBelowBase {
                cap: self.cap,
                base: self.base,
            }
            .into());
        }
        Ok(())
    }

    pub(super) fn base_for(&self, pressure: Pressure) -> Duration {
        match pressure {
            Pressure::Normal => self.base,
            Pressure::Throttled => self.base.max(self.throttled_base),
        }
        .min(self.cap)
    }
}

impl Default for Exponential {
    fn default() -> Self {
        Self::new(Self::BASE)
    }
}

impl From<Duration> for Exponential {
    /// As [`Exponential::new`].
    fn from(base: Duration) -> Self {
        Self::new(base)
    }
}

impl IntoIterator for Exponential {
    type Item = Duration;
    type IntoIter = ExponentialIter;

    fn into_iter(self) -> ExponentialIter {
        ExponentialIter {
            schedule: self,
            multipliers: Multipliers::new(self.factor),
        }
    }
}

/// The waits of an [`Exponential`] schedule: endless, without jitter.
#[derive(Clone, Debug)]
pub struct ExponentialIter {
    pub(super) schedule: Exponential,
    multipliers: Multipliers,
}

impl ExponentialIter {
    pub(super) fn next_from(&mut self, base: Duration) -> Duration {
        self.multipliers.next().scale(base, self.schedule.cap)
    }
}

impl Iterator for ExponentialIter {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(self.next_from(self.schedule.base_for(Pressure::Normal)))
    }
}

#[derive(Clone, Debug)]
enum Multipliers {
    /// One, then the powers of a whole factor.
    Whole(iter::Chain<iter::Once<Duration>, ExponentialBackoff>),
    /// tokio-retry's factors are whole numbers; these are ours.
    Fractional { next: f64, factor: f64 },
}

impl Multipliers {
    fn new(factor: f64) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "compared with the factor below, so that only exact values are used"
        )]
        let whole = factor as u32;
        #[expect(
            clippy::float_cmp,
            reason = "asks whether the factor is this whole number"
        )]
        if f64::from(whole) == factor {
            let powers = ExponentialBackoff::from_millis(u64::from(whole));
            return Self::Whole(iter::once(Duration::from_millis(1)).chain(powers));
        }
        Self::Fractional { next: 1.0, factor }
    }

    fn next(&mut self) -> Multiplier {
        match self {
            // The strategy counts in milliseconds and saturates; read back, they are the powers.
            Self::Whole(powers) => {
                Multiplier::Whole(powers.next().map_or(u128::MAX, |power| power.as_millis()))
            }
            Self::Fractional { next, factor } => {
                let multiplier = Multiplier::Fractional(*next);
                *next *= *factor;
                multiplier
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Multiplier {
    Whole(u128),
    Fractional(f64),
}

impl Multiplier {
    fn scale(self, base: Duration, cap: Duration) -> Duration {
        match self {
            Self::Whole(times) => {
                jitter::from_nanos(base.as_nanos().saturating_mul(times).min(cap.as_nanos()))
            }
            // A product that is no duration, infinity included, is longer than any cap.
            Self::Fractional(times) => Duration::try_from_secs_f64(base.as_secs_f64() * times)
                .unwrap_or(cap)
                .min(cap),
        }
    }
}

/// Whether the server has signalled overload.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Pressure {
    Normal,
    Throttled,
}
