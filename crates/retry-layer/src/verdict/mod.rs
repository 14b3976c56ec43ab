#[cfg(test)]
mod tests;
mod transparent;

use std::time::Duration;

use http::StatusCode;

pub(crate) use self::transparent::{TransparentCause, TransparentRetries};
use crate::{
    backoff::Pressure,
    class::Class,
    hint::{Advice, RequestedWait, Rule},
    report::WaitReason,
    stop::StopReason,
};

/// What is known when an attempt is over: plain values, so that a decision can be tested.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    pub(crate) class: Class,
    /// The status, if the outcome is a response.
    pub(crate) status: Option<StatusCode>,
    /// Whether the peer closed the connection by a GOAWAY before it processed the request.
    pub(crate) gone_away: bool,
    /// Whether the request may be processed twice.
    pub(crate) idempotent: bool,
    pub(crate) replayable: bool,
    /// Counted attempts, the one that is over included.
    pub(crate) attempts: u32,
    pub(crate) max_attempts: u32,
    pub(crate) transparent_retries: TransparentRetries,
    /// How many transparent retries the call has made, those of earlier hops included.
    pub(crate) transparent_so_far: u32,
    pub(crate) pressure: Pressure,
    /// What the server asked for.
    pub(crate) advice: Advice,
    pub(crate) max_retry_after: Duration,
    /// What is left until the deadline, if there is one.
    pub(crate) remaining: Option<Duration>,
    /// How a pause below holds back the next attempt, if it does.
    pub(crate) held: Option<Held>,
}

/// How a [pause](crate::pause) holds back the next attempt.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    /// For how long, as far as that is known.
    pub(crate) wait: Duration,
    /// What would be held back for longer is refused.
    pub(crate) max_wait: Duration,
}

/// What to do next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use = "the call neither ends nor goes on unless the verdict is acted upon"]
pub(crate) enum Verdict {
    Return(StopReason),
    TransparentRetry {
        cause: TransparentCause,
        wait: Duration,
    },
    Retry {
        wait: Duration,
        reason: WaitReason,
    },
}

/// What a retry needs beside the facts: random waits and the shared budget. Asked only after everything
/// else allows a retry.
pub(crate) trait RetrySupply {
    /// An attempt failed in a way that may be retried. Not called for the attempt before the first
    /// transparent retry of a call, which is free.
    fn failed(&mut self) {}
    /// The next wait of the schedule, or nothing if it is over.
    fn backoff(&mut self) -> Option<Duration>;
    /// The next wait before a transparent retry that is not the first of its cause.
    fn transparent_backoff(&mut self) -> Option<Duration>;
    /// A random time to add to a hint of this length, so that clients do not return together.
    fn stagger(&mut self, hint: Duration) -> Duration;
    /// Takes what a retry costs from the budget, if it has that much. A transparent retry that is not the first
    /// of its call costs the same.
    fn withdraw(&mut self) -> bool;
}

/// Decides what follows an attempt. The order matters: what no wait can change comes first, and the
/// budget last, so that a retry which is refused for another reason takes no token.
pub(crate) fn judge(facts: &Facts, supply: &mut impl RetrySupply) -> Verdict {
    if !facts.class.is_retryable() {
        return Verdict::Return(StopReason::of_final(facts.status));
    }
    let transparent = facts.transparent_retries.granted(facts);
    let is_free = transparent.is_some() && facts.transparent_so_far == 0;
    if !is_free {
        supply.failed();
    }
    if let Advice::Stop(reason) = facts.advice {
        return Verdict::Return(reason);
    }
    if !facts.idempotent && !facts.class.is_unprocessed() {
        return Verdict::Return(StopReason::NotIdempotent);
    }
    if !facts.replayable {
        return Verdict::Return(StopReason::BodyNotReplayable);
    }
    let late = facts.remaining.is_some_and(|remaining| remaining.is_zero());
    if let Some(cause) = transparent {
        if late {
            return Verdict::Return(StopReason::DeadlineExceeded);
        }
        let wait = if facts.transparent_retries.is_first(cause) {
            Some(Duration::ZERO)
        } else {
            supply.transparent_backoff()
        };
        if let Some(wait) = wait {
            return if facts.outlives(wait) {
                Verdict::Return(StopReason::DeadlineTooClose)
            } else if is_free || supply.withdraw() {
                Verdict::TransparentRetry { cause, wait }
            } else {
                Verdict::Return(StopReason::BudgetExhausted)
            };
        }
    }
    if facts.attempts >= facts.max_attempts {
        return Verdict::Return(StopReason::AttemptsExhausted);
    }
    let asked = facts.asked();
    // A hint under this rule adds at most 5 seconds to the backoff.
    if asked.is_some_and(|a| a.rule != Rule::Near && a.wait > facts.max_retry_after) {
        return Verdict::Return(StopReason::RetryAfterTooLong);
    }
    if facts.held.is_some_and(|held| held.wait > held.max_wait) {
        return Verdict::Return(StopReason::RetryAfterTooLong);
    }
    if late {
        return Verdict::Return(StopReason::DeadlineExceeded);
    }
    let Some((wait, reason)) = pause(asked, facts.pressure, supply) else {
        return Verdict::Return(StopReason::AttemptsExhausted);
    };
    if facts.outlives(wait) {
        return Verdict::Return(StopReason::DeadlineTooClose);
    }
    if !supply.withdraw() {
        return Verdict::Return(StopReason::BudgetExhausted);
    }
    Verdict::Retry { wait, reason }
}

impl Facts {
    /// Whether a wait would not end before the deadline, or the pause that goes on meanwhile.
    fn outlives(&self, wait: Duration) -> bool {
        let wait = self.held.map_or(wait, |held| wait.max(held.wait));
        self.remaining.is_some_and(|remaining| wait >= remaining)
    }

    fn asked(&self) -> Option<RequestedWait> {
        match self.advice {
            Advice::Wait(asked) => Some(asked),
            Advice::Nothing | Advice::Stop(_) => None,
        }
    }
}

/// The wait and its reason, or nothing if the schedule is over.
fn pause(
    asked: Option<RequestedWait>,
    pressure: Pressure,
    supply: &mut impl RetrySupply,
) -> Option<(Duration, WaitReason)> {
    const NEAR: Duration = Duration::from_secs(5);
    if let Some(RequestedWait {
        wait,
        rule: Rule::Exactly,
        reason,
    }) = asked
    {
        return Some((wait, reason));
    }
    let backoff = supply.backoff()?;
    Some(match asked {
        Some(RequestedWait {
            wait, rule, reason, ..
        }) if wait > backoff => {
            let wait = match rule {
                Rule::Near => wait.min(backoff.saturating_add(NEAR)),
                Rule::AtLeast | Rule::Exactly => wait.saturating_add(supply.stagger(wait)),
            };
            (wait, reason)
        }
        _ if pressure == Pressure::Throttled => (backoff, WaitReason::Throttled),
        _ => (backoff, WaitReason::Backoff),
    })
}
