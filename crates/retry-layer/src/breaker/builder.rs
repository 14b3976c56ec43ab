use std::{fmt, num::NonZeroU32, sync::Arc, time::Duration};

use super::{
    Breaker, SuccessRate,
    settings::Rules,
    shared::{Judge, Shared},
    wait::Waits,
    window::Window,
};
use crate::{
    classify::Classifier,
    error::{BuildError, Problem},
    health::Ledger,
    hint::Hints,
};

/// Settings of a [`Breaker`]. The defaults are Linkerd's, but for [`failing_for`](Self::failing_for).
#[must_use = "a builder does nothing until `build`"]
pub struct BreakerBuilder {
    rules: Rules,
    classifier: Option<Judge>,
    hints: Hints,
    ledger: Option<Ledger>,
}

impl Breaker {
    /// Starts with the defaults.
    pub fn builder() -> BreakerBuilder {
        BreakerBuilder::default()
    }
}

impl Default for Breaker {
    fn default() -> Self {
        match Self::builder().build() {
            Ok(breaker) => breaker,
            Err(error) => unreachable!("the defaults are valid: {error}"),
        }
    }
}

impl BreakerBuilder {
    /// How many attempts in a row must fail for a circuit to open: 7 unless set. They must also have
    /// gone on for [some time](Self::failing_for).
    pub fn consecutive_failures(mut self, failures: NonZeroU32) -> Self {
        self.rules.consecutive_failures = Some(failures);
        self
    }

    /// How long failures in a row must have gone on for a circuit to open: 500 milliseconds unless set, and
    /// no longer than the origin had worked before them, since its circuit was closed or known.
    /// [`Duration::ZERO`]: the last of so many failures opens it, whenever the first one was, as in Linkerd.
    ///
    /// A busy client has many requests under way at the same moment. When a connection breaks that
    /// they share, or a server restarts, all of them fail in a row, and yet the next one may pass: a
    /// retry gets over that, and a circuit that is open would keep it from doing so.
    pub fn failing_for(mut self, time: Duration) -> Self {
        self.rules.failing_for = time;
        self
    }

    /// Failures in a row open no circuit. There must be a [rate](Self::success_rate) then.
    pub fn no_consecutive_failures(mut self) -> Self {
        self.rules.consecutive_failures = None;
        self
    }

    /// Opens a circuit also where too small a part of the attempts succeeds. Default: no such rule.
    pub fn success_rate(mut self, rate: SuccessRate) -> Self {
        self.rules.success_rate = Some(rate);
        self
    }

    /// How long a circuit is open at first: one second unless set. It doubles with each probe that
    /// fails.
    pub fn min_wait(mut self, wait: Duration) -> Self {
        self.rules.waits.min = wait;
        self
    }

    /// How long a circuit is open at most, if no [hint](Self::hints) asks for more: 60 seconds unless
    /// set.
    pub fn max_wait(mut self, wait: Duration) -> Self {
        self.rules.waits.max = wait;
        self
    }

    /// How many percent of a wait are added to it at random at most, up to the
    /// [longest](Self::max_wait): 50 unless set, and 100 at most. So the clients of a server do not all
    /// probe it at the same moment.
    pub fn jitter_percent(mut self, percent: u8) -> Self {
        self.rules.waits.jitter_percent = percent;
        self
    }

    /// Which hints of a response that fails lengthen the wait: `Retry-After` and `RateLimit` unless
    /// set. To a hint up to a tenth is added at random, and no more than 5 seconds.
    pub fn hints(mut self, hints: Hints) -> Self {
        self.hints = hints;
        self
    }

    /// The longest wait that a hint can ask for: 120 seconds unless set. What is longer counts as this.
    pub fn max_retry_after(mut self, wait: Duration) -> Self {
        self.rules.waits.max_retry_after = wait;
        self
    }

    /// Says which outcomes are failures: [`ServerFailures`](super::ServerFailures) unless set. See
    /// [what counts](super#what-counts).
    ///
    /// With a classifier of one's own each request keeps a copy of its method and URI for it, in a box.
    pub fn classifier(mut self, classifier: impl Classifier) -> Self {
        self.classifier = Some(Judge::Any(Arc::new(classifier)));
        self
    }

    /// Takes this classifier in place of [`ServerFailures`](super::ServerFailures), unless another
    /// [is set](Self::classifier): for a stack that knows the errors of its transport, such as a client
    /// that takes these settings from its user.
    ///
    /// It sees no method and no URI but `GET /`, so that requests need not keep theirs.
    pub fn default_classifier(mut self, classifier: impl Classifier) -> Self {
        if let None | Some(Judge::OfOutcomes(_)) = self.classifier {
            self.classifier = Some(Judge::OfOutcomes(Arc::new(classifier)));
        }
        self
    }

    /// Keeps the circuits in this ledger, whose keys, number of origins and observer then hold for
    /// them. Default: a ledger of the breaker's own.
    ///
    /// Breakers with one ledger share its circuits, each by its own rules.
    pub fn ledger(mut self, ledger: Ledger) -> Self {
        self.ledger = Some(ledger);
        self
    }

    /// Returns how many failures in a row open a circuit; `None` if none do.
    #[must_use]
    pub fn failures_in_a_row(&self) -> Option<NonZeroU32> {
        self.rules.consecutive_failures
    }

    /// Returns the rule about the success rate, if there is one.
    #[must_use]
    pub fn rate(&self) -> Option<SuccessRate> {
        self.rules.success_rate
    }

    /// Makes the breaker.
    ///
    /// # Errors
    ///
    /// If nothing would ever open a circuit, a wait is zero, the longest wait is shorter than the first
    /// one, the jitter is more than 100 percent, or the success rate is out of its range.
    pub fn build(self) -> Result<Breaker, BuildError> {
        self.check()?;
        Ok(Breaker::new(Shared {
            rules: self.rules,
            classifier: self.classifier,
            hints: self.hints,
            ledger: self.ledger.unwrap_or_default(),
        }))
    }

    fn check(&self) -> Result<(), BuildError> {
        let waits = &self.rules.waits;
        let rate = self.rules.success_rate;
        let problem = if self.rules.consecutive_failures.is_none() && rate.is_none() {
            "a breaker that neither failures in a row nor a success rate can open does nothing"
        } else if waits.min.is_zero() {
            "a circuit must be open for some time: the first wait is zero"
        } else if waits.max < waits.min {
            "the longest wait of a circuit is shorter than the first one"
        } else if waits.jitter_percent > 100 {
            "a circuit's jitter is at most 100 percent"
        } else if rate.is_some_and(|rate| !(1..=100).contains(&rate.percent)) {
            "a success rate is from 1 to 100 percent"
        } else if rate.is_some_and(|rate| rate.window < Window::SHORTEST) {
            "the window of a success rate is at least 10 ms"
        } else {
            return Ok(());
        };
        Err(Problem::Breaker(problem).into())
    }
}

impl Default for BreakerBuilder {
    fn default() -> Self {
        Self {
            rules: Rules {
                consecutive_failures: Some(NonZeroU32::MIN.saturating_add(6)),
                failing_for: Duration::from_millis(500),
                success_rate: None,
                waits: Waits {
                    min: Duration::from_secs(1),
                    max: Duration::from_secs(60),
                    jitter_percent: 50,
                    max_retry_after: Duration::from_secs(120),
                },
            },
            classifier: None,
            hints: Hints::default(),
            ledger: None,
        }
    }
}

impl fmt::Debug for BreakerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BreakerBuilder")
            .field("rules", &self.rules)
            .field("hints", &self.hints)
            .finish_non_exhaustive()
    }
}
