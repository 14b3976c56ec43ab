use std::fmt;

use http::StatusCode;

/// Why a call made no further attempt.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum StopReason {
    /// The server answered with a status below 400 that the policy does not retry.
    Answered,
    /// The policy does not retry this status.
    StatusNotRetryable,
    /// The policy does not retry this error, or it would come again.
    ErrorNotRetryable,
    /// The request may have been processed, and processing it twice may do harm.
    NotIdempotent,
    /// The body of the request is spent: it was longer than the replay limit, it failed, or the
    /// server answered before it was sent whole.
    BodyNotReplayable,
    /// The policy allows no more attempts, or its schedule is over.
    AttemptsExhausted,
    /// The budget for retries is used up.
    BudgetExhausted,
    /// The next wait would not have ended before the deadline, so it was not begun.
    DeadlineTooClose,
    /// The deadline had passed when the outcome came.
    DeadlineExceeded,
    /// The server asked for a longer wait than the policy accepts.
    RetryAfterTooLong,
    /// The server forbade another attempt: a gRPC pushback, or `x-should-retry: false`.
    RetryForbidden,
    /// The server has retried on its own side already: `x-retry-attempts-exhausted`.
    UpstreamExhausted,
    /// The call was dropped while it waited for a retry. No report has this reason, since no one gets
    /// one: events and metrics have it.
    Cancelled,
    /// The request was marked as never to be retried, or a layer above [owns](crate::RetryOwner)
    /// its retries.
    Disabled,
}

impl StopReason {
    /// The name for logs and metrics, such as `attempts_exhausted`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::StatusNotRetryable => "status_not_retryable",
            Self::ErrorNotRetryable => "error_not_retryable",
            Self::NotIdempotent => "not_idempotent",
            Self::BodyNotReplayable => "body_not_replayable",
            Self::AttemptsExhausted => "attempts_exhausted",
            Self::BudgetExhausted => "budget_exhausted",
            Self::DeadlineTooClose => "deadline_too_close",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::RetryAfterTooLong => "retry_after_too_long",
            Self::RetryForbidden => "retry_forbidden",
            Self::UpstreamExhausted => "upstream_exhausted",
            Self::Cancelled => "cancelled",
            Self::Disabled => "disabled",
        }
    }

    /// Why a final outcome is final.
    pub(crate) fn of_final(status: Option<StatusCode>) -> Self {
        match status {
            Some(status) if status.as_u16() < 400 => Self::Answered,
            Some(_) => Self::StatusNotRetryable,
            None => Self::ErrorNotRetryable,
        }
    }
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_has_its_own_name_in_small_letters() {
        for reason in [
            StopReason::Answered,
            StopReason::StatusNotRetryable,
            StopReason::BudgetExhausted,
            StopReason::RetryAfterTooLong,
            StopReason::RetryForbidden,
        ] {
            let mut name = String::new();
            for letter in format!("{reason:?}").chars() {
                if letter.is_uppercase() && !name.is_empty() {
                    name.push('_');
                }
                name.extend(letter.to_lowercase());
            }
            assert_eq!(reason.as_str(), name);
            assert_eq!(reason.to_string(), name);
        }
    }

    #[test]
    fn a_final_status_from_400_on_is_one_that_is_not_retried() {
        for (status, reason) in [
            (Some(200), StopReason::Answered),
            (Some(399), StopReason::Answered),
            (Some(400), StopReason::StatusNotRetryable),
            (Some(404), StopReason::StatusNotRetryable),
            (None, StopReason::ErrorNotRetryable),
        ] {
            let status = status.map(|status| StatusCode::from_u16(status).unwrap());
            assert_eq!(StopReason::of_final(status), reason, "{status:?}");
        }
    }
}
