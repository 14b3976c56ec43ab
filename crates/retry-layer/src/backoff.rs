use std::{fmt, iter, sync::Arc, time::Duration};

use fastrand::Rng;
use tokio_retry::strategy::ExponentialBackoff;

use crate::{
    error::{BuildError, Problem},
    jitter::{self, Jitter, Spread},
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
/// The schedule itself has no jitter; a [`Backoff`] made of it has [`Jitter::Full`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exponential {
    base: Duration,
    throttled_base: Duration,
    factor: f64,
    cap: Duration,
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

    fn check(&self) -> Result<(), BuildError> {
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

    fn base_for(&self, pressure: Pressure) -> Duration {
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
    schedule: Exponential,
    multipliers: Multipliers,
}

impl ExponentialIter {
    fn next_from(&mut self, base: Duration) -> Duration {
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

/// How long a call waits between its attempts: a schedule, its jitter and its cap.
///
/// Made of an [`Exponential`], a [fixed](Self::fixed) wait, a [linear](Self::linear) or
/// [Fibonacci](Self::fibonacci) schedule, or [any iterator](Self::schedule) of
/// durations that can be cloned, such as the strategies of [`tokio_retry`].
#[derive(Clone)]
pub struct Backoff {
    schedule: Schedule,
    jitter: Jitter,
    cap: Duration,
}

#[derive(Clone)]
enum Schedule {
    Exponential(Exponential),
    Custom(Arc<dyn Fn() -> BoxedWaits + Send + Sync>),
}

type BoxedWaits = Box<dyn Iterator<Item = Duration> + Send + Sync>;

impl Backoff {
    /// Always the same wait, without jitter unless [asked for](Self::jitter).
    #[must_use]
    pub fn fixed(wait: Duration) -> Self {
        Self::schedule(iter::repeat(wait))
    }

    /// Waits of `first`, `first + step`, `first + 2 step` and so on, without jitter and without a
    /// cap unless [asked](Self::jitter) [for](Self::cap).
    ///
    /// ```
    /// use std::time::Duration;
    /// use retry_layer::Backoff;
    ///
    /// let backoff = Backoff::linear(Duration::from_millis(100), Duration::from_millis(50));
    /// let waits: Vec<_> = backoff.delays(0).take(3).map(|wait| wait.as_millis()).collect();
    /// assert_eq!(waits, [100, 150, 200]);
    /// ```
    #[must_use]
    pub fn linear(first: Duration, step: Duration) -> Self {
        Self::schedule(Steps { next: first, step })
    }

    /// Waits of `unit`, `unit`, twice, three, five, eight times `unit` and so on, without jitter
    /// and without a cap unless [asked](Self::jitter) [for](Self::cap).
    ///
    /// It grows slower than doubling: by about 1.6 each time.
    #[must_use]
    pub fn fibonacci(unit: Duration) -> Self {
        Self::schedule(Fibonacci {
            next: unit,
            after: unit,
        })
    }

    /// One wait after the other, as they are: without jitter and without a cap unless
    /// [asked](Self::jitter) [for](Self::cap). A call makes no further attempt when the schedule
    /// has come to its end.
    ///
    /// ```
    /// use std::time::Duration;
    /// use retry_layer::{Backoff, Jitter, RetryPolicy};
    /// use tokio_retry::strategy::FixedInterval;
    ///
    /// let fixed = Backoff::schedule(FixedInterval::from_millis(50)).jitter(Jitter::Equal);
    /// let listed = Backoff::schedule([Duration::from_millis(20), Duration::from_secs(1)]);
    /// # let _ = fixed;
    /// let policy = RetryPolicy::builder().backoff(listed).build()?;
    /// # Ok::<(), retry_layer::BuildError>(())
    /// ```
    #[must_use]
    pub fn schedule<I>(waits: I) -> Self
    where
        I: IntoIterator<Item = Duration> + Clone + Send + Sync + 'static,
        I::IntoIter: Send + Sync + 'static,
    {
        Self {
            schedule: Schedule::Custom(Arc::new(move || Box::new(waits.clone().into_iter()))),
            jitter: Jitter::None,
            cap: Duration::MAX,
        }
    }

    /// Sets the jitter.
    #[must_use]
    pub fn jitter(mut self, jitter: Jitter) -> Self {
        self.jitter = jitter;
        self
    }

    /// Sets the longest wait that the jitter may make, and that a schedule may ask for.
    #[must_use]
    pub fn cap(mut self, cap: Duration) -> Self {
        if let Schedule::Exponential(exponential) = &mut self.schedule {
            exponential.cap = cap;
        }
        self.cap = cap;
        self
    }

    /// Alters the exponential schedule and keeps the jitter: to change a part of what a policy has
    /// already. A schedule of another kind gives way to the altered default.
    ///
    /// ```
    /// use std::time::Duration;
    /// use retry_layer::{Backoff, Exponential, Jitter};
    ///
    /// let second = Duration::from_secs(1);
    /// let backoff = Backoff::from(Exponential::new(second)).jitter(Jitter::None);
    /// let slower = backoff.map_exponential(|schedule| schedule.factor(3));
    /// assert_eq!(slower.delays(0).nth(1), Some(3 * second));
    /// ```
    #[must_use]
    pub fn map_exponential(mut self, map: impl FnOnce(Exponential) -> Exponential) -> Self {
        let exponential = map(match self.schedule {
            Schedule::Exponential(exponential) => exponential,
            Schedule::Custom(_) => Exponential::default(),
        });
        self.cap = exponential.cap;
        self.schedule = Schedule::Exponential(exponential);
        self
    }

    /// The waits that one call would make, as far as it gets: what a policy with this seed does,
    /// for a look at a setting or for a test.
    #[must_use]
    pub fn delays(&self, seed: u64) -> Delays {
        Delays {
            waits: Waits::new(self),
            random: Rng::with_seed(seed),
        }
    }

    pub(crate) fn check(&self) -> Result<(), BuildError> {
        if let Jitter::Proportional(percent @ 101..) = self.jitter {
            return Err(Problem::JitterPercent(percent).into());
        }
        match &self.schedule {
            Schedule::Exponential(exponential) => exponential.check(),
            Schedule::Custom(_) => Ok(()),
        }
    }
}

/// An exponential schedule with [`Jitter::Full`].
impl From<Exponential> for Backoff {
    fn from(exponential: Exponential) -> Self {
        Self {
            cap: exponential.cap,
            schedule: Schedule::Exponential(exponential),
            jitter: Jitter::Full,
        }
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Exponential::default().into()
    }
}

impl fmt::Debug for Backoff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let schedule: &dyn fmt::Debug = match &self.schedule {
            Schedule::Exponential(exponential) => exponential,
            Schedule::Custom(_) => &"custom",
        };
        f.debug_struct("Backoff")
            .field("schedule", schedule)
            .field("jitter", &self.jitter)
            .field("cap", &self.cap)
            .finish()
    }
}

#[derive(Clone, Debug)]
struct Steps {
    next: Duration,
    step: Duration,
}

impl Iterator for Steps {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let wait = self.next;
        self.next = wait.saturating_add(self.step);
        Some(wait)
    }
}

#[derive(Clone, Debug)]
struct Fibonacci {
    next: Duration,
    after: Duration,
}

impl Iterator for Fibonacci {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let wait = self.next;
        self.next = self.after;
        self.after = wait.saturating_add(self.after);
        Some(wait)
    }
}

/// The waits of one call, made by [`Backoff::delays`].
pub struct Delays {
    waits: Waits,
    random: Rng,
}

impl Iterator for Delays {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.waits.next(Pressure::Normal, &mut self.random)
    }
}

impl fmt::Debug for Delays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delays").finish_non_exhaustive()
    }
}

/// What the server said about its load.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Pressure {
    Normal,
    Throttled,
}

/// Where one call stands in its schedule.
pub(crate) struct Waits {
    source: Source,
    jitter: Jitter,
    cap: Duration,
    previous: Option<Duration>,
}

enum Source {
    Exponential(ExponentialIter),
    Custom(BoxedWaits),
}

impl Waits {
    pub(crate) fn new(backoff: &Backoff) -> Self {
        let source = match &backoff.schedule {
            Schedule::Exponential(exponential) => Source::Exponential(exponential.into_iter()),
            Schedule::Custom(waits) => Source::Custom(waits()),
        };
        Self {
            source,
            jitter: backoff.jitter,
            cap: backoff.cap,
            previous: None,
        }
    }

    /// The schedule without the waits of so many retries, which were made before.
    pub(crate) fn behind(backoff: &Backoff, retries: u32) -> Self {
        let mut waits = Self::new(backoff);
        for _ in 0..retries {
            if !waits.skip() {
                break;
            }
        }
        waits
    }

    /// Leaves the next wait out. Returns whether there was one that another may differ from.
    fn skip(&mut self) -> bool {
        match &mut self.source {
            Source::Exponential(waits) => {
                let base = waits.schedule.base_for(Pressure::Normal);
                waits.next_from(base) < self.cap
            }
            Source::Custom(waits) => waits.next().is_some(),
        }
    }

    /// The next wait, or nothing if the schedule is over.
    pub(crate) fn next(&mut self, pressure: Pressure, random: &mut Rng) -> Option<Duration> {
        let (delay, base) = match &mut self.source {
            Source::Exponential(waits) => {
                let base = waits.schedule.base_for(pressure);
                (waits.next_from(base), base)
            }
            Source::Custom(waits) => {
                let delay = waits.next()?.min(self.cap);
                (delay, delay)
            }
        };
        let previous = self.previous.unwrap_or(base);
        let spread = Spread {
            delay,
            base,
            previous,
            cap: self.cap,
        };
        let wait = jitter::pick(self.jitter.range(spread), random);
        self.previous = Some(wait);
        Some(wait)
    }
}

impl fmt::Debug for Waits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waits")
            .field("previous", &self.previous)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::any, prop_assert, proptest};

    use super::*;

    fn millis(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_large_retry_number_waits_no_longer_than_the_cap() {
        for factor in [1.5, 2.0, 3.0, 1e300] {
            let waits = Exponential::new(millis(1))
                .factor(factor)
                .cap(millis(300_000));
            for n in [63, 128, 1_000] {
                assert_eq!(
                    waits.into_iter().nth(n),
                    Some(millis(300_000)),
                    "{factor} at {n}"
                );
            }
        }
    }

    #[test]
    fn a_factor_below_one_or_without_end_makes_no_schedule() {
        for (factor, fits) in [
            (1.0, true),
            (1.5, true),
            (0.99, false),
            (-2.0, false),
            (f64::NAN, false),
            (f64::INFINITY, false),
        ] {
            let schedule = Exponential::new(millis(100)).factor(factor);
            assert_eq!(schedule.check().is_ok(), fits, "{factor}");
        }
    }

    #[test]
    fn a_duration_is_a_schedule_that_begins_with_it() {
        let schedule = Exponential::from(millis(7));
        assert_eq!(schedule, Exponential::new(millis(7)));
        assert_eq!(schedule.into_iter().next(), Some(millis(7)));
    }

    #[test]
    fn a_base_below_a_millisecond_is_kept() {
        let waits = Exponential::new(Duration::from_micros(250))
            .into_iter()
            .take(3);
        assert_eq!(
            waits.map(|wait| wait.as_micros()).collect::<Vec<_>>(),
            [250, 500, 1_000]
        );
    }

    #[test]
    fn a_fractional_factor_is_a_factor() {
        let waits = Exponential::new(millis(100))
            .factor(1.5)
            .into_iter()
            .take(3);
        assert_eq!(
            waits.collect::<Vec<_>>(),
            [millis(100), millis(150), millis(225)]
        );
    }

    #[test]
    fn a_throttled_server_is_given_a_second_at_first() {
        let backoff = Backoff::default().jitter(Jitter::None);
        let mut waits = Waits::new(&backoff);
        let mut random = Rng::with_seed(0);
        assert_eq!(
            waits.next(Pressure::Throttled, &mut random),
            Some(millis(1_000))
        );
        assert_eq!(waits.next(Pressure::Normal, &mut random), Some(millis(200)));
        assert_eq!(
            waits.next(Pressure::Throttled, &mut random),
            Some(millis(4_000))
        );
    }

    #[test]
    fn fibonacci_waits_are_the_sums_of_the_two_before() {
        let waits = Backoff::fibonacci(millis(50)).delays(0).take(7);
        let expected = [50, 50, 100, 150, 250, 400, 650].map(millis);
        assert_eq!(waits.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn endless_schedules_do_not_overflow() {
        for backoff in [
            Backoff::fibonacci(millis(1)),
            Backoff::linear(millis(1), Duration::MAX),
        ] {
            for n in [63, 128, 1_000] {
                assert!(backoff.delays(0).nth(n) > Some(millis(1_000_000)));
            }
            let capped = backoff.cap(millis(300_000));
            assert_eq!(capped.delays(0).nth(1_000), Some(millis(300_000)));
        }
    }

    #[test]
    fn a_schedule_that_is_over_gives_no_wait() {
        let backoff = Backoff::schedule(vec![millis(3)]);
        assert_eq!(backoff.delays(0).collect::<Vec<_>>(), [millis(3)]);
    }

    #[test]
    fn a_capped_schedule_stays_below_its_cap() {
        let backoff = Backoff::fixed(millis(30)).cap(millis(20));
        assert_eq!(backoff.delays(0).next(), Some(millis(20)));
    }

    #[test]
    fn an_altered_schedule_keeps_its_jitter_and_brings_its_cap() {
        let backoff = Backoff::from(Exponential::new(millis(1_000))).jitter(Jitter::None);
        let altered = backoff.map_exponential(|schedule| schedule.factor(3).cap(millis(5_000)));
        let waits = altered.delays(0).take(3).collect::<Vec<_>>();
        assert_eq!(waits, [1_000, 3_000, 5_000].map(millis));

        let fixed = Backoff::fixed(millis(7)).cap(millis(8));
        let altered = fixed.map_exponential(|schedule| schedule.base(millis(9)));
        let waits = altered.delays(0).take(2).collect::<Vec<_>>();
        assert_eq!(waits, [9, 18].map(millis));
    }

    #[test]
    fn a_backoff_with_a_setting_out_of_range_is_refused() {
        let exponential = Backoff::from(Exponential::new(millis(20)));
        let fixed = Backoff::fixed(millis(20));
        for backoff in [exponential.clone(), fixed.clone()] {
            let with = |percent| backoff.clone().jitter(Jitter::Proportional(percent));
            assert!(with(100).check().is_ok());
            assert!(with(101).check().is_err());
        }
        assert!(exponential.clone().cap(millis(20)).check().is_ok());
        assert!(exponential.cap(millis(19)).check().is_err());
        assert!(fixed.cap(millis(19)).check().is_ok());
    }

    #[test]
    fn its_debug_output_tells_the_schedule_the_jitter_and_the_cap() {
        let exponential = Exponential::new(millis(20)).cap(millis(700));
        let shown = format!("{:?}", Backoff::from(exponential));
        for part in ["Exponential", "base: 20ms", "jitter: Full", "cap: 700ms"] {
            assert!(shown.contains(part), "{shown}");
        }
        let shown = format!("{:?}", Backoff::fixed(millis(20)));
        assert!(shown.contains("custom"), "{shown}");
    }

    #[test]
    fn the_debug_output_of_waits_tells_the_one_before() {
        let backoff = Backoff::fixed(millis(20));
        assert_eq!(format!("{:?}", backoff.delays(0)), "Delays { .. }");
        let mut waits = Waits::new(&backoff);
        let _ = waits.next(Pressure::Normal, &mut Rng::with_seed(0));
        let shown = format!("{waits:?}");
        assert_eq!(shown, "Waits { previous: Some(20ms), .. }");
    }

    proptest! {
        #[test]
        fn no_backoff_leaves_its_bounds(
            base in 0_u64..10_000, cap in 0_u64..1_000_000, factor in 1.0_f64..50.0, seed in any::<u64>(),
        ) {
            let cap = cap.max(base);
            let exponential = Exponential::new(millis(base)).factor(factor).cap(millis(cap));
            for jitter in [Jitter::Full, Jitter::Equal, Jitter::Decorrelated, Jitter::Proportional(20), Jitter::None] {
                let backoff = Backoff::from(exponential).jitter(jitter);
                prop_assert!(backoff.check().is_ok());
                for wait in backoff.delays(seed).take(1_001) {
                    prop_assert!(wait <= millis(cap));
                }
            }
        }

        #[test]
        fn full_jitter_stays_below_the_doubled_base(base in 1_u64..1_000, seed in any::<u64>()) {
            let delays = Backoff::from(Exponential::new(millis(base))).delays(seed).take(8);
            for (n, wait) in delays.enumerate() {
                prop_assert!(wait <= millis(base << n).min(millis(20_000)));
            }
        }
    }
}
