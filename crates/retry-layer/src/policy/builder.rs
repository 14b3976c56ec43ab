use std::{convert::Infallible, fmt, sync::Arc, time::Duration};

use http::{Method, StatusCode};

use super::{
    RetryPolicy,
    settings::{BudgetChoice, ClassifierChoice, Methods, Seed, Settings},
};
use crate::{
    backoff::Backoff,
    before::BeforeAttempt,
    budget::{Budget, SuccessBudget},
    classify::{Classifier, Standard, TransportClassifier},
    drain::DrainLimits,
    error::{BuildError, Problem},
    events::Paths,
    extras::{Extras, Nested},
    headers::{AttemptHeader, TimeoutHeader},
    health::Ledger,
    hedge::Hedging,
    hint::{Hint, Hints},
    jitter::Jitter,
    key::IdempotencyKeys,
    observer::RetryObserver,
    replay::ReplayMemory,
    verdict::TransparentRetries,
};

/// Makes a [`RetryPolicy`]; see there for the defaults.
#[derive(Clone)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct RetryPolicyBuilder {
    settings: Settings,
    problem: Option<Problem>,
}

impl RetryPolicyBuilder {
    pub(super) fn with(settings: Settings) -> Self {
        Self {
            settings,
            problem: None,
        }
    }

    /// How many attempts a call makes at most, the first one included: 3 unless set.
    ///
    /// This bounds attempts, not exchanges. Also with 1, a request is sent again that was provably not
    /// processed; and one that may be processed twice, if the peer had closed the reused connection it
    /// was sent on: see [`Class`](crate::Class). So the body is kept for that as it is for a retry. With [`without_transparent_retries`](Self::without_transparent_retries) beside it, or for a request
    /// with [`NoRetry`](crate::NoRetry), nothing is kept, and nothing is sent twice. 0 is refused by
    /// [`build`](Self::build).
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.settings.max_attempts = attempts;
        self
    }

    /// Sets the status codes that are retried, in place of 408, 429, 500, 502, 503, 504 and the
    /// special case of 413: see [`Standard::statuses`].
    ///
    /// A number outside 100 to 999 is refused by [`build`](Self::build), and so are statuses given
    /// after a [classifier](Self::classifier) of one's own.
    pub fn statuses<I>(mut self, statuses: I) -> Self
    where
        I: IntoIterator,
        I::Item: TryInto<StatusCode>,
    {
        let statuses: Result<Vec<_>, _> = statuses.into_iter().map(TryInto::try_into).collect();
        match (self.settings.classifier, statuses) {
            (ClassifierChoice::Standard(standard), Ok(statuses)) => {
                self.settings.classifier = ClassifierChoice::Standard(standard.statuses(statuses));
            }
            (choice @ ClassifierChoice::Standard(_), Err(_)) => {
                self.settings.classifier = choice;
                self.problem = self.problem.or(Some(Problem::Status));
            }
            (choice @ ClassifierChoice::Custom(_), _) => {
                self.settings.classifier = choice;
                self.problem = self.problem.or(Some(Problem::StatusesBesideClassifier));
            }
        }
        self
    }

    /// Sets the classifier, in place of [`Standard`] and the [statuses](Self::statuses).
    ///
    /// A classifier that only adds a case passes the rest to the standard one:
    ///
    /// ```
    /// use http::StatusCode;
    /// use retry_layer::{Class, Outcome, Classifier, RetryPolicy, Standard, classifier_fn};
    ///
    /// let standard = Standard::default();
    /// let policy = RetryPolicy::builder()
    ///     .classifier(classifier_fn(move |outcome: &Outcome<'_>| match outcome.status() {
    ///         Some(StatusCode::CONFLICT) => Class::Ambiguous,
    ///         _ => standard.classify(outcome),
    ///     }))
    ///     .build()?;
    /// # Ok::<(), retry_layer::BuildError>(())
    /// ```
    pub fn classifier(mut self, classifier: impl Classifier) -> Self {
        self.settings.classifier = ClassifierChoice::Custom(Arc::new(classifier));
        self
    }

    /// Makes another classifier of the one that is set so far: to add to what a configuration, or
    /// a policy of other code, retries.
    ///
    /// ```
    /// use http::StatusCode;
    /// use retry_layer::{Class, Outcome, Classifier as _, RetryPolicy, classifier_fn};
    ///
    /// let configured = RetryPolicy::builder().statuses([429, 503]).build()?;
    /// let busy = classifier_fn(|outcome: &Outcome<'_>| match outcome.status() {
    ///     Some(StatusCode::LOCKED) => Class::Ambiguous,
    ///     _ => Class::Final,
    /// });
    /// let policy = configured.to_builder().map_classifier(|set| set.or(busy)).build()?;
    /// # Ok::<(), retry_layer::BuildError>(())
    /// ```
    pub fn map_classifier<P>(self, map: impl FnOnce(Arc<dyn Classifier>) -> P) -> Self
    where
        P: Classifier,
    {
        let classifier = map(self.settings.classifier.get());
        self.classifier(classifier)
    }

    /// Sets what is known of the service below, whichever classifier a policy has: see
    /// [`TransportClassifier`]. None unless set; for a policy that a request brings, the layer's.
    pub fn transport_classifier(mut self, classifier: impl TransportClassifier) -> Self {
        self.settings.transport_classifier = Some(Arc::new(classifier));
        self
    }

    pub(crate) fn classifier_standard(mut self, standard: Standard) -> Self {
        self.settings.classifier = ClassifierChoice::Standard(standard);
        self
    }

    /// Sets the methods whose requests may be processed twice, in place of the idempotent ones.
    pub fn methods(mut self, methods: impl IntoIterator<Item = Method>) -> Self {
        self.settings.methods = Methods::Listed(methods.into_iter().collect());
        self
    }

    /// Sends any method again, also when it may have been processed already.
    ///
    /// A POST can then be executed twice. Marking the requests for which that is harmless, with [`Idempotent`](crate::Idempotent)
    /// or an `Idempotency-Key` header, is the better choice where it is possible.
    pub fn any_method(mut self) -> Self {
        self.settings.methods = Methods::Any;
        self
    }

    /// Sends again only requests whose method is idempotent, as a policy does unless this is set.
    /// It takes back [`any_method`](Self::any_method) and [`methods`](Self::methods).
    pub fn idempotent_methods(mut self) -> Self {
        self.settings.methods = Methods::Idempotent;
        self
    }

    /// Sets the backoff: an [`Exponential`](crate::Exponential), or a [`Backoff`] made of it or of any schedule.
    /// `Exponential::default()` with [`Jitter::Full`] unless set.
    pub fn backoff(mut self, backoff: impl Into<Backoff>) -> Self {
        self.settings.backoff = backoff.into();
        self
    }

    /// Makes another backoff of the one that is set so far.
    pub fn map_backoff(mut self, map: impl FnOnce(Backoff) -> Backoff) -> Self {
        self.settings.backoff = map(self.settings.backoff);
        self
    }

    /// Sets the jitter of the backoff that is set so far.
    pub fn jitter(mut self, jitter: Jitter) -> Self {
        self.settings.backoff = self.settings.backoff.jitter(jitter);
        self
    }

    /// The longest `Retry-After`, or other [hint](crate::hint), that is waited for: 120 seconds
    /// unless set. When a server asks for more, the response is returned at once: the layer
    /// neither waits that long, nor retries earlier than asked.
    pub fn max_retry_after(mut self, longest: Duration) -> Self {
        self.settings.max_retry_after = longest;
        self
    }

    /// Does not look at `Retry-After` and `RateLimit` when it works out a wait.
    pub fn ignore_retry_after(mut self) -> Self {
        self.settings.hints = self
            .settings
            .hints
            .without(Hint::RetryAfter)
            .without(Hint::RateLimit);
        self
    }

    /// Looks at `Retry-After` and `RateLimit` again, after
    /// [`ignore_retry_after`](Self::ignore_retry_after) or [`hints`](Self::hints).
    pub fn honor_retry_after(mut self) -> Self {
        self.settings.hints = self
            .settings
            .hints
            .with(Hint::RetryAfter)
            .with(Hint::RateLimit);
        self
    }

    /// Sets which [hints](crate::hint) of a server are honoured: `Retry-After` and `RateLimit` unless
    /// set.
    pub fn hints(mut self, hints: Hints) -> Self {
        self.settings.hints = hints;
        self
    }

    /// Counts every exchange as an attempt: a request that was provably not processed is retried
    /// like any other failure, after a wait, and [`max_attempts`](Self::max_attempts) bounds what is
    /// sent. With one attempt the layer is off: the request is sent once, and nothing of it is kept.
    pub fn without_transparent_retries(mut self) -> Self {
        self.settings.transparent_retries = TransparentRetries::NONE;
        self
    }

    /// Makes transparent retries again, after [`without_transparent_retries`](Self::without_transparent_retries).
    pub fn with_transparent_retries(mut self) -> Self {
        self.settings.transparent_retries = TransparentRetries::ALL;
        self
    }

    /// How long a call may take as a whole, measured from when the service is called; none unless
    /// set. A [`Deadline`](crate::Deadline) in the request overrides it. No wait is begun that
    /// would not end before; the layer does not cut off a running attempt.
    ///
    /// If the service below is not ready for the next attempt in time, the last outcome is
    /// returned: an error, or a response without a body, is kept until that attempt is sent. A
    /// response whose body was read or dropped cannot be returned: then the attempt is sent late,
    /// unless a service above has ended the call by then.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.settings.deadline = Some(deadline);
        self
    }

    /// Bounds the deadline of every call of a layer: also of one whose request brings a policy with a
    /// longer [`deadline`](Self::deadline), or with none. No bound unless set; for a policy that a
    /// request brings, the layer's. A [`Deadline`](crate::Deadline) in the request overrides it.
    pub fn max_deadline(mut self, longest: Duration) -> Self {
        self.settings.max_deadline = Some(longest);
        self
    }

    /// How many bytes of a streamed request body are kept for a further attempt: 64 KiB unless
    /// set. A longer stream is sent once. See [`ReplayBody`](crate::ReplayBody).
    pub fn replay_limit(mut self, bytes: usize) -> Self {
        self.settings.replay_limit = bytes;
        self
    }

    /// How many bytes of request bodies all calls under this policy and its clones keep together:
    /// no bound unless set; for a policy that a request brings, the layer's. A body that exceeds the
    /// bound is still sent, but only once.
    ///
    /// A frame of less than 16 KiB is copied when it is kept, so that it does not keep all of the
    /// buffer alive that it is a slice of. A longer one is kept as it is and counted by its
    /// length, though its buffer may be longer. Trailers count, and from the 17th frame of a body on
    /// 96 bytes for each. Without this setting nothing is copied, and a kept frame holds its buffer.
    pub fn replay_memory(mut self, bytes: usize) -> Self {
        self.settings.replay_memory = Some(ReplayMemory::new(bytes));
        self
    }

    /// How many bytes of a refused response are read, and for how long at most, so that its
    /// connection can be used again: 256 KiB and 50 milliseconds unless set. A response that is
    /// known to be longer is dropped at once, and any is if the time is zero.
    ///
    /// The time counts towards the wait that follows.
    pub fn drain(mut self, bytes: u64, time: Duration) -> Self {
        self.settings.drain = DrainLimits { bytes, time };
        self
    }

    /// Sets the budget that all calls under this policy and its clones draw from: a new
    /// [`SuccessBudget`](crate::budget::SuccessBudget) unless set. An `Arc` of a budget can be given to several policies.
    ///
    /// A request that brings a policy without a budget of its own draws from that of the layer.
    pub fn budget(mut self, budget: impl Budget) -> Self {
        self.settings.budget = BudgetChoice::Set(Arc::new(budget));
        self
    }

    /// Keeps the tokens of the default budget in this ledger, which then tells
    /// [what is left](crate::health::Health::retries_left). Does nothing to a budget that is
    /// [set](Self::budget).
    pub fn ledger(mut self, ledger: Ledger) -> Self {
        if !self.settings.budget.is_set() {
            let budget = SuccessBudget::default().ledger(ledger);
            self.settings.budget = BudgetChoice::Inherited(Arc::new(budget));
        }
        self
    }

    /// Makes the jitter reproducible: the calls that wait draw from generators that follow from
    /// this seed, each from its own. Random unless set; for a policy that a request brings, the
    /// layer's.
    pub fn seed(mut self, seed: u64) -> Self {
        self.settings.seed = Some(Seed::Given(seed));
        self
    }

    /// Records the paths of URLs in this layer's events, as the field `path`. Not recorded unless
    /// set, since many hold a secret: a signed link, a token to reset a password. Userinfo and queries
    /// never are. For a policy that a request brings, the layer's setting counts too.
    pub fn record_paths(mut self) -> Self {
        self.settings.paths = Paths::Recorded;
        self
    }

    /// Gives each call an `Idempotency-Key`, so that it may be retried though its method is not
    /// idempotent; none unless set. Only for servers that know the header: see
    /// [`IdempotencyKeys`].
    pub fn idempotency_keys(mut self, keys: IdempotencyKeys) -> Self {
        self.extras().keys = Some(keys);
        self
    }

    /// Alters each attempt before it is sent; nothing unless set. See [`BeforeAttempt`], which a
    /// request can carry too.
    pub fn before_attempt(
        mut self,
        alter: impl Fn(u32, &mut http::request::Parts) + Send + Sync + 'static,
    ) -> Self {
        self.extras().before = Some(BeforeAttempt::new(alter));
        self
    }

    /// Sends the number of the attempt in this header; none unless set.
    pub fn attempt_header(mut self, header: AttemptHeader) -> Self {
        self.extras().attempt_header = Some(header);
        self
    }

    /// Sends the time that is left of the call's deadline, if it has one, in this header; none unless
    /// set.
    pub fn timeout_header(mut self, header: TimeoutHeader) -> Self {
        self.extras().timeout_header = Some(header);
        self
    }

    /// Switches retry layers below this one off, by a [`RetryOwner`](crate::RetryOwner) in each request; they
    /// retry as well unless set.
    pub fn own_retries(mut self) -> Self {
        self.extras().nested = Nested::StandDown;
        self
    }

    /// Reports the end of every attempt to this observer; none unless set.
    pub fn observer(mut self, observer: impl RetryObserver) -> Self {
        self.extras().observer = Some(Arc::new(observer));
        self
    }

    /// Sends a request a second time where the answer takes long, beside the attempt that is under way: see
    /// [`hedge`](crate::hedge). Not done unless set, and only over a
    /// [`HedgeLayer`](crate::hedge::HedgeLayer), which goes directly below the retry layer. A policy that a
    /// request brings hedges it only if it says so itself.
    pub fn hedging(mut self, hedging: Hedging) -> Self {
        self.extras().hedging = Some(hedging);
        self
    }

    /// Makes the policy.
    ///
    /// # Errors
    ///
    /// If a setting makes no sense: no attempts, an invalid status, statuses beside a classifier,
    /// a factor below 1 or not finite, a cap below the base, or a jitter of more than 100 percent.
    pub fn build(self) -> Result<RetryPolicy, BuildError> {
        if let Some(problem) = self.problem {
            return Err(problem.into());
        }
        if self.settings.max_attempts == 0 {
            return Err(Problem::NoAttempts.into());
        }
        self.settings.backoff.check()?;
        Ok(self.build_unchecked())
    }

    pub(crate) fn build_unchecked(self) -> RetryPolicy {
        RetryPolicy::of(self.settings)
    }

    fn extras(&mut self) -> &mut Extras {
        self.settings.extras.get_or_insert_default()
    }
}

impl Default for RetryPolicyBuilder {
    fn default() -> Self {
        Self::with(Settings::default())
    }
}

impl fmt::Debug for RetryPolicyBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.settings.debug("RetryPolicyBuilder", f)
    }
}

/// As [`RetryPolicyBuilder::build`], so that a function can take either.
impl TryFrom<RetryPolicyBuilder> for RetryPolicy {
    type Error = BuildError;

    fn try_from(builder: RetryPolicyBuilder) -> Result<Self, BuildError> {
        builder.build()
    }
}

impl From<Infallible> for BuildError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backoff::Exponential;

    #[test]
    fn absurd_settings_are_refused() {
        let problem = |builder: RetryPolicyBuilder| builder.build().unwrap_err().to_string();
        let exponential = Exponential::default();
        assert!(problem(RetryPolicy::builder().max_attempts(0)).contains("0 attempts"));
        assert!(problem(RetryPolicy::builder().statuses([99])).contains("from 100 to 999"));
        let custom = crate::classifier_fn(|_: &crate::Outcome<'_>| true);
        assert!(
            problem(RetryPolicy::builder().classifier(custom).statuses([503])).contains("Standard")
        );
        for factor in [0.5, -1.0, f64::NAN, f64::INFINITY] {
            let builder = RetryPolicy::builder().backoff(exponential.factor(factor));
            assert!(problem(builder).contains("factor"), "{factor}");
        }
        let low = exponential.cap(Duration::from_millis(99));
        assert!(problem(RetryPolicy::builder().backoff(low)).contains("below the base"));
        let jitter = RetryPolicy::builder().jitter(Jitter::Proportional(101));
        assert!(problem(jitter).contains("101 %"));
    }
}
