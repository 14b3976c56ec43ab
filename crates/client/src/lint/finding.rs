use std::{fmt, time::Duration};

/// Settings that contradict each other, or are a risk. Its [`Display`](fmt::Display) says what follows from them.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Finding {
    /// One attempt may take as long as the whole call, so a server that does not answer is asked once.
    AttemptOutlastsDeadline {
        /// The head timeout; `None` if there is none.
        head: Option<Duration>,
        /// The deadline of the call.
        deadline: Duration,
    },
    /// A connect that runs out of time, and the wait after it, take as long as the whole call.
    ConnectOutlastsDeadline {
        /// The connect timeout.
        connect: Duration,
        /// The first wait of the backoff, before jitter.
        wait: Duration,
        /// The deadline of the call.
        deadline: Duration,
    },
    /// If each attempt runs out of time, the last ones are never made.
    RetriesOutlastDeadline {
        /// How long all attempts take then, with the waits between them before jitter.
        needed: Duration,
        /// The deadline of the call.
        deadline: Duration,
    },
    /// A request may wait for a connection for longer than its call may take.
    QueueOutlastsDeadline {
        /// The queue timeout; `None` if there is none.
        queue: Option<Duration>,
        /// The deadline of the call.
        deadline: Duration,
    },
    /// A wait that a server asks for is accepted, and ends after the deadline.
    RetryAfterOutlastsDeadline {
        /// The longest wait that is accepted.
        max_retry_after: Duration,
        /// The deadline of the call.
        deadline: Duration,
    },
    /// A body that is collected may stand still for longer than its call may take.
    BodyIdleOutlastsDeadline {
        /// The body idle timeout.
        body_idle: Duration,
        /// The deadline of the call.
        deadline: Duration,
    },
    /// Neither a head timeout nor a deadline ends a call whose server does not answer.
    NothingEndsCall,
    /// Connections are kept for longer than the peer keeps them.
    IdleOutlastsPeer {
        /// The idle timeout; `None` if there is none.
        idle: Option<Duration>,
        /// After which time the peer closes them.
        peer: Duration,
    },
    /// A connection is too old before it can have been idle for too long.
    IdleOutlastsLifetime {
        /// The idle timeout.
        idle: Duration,
        /// The longest lifetime.
        lifetime: Duration,
    },
    /// Retries at several places multiply.
    NestedRetries {
        /// How many attempts the client makes.
        attempts: u32,
        /// How many requests one call may become in all.
        in_all: u32,
    },
    /// The budget has no token for even one retry.
    BudgetPaysNoRetry,
    /// Nothing bounds the retries of all calls together.
    NoBudget,
    /// Clients that failed together come back together.
    NoJitter,
    /// The schedule of the backoff ends before the attempts do.
    ScheduleEndsEarly {
        /// How many attempts the policy allows.
        attempts: u32,
        /// How many the schedule has waits for.
        possible: u32,
    },
    /// Requests are repeated whose method is not idempotent.
    RepeatsAnyMethod,
    /// An attempt ends before it would get a hedge.
    HedgeOutlastsAttempt {
        /// After how long an attempt is hedged.
        delay: Duration,
        /// The head timeout.
        head: Duration,
    },
    /// Hedging is on, and a call has one attempt, which leaves none for a hedge.
    HedgeHasNoAttempt,
    /// The attempts of one call are as many failures in a row as open a circuit for all.
    OneCallOpensCircuit {
        /// How many failures in a row open it.
        failures: u32,
        /// How many attempts a call makes.
        attempts: u32,
    },
    /// So few calls are made that the success rate is never looked at.
    SampleNeverReached {
        /// How many attempts there must be.
        sample: u32,
        /// Within which time.
        window: Duration,
        /// How many there are in that time, if each call makes all of its attempts.
        attempts: u32,
    },
    /// No request waits for the end of a pause that the client itself has chosen.
    PauseOutlastsWait {
        /// The pause after a response of status 429 without a hint.
        pause: Duration,
        /// The longest that a request waits, by its setting or by the deadline.
        wait: Duration,
    },
    /// A body that one call may keep is larger than what all calls may keep.
    ReplayLimitAboveMemory {
        /// The bytes of one call.
        limit: usize,
        /// The bytes of all calls.
        memory: usize,
    },
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Severity {
    /// The settings do what they say, and that may hurt a server or a user.
    Risk,
    /// A setting has no effect, or not the one it was made for, because of another.
    Contradiction,
}

impl Finding {
    /// Returns the name for logs and for lists of what is accepted, such as `retries-outlast-deadline`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::AttemptOutlastsDeadline { .. } => "attempt-outlasts-deadline",
            Self::ConnectOutlastsDeadline { .. } => "connect-outlasts-deadline",
            Self::RetriesOutlastDeadline { .. } => "retries-outlast-deadline",
            Self::QueueOutlastsDeadline { .. } => "queue-outlasts-deadline",
            Self::RetryAfterOutlastsDeadline { .. } => "retry-after-outlasts-deadline",
            Self::BodyIdleOutlastsDeadline { .. } => "body-idle-outlasts-deadline",
            Self::NothingEndsCall => "nothing-ends-call",
            Self::IdleOutlastsPeer { .. } => "idle-outlasts-peer",
            Self::IdleOutlastsLifetime { .. } => "idle-outlasts-lifetime",
            Self::NestedRetries { .. } => "nested-retries",
            Self::BudgetPaysNoRetry => "budget-pays-no-retry",
            Self::NoBudget => "no-budget",
            Self::NoJitter => "no-jitter",
            Self::ScheduleEndsEarly { .. } => "schedule-ends-early",
            Self::RepeatsAnyMethod => "repeats-any-method",
            Self::HedgeOutlastsAttempt { .. } => "hedge-outlasts-attempt",
            Self::HedgeHasNoAttempt => "hedge-has-no-attempt",
            Self::OneCallOpensCircuit { .. } => "one-call-opens-circuit",
            Self::SampleNeverReached { .. } => "sample-never-reached",
            Self::PauseOutlastsWait { .. } => "pause-outlasts-wait",
            Self::ReplayLimitAboveMemory { .. } => "replay-limit-above-memory",
        }
    }

    /// Returns how bad it is.
    #[must_use]
    pub const fn severity(&self) -> Severity {
        match self {
            Self::NothingEndsCall
            | Self::NestedRetries { .. }
            | Self::NoBudget
            | Self::NoJitter
            | Self::RepeatsAnyMethod
            | Self::OneCallOpensCircuit { .. } => Severity::Risk,
            Self::AttemptOutlastsDeadline { .. }
            | Self::ConnectOutlastsDeadline { .. }
            | Self::RetriesOutlastDeadline { .. }
            | Self::QueueOutlastsDeadline { .. }
            | Self::RetryAfterOutlastsDeadline { .. }
            | Self::BodyIdleOutlastsDeadline { .. }
            | Self::IdleOutlastsPeer { .. }
            | Self::IdleOutlastsLifetime { .. }
            | Self::BudgetPaysNoRetry
            | Self::ScheduleEndsEarly { .. }
            | Self::HedgeOutlastsAttempt { .. }
            | Self::HedgeHasNoAttempt
            | Self::SampleNeverReached { .. }
            | Self::PauseOutlastsWait { .. }
            | Self::ReplayLimitAboveMemory { .. } => Severity::Contradiction,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AttemptOutlastsDeadline { head, deadline } => write!(
                f,
                "the head timeout ({}) is not shorter than the deadline ({deadline:?}): a server that does not answer is \
                 asked once",
                Limit(*head)
            ),
            Self::ConnectOutlastsDeadline {
                connect,
                wait,
                deadline,
            } => write!(
                f,
                "the connect timeout ({connect:?}) and the first wait ({wait:?}) are not shorter than the deadline \
                 ({deadline:?}): a connect that runs out of time is not tried again"
            ),
            Self::RetriesOutlastDeadline { needed, deadline } => write!(
                f,
                "attempts that all run out of time take {needed:?}, which is longer than the deadline ({deadline:?}): the last \
                 ones are never made"
            ),
            Self::QueueOutlastsDeadline { queue, deadline } => write!(
                f,
                "the queue timeout ({}) is not shorter than the deadline ({deadline:?}): a full pool shows as a deadline that \
                 has passed",
                Limit(*queue)
            ),
            Self::RetryAfterOutlastsDeadline {
                max_retry_after,
                deadline,
            } => write!(
                f,
                "waits of up to {max_retry_after:?} are accepted from a server, and the deadline is {deadline:?}: a longer wait \
                 ends the call all the same"
            ),
            Self::BodyIdleOutlastsDeadline {
                body_idle,
                deadline,
            } => write!(
                f,
                "the body idle timeout ({body_idle:?}) is not shorter than the deadline ({deadline:?}): it never ends a body \
                 that is collected"
            ),
            Self::NothingEndsCall => f.write_str(
                "there is neither a head timeout nor a deadline: a call whose server does not answer never ends",
            ),
            Self::IdleOutlastsPeer { idle, peer } => write!(
                f,
                "the idle timeout ({}) is not shorter than the time after which the peer closes idle connections ({peer:?}): \
                 requests meet closed connections, and a POST that does fails",
                Limit(*idle)
            ),
            Self::IdleOutlastsLifetime { idle, lifetime } => write!(
                f,
                "the idle timeout ({idle:?}) is longer than the lifetime of a connection ({lifetime:?}), which ends it first"
            ),
            Self::NestedRetries { attempts, in_all } => write!(
                f,
                "the client makes {attempts} attempts, and others repeat each: one call may become {in_all} requests"
            ),
            Self::BudgetPaysNoRetry => {
                f.write_str("the budget has no token for even one retry: nothing is repeated")
            }
            Self::NoBudget => f.write_str(
                "no budget bounds the retries of all calls together: a server that is overloaded gets every retry on top",
            ),
            Self::NoJitter => f.write_str(
                "the waits have no jitter: clients that failed at the same time come back at the same time",
            ),
            Self::ScheduleEndsEarly { attempts, possible } => write!(
                f,
                "the policy allows {attempts} attempts, and the backoff has waits for {possible}"
            ),
            Self::RepeatsAnyMethod => f.write_str(
                "requests are repeated whatever their method: a POST that was processed may be processed again",
            ),
            Self::HedgeOutlastsAttempt { delay, head } => write!(
                f,
                "an attempt is hedged after {delay:?}, and the head timeout ends it after {head:?}: no hedge is ever sent"
            ),
            Self::HedgeHasNoAttempt => f.write_str(
                "hedging is on and the policy allows one attempt: a hedge is an attempt, so none is ever sent",
            ),
            Self::OneCallOpensCircuit { .. }
            | Self::SampleNeverReached { .. }
            | Self::PauseOutlastsWait { .. } => self.fmt_guards(f),
            Self::ReplayLimitAboveMemory { limit, memory } => write!(
                f,
                "one call may keep {limit} bytes of its body, and all calls together {memory}: a body that is within the limit \
                 cannot be kept"
            ),
        }
    }
}

impl Finding {
    /// What is found of the breaker and the pauses.
    fn fmt_guards(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OneCallOpensCircuit { failures, attempts } => write!(
                f,
                "{failures} failures in a row open a circuit, and one call makes {attempts} attempts: a single call that fails \
                 ends all others to its origin"
            ),
            Self::SampleNeverReached {
                sample,
                window,
                attempts,
            } => write!(
                f,
                "a circuit looks at the success rate of {sample} attempts within {window:?}, and there are {attempts} at most: \
                 the rate never opens it"
            ),
            Self::PauseOutlastsWait { pause, wait } => write!(
                f,
                "a 429 without a hint pauses for {pause:?}, and a request waits for {wait:?} at most: all fail until the pause \
                 is over"
            ),
            _ => Ok(()),
        }
    }
}

struct Limit(Option<Duration>);

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(limit) => write!(f, "{limit:?}"),
            None => f.write_str("none"),
        }
    }
}
