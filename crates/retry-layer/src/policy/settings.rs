use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use fastrand::Rng;
use http::Method;

use crate::{
    backoff::Backoff,
    budget::{Budget, SuccessBudget},
    classify::{Classifier, Standard, StatusSet, TransportClassifier},
    drain::DrainLimits,
    events::Paths,
    extras::Extras,
    hint::Hints,
    replay::ReplayMemory,
    verdict::TransparentRetries,
};

/// What a builder sets, and a policy keeps: a new setting is a field here, its default below, and a
/// method of the builder.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(super) classifier: ClassifierChoice,
    pub(super) transport_classifier: Option<Arc<dyn TransportClassifier>>,
    pub(crate) max_attempts: u32,
    pub(super) methods: Methods,
    pub(crate) backoff: Backoff,
    pub(crate) hints: Hints,
    pub(crate) max_retry_after: Duration,
    pub(crate) transparent_retries: TransparentRetries,
    pub(super) deadline: Option<Duration>,
    pub(super) max_deadline: Option<Duration>,
    pub(crate) replay_limit: usize,
    pub(super) replay_memory: Option<Arc<ReplayMemory>>,
    pub(crate) drain: DrainLimits,
    pub(super) budget: BudgetChoice,
    pub(super) seed: Option<Seed>,
    pub(super) paths: Paths,
    /// `None` when no option of these is set, so that a call checks one pointer.
    pub(crate) extras: Option<Box<Extras>>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            classifier: ClassifierChoice::Standard(Standard::default()),
            transport_classifier: None,
            max_attempts: 3,
            methods: Methods::Idempotent,
            backoff: Backoff::default(),
            hints: Hints::default(),
            max_retry_after: Duration::from_secs(120),
            transparent_retries: TransparentRetries::ALL,
            deadline: None,
            max_deadline: None,
            replay_limit: 64 * 1024,
            replay_memory: None,
            drain: DrainLimits::default(),
            budget: BudgetChoice::New,
            seed: None,
            paths: Paths::default(),
            extras: None,
        }
    }
}

impl Settings {
    /// Writes the settings as those of the type of this name.
    pub(super) fn debug(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(name)
            .field("classifier", &self.classifier)
            .field("max_attempts", &self.max_attempts)
            .field("methods", &self.methods)
            .field("backoff", &self.backoff)
            .field("hints", &self.hints)
            .field("max_retry_after", &self.max_retry_after)
            .field("transparent_retries", &self.transparent_retries)
            .field("deadline", &self.deadline)
            .field("max_deadline", &self.max_deadline)
            .field("replay_limit", &self.replay_limit)
            .field(
                "replay_memory",
                &self.replay_memory.as_deref().map(ReplayMemory::limit),
            )
            .field("extras", &self.extras)
            .field("drain", &self.drain)
            .field("budget", &self.budget)
            .finish_non_exhaustive()
    }
}

/// The settings of a policy that was built, and what follows from them.
pub(super) struct Built {
    pub(super) settings: Settings,
    pub(super) classifier: Arc<dyn Classifier>,
    /// The statuses that need not be classified: see [`Classifier::is_always_final`].
    pub(super) always_final: StatusSet,
    pub(super) budget: Arc<dyn Budget>,
    /// The deadline within its bound.
    pub(super) deadline: Option<Duration>,
    /// What [`Budget::counts_calls`] returned, so that calls need not ask.
    pub(super) counts_calls: bool,
}

impl Built {
    pub(super) fn new(mut settings: Settings) -> Self {
        let classifier = settings.classifier.get();
        let budget = settings.budget.get_or_make();
        settings.seed = settings.seed.map(Seed::started);
        let is_observed = settings
            .extras
            .as_ref()
            .is_some_and(|it| it.observer.is_some());
        Self {
            // An observer wants to see each attempt, and an error status may carry a hint.
            always_final: StatusSet::where_each(|status| {
                !is_observed && status.as_u16() < 400 && classifier.is_always_final(status)
            }),
            deadline: shorter(settings.deadline, settings.max_deadline),
            counts_calls: budget.counts_calls(),
            budget,
            classifier,
            settings,
        }
    }
}

/// A deadline within a bound, where either may be missing.
pub(super) fn shorter(deadline: Option<Duration>, bound: Option<Duration>) -> Option<Duration> {
    deadline.into_iter().chain(bound).min()
}

#[derive(Clone)]
pub(super) enum ClassifierChoice {
    Standard(Standard),
    Custom(Arc<dyn Classifier>),
}

impl ClassifierChoice {
    pub(super) fn get(&self) -> Arc<dyn Classifier> {
        match self {
            Self::Standard(standard) => Arc::new(standard.clone()),
            Self::Custom(classifier) => Arc::clone(classifier),
        }
    }
}

impl fmt::Debug for ClassifierChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Standard(standard) => standard.fmt(f),
            Self::Custom(_) => f.write_str("custom"),
        }
    }
}

/// The methods whose requests may be processed twice.
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

#[derive(Clone)]
pub(super) enum BudgetChoice {
    /// No budget was set: each policy that is built gets one of its own.
    New,
    /// No budget was set, and this is the one of the policy that the builder was made of.
    Inherited(Arc<dyn Budget>),
    /// This budget was set.
    Set(Arc<dyn Budget>),
}

impl fmt::Debug for BudgetChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::New => f.write_str("New"),
            Self::Inherited(budget) | Self::Set(budget) => budget.fmt(f),
        }
    }
}

impl BudgetChoice {
    fn get_or_make(&mut self) -> Arc<dyn Budget> {
        if let Self::New = self {
            *self = Self::Inherited(Arc::new(SuccessBudget::default()));
        }
        match self {
            Self::Inherited(budget) | Self::Set(budget) => Arc::clone(budget),
            Self::New => unreachable!("replaced above"),
        }
    }

    #[inline]
    pub(super) fn is_set(&self) -> bool {
        matches!(self, Self::Set(_))
    }
}

/// Makes jitter reproducible.
#[derive(Clone)]
pub(super) enum Seed {
    /// Set in a builder: each policy that it builds draws the same sequence from its start.
    Given(u64),
    /// In a policy: it, its clones, and the policies that are made of it continue one sequence.
    Started(Arc<Sequence>),
}

pub(super) struct Sequence {
    seed: u64,
    /// Numbers the calls that wait, so that each has a generator of its own.
    next_call: AtomicU64,
}

impl Seed {
    fn started(self) -> Self {
        match self {
            Self::Given(seed) => Self::Started(Arc::new(Sequence {
                seed,
                next_call: AtomicU64::new(0),
            })),
            started @ Self::Started(_) => started,
        }
    }

    /// The generator of one call.
    pub(super) fn generator(&self) -> Rng {
        let (seed, call) = match self {
            Self::Given(seed) => (*seed, 0),
            // Relaxed: each call needs another number, in no particular order.
            Self::Started(sequence) => (
                sequence.seed,
                sequence.next_call.fetch_add(1, Ordering::Relaxed),
            ),
        };
        // Neighbouring seeds would begin alike; an odd multiplier sets them apart.
        Rng::with_seed(seed ^ call.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }
}
