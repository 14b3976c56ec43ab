use std::{
    convert::Infallible,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use fastrand::Rng;
use http::{Extensions, HeaderMap, Method, Request, StatusCode};

use crate::{
    backoff::Backoff,
    budget::{Budget, SuccessBudget},
    drain::DrainLimits,
    error::{BuildError, Problem},
    events::Paths,
    extras::Extras,
    hint::{Hint, Hints},
    jitter::Jitter,
    key::IDEMPOTENCY_KEY,
    marker::{Idempotent, NoRetry},
    memory::ReplayMemory,
    owner::RetryOwner,
    predicate::{Predicate, Standard, StatusSet},
    stop::StopReason,
    verdict::Resends,
};

/// When a request is sent again, how often, and after what wait.
///
/// A policy is a handle that is cheap to clone; clones share its budget.
///
/// Put into a request's extensions, it takes the place of the layer's own for this request, with all
/// its settings. What bounds many calls together stays the layer's unless the policy was given its
/// own: the [budget](RetryPolicyBuilder::budget), the
/// [memory for bodies](RetryPolicyBuilder::replay_memory), and the [seed](RetryPolicyBuilder::seed).
///
/// | | default |
/// |---|---|
/// | attempts | 3 in all |
/// | methods | GET, HEAD, OPTIONS, TRACE, PUT, DELETE, QUERY; any with an `Idempotency-Key` or [`Idempotent`] |
/// | outcomes | those of [`Standard`] |
/// | wait | exponential from 100 ms (1 s towards a throttling server) to 20 s, with full jitter |
/// | `Retry-After`, `RateLimit` | honoured up to 120 s; other [hints](crate::hint) are not heard |
/// | deadline | none |
/// | request body | 64 KiB of a stream are kept |
/// | refused response | read up to 256 KiB and 50 ms, so that its connection lives |
/// | budget | a [`SuccessBudget`] |
///
/// ```
/// use std::time::Duration;
/// use retry_layer::{Exponential, RetryPolicy};
///
/// let policy = RetryPolicy::builder()
///     .max_attempts(4)
///     .statuses([429, 502, 503, 504])
///     .backoff(Exponential::from(Duration::from_millis(200)))
///     .build()?;
/// # Ok::<(), retry_layer::BuildError>(())
/// ```
#[derive(Clone)]
pub struct RetryPolicy {
    settings: Arc<Settings>,
    /// The layer's settings, for a policy that a request brought: what it was not given of its own
    /// is theirs.
    layer: Option<Arc<Settings>>,
}

pub(crate) struct Settings {
    predicate: Arc<dyn Predicate>,
    /// The statuses that the predicate need not be asked about.
    pub(crate) settled: StatusSet,
    /// How the predicate was made, for [`RetryPolicy::to_builder`].
    choice: Choice,
    pub(crate) max_attempts: u32,
    methods: Methods,
    pub(crate) backoff: Backoff,
    pub(crate) hints: Hints,
    pub(crate) max_retry_after: Duration,
    pub(crate) resends: Resends,
    pub(crate) deadline: Option<Duration>,
    pub(crate) replay_limit: usize,
    replay_memory: Option<Arc<ReplayMemory>>,
    pub(crate) drain: DrainLimits,
    budget: Arc<dyn Budget>,
    /// Whether the budget was set, and not made because none was.
    own_budget: bool,
    /// What the budget said, so that calls need not ask.
    counts_calls: bool,
    seed: Option<Arc<Seed>>,
    paths: Paths,
    pub(crate) extras: Option<Box<Extras>>,
}

/// Makes chances reproducible.
struct Seed {
    value: u64,
    /// Numbers the calls that wait, so that each draws its own chances.
    draws: AtomicU64,
}

/// What a builder makes chances of.
#[derive(Clone)]
enum SeedChoice {
    /// Each policy that it builds begins anew.
    New(u64),
    /// The policy of which the builder was made goes on beside those that it builds.
    Shared(Arc<Seed>),
}

impl SeedChoice {
    fn seed(self) -> Arc<Seed> {
        match self {
            Self::New(value) => Arc::new(Seed {
                value,
                draws: AtomicU64::new(0),
            }),
            Self::Shared(seed) => seed,
        }
    }
}

#[derive(Clone)]
enum Choice {
    Standard(Standard),
    Custom(Arc<dyn Predicate>),
}

impl Choice {
    fn predicate(&self) -> Arc<dyn Predicate> {
        match self {
            Self::Standard(standard) => Arc::new(standard.clone()),
            Self::Custom(predicate) => Arc::clone(predicate),
        }
    }
}

#[derive(Clone, Debug)]
enum Methods {
    Idempotent,
    Any,
    Listed(Vec<Method>),
}

impl RetryPolicy {
    /// A builder with the defaults.
    pub fn builder() -> RetryPolicyBuilder {
        RetryPolicyBuilder::default()
    }

    /// A builder with the settings of this policy; the policy that it builds shares the budget, the
    /// memory for bodies and the seed, unless it is given others.
    pub fn to_builder(&self) -> RetryPolicyBuilder {
        let settings = &*self.settings;
        RetryPolicyBuilder {
            choice: settings.choice.clone(),
            max_attempts: settings.max_attempts,
            methods: settings.methods.clone(),
            backoff: settings.backoff.clone(),
            hints: settings.hints,
            max_retry_after: settings.max_retry_after,
            resends: settings.resends,
            deadline: settings.deadline,
            replay_limit: settings.replay_limit,
            replay_memory: settings.replay_memory.clone(),
            drain: settings.drain,
            budget: Some(Arc::clone(&settings.budget)),
            own_budget: settings.own_budget,
            seed: settings.seed.clone().map(SeedChoice::Shared),
            paths: settings.paths,
            extras: settings.extras.as_deref().cloned().unwrap_or_default(),
            problem: None,
        }
    }

    /// The predicate, for a policy that asks it first: see [`RetryPolicyBuilder::predicate`].
    #[must_use]
    pub fn predicate(&self) -> &Arc<dyn Predicate> {
        &self.settings.predicate
    }

    /// How many attempts a call makes at most, the first one included.
    #[must_use]
    pub fn max_attempts(&self) -> u32 {
        self.settings.max_attempts
    }

    /// How long a call may take as a whole, if that is bound.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        self.settings.deadline
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The policy that this request is sent under: the one that it brings, or this one.
    #[inline]
    pub(crate) fn for_request<B>(&self, request: &Request<B>) -> Self {
        match request.extensions().get::<Self>() {
            None => self.clone(),
            Some(own) => Self {
                settings: Arc::clone(&own.settings),
                layer: Some(Arc::clone(&self.settings)),
            },
        }
    }

    /// The layer's settings, if what this policy was not given is theirs.
    #[inline]
    fn unless(&self, own: bool) -> &Settings {
        match &self.layer {
            Some(layer) if !own => layer,
            Some(_) | None => &self.settings,
        }
    }

    /// What the retries of this policy's calls are paid from.
    #[inline]
    pub(crate) fn budget(&self) -> &Arc<dyn Budget> {
        &self.unless(self.settings.own_budget).budget
    }

    /// Whether that budget has to be told of each call.
    #[inline]
    pub(crate) fn counts_calls(&self) -> bool {
        self.unless(self.settings.own_budget).counts_calls
    }

    /// What bounds the bodies that are kept, if anything does.
    #[inline]
    pub(crate) fn replay_memory(&self) -> Option<&Arc<ReplayMemory>> {
        let own = self.settings.replay_memory.is_some();
        self.unless(own).replay_memory.as_ref()
    }

    /// What events tell of the paths of URLs: recorded if this policy or the layer's records them.
    pub(crate) fn paths(&self) -> Paths {
        match self.settings.paths {
            Paths::Redacted => self.unless(false).paths,
            Paths::Recorded => Paths::Recorded,
        }
    }

    /// Why this request will be sent once, whatever comes.
    #[inline]
    pub(crate) fn refusal<B>(&self, request: &Request<B>) -> Option<StopReason> {
        if self.settings.max_attempts == 1 && self.settings.resends.is_none() {
            return Some(StopReason::AttemptsExhausted);
        }
        let extensions = request.extensions();
        let disabled =
            extensions.get::<NoRetry>().is_some() || extensions.get::<RetryOwner>().is_some();
        disabled.then_some(StopReason::Disabled)
    }

    /// Whether this request may be processed twice.
    pub(crate) fn is_idempotent(
        &self,
        method: &Method,
        headers: Option<&HeaderMap>,
        extensions: &Extensions,
    ) -> bool {
        self.settings.methods.contains(method)
            || headers.is_some_and(|headers| headers.contains_key(IDEMPOTENCY_KEY))
            || extensions.get::<Idempotent>().is_some()
    }

    /// Chance for one call, independent of every other call's.
    pub(crate) fn random(&self) -> Rng {
        let own = self.settings.seed.is_some();
        let Some(seed) = &self.unless(own).seed else {
            return Rng::new();
        };
        // Relaxed: each call needs another number, in no particular order.
        let draw = seed.draws.fetch_add(1, Ordering::Relaxed);
        // Neighbouring seeds would begin alike; an odd multiplier sets them apart.
        Rng::with_seed(seed.value ^ draw.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }
}

impl Methods {
    fn contains(&self, method: &Method) -> bool {
        match self {
            // By its name: older releases of `http` have no constant for QUERY.
            Self::Idempotent => method.is_idempotent() || method.as_str() == "QUERY",
            Self::Any => true,
            Self::Listed(methods) => methods.contains(method),
        }
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self::builder().build_unchecked()
    }
}

impl fmt::Debug for RetryPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings = &*self.settings;
        f.debug_struct("RetryPolicy")
            .field("predicate", &settings.choice)
            .field("max_attempts", &settings.max_attempts)
            .field("methods", &settings.methods)
            .field("backoff", &settings.backoff)
            .field("hints", &settings.hints)
            .field("max_retry_after", &settings.max_retry_after)
            .field("resends", &settings.resends)
            .field("deadline", &settings.deadline)
            .field("replay_limit", &settings.replay_limit)
            .field(
                "replay_memory",
                &settings.replay_memory.as_deref().map(ReplayMemory::limit),
            )
            .field("extras", &settings.extras)
            .field("drain", &settings.drain)
            .field("budget", self.budget())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Standard(standard) => standard.fmt(f),
            Self::Custom(_) => f.write_str("custom"),
        }
    }
}

/// Makes a [`RetryPolicy`]; see there for the defaults.
#[derive(Clone)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct RetryPolicyBuilder {
    choice: Choice,
    max_attempts: u32,
    methods: Methods,
    backoff: Backoff,
    hints: Hints,
    max_retry_after: Duration,
    resends: Resends,
    deadline: Option<Duration>,
    replay_limit: usize,
    replay_memory: Option<Arc<ReplayMemory>>,
    drain: DrainLimits,
    /// Made at the end, so that each policy has its own.
    budget: Option<Arc<dyn Budget>>,
    own_budget: bool,
    seed: Option<SeedChoice>,
    paths: Paths,
    pub(crate) extras: Extras,
    problem: Option<Problem>,
}

impl RetryPolicyBuilder {
    /// How many attempts a call makes at most, the first one included: 3 unless set.
    ///
    /// This bounds attempts, not exchanges: also with 1, what was provably not processed is sent
    /// again, and a request that may be processed twice when the reused connection that it met had
    /// been closed by its peer, as [`Class`](crate::Class) says. So the body is kept for that as it
    /// is for a retry. With [`without_resends`](Self::without_resends) beside it, or for a request
    /// with [`NoRetry`], nothing is kept, and nothing is sent twice. 0 is refused by
    /// [`build`](Self::build).
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = attempts;
        self
    }

    /// Sets the status codes that are retried, in place of 408, 429, 500, 502, 503, 504 and the
    /// special case of 413: see [`Standard::statuses`].
    ///
    /// A number outside 100 to 999 is refused by [`build`](Self::build), and so are statuses given
    /// after a [predicate](Self::predicate) of one's own.
    pub fn statuses<I>(mut self, statuses: I) -> Self
    where
        I: IntoIterator,
        I::Item: TryInto<StatusCode>,
    {
        let statuses: Result<Vec<_>, _> = statuses.into_iter().map(TryInto::try_into).collect();
        match (self.choice, statuses) {
            (Choice::Standard(standard), Ok(statuses)) => {
                self.choice = Choice::Standard(standard.statuses(statuses));
            }
            (choice @ Choice::Standard(_), Err(_)) => {
                self.choice = choice;
                self.problem = self.problem.or(Some(Problem::Status));
            }
            (choice @ Choice::Custom(_), _) => {
                self.choice = choice;
                self.problem = self.problem.or(Some(Problem::StatusesBesidePredicate));
            }
        }
        self
    }

    /// Sets the predicate, in place of [`Standard`] and the [statuses](Self::statuses).
    ///
    /// One that only adds something asks the standard predicate for the rest:
    ///
    /// ```
    /// use http::StatusCode;
    /// use retry_layer::{Class, Outcome, Predicate, RetryPolicy, Standard, predicate_fn};
    ///
    /// let standard = Standard::default();
    /// let policy = RetryPolicy::builder()
    ///     .predicate(predicate_fn(move |outcome: &Outcome<'_>| match outcome.status() {
    ///         Some(StatusCode::CONFLICT) => Class::Ambiguous,
    ///         _ => standard.classify(outcome),
    ///     }))
    ///     .build()?;
    /// # Ok::<(), retry_layer::BuildError>(())
    /// ```
    pub fn predicate(mut self, predicate: impl Predicate) -> Self {
        self.choice = Choice::Custom(Arc::new(predicate));
        self
    }

    /// Makes another predicate of the one that is set so far: to add to what a configuration, or
    /// somebody else's policy, retries.
    ///
    /// ```
    /// use http::StatusCode;
    /// use retry_layer::{Class, Outcome, Predicate as _, RetryPolicy, predicate_fn};
    ///
    /// let configured = RetryPolicy::builder().statuses([429, 503]).build()?;
    /// let busy = predicate_fn(|outcome: &Outcome<'_>| match outcome.status() {
    ///     Some(StatusCode::LOCKED) => Class::Ambiguous,
    ///     _ => Class::Final,
    /// });
    /// let policy = configured.to_builder().map_predicate(|set| set.or(busy)).build()?;
    /// # Ok::<(), retry_layer::BuildError>(())
    /// ```
    pub fn map_predicate<P>(self, map: impl FnOnce(Arc<dyn Predicate>) -> P) -> Self
    where
        P: Predicate,
    {
        let predicate = map(self.choice.predicate());
        self.predicate(predicate)
    }

    pub(crate) fn predicate_standard(mut self, standard: Standard) -> Self {
        self.choice = Choice::Standard(standard);
        self
    }

    /// Sets the methods whose requests may be processed twice, in place of the idempotent ones.
    pub fn methods(mut self, methods: impl IntoIterator<Item = Method>) -> Self {
        self.methods = Methods::Listed(methods.into_iter().collect());
        self
    }

    /// Sends any method again, also when it may have been processed already.
    ///
    /// A POST can then be executed twice. Marking the requests that bear it, with [`Idempotent`]
    /// or an `Idempotency-Key` header, is the better choice where it is possible.
    pub fn any_method(mut self) -> Self {
        self.methods = Methods::Any;
        self
    }

    /// Sends again only requests whose method is idempotent, as a policy does unless told otherwise.
    /// It takes back [`any_method`](Self::any_method) and [`methods`](Self::methods).
    pub fn idempotent_methods(mut self) -> Self {
        self.methods = Methods::Idempotent;
        self
    }

    /// Sets the backoff: an [`Exponential`](crate::Exponential), or a [`Backoff`] made of it or of any schedule.
    /// `Exponential::default()` with [`Jitter::Full`] unless set.
    pub fn backoff(mut self, backoff: impl Into<Backoff>) -> Self {
        self.backoff = backoff.into();
        self
    }

    /// Makes another backoff of the one that is set so far.
    pub fn map_backoff(mut self, map: impl FnOnce(Backoff) -> Backoff) -> Self {
        self.backoff = map(self.backoff);
        self
    }

    /// Sets the jitter of the backoff that is set so far.
    pub fn jitter(mut self, jitter: Jitter) -> Self {
        self.backoff = self.backoff.jitter(jitter);
        self
    }

    /// The longest `Retry-After`, or other [hint](crate::hint), that is waited for: 120 seconds
    /// unless set. When a server asks for more, the response is returned at once; neither is the
    /// call kept that long, nor does it come back early.
    pub fn max_retry_after(mut self, longest: Duration) -> Self {
        self.max_retry_after = longest;
        self
    }

    /// Does not look at `Retry-After` and `RateLimit` when it works out a wait.
    pub fn ignore_retry_after(mut self) -> Self {
        self.hints = self
            .hints
            .without(Hint::RetryAfter)
            .without(Hint::RateLimit);
        self
    }

    /// Looks at `Retry-After` and `RateLimit` again, after
    /// [`ignore_retry_after`](Self::ignore_retry_after) or [`hints`](Self::hints).
    pub fn honor_retry_after(mut self) -> Self {
        self.hints = self.hints.with(Hint::RetryAfter).with(Hint::RateLimit);
        self
    }

    /// Sets which [hints](crate::hint) of a server are heard: `Retry-After` and `RateLimit` unless
    /// set.
    pub fn hints(mut self, hints: Hints) -> Self {
        self.hints = hints;
        self
    }

    /// Counts every exchange as an attempt: a request that was provably not processed is retried
    /// like any other failure, after a wait, and [`max_attempts`](Self::max_attempts) bounds what is
    /// sent. With one attempt the layer is off: the request is sent once, and nothing of it is kept.
    pub fn without_resends(mut self) -> Self {
        self.resends = Resends::NONE;
        self
    }

    /// Makes free resends again, after [`without_resends`](Self::without_resends).
    pub fn with_resends(mut self) -> Self {
        self.resends = Resends::ALL;
        self
    }

    /// How long a call may take as a whole, measured from when the service is called; none unless
    /// set. A [`Deadline`](crate::Deadline) in the request overrides it. No wait is begun that
    /// would not end before; the layer does not cut off a running attempt.
    ///
    /// If the service below is not ready for the next attempt in time, the last outcome is
    /// returned: an error, or a response without a body, is kept until that attempt is sent. Only
    /// of a response whose body had to be read or dropped nothing is left to return: then the
    /// attempt is made late, unless a service above has ended the call by then.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// How many bytes of a streamed request body are kept for a further attempt: 64 KiB unless
    /// set. A longer stream is sent once. See [`ReplayBody`](crate::ReplayBody).
    pub fn replay_limit(mut self, bytes: usize) -> Self {
        self.replay_limit = bytes;
        self
    }

    /// How many bytes of request bodies all calls under this policy and its clones keep together:
    /// as many as they like unless set; for a policy that a request brings, what the layer's
    /// allows. A body that does not fit any more is sent all the same, but only once.
    ///
    /// A frame of less than 16 KiB is copied when it is kept, so that it takes what is counted and
    /// not all of the buffer that it is a slice of. A longer one is kept as it is and counted by its
    /// length, though its buffer may be longer. Trailers count, and from the 17th frame of a body on
    /// 96 bytes for each. Without this setting nothing is copied, and a kept frame holds its buffer.
    pub fn replay_memory(mut self, bytes: usize) -> Self {
        self.replay_memory = Some(ReplayMemory::new(bytes));
        self
    }

    /// How many bytes of a refused response are read, and for how long at most, so that its
    /// connection can be used again: 256 KiB and 50 milliseconds unless set. A response that is
    /// known to be longer is dropped at once, and any is if the time is zero.
    ///
    /// The time counts towards the wait that follows.
    pub fn drain(mut self, bytes: u64, time: Duration) -> Self {
        self.drain = DrainLimits { bytes, time };
        self
    }

    /// Sets the budget that all calls under this policy and its clones draw from: a new
    /// [`SuccessBudget`] unless set. An `Arc` of a budget can be given to several policies.
    ///
    /// A request that brings a policy without a budget of its own draws from that of the layer.
    pub fn budget(mut self, budget: impl Budget) -> Self {
        self.budget = Some(Arc::new(budget));
        self.own_budget = true;
        self
    }

    /// Makes the jitter reproducible: the calls that wait draw from generators that follow from
    /// this seed, each from its own. Random unless set; for a policy that a request brings, the
    /// layer's.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(SeedChoice::New(seed));
        self
    }

    /// Records the paths of URLs in this layer's events, as the field `path`. Not recorded unless
    /// set, since many hold a secret: a signed link, a token to reset a password. Userinfo and queries
    /// never are. For a policy that a request brings, the layer's setting counts too.
    pub fn record_paths(mut self) -> Self {
        self.paths = Paths::Recorded;
        self
    }

    /// Makes the policy.
    ///
    /// # Errors
    ///
    /// If a setting makes no sense: no attempts, an invalid status, statuses beside a predicate,
    /// a factor below 1 or not finite, a cap below the base, or a jitter of more than 100 percent.
    pub fn build(self) -> Result<RetryPolicy, BuildError> {
        if let Some(problem) = self.problem {
            return Err(problem.into());
        }
        if self.max_attempts == 0 {
            return Err(Problem::NoAttempts.into());
        }
        self.backoff.check()?;
        Ok(self.build_unchecked())
    }

    pub(crate) fn build_unchecked(self) -> RetryPolicy {
        let predicate = self.choice.predicate();
        let budget = self
            .budget
            .unwrap_or_else(|| Arc::new(SuccessBudget::default()));
        RetryPolicy {
            settings: Arc::new(Settings {
                settled: StatusSet::where_each(|status| {
                    let asked = self.extras.observer.is_none() && status.as_u16() < 400;
                    asked && predicate.is_always_final(status)
                }),
                counts_calls: budget.counts_calls(),
                budget,
                own_budget: self.own_budget,
                predicate,
                choice: self.choice,
                max_attempts: self.max_attempts,
                methods: self.methods,
                backoff: self.backoff,
                hints: self.hints,
                max_retry_after: self.max_retry_after,
                resends: self.resends,
                deadline: self.deadline,
                replay_limit: self.replay_limit,
                replay_memory: self.replay_memory,
                drain: self.drain,
                seed: self.seed.map(SeedChoice::seed),
                paths: self.paths,
                extras: self.extras.boxed(),
            }),
            layer: None,
        }
    }
}

impl Default for RetryPolicyBuilder {
    fn default() -> Self {
        Self {
            choice: Choice::Standard(Standard::default()),
            max_attempts: 3,
            methods: Methods::Idempotent,
            backoff: Backoff::default(),
            hints: Hints::default(),
            max_retry_after: Duration::from_secs(120),
            resends: Resends::ALL,
            deadline: None,
            replay_limit: 64 * 1024,
            replay_memory: None,
            drain: DrainLimits::default(),
            budget: None,
            own_budget: false,
            seed: None,
            paths: Paths::default(),
            extras: Extras::default(),
            problem: None,
        }
    }
}

impl fmt::Debug for RetryPolicyBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryPolicyBuilder")
            .field("predicate", &self.choice)
            .field("max_attempts", &self.max_attempts)
            .field("methods", &self.methods)
            .field("backoff", &self.backoff)
            .finish_non_exhaustive()
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
    fn clones_share_the_seed_but_no_chance() {
        let policy = RetryPolicy::builder().seed(7).build().unwrap();
        let (mut a, mut b) = (policy.random(), policy.clone().random());
        assert_ne!([a.u64(..), a.u64(..)], [b.u64(..), b.u64(..)]);
        let again = RetryPolicy::builder().seed(7).build().unwrap();
        assert_eq!(again.random().get_seed(), Rng::with_seed(7).get_seed());
    }

    #[test]
    fn absurd_settings_are_refused() {
        let problem = |builder: RetryPolicyBuilder| builder.build().unwrap_err().to_string();
        let exponential = Exponential::default();
        assert!(problem(RetryPolicy::builder().max_attempts(0)).contains("0 attempts"));
        assert!(problem(RetryPolicy::builder().statuses([99])).contains("from 100 to 999"));
        let custom = crate::predicate_fn(|_: &crate::Outcome<'_>| true);
        assert!(
            problem(RetryPolicy::builder().predicate(custom).statuses([503])).contains("Standard")
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

    #[test]
    fn the_defaults_pass_the_checks() {
        assert!(RetryPolicy::default().to_builder().build().is_ok());
    }
}
