mod aiohttp;
mod builder;
mod settings;

use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use fastrand::Rng;
use http::{Extensions, HeaderMap, Method, Request};

use self::settings::{SeedChoice, Settings};
pub use self::{aiohttp::AiohttpException, builder::RetryPolicyBuilder};
use crate::{
    budget::Budget,
    events::Paths,
    key::IDEMPOTENCY_KEY,
    marker::{Idempotent, NoRetry},
    memory::ReplayMemory,
    owner::RetryOwner,
    predicate::Predicate,
    stop::StopReason,
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
