use std::{error::Error, fmt, time::Duration};

/// A policy that makes no sense was asked for.
///
/// The text says which setting is wrong and what to do about it.
#[derive(Clone, Debug, PartialEq)]
pub struct BuildError(Problem);

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Problem {
    NoAttempts,
    Status,
    StatusesBesideClassifier,
    Factor(f64),
    CapBelowBase { cap: Duration, base: Duration },
    JitterPercent(u8),
    Budget(&'static str),
    Hedging(&'static str),
    Breaker(&'static str),
    Pause(&'static str),
    Ledger(&'static str),
    Setting(&'static str),
}

impl BuildError {
    /// The setting that makes no sense, by the name of the method that sets it, or `policy` for
    /// another.
    #[must_use]
    pub fn setting(&self) -> &'static str {
        match self.0 {
            Problem::NoAttempts => "max_attempts",
            Problem::Status | Problem::StatusesBesideClassifier => "statuses",
            Problem::Factor(_) => "factor",
            Problem::CapBelowBase { .. } => "cap",
            Problem::JitterPercent(_) => "jitter",
            Problem::Budget(_) => "budget",
            Problem::Hedging(_) => "hedging",
            Problem::Breaker(_) => "breaker",
            Problem::Pause(_) => "pause",
            Problem::Ledger(_) => "ledger",
            Problem::Setting(_) => "policy",
        }
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Problem::NoAttempts => f.write_str(
                "0 attempts would send nothing: use 1 for a request that is never retried",
            ),
            Problem::Status => f.write_str("a status code must be from 100 to 999"),
            Problem::StatusesBesideClassifier => f.write_str(
                "statuses have no effect beside a classifier of one's own: give them to \
                 `Standard::statuses`, and let the classifier ask that",
            ),
            Problem::Factor(factor) => write!(
                f,
                "a backoff factor of {factor} makes no schedule: it must be finite and at least 1"
            ),
            Problem::CapBelowBase { cap, base } => write!(
                f,
                "the cap of {cap:?} is below the base of {base:?}: raise the one or lower the other"
            ),
            Problem::JitterPercent(percent) => write!(
                f,
                "a proportional jitter of {percent} % could make a wait negative: use at most 100"
            ),
            Problem::Budget(what)
            | Problem::Hedging(what)
            | Problem::Breaker(what)
            | Problem::Pause(what)
            | Problem::Ledger(what)
            | Problem::Setting(what) => f.write_str(what),
        }
    }
}

impl Error for BuildError {}

impl From<Problem> for BuildError {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}
