mod record;
mod response;
#[cfg(test)]
mod tests;
mod wait;

use std::{fmt, time::Duration};

pub(crate) use self::record::{AskedAgain, AttemptTimes, Role};
pub use self::{
    record::{AttemptOutcome, AttemptRecord},
    response::ResponseExt,
    wait::{Wait, WaitReason},
};
use crate::stop::StopReason;

/// What became of a call: every attempt, every wait and its reason, and why it ended.
///
/// It is found in the extensions of a response (see [`ResponseExt`]) if anything but one plain
/// attempt happened: a success at the first try carries none and costs nothing. For a final error,
/// [`Classifier::annotate`](crate::Classifier::annotate) gets it.
///
/// Its text is a timeline in one line, such as `head timeout after 30s on a reused connection to
/// http://a:80, waited 512ms (backoff), 200 after 3ms; stopped: answered`. Of a call without a
/// report it is short:
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
    transparent_retries: u32,
    stop: StopReason,
}

impl RetryReport {
    pub(crate) fn new(
        attempts: Vec<AttemptRecord>,
        transparent_retries: u32,
        stop: StopReason,
    ) -> Self {
        Self {
            attempts,
            transparent_retries,
            stop,
        }
    }

    pub(crate) fn single(record: AttemptRecord, stop: StopReason) -> Self {
        Self::new(vec![record], 0, stop)
    }

    /// Joins the report of another request to this one, where the call went on with it: the hop of a
    /// redirect, for a layer above that [follows it](crate::future#what-a-layer-above-asks). The call ended as
    /// that request did. Its times count on from the end of the last attempt here.
    #[must_use]
    pub fn followed_by(mut self, next: Self) -> Self {
        let ended = self.attempts.last().and_then(AttemptRecord::ended);
        let followed = next.attempts.into_iter().map(|record| record.after(ended));
        self.attempts.extend(followed);
        Self {
            attempts: self.attempts,
            transparent_retries: self
                .transparent_retries
                .saturating_add(next.transparent_retries),
            stop: next.stop,
        }
    }

    /// Every exchange in the order in which they ended, the
    /// [transparent retries](Self::transparent_retries) and the [hedges](crate::hedge) among them. The last
    /// is the one whose outcome is the call's.
    #[must_use]
    pub fn attempts(&self) -> &[AttemptRecord] {
        &self.attempts
    }

    /// How many of the exchanges counted as no attempt: the one before was provably not processed,
    /// or met a connection that the peer had closed. The first of a call is free; each further one
    /// took a token from the [budget](crate::budget), as a retry does.
    #[must_use]
    pub fn transparent_retries(&self) -> u32 {
        self.transparent_retries
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
            write!(f, "{attempt}")?;
            match attempt.wait {
                Some(Wait {
                    reason: WaitReason::TransparentRetry,
                    delay: Duration::ZERO,
                }) => f.write_str(", retried transparently at once, ")?,
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
