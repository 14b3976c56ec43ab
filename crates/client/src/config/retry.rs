use http::{Method, StatusCode};
use retry_layer::{
    Backoff, Jitter, RetryPolicy, RetryPolicyBuilder,
    budget::{SuccessBudget, Unlimited},
};
use serde::{Deserialize, Deserializer};

use super::{TextOr, duration::Span, invalid, twice};
use crate::Error;

/// The key `retry`: the name of a policy, or the settings of one.
#[derive(Clone, Debug)]
pub(super) enum RetryConfig {
    Preset(Preset),
    Settings(Box<RetrySettings>),
}

/// A policy by its name.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Preset {
    /// The default policy of a client.
    Default,
    /// The behaviour of aiohttp-retry.
    Aiohttp,
    /// Each request is sent once.
    None,
}

impl<'de> Deserialize<'de> for RetryConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "a table of settings, or \"default\", \"aiohttp\" or \"none\"";
        let read = deserializer.deserialize_any(TextOr::<Preset, RetrySettings>::new(expected))?;
        Ok(match read {
            Ok(preset) => Self::Preset(preset),
            Err(settings) => Self::Settings(Box::new(settings)),
        })
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum BudgetConfig {
    Default,
    None,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RetrySettings {
    preset: Option<Preset>,
    // `attempts` is the name in aiohttp-retry.
    #[serde(alias = "attempts")]
    max_attempts: Option<u32>,
    statuses: Option<Vec<u16>>,
    methods: Option<Vec<String>>,
    any_method: Option<bool>,
    backoff: Option<BackoffConfig>,
    max_retry_after: Option<Span>,
    honor_retry_after: Option<bool>,
    budget: Option<BudgetConfig>,
    budget_percent: Option<u16>,
    replay_limit: Option<usize>,
    replay_memory: Option<usize>,
    drain: Option<DrainConfig>,
    transparent_retries: Option<bool>,
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

impl Preset {
    fn policy(self) -> RetryPolicyBuilder {
        match self {
            Self::Default => RetryPolicy::builder(),
            Self::Aiohttp => RetryPolicy::aiohttp_retry().to_builder(),
            Self::None => RetryPolicy::builder()
                .max_attempts(1)
                .without_transparent_retries(),
        }
    }
}

impl RetryConfig {
    pub(super) fn alter(self, policy: RetryPolicyBuilder) -> Result<RetryPolicyBuilder, Error> {
        match self {
            Self::Preset(preset) => Ok(preset.policy()),
            Self::Settings(settings) => settings.alter(policy),
        }
    }
}

impl RetrySettings {
    fn alter(self, mut policy: RetryPolicyBuilder) -> Result<RetryPolicyBuilder, Error> {
        if let Some(preset) = self.preset {
            policy = preset.policy();
        }
        if let Some(attempts) = self.max_attempts {
            policy = policy.max_attempts(attempts);
        }
        if let Some(statuses) = self.statuses {
            let statuses: Vec<_> = statuses.into_iter().map(status).collect::<Result<_, _>>()?;
            policy = policy.statuses(statuses);
        }
        policy = match (self.methods, self.any_method) {
            (Some(_), Some(true)) => return Err(twice("retry.methods", "retry.any_method")),
            (Some(methods), Some(false) | None) => {
                let methods = methods.iter().map(|it| method(it));
                policy.methods(methods.collect::<Result<Vec<_>, _>>()?)
            }
            (None, Some(true)) => policy.any_method(),
            (None, Some(false)) => policy.idempotent_methods(),
            (None, None) => policy,
        };
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
        policy = match (self.budget, self.budget_percent) {
            (Some(_), Some(_)) => return Err(twice("retry.budget", "retry.budget_percent")),
            (Some(BudgetConfig::None), None) => policy.budget(Unlimited),
            (Some(BudgetConfig::Default), None) => policy.budget(SuccessBudget::default()),
            (None, Some(percent)) => {
                let budget = SuccessBudget::new(percent).map_err(|error| {
                    invalid("retry.budget_percent", format_args!("{percent}: {error}"))
                })?;
                policy.budget(budget)
            }
            (None, None) => policy,
        };
        if let Some(bytes) = self.replay_limit {
            policy = policy.replay_limit(bytes);
        }
        if let Some(bytes) = self.replay_memory {
            policy = policy.replay_memory(bytes);
        }
        if let Some(DrainConfig { bytes, time }) = self.drain {
            policy = policy.drain(bytes, time.0);
        }
        Ok(match self.transparent_retries {
            Some(true) => policy.with_transparent_retries(),
            Some(false) => policy.without_transparent_retries(),
            None => policy,
        })
    }
}

fn status(number: u16) -> Result<StatusCode, Error> {
    StatusCode::from_u16(number).map_err(|_| {
        invalid(
            "retry.statuses",
            format_args!("{number} is no status code; write one from 100 to 999"),
        )
    })
}

/// Methods are case-sensitive, and no server knows `get`: a standard name means the standard
/// method, however it is written.
fn method(name: &str) -> Result<Method, Error> {
    const STANDARD: [&str; 10] = [
        "GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE", "QUERY", "POST", "PATCH", "CONNECT",
    ];
    let standard = STANDARD.iter().find(|it| it.eq_ignore_ascii_case(name));
    let name = standard.copied().unwrap_or(name);
    Method::from_bytes(name.as_bytes()).map_err(|_| {
        invalid(
            "retry.methods",
            format_args!("{name:?} is no method; write one word, such as \"GET\""),
        )
    })
}

impl BackoffConfig {
    /// Changes the backoff that was set so far. Jitter and cap apply to any schedule; the other
    /// keys need an exponential one.
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
