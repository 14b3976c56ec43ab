//! How long a call waits between its attempts: see [`Backoff`].

mod exponential;
mod schedules;
#[cfg(test)]
mod tests;
mod waits;

use std::{fmt, iter, sync::Arc, time::Duration};

use fastrand::Rng;

use self::schedules::{Fibonacci, Steps};
pub(crate) use self::{exponential::Pressure, waits::Waits};
pub use self::{
    exponential::{Exponential, ExponentialIter},
    waits::Delays,
};
use crate::{
    error::{BuildError, Problem},
    jitter::Jitter,
};

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

    /// Alters the exponential schedule and keeps the jitter: to change one setting of a policy's
    /// backoff. A schedule of another kind is replaced by the altered default.
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

    /// The waits of one call under a policy with this seed: to inspect a setting, or for a test.
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
