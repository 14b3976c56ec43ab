use std::{
    fmt,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use http::Method;

use crate::{
    backoff::Backoff,
    budget::Budget,
    drain::DrainLimits,
    events::Paths,
    extras::Extras,
    hint::Hints,
    memory::ReplayMemory,
    predicate::{Predicate, Standard, StatusSet},
    verdict::Resends,
};

pub(crate) struct Settings {
    pub(super) predicate: Arc<dyn Predicate>,
    /// The statuses that the predicate need not be asked about.
    pub(crate) settled: StatusSet,
    /// How the predicate was made, for [`RetryPolicy::to_builder`](super::RetryPolicy::to_builder).
    pub(super) choice: Choice,
    pub(crate) max_attempts: u32,
    pub(super) methods: Methods,
    pub(crate) backoff: Backoff,
    pub(crate) hints: Hints,
    pub(crate) max_retry_after: Duration,
    pub(crate) resends: Resends,
    pub(crate) deadline: Option<Duration>,
    pub(crate) replay_limit: usize,
    pub(super) replay_memory: Option<Arc<ReplayMemory>>,
    pub(crate) drain: DrainLimits,
    pub(super) budget: Arc<dyn Budget>,
    /// Whether the budget was set, and not made because none was.
    pub(super) own_budget: bool,
    /// What the budget said, so that calls need not ask.
    pub(super) counts_calls: bool,
    pub(super) seed: Option<Arc<Seed>>,
    pub(super) paths: Paths,
    pub(crate) extras: Option<Box<Extras>>,
}

/// Makes chances reproducible.
pub(super) struct Seed {
    pub(super) value: u64,
    /// Numbers the calls that wait, so that each draws its own chances.
    pub(super) draws: AtomicU64,
}

/// What a builder makes chances of.
#[derive(Clone)]
pub(super) enum SeedChoice {
    /// Each policy that it builds begins anew.
    New(u64),
    /// The policy of which the builder was made goes on beside those that it builds.
    Shared(Arc<Seed>),
}

impl SeedChoice {
    pub(super) fn seed(self) -> Arc<Seed> {
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
pub(super) enum Choice {
    Standard(Standard),
    Custom(Arc<dyn Predicate>),
}

impl Choice {
    pub(super) fn predicate(&self) -> Arc<dyn Predicate> {
        match self {
            Self::Standard(standard) => Arc::new(standard.clone()),
            Self::Custom(predicate) => Arc::clone(predicate),
        }
    }
}

#[derive(Clone, Debug)]
pub(super) enum Methods {
    Idempotent,
    Any,
    Listed(Vec<Method>),
}

impl Methods {
    pub(super) fn contains(&self, method: &Method) -> bool {
        match self {
            // By its name: older releases of `http` have no constant for QUERY.
            Self::Idempotent => method.is_idempotent() || method.as_str() == "QUERY",
            Self::Any => true,
            Self::Listed(methods) => methods.contains(method),
        }
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
