use std::{fmt, net::SocketAddr, time::Duration};

use http::{Response, StatusCode, Version};
use tokio::time::Instant;

use crate::{
    class::Class,
    details::{AttemptDetails, AttemptPhase, ConnectionDetails, FailureKind},
    stop::StopReason,
};

/// What became of a call: every attempt, every wait and its reason, and why it ended.
///
/// It is found in the extensions of a response (see [`ResponseExt`]) if anything but one plain
/// attempt happened: a success at the first try carries none and costs nothing. For a final error,
/// [`Predicate::annotate`](crate::Predicate::annotate) gets it.
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

    pub(crate) fn single(record: AttemptRecord, stop: StopReason) -> Self {
        Self::new(vec![record], 0, stop)
    }

    /// Joins the report of another request to this one, where the call went on with it: the hop of a
    /// redirect. The call ended as that request did. Its times count on from the end of the last
    /// attempt here.
    #[must_use]
    pub fn followed_by(mut self, next: Self) -> Self {
        let ended = self.attempts.last().and_then(AttemptRecord::ended);
        self.attempts
            .extend(next.attempts.into_iter().map(|record| AttemptRecord {
                began: match (ended, record.began) {
                    (Some(ended), Some(began)) => Some(ended.saturating_add(began)),
                    _ => None,
                },
                ..record
            }));
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
            write!(f, "{attempt}")?;
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
///
/// Its text is how it ended, after how long, with whom and why, as far as that is known.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AttemptRecord {
    outcome: AttemptOutcome,
    asked_again: AskedAgain,
    wait: Option<Wait>,
    began: Option<Duration>,
    took: Option<Duration>,
    details: AttemptDetails,
    resumed_at: Option<u64>,
}

/// Whether it was the predicate's own wish to send a request again that was answered.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum AskedAgain {
    #[default]
    No,
    /// The response alone would have been final.
    ByPredicate,
}

impl AttemptRecord {
    pub(crate) fn new(outcome: AttemptOutcome) -> Self {
        Self {
            outcome,
            asked_again: AskedAgain::default(),
            wait: None,
            began: None,
            took: None,
            details: AttemptDetails::default(),
            resumed_at: None,
        }
    }

    /// Says that it asked for the rest of a body, from this offset on.
    pub(crate) fn resuming(self, offset: u64) -> Self {
        let resumed_at = Some(offset);
        Self { resumed_at, ..self }
    }

    pub(crate) fn described(self, details: AttemptDetails) -> Self {
        Self { details, ..self }
    }

    pub(crate) fn asked_again(self, asked_again: AskedAgain) -> Self {
        Self {
            asked_again,
            ..self
        }
    }

    pub(crate) fn timed(self, times: AttemptTimes) -> Self {
        let AttemptTimes { began, took } = times;
        Self {
            began,
            took,
            ..self
        }
    }

    pub(crate) fn followed_after(self, wait: Wait) -> Self {
        let wait = Some(wait);
        Self { wait, ..self }
    }

    /// The same as the last one of a call.
    pub(crate) fn last(self) -> Self {
        Self { wait: None, ..self }
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

    /// How long after the start of the call it began.
    ///
    /// A call that succeeds at once does not look at the clock. So the start of a call is known only
    /// where somebody has looked anyway: where the policy has a
    /// [deadline](crate::RetryPolicyBuilder::deadline) or an [observer](crate::Observer), or the
    /// layer above [tells](crate::Retry::call_at). Elsewhere this is `None`, and so is
    /// [`took`](Self::took) of the first attempt.
    #[must_use]
    pub fn began(&self) -> Option<Duration> {
        self.began
    }

    /// How long it took, up to the head of the response or the error.
    #[must_use]
    pub fn took(&self) -> Option<Duration> {
        self.took
    }

    /// What kind of failure it was; `None` for a response. See
    /// [`Predicate::describe`](crate::Predicate::describe) for where this and all that follows come
    /// from.
    #[must_use]
    pub fn kind(&self) -> Option<FailureKind> {
        self.details.kind
    }

    /// How far it had come when it failed, where that is known.
    #[must_use]
    pub fn phase(&self) -> Option<AttemptPhase> {
        self.details.phase
    }

    /// Why it failed, in one line of at most 200 bytes and an ellipsis. It holds no userinfo, path
    /// or query of a URL.
    #[must_use]
    pub fn cause(&self) -> Option<&str> {
        self.details.cause.as_deref()
    }

    /// To whom the request went, where that is known: an origin, as `scheme://host:port`, or an
    /// address.
    #[must_use]
    pub fn peer(&self) -> Option<&str> {
        self.details.peer.as_deref()
    }

    /// Whether its connection had carried another request before, where that is known.
    #[must_use]
    pub fn is_reused(&self) -> Option<bool> {
        self.details.reused
    }

    /// The address that its connection led to, where that is known: the peer's, or a proxy's.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.connection()?.address
    }

    /// The version of HTTP that its connection spoke, where that is known.
    #[must_use]
    pub fn version(&self) -> Option<Version> {
        self.connection()?.version
    }

    /// How many other requests its connection had been given, where that is known.
    #[must_use]
    pub fn other_requests(&self) -> Option<u64> {
        self.connection()?.others
    }

    fn connection(&self) -> Option<&ConnectionDetails> {
        self.details.connection.as_deref()
    }

    /// The address, where the name of the peer does not tell it already.
    fn further_address(&self) -> Option<SocketAddr> {
        let address = self.address()?;
        let told = self.peer()?.ends_with(&address.to_string());
        (!told).then_some(address)
    }

    /// Whether the predicate asked for another attempt after a response that the
    /// [standard one](crate::Standard) finds final: for what stands in its body, or for a status
    /// that it was told of.
    #[must_use]
    pub fn is_asked_again(&self) -> bool {
        self.asked_again == AskedAgain::ByPredicate
    }

    /// The offset, in bytes, from which on it asked for the rest of a body that had broken: see
    /// [`resume`](crate::resume). `None` for an attempt that asked for the whole.
    #[must_use]
    pub fn resumed_at(&self) -> Option<u64> {
        self.resumed_at
    }

    fn ended(&self) -> Option<Duration> {
        Some(self.began?.saturating_add(self.took?))
    }
}

impl fmt::Display for AttemptRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.details.kind {
            Some(kind) => spaced(kind.as_str(), f)?,
            None => write!(f, "{}", self.outcome)?,
        }
        if let Some(offset) = self.resumed_at {
            write!(f, " from byte {offset}")?;
        }
        match self.took {
            Some(took) if took < Duration::from_millis(1) => f.write_str(" at once")?,
            Some(took) => {
                let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
                write!(f, " after {:?}", Duration::from_millis(millis))?;
            }
            None => {}
        }
        match self.details.reused {
            Some(true) => f.write_str(" on a reused connection")?,
            Some(false) => f.write_str(" on a new connection")?,
            None => {}
        }
        match (self.peer(), self.details.reused) {
            (Some(peer), Some(_)) => write!(f, " to {peer}")?,
            (Some(peer), None) => write!(f, " at {peer}")?,
            (None, _) => {}
        }
        if let Some(address) = self.further_address() {
            write!(f, " ({address})")?;
        }
        if let Some(cause) = self.details.further_cause() {
            write!(f, " ({cause})")?;
        }
        match (self.asked_again, self.wait) {
            (AskedAgain::No, _) => Ok(()),
            (AskedAgain::ByPredicate, Some(_)) => {
                f.write_str(", retried: the predicate asked for it")
            }
            (AskedAgain::ByPredicate, None) => {
                f.write_str(", not retried though the predicate asked for it")
            }
        }
    }
}

/// Writes a name of several words as words.
fn spaced(name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (index, word) in name.split('_').enumerate() {
        if index > 0 {
            f.write_str(" ")?;
        }
        f.write_str(word)?;
    }
    Ok(())
}

/// When an attempt began, from the start of its call, and how long it took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AttemptTimes {
    began: Option<Duration>,
    took: Option<Duration>,
}

impl AttemptTimes {
    /// The times of an attempt that was sent at this moment, and is over `now`.
    pub(crate) fn new(started: Option<Instant>, sent: Option<Instant>, now: Instant) -> Self {
        let began = |(started, sent): (_, Instant)| sent.saturating_duration_since(started);
        Self {
            began: started.zip(sent).map(began),
            took: sent.map(|sent| now.saturating_duration_since(sent)),
        }
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
            RetryReport::single(AttemptRecord::new(AttemptOutcome::Status(status)), stop)
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

    const SECOND: Duration = Duration::from_secs(1);

    fn status(code: u16) -> AttemptRecord {
        AttemptRecord::new(AttemptOutcome::Status(code.try_into().unwrap()))
    }

    fn failed(class: Class) -> AttemptRecord {
        AttemptRecord::new(AttemptOutcome::Error(class))
    }

    #[test]
    fn the_text_is_a_timeline() {
        let after = Duration::from_millis(1_500);
        let report = RetryReport::new(
            vec![
                failed(Class::Stale { wrote: true })
                    .followed_after(Wait::new(Duration::ZERO, WaitReason::Resend)),
                status(503).followed_after(Wait::new(after, WaitReason::RetryAfter)),
                status(200),
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
    fn the_text_of_an_attempt_says_what_happened_after_how_long_with_whom_and_why() {
        let details = AttemptDetails::default()
            .kind(FailureKind::new("head_timeout"))
            .cause("no response within 30s")
            .peer("http://a:80")
            .reused(true)
            .address(([10, 0, 0, 7], 80).into())
            .version(Version::HTTP_11)
            .other_requests(4);
        let times = AttemptTimes {
            began: Some(SECOND),
            took: Some(SECOND * 30),
        };
        let late = failed(Class::Ambiguous).described(details).timed(times);
        assert_eq!(
            late.to_string(),
            "head timeout after 30s on a reused connection to http://a:80 (10.0.0.7:80)"
        );
        assert_eq!(late.cause(), Some("no response within 30s"));
        assert_eq!(late.version(), Some(Version::HTTP_11));
        assert_eq!(late.other_requests(), Some(4));

        let literal = AttemptDetails::default()
            .kind(FailureKind::BROKEN)
            .peer("http://10.0.0.7:80")
            .address(([10, 0, 0, 7], 80).into())
            .reused(false);
        assert_eq!(
            failed(Class::Ambiguous).described(literal).to_string(),
            "broken on a new connection to http://10.0.0.7:80"
        );

        let details = AttemptDetails::default()
            .kind(FailureKind::TLS)
            .cause("unknown issuer")
            .peer("https://a:443");
        let untrusted = failed(Class::Permanent).described(details);
        assert_eq!(
            untrusted.to_string(),
            "tls at https://a:443 (unknown issuer)"
        );
    }

    #[test]
    fn what_the_predicate_asked_for_is_named() {
        let asked = status(200).asked_again(AskedAgain::ByPredicate);
        let wait = Wait::new(SECOND, WaitReason::Backoff);
        let report = RetryReport::new(
            vec![asked.clone().followed_after(wait), asked],
            0,
            StopReason::AttemptsExhausted,
        );
        assert_eq!(
            report.to_string(),
            "200, retried: the predicate asked for it, waited 1s (backoff), \
             200, not retried though the predicate asked for it; stopped: attempts_exhausted"
        );
    }

    #[test]
    fn reports_of_requests_that_followed_each_other_are_one() {
        let times = |began, took| AttemptTimes {
            began: Some(SECOND * began),
            took: Some(SECOND * took),
        };
        let first = status(302).timed(times(0, 2));
        let first = RetryReport::single(first, StopReason::StatusNotRetryable);
        let resent = failed(Class::Unprocessed)
            .timed(times(0, 1))
            .followed_after(Wait::new(Duration::ZERO, WaitReason::Resend));
        let answer = status(200).timed(times(1, 3));
        let second = RetryReport::new(vec![resent, answer], 1, StopReason::Answered);

        let whole = first.followed_by(second);

        assert_eq!(whole.resends(), 1);
        assert_eq!(
            whole.to_string(),
            "302 after 2s, then error (unprocessed) after 1s, resent at once, 200 after 3s; \
             stopped: answered"
        );
        let began = whole.attempts().iter().map(AttemptRecord::began);
        assert!(began.eq([0, 2, 3].map(|seconds| Some(SECOND * seconds))));
    }
}
