mod aiohttp;
mod builder;
mod rules;
mod settings;

use std::{error::Error, fmt, sync::Arc, time::Duration};

use fastrand::Rng;
use http::{Extensions, HeaderMap, Method, Request, StatusCode, header::UPGRADE};
use tokio::time::Instant;

use self::settings::{Built, Seed, Settings, shorter};
pub use self::{
    aiohttp::AiohttpException,
    builder::RetryPolicyBuilder,
    rules::{BodyReplay, Hedged, Idempotence, RetryRules},
};
use crate::{
    budget::Budget,
    class::Class,
    classify::{Classifier, TransportClassifier},
    deadline::Deadline,
    details::AttemptDetails,
    events::Paths,
    extras::{AttemptNumber, Extras},
    hedge::Hedging,
    key::IDEMPOTENCY_KEY,
    marker::{Idempotent, NoHedge, NoRetry},
    observer::RetryObserver,
    outcome::Outcome,
    owner::RetryOwner,
    replay::ReplayMemory,
    report::RetryReport,
    stop::StopReason,
};

/// When a request is sent again, how often, and after what wait.
///
/// A policy is a handle that is cheap to clone; clones share its budget.
///
/// In a request's extensions it replaces the layer's policy for this request, with all its settings.
/// What concerns all calls of a layer stays the layer's, unless it is set in the request's policy too:
/// the [budget](RetryPolicyBuilder::budget), the
/// [memory for bodies](RetryPolicyBuilder::replay_memory), the [seed](RetryPolicyBuilder::seed) and the
/// [transport classifier](RetryPolicyBuilder::transport_classifier). The
/// [bound on deadlines](RetryPolicyBuilder::max_deadline) is always the layer's.
///
/// | | default |
/// |---|---|
/// | attempts | 3 in all |
/// | methods | GET, HEAD, OPTIONS, TRACE, PUT, DELETE, QUERY; any with an `Idempotency-Key` or [`Idempotent`] |
/// | outcomes | those of [`Standard`](crate::Standard) |
/// | wait | exponential from 100 ms (1 s towards a throttling server) to 20 s, with [full jitter](crate::Jitter) |
/// | `Retry-After`, `RateLimit` | honoured up to 120 s; other [hints](crate::hint) are ignored |
/// | deadline | none |
/// | request body | 64 KiB of a stream are kept |
/// | refused response | read up to 256 KiB and 50 ms, so that its connection lives |
/// | budget | a [`SuccessBudget`](crate::budget::SuccessBudget) |
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
    built: Arc<Built>,
    /// The layer's policy, if a request brought this one: what was not set in this one is taken from
    /// there.
    layer: Option<Arc<Built>>,
}

impl RetryPolicy {
    /// A builder with the defaults.
    pub fn builder() -> RetryPolicyBuilder {
        RetryPolicyBuilder::default()
    }

    /// A builder with the settings of this policy; the policy that it builds shares the budget, the
    /// memory for bodies and the seed, unless it is given others.
    pub fn to_builder(&self) -> RetryPolicyBuilder {
        RetryPolicyBuilder::with(self.built.settings.clone())
    }

    /// The classifier, for one of another policy that builds on it: see
    /// [`RetryPolicyBuilder::map_classifier`].
    #[must_use]
    pub fn classifier(&self) -> &Arc<dyn Classifier> {
        &self.built.classifier
    }

    /// How many attempts a call makes at most, the first one included.
    #[must_use]
    pub fn max_attempts(&self) -> u32 {
        self.settings().max_attempts
    }

    /// The longest that a call may take as a whole, if a deadline, or a bound on deadlines, is set.
    #[inline]
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        match &self.layer {
            None => self.built.deadline,
            Some(layer) => shorter(self.settings().deadline, layer.settings.max_deadline),
        }
    }

    fn of(settings: Settings) -> Self {
        Self {
            built: Arc::new(Built::new(settings)),
            layer: None,
        }
    }

    #[inline]
    pub(crate) fn settings(&self) -> &Settings {
        &self.built.settings
    }

    /// The options that alter or observe attempts; `None` if none of them is set.
    #[inline]
    pub(crate) fn extras(&self) -> Option<&Extras> {
        self.built.settings.extras.as_deref()
    }

    #[inline]
    pub(crate) fn observer(&self) -> Option<&dyn RetryObserver> {
        self.extras()?.observer.as_deref()
    }

    /// How requests are [hedged](RetryPolicyBuilder::hedging), if they are.
    #[must_use]
    #[inline]
    pub fn hedging(&self) -> Option<&Hedging> {
        self.extras()?.hedging.as_ref()
    }

    /// How this request is hedged, if it is: it may be processed twice, and more than one attempt is
    /// allowed.
    pub(crate) fn hedging_of<B>(&self, request: &Request<B>) -> Option<&Hedging> {
        let hedging = self.hedging().filter(|_| self.max_attempts() > 1)?;
        let (headers, extensions) = (request.headers(), request.extensions());
        // A tunnel is no answer to compare: both would be open at once.
        let asks_for_tunnel = *request.method() == Method::CONNECT || headers.contains_key(UPGRADE);
        let is_refused = asks_for_tunnel || extensions.get::<NoHedge>().is_some();
        let may_be = !is_refused && self.is_idempotent(request.method(), Some(headers), extensions);
        may_be.then_some(hedging)
    }

    /// Whether a response of this status need not be classified.
    #[inline]
    pub(crate) fn is_always_final(&self, status: StatusCode) -> bool {
        self.built.always_final.contains(status)
    }

    /// Says what an outcome means.
    pub(crate) fn classify(&self, outcome: &Outcome<'_>) -> Class {
        let classifier = &*self.built.classifier;
        match self.transport_classifier() {
            Some(transport) => transport.classify(outcome, classifier),
            None => classifier.classify(outcome),
        }
    }

    /// Says what is known of how an attempt ended.
    pub(crate) fn describe(&self, outcome: &Outcome<'_>) -> AttemptDetails {
        let classifier = &*self.built.classifier;
        let details = match self.transport_classifier() {
            Some(transport) => transport.describe(outcome, classifier),
            None => classifier.describe(outcome),
        };
        details.unwrap_or_else(|| AttemptDetails::of(outcome))
    }

    /// Puts the report of a call into its final error.
    pub(crate) fn annotate(&self, error: &mut (dyn Error + 'static), report: RetryReport) {
        let classifier = &*self.built.classifier;
        match self.transport_classifier() {
            Some(transport) => transport.annotate(error, report, classifier),
            None => classifier.annotate(error, report),
        }
    }

    fn transport_classifier(&self) -> Option<&dyn TransportClassifier> {
        let is_set = self.settings().transport_classifier.is_some();
        let settings = &self.layer_unless(is_set).settings;
        settings.transport_classifier.as_deref()
    }

    /// Whether neither this policy nor the request asks for any of the extras.
    #[inline]
    pub(crate) fn is_plain_for<B>(&self, request: &Request<B>) -> bool {
        self.extras().is_none() && request.extensions().is_empty()
    }

    /// Gives the request the `Idempotency-Key` that the policy or the request asks for. Returns
    /// whether it did.
    pub(crate) fn give_key<B>(&self, request: &mut Request<B>) -> bool {
        Extras::give_key(self.extras(), request)
    }

    /// Alters the request of an attempt as the policy and the request ask for.
    pub(crate) fn decorate<B>(
        &self,
        request: &mut Request<B>,
        number: AttemptNumber,
        deadline: Option<Deadline>,
    ) {
        Extras::decorate(
            self.extras(),
            request,
            number,
            self.max_attempts(),
            deadline,
        );
    }

    /// The policy that this request is sent under: the one that it brings, or this one.
    #[inline]
    pub(crate) fn for_request<B>(&self, request: &Request<B>) -> Self {
        match request.extensions().get::<Self>() {
            None => self.clone(),
            Some(own) => Self {
                built: Arc::clone(&own.built),
                layer: Some(Arc::clone(&self.built)),
            },
        }
    }

    /// As [`for_request`](Self::for_request), without a clone.
    #[inline]
    pub(crate) fn into_policy_for<B>(self, request: &Request<B>) -> Self {
        match request.extensions().get::<Self>() {
            None => self,
            Some(own) => Self {
                built: Arc::clone(&own.built),
                layer: Some(self.built),
            },
        }
    }

    /// The layer's policy, unless this is it or has this setting itself.
    #[inline]
    fn layer_unless(&self, is_set: bool) -> &Built {
        match &self.layer {
            Some(layer) if !is_set => layer,
            Some(_) | None => &self.built,
        }
    }

    /// When a call began, if its caller knows; else now, if the clock has to be read for the policy's
    /// deadline or for the times that an observer sees; else `None`.
    #[inline]
    pub(crate) fn start_of(
        &self,
        extensions: &Extensions,
        now: Option<Instant>,
    ) -> Option<Instant> {
        if now.is_some() {
            return now;
        }
        let counts_from_now = self.deadline().is_some() && extensions.get::<Deadline>().is_none();
        (counts_from_now || self.observer().is_some()).then(Instant::now)
    }

    /// The deadline of a call that began `now`, if that is known, and whose request has these
    /// extensions.
    #[inline]
    pub(crate) fn deadline_of(
        &self,
        extensions: &Extensions,
        now: Option<Instant>,
    ) -> Option<Deadline> {
        if let Some(deadline) = extensions.get::<Deadline>() {
            return Some(*deadline);
        }
        let within = self.deadline()?;
        Some(Deadline::after(now.unwrap_or_else(Instant::now), within))
    }

    /// The budget that pays for the retries of this policy's calls.
    #[inline]
    pub(crate) fn budget(&self) -> &Arc<dyn Budget> {
        &self.layer_unless(self.settings().budget.is_set()).budget
    }

    /// Whether that budget counts calls.
    #[inline]
    pub(crate) fn counts_calls(&self) -> bool {
        self.layer_unless(self.settings().budget.is_set())
            .counts_calls
    }

    /// The bound on the bodies that are kept, if one is set.
    #[inline]
    pub(crate) fn replay_memory(&self) -> Option<&Arc<ReplayMemory>> {
        let is_set = self.settings().replay_memory.is_some();
        self.layer_unless(is_set).settings.replay_memory.as_ref()
    }

    /// Whether events record the paths of URLs: if this policy or the layer's says so.
    pub(crate) fn paths(&self) -> Paths {
        match self.settings().paths {
            Paths::Redacted => self.layer_unless(false).settings.paths,
            Paths::Recorded => Paths::Recorded,
        }
    }

    /// Why this request is sent once whatever its outcome; `None` if it may be sent again.
    #[inline]
    pub(crate) fn refusal<B>(&self, request: &Request<B>) -> Option<StopReason> {
        let settings = self.settings();
        if settings.max_attempts == 1 && settings.transparent_retries.is_none() {
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
        self.settings().methods.contains(method)
            || headers.is_some_and(|headers| headers.contains_key(IDEMPOTENCY_KEY))
            || extensions.get::<Idempotent>().is_some()
    }

    /// The random generator of one call, independent of every other call's.
    pub(crate) fn random(&self) -> Rng {
        let is_set = self.settings().seed.is_some();
        let seed = &self.layer_unless(is_set).settings.seed;
        seed.as_ref().map_or_else(Rng::new, Seed::generator)
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self::of(Settings::default())
    }
}

impl fmt::Debug for RetryPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.settings().debug("RetryPolicy", f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_the_seed_but_no_chance() {
        let policy = RetryPolicy::builder().seed(7).build().unwrap();
        let (mut a, mut b) = (policy.random(), policy.clone().random());
        assert_ne!([a.u64(..), a.u64(..)], [b.u64(..), b.u64(..)]);
        let again = RetryPolicy::builder().seed(7).build().unwrap();
        assert_eq!(again.random().get_seed(), Rng::with_seed(7).get_seed());
    }

    #[test]
    fn the_defaults_pass_the_checks() {
        assert!(RetryPolicy::default().to_builder().build().is_ok());
    }
}
