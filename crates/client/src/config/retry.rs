use http::Method;
use retry_layer::{Backoff, Jitter, RetryPolicyBuilder, budget::SuccessBudget};
use serde::Deserialize;

use super::{duration::Span, invalid};
use crate::Error;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RetryConfig {
    // The other name is that of aiohttp-retry.
    #[serde(alias = "attempts")]
    max_attempts: Option<u32>,
    statuses: Option<Vec<u16>>,
    methods: Option<Vec<String>>,
    backoff: Option<BackoffConfig>,
    max_retry_after: Option<Span>,
    honor_retry_after: Option<bool>,
    budget_percent: Option<u16>,
    replay_limit: Option<usize>,
    replay_memory: Option<usize>,
    drain: Option<DrainConfig>,
    resends: Option<bool>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DrainConfig {
    bytes: u64,
    time: Span,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct BackoffConfig {
    base: Option<Span>,
    throttled_base: Option<Span>,
    factor: Option<f64>,
    cap: Option<Span>,
    jitter: Option<JitterConfig>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum JitterConfig {
    Full,
    Equal,
    Decorrelated,
    None,
}

impl RetryConfig {
    pub(super) fn alter(self, mut policy: RetryPolicyBuilder) -> Result<RetryPolicyBuilder, Error> {
        if let Some(attempts) = self.max_attempts {
            policy = policy.max_attempts(attempts);
        }
        if let Some(statuses) = self.statuses {
            policy = policy.statuses(statuses);
        }
        if let Some(methods) = self.methods {
            let methods = methods.iter().map(|it| Method::from_bytes(it.as_bytes()));
            let methods: Vec<_> = methods
                .collect::<Result<_, _>>()
                .map_err(|_| invalid("retry.methods"))?;
            policy = policy.methods(methods);
        }
        if let Some(backoff) = self.backoff {
            policy = policy.map_backoff(|so_far| backoff.alter(so_far));
        }
        if let Some(Span(longest)) = self.max_retry_after {
            policy = policy.max_retry_after(longest);
        }
        policy = match self.honor_retry_after {
            Some(true) => policy.honor_retry_after(),
            Some(false) => policy.ignore_retry_after(),
            None => policy,
        };
        if let Some(percent) = self.budget_percent {
            let budget = SuccessBudget::new(percent);
            policy =
                policy.budget(budget.map_err(|error| invalid("retry.budget_percent").with(error))?);
        }
        if let Some(bytes) = self.replay_limit {
            policy = policy.replay_limit(bytes);
        }
        if let Some(bytes) = self.replay_memory {
            policy = policy.replay_memory(bytes);
        }
        if let Some(DrainConfig { bytes, time }) = self.drain {
            policy = policy.drain(bytes, time.0);
        }
        Ok(match self.resends {
            Some(true) => policy.with_resends(),
            Some(false) => policy.without_resends(),
            None => policy,
        })
    }
}

impl BackoffConfig {
    /// Alters what is set so far. The jitter, and the cap, can be those of any schedule; the rest
    /// asks for an exponential one.
    fn alter(self, mut backoff: Backoff) -> Backoff {
        let Self {
            base,
            throttled_base,
            factor,
            cap,
            jitter,
        } = self;
        if base.is_some() || throttled_base.is_some() || factor.is_some() {
            backoff = backoff.map_exponential(|mut schedule| {
                if let Some(Span(base)) = base {
                    schedule = schedule.base(base);
                }
                if let Some(Span(base)) = throttled_base {
                    schedule = schedule.throttled_base(base);
                }
                if let Some(factor) = factor {
                    schedule = schedule.factor(factor);
                }
                schedule
            });
        }
        if let Some(Span(cap)) = cap {
            backoff = backoff.cap(cap);
        }
        match jitter {
            None => backoff,
            Some(JitterConfig::Full) => backoff.jitter(Jitter::Full),
            Some(JitterConfig::Equal) => backoff.jitter(Jitter::Equal),
            Some(JitterConfig::Decorrelated) => backoff.jitter(Jitter::Decorrelated),
            Some(JitterConfig::None) => backoff.jitter(Jitter::None),
        }
    }
}
