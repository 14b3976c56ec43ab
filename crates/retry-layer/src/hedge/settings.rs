use std::{fmt, num::NonZeroU32, sync::Arc, time::Duration};

use http::Uri;
use tokio::time::Instant;

use super::origins::OriginLatency;
use crate::{
    error::{BuildError, Problem},
    health::Ledger,
};

/// After how long a request is sent a second time, and how often: for
/// [`RetryPolicyBuilder::hedging`](crate::RetryPolicyBuilder::hedging). See the [module docs](super).
///
/// A handle that is cheap to clone. Clones share what was learned of each origin: give one to several
/// policies whose requests take equally long.
///
/// | | default |
/// |---|---|
/// | delay of [`learned`](Self::learned) | the 95th percentile of the last 30 s of the origin; no hedges until 100 answers |
/// | hedges for one attempt | 1 |
/// | a head is held back for its first byte | 1 s at most |
///
/// ```
/// use std::time::Duration;
/// use retry_layer::{RetryPolicy, hedge::Hedging};
///
/// let learned = RetryPolicy::builder().hedging(Hedging::learned().build()?).build()?;
/// let fixed = RetryPolicy::builder()
///     .hedging(Hedging::after(Duration::from_millis(200)).build()?)
///     .build()?;
/// # Ok::<(), retry_layer::BuildError>(())
/// ```
#[derive(Clone)]
pub struct Hedging {
    shared: Arc<Shared>,
}

struct Shared {
    rules: Rules,
    /// Where a delay is learned; `None` for a fixed one.
    ledger: Option<Ledger>,
    /// The ledger that was set.
    own_ledger: Option<Ledger>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Rules {
    delay: Delay,
    max_hedges: u32,
    hold: Duration,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Delay {
    Fixed(Duration),
    Learned { percent: u8, fewest: u32 },
}

impl Delay {
    const LEARNED: Self = Self::Learned {
        percent: 95,
        fewest: 100,
    };
}

/// Makes a [`Hedging`]; see there for the defaults.
#[derive(Clone)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct HedgingBuilder {
    rules: Rules,
    ledger: Option<Ledger>,
}

impl Hedging {
    /// What takes longer than this time is not worth less than a timer's tick of it.
    const SHORTEST_LEARNED: Duration = Duration::from_millis(1);

    /// Hedges an attempt that was not [answered](super#what-an-answer-is) within this time. With zero,
    /// all attempts are sent at once.
    pub fn after(delay: Duration) -> HedgingBuilder {
        HedgingBuilder::new(Delay::Fixed(delay))
    }

    /// Hedges an attempt that takes longer than 95 of 100 to the same origin have lately.
    pub fn learned() -> HedgingBuilder {
        HedgingBuilder::new(Delay::LEARNED)
    }

    /// A builder with these settings. What it builds learns by itself, unless a
    /// [ledger](HedgingBuilder::ledger) was set.
    pub fn to_builder(&self) -> HedgingBuilder {
        HedgingBuilder {
            rules: self.shared.rules,
            ledger: self.shared.own_ledger.clone(),
        }
    }

    /// Where a delay is learned: its [`health`](Ledger::health) has the
    /// [latency](crate::health::Health::latency) of each origin. `None` for a fixed delay.
    #[must_use]
    pub fn ledger(&self) -> Option<&Ledger> {
        self.shared.ledger.as_ref()
    }

    /// After how long an attempt to the origin of this URI would be hedged now. `None` while too little
    /// is known of it.
    #[must_use]
    pub fn delay(&self, uri: &Uri) -> Option<Duration> {
        let now = Instant::now();
        let latency = self.latency(uri);
        self.delay_of(latency.as_ref(), now)
    }

    /// What was learned of the origin of this URI, if the delay is learned.
    pub(super) fn latency(&self, uri: &Uri) -> Option<OriginLatency> {
        OriginLatency::of(self.shared.ledger.as_ref()?, uri)
    }

    pub(super) fn delay_of(
        &self,
        latency: Option<&OriginLatency>,
        now: Instant,
    ) -> Option<Duration> {
        match self.shared.rules.delay {
            Delay::Fixed(delay) => Some(delay),
            Delay::Learned { percent, fewest } => {
                let learned = latency?.quantile(now, percent, fewest)?;
                Some(learned.max(Self::SHORTEST_LEARNED))
            }
        }
    }

    /// How many hedges one attempt may have.
    #[must_use]
    pub fn max_hedges(&self) -> u32 {
        self.shared.rules.max_hedges
    }

    /// How long a head is held back at most.
    pub(super) fn hold(&self) -> Duration {
        self.shared.rules.hold
    }
}

impl HedgingBuilder {
    fn new(delay: Delay) -> Self {
        Self {
            rules: Rules {
                delay,
                max_hedges: 1,
                hold: Duration::from_secs(1),
            },
            ledger: None,
        }
    }

    /// Hedges after this time, in place of one that is learned.
    pub fn after(mut self, delay: Duration) -> Self {
        self.rules.delay = Delay::Fixed(delay);
        self
    }

    /// Learns the delay, in place of a fixed one.
    pub fn learned(mut self) -> Self {
        if let Delay::Fixed(_) = self.rules.delay {
            self.rules.delay = Delay::LEARNED;
        }
        self
    }

    /// How many hedges one attempt may have: 1 unless set. Each is sent when the one before was not
    /// answered within the delay either. The policy's
    /// [`max_attempts`](crate::RetryPolicyBuilder::max_attempts) bounds them too.
    pub fn max_hedges(mut self, hedges: NonZeroU32) -> Self {
        self.rules.max_hedges = hedges.get();
        self
    }

    /// Which percentile of the answers of the last 30 seconds a learned delay is, from 50 to 99: 95 unless
    /// set. The rest of the requests is hedged, so with 95 the load grows by 5 % at most. Of a fixed delay
    /// it changes nothing.
    pub fn percentile(mut self, percent: u8) -> Self {
        if let Delay::Learned { percent: set, .. } = &mut self.rules.delay {
            *set = percent;
        }
        self
    }

    /// Of how many answers, in the last 30 seconds, a delay is learned: 100 unless set. Until then nothing
    /// is hedged. Of a fixed delay it changes nothing.
    pub fn min_answers(mut self, answers: NonZeroU32) -> Self {
        if let Delay::Learned { fewest, .. } = &mut self.rules.delay {
            *fewest = answers.get();
        }
        self
    }

    /// How long the head of a response waits for the first byte of its body at most, before it counts as
    /// the [answer](super#what-an-answer-is) by itself: 1 second unless set.
    pub fn first_byte_within(mut self, time: Duration) -> Self {
        self.rules.hold = time;
        self
    }

    /// Keeps what is learned in this ledger, beside what a breaker, pauses and budgets keep there. Each
    /// origin takes 5 KiB of it. Default: one of its own, for 256 origins.
    pub fn ledger(mut self, ledger: Ledger) -> Self {
        self.ledger = Some(ledger);
        self
    }

    /// Takes this ledger, unless another [was set](Self::ledger): for a stack that has one for all, such
    /// as a client that takes these settings from its user.
    pub fn default_ledger(mut self, ledger: Ledger) -> Self {
        self.ledger.get_or_insert(ledger);
        self
    }

    /// Makes the settings.
    ///
    /// # Errors
    ///
    /// If the percentile is not from 50 to 99.
    pub fn build(self) -> Result<Hedging, BuildError> {
        const ORIGINS: usize = 256;
        let ledger = match self.rules.delay {
            Delay::Fixed(_) => None,
            Delay::Learned { percent, .. } if !(50..=99).contains(&percent) => {
                let range = "the percentile of a learned delay is from 50 to 99: below, most requests \
                             would be sent twice, and of 100 there is none";
                return Err(Problem::Hedging(range).into());
            }
            Delay::Learned { .. } => Some(match &self.ledger {
                Some(ledger) => ledger.clone(),
                None => Ledger::builder().max_origins(ORIGINS).build()?,
            }),
        };
        Ok(Hedging {
            shared: Arc::new(Shared {
                rules: self.rules,
                ledger,
                own_ledger: self.ledger,
            }),
        })
    }
}

/// As [`HedgingBuilder::build`], so that a function can take either.
impl TryFrom<HedgingBuilder> for Hedging {
    type Error = BuildError;

    fn try_from(builder: HedgingBuilder) -> Result<Self, BuildError> {
        builder.build()
    }
}

impl fmt::Debug for HedgingBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rules.fmt(f)
    }
}

// Without the origins: a host may be a secret.
impl fmt::Debug for Hedging {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.rules.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_that_would_double_the_load_is_refused() {
        for percent in [0, 49, 100, 255] {
            let error = Hedging::learned().percentile(percent).build().unwrap_err();
            assert_eq!(error.setting(), "hedging");
        }
        for percent in [50, 99] {
            assert!(Hedging::learned().percentile(percent).build().is_ok());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_learned_delay_is_no_shorter_than_a_timer_can_be() {
        let hedging = Hedging::learned().build().unwrap();
        let uri = Uri::from_static("http://peer/");
        assert_eq!(hedging.delay(&uri), None);
        let now = Instant::now();
        let latency = hedging.latency(&uri).unwrap();
        (0..100).for_each(|_| latency.record(now, Duration::from_micros(20)));
        tokio::time::advance(Duration::from_millis(100)).await;
        assert_eq!(hedging.delay(&uri), Some(Duration::from_millis(1)));
    }
}
