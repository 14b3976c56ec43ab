use std::{fmt, time::Duration};

use http::{Response, StatusCode};

use crate::{predicate::Class, verdict::StopReason};

/// What became of a call: every attempt, every wait and its reason, and why it ended.
///
/// It is found in the extensions of a response (see [`ResponseExt`]) if anything but one plain
/// attempt happened: a success at the first try carries none and costs nothing. For a final error,
/// [`Predicate::annotate`](crate::Predicate::annotate) gets it.
///
/// Its text is a timeline in one line:
///
/// ```
/// # use http::{Response, StatusCode};
/// use retry_layer::ResponseExt;
///
/// let response = Response::builder().status(StatusCode::NOT_FOUND).body(())?;
/// assert_eq!(response.retry_report().to_string(), "404; stopped: status_not_retryable");
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RetryReport {
    attempts: Vec<AttemptRecord>,
    resends: u32,
    stop: StopReason,
}

impl RetryReport {
    pub(crate) fn new(attempts: Vec<AttemptRecord>, resends: u32, stop: StopReason) -> Self {
        Self {
            attempts,
            resends,
            stop,
        }
    }

    pub(crate) fn single(outcome: AttemptOutcome, stop: StopReason) -> Self {
        Self::new(
            vec![AttemptRecord {
                outcome,
                wait: None,
            }],
            0,
            stop,
        )
    }

    /// Joins the report of another request to this one, where the call went on with it: the hop of a
    /// redirect. The call ended as that request did.
    #[must_use]
    pub fn followed_by(mut self, next: Self) -> Self {
        self.attempts.extend(next.attempts);
        Self {
            attempts: self.attempts,
            resends: self.resends.saturating_add(next.resends),
            stop: next.stop,
        }
    }

    /// Every exchange in order, the [resends](Self::resends) among them.
    #[must_use]
    pub fn attempts(&self) -> &[AttemptRecord] {
        &self.attempts
    }

    /// How many of the exchanges counted as no attempt: the one before was provably not processed,
    /// or met a connection that the peer had closed. The first of a call is free; each further one
    /// took a token from the [budget](crate::budget), as a retry does.
    #[must_use]
    pub fn resends(&self) -> u32 {
        self.resends
    }

    /// Why no further attempt was made.
    #[must_use]
    pub fn stop(&self) -> StopReason {
        self.stop
    }
}

impl fmt::Display for RetryReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, attempt) in self.attempts.iter().enumerate() {
            write!(f, "{}", attempt.outcome)?;
            match attempt.wait {
                Some(Wait {
                    reason: WaitReason::Resend,
                    delay: Duration::ZERO,
                }) => f.write_str(", resent at once, ")?,
                Some(Wait { delay, reason }) => {
                    // A millisecond is all that a timer keeps.
                    let millis = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
                    let delay = Duration::from_millis(millis);
                    write!(f, ", waited {delay:?} ({reason}), ")?;
                }
                // Another request followed.
                None if index.saturating_add(1) < self.attempts.len() => f.write_str(", then ")?,
                None => {}
            }
        }
        write!(f, "; stopped: {}", self.stop)
    }
}

/// One exchange of a call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct AttemptRecord {
    outcome: AttemptOutcome,
    wait: Option<Wait>,
}

impl AttemptRecord {
    pub(crate) fn new(outcome: AttemptOutcome, wait: Option<Wait>) -> Self {
        Self { outcome, wait }
    }

    /// How it ended.
    #[must_use]
    pub fn outcome(&self) -> AttemptOutcome {
        self.outcome
    }

    /// The wait that followed it, or nothing for the last one, and for one that
    /// [another request](RetryReport::followed_by) followed.
    #[must_use]
    pub fn wait(&self) -> Option<Wait> {
        self.wait
    }
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum AttemptOutcome {
    /// With a response of this status.
    Status(StatusCode),
    /// With an error of this class.
    Error(Class),
}

impl fmt::Display for AttemptOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => f.write_str(status.as_str()),
            Self::Error(class) => write!(f, "error ({})", class.as_str()),
        }
    }
}

/// The wait between two attempts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Wait {
    delay: Duration,
    reason: WaitReason,
}

impl Wait {
    pub(crate) fn new(delay: Duration, reason: WaitReason) -> Self {
        Self { delay, reason }
    }

    /// How long it was meant to take, from the outcome on.
    #[must_use]
    pub fn delay(&self) -> Duration {
        self.delay
    }

    /// Why it took that long.
    #[must_use]
    pub fn reason(&self) -> WaitReason {
        self.reason
    }
}

/// Why a wait took as long as it did.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum WaitReason {
    /// The policy's backoff.
    Backoff,
    /// The policy's backoff towards a server that says that it is overloaded.
    Throttled,
    /// The server's `Retry-After`, which was longer than the backoff.
    RetryAfter,
    /// The server's rate limit, by `RateLimit` or one of its [older forms](crate::hint), which was
    /// longer than the backoff.
    RateLimit,
    /// The server's gRPC pushback, in place of the backoff.
    Pushback,
    /// A request that was provably not processed, or one that met a connection closed by the peer
    /// and may be processed twice, is sent again and no attempt is counted: at once, and if several
    /// connections went away from it (HTTP/2's GOAWAY), after the policy's backoff from the second
    /// on. See [`RetryReport::resends`].
    Resend,
}

impl WaitReason {
    /// The name for logs and metrics, such as `retry_after`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Backoff => "backoff",
            Self::Throttled => "throttled",
            Self::RetryAfter => "retry_after",
            Self::RateLimit => "rate_limit",
            Self::Pushback => "pushback",
            Self::Resend => "resend",
        }
    }
}

impl fmt::Display for WaitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Reads the report of a response.
pub trait ResponseExt: sealed::Sealed {
    /// The report of the call that this response came from.
    ///
    /// A response without one was final at the first attempt, and the report says so.
    fn retry_report(&self) -> RetryReport;
}

impl<T> ResponseExt for Response<T> {
    fn retry_report(&self) -> RetryReport {
        self.extensions().get().cloned().unwrap_or_else(|| {
            let status = self.status();
            let stop = StopReason::of_final(Some(status));
            RetryReport::single(AttemptOutcome::Status(status), stop)
        })
    }
}

mod sealed {
    pub trait Sealed {}
    impl<T> Sealed for http::Response<T> {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_a_timeline() {
        let record = |outcome, wait| AttemptRecord { outcome, wait };
        let report = RetryReport::new(
            vec![
                record(
                    AttemptOutcome::Error(Class::Stale { wrote: true }),
                    Some(Wait::new(Duration::ZERO, WaitReason::Resend)),
                ),
                record(
                    AttemptOutcome::Status(StatusCode::SERVICE_UNAVAILABLE),
                    Some(Wait::new(
                        Duration::from_millis(1_500),
                        WaitReason::RetryAfter,
                    )),
                ),
                record(AttemptOutcome::Status(StatusCode::OK), None),
            ],
            1,
            StopReason::Answered,
        );
        assert_eq!(
            report.to_string(),
            "error (stale), resent at once, 503, waited 1.5s (retry_after), 200; stopped: answered"
        );
    }

    #[test]
    fn reports_of_requests_that_followed_each_other_are_one() {
        let redirect = AttemptOutcome::Status(StatusCode::FOUND);
        let first = RetryReport::single(redirect, StopReason::StatusNotRetryable);
        let resent = AttemptRecord {
            outcome: AttemptOutcome::Error(Class::Unprocessed),
            wait: Some(Wait::new(Duration::ZERO, WaitReason::Resend)),
        };
        let answer = AttemptRecord {
            outcome: AttemptOutcome::Status(StatusCode::OK),
            wait: None,
        };
        let second = RetryReport::new(vec![resent, answer], 1, StopReason::Answered);

        let whole = first.followed_by(second);

        assert_eq!(whole.resends(), 1);
        assert_eq!(
            whole.to_string(),
            "302, then error (unprocessed), resent at once, 200; stopped: answered"
        );
    }
}
