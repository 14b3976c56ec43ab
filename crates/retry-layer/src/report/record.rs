use std::{fmt, net::SocketAddr, time::Duration};

use http::{StatusCode, Version};
use tokio::time::Instant;

use super::wait::Wait;
use crate::{
    class::Class,
    details::{AttemptDetails, AttemptPhase, ConnectionDetails, FailureKind},
};

/// One exchange of a call.
///
/// Its text is how it ended, after how long, with whom and why, as far as that is known.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AttemptRecord {
    outcome: AttemptOutcome,
    asked_again: AskedAgain,
    pub(super) wait: Option<Wait>,
    pub(super) began: Option<Duration>,
    took: Option<Duration>,
    held_back: Option<Duration>,
    details: AttemptDetails,
    resumed_at: Option<u64>,
    role: Role,
}

/// As what an attempt was sent.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Role {
    #[default]
    Attempt,
    Hedge,
}

/// Whether it was the classifier's own wish to send a request again that was answered.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum AskedAgain {
    #[default]
    No,
    /// The response alone would have been final.
    ByClassifier,
}

impl AttemptRecord {
    pub(crate) fn new(outcome: AttemptOutcome) -> Self {
        Self {
            outcome,
            asked_again: AskedAgain::default(),
            wait: None,
            began: None,
            took: None,
            held_back: None,
            details: AttemptDetails::default(),
            resumed_at: None,
            role: Role::default(),
        }
    }

    /// Says as what it was sent.
    pub(crate) fn sent_as(self, role: Role) -> Self {
        Self { role, ..self }
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

    pub(crate) fn held_back_for(self, held_back: Option<Duration>) -> Self {
        Self { held_back, ..self }
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
    /// [another request](crate::RetryReport::followed_by) followed.
    #[must_use]
    pub fn wait(&self) -> Option<Wait> {
        self.wait
    }

    /// How long after the start of the call it began.
    ///
    /// A call that succeeds at once does not read the clock. So the start of a call is known only
    /// if the policy has a [deadline](crate::RetryPolicyBuilder::deadline) or an
    /// [observer](crate::RetryObserver), or if the caller [gives it](crate::Retry::into_call). Elsewhere this is `None`, and so is
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

    /// How long it waited for its turn before it was sent, which is part of what it [took](Self::took):
    /// `None` unless a [pause](crate::pause) below held it back.
    #[must_use]
    pub fn held_back(&self) -> Option<Duration> {
        self.held_back
    }

    /// What kind of failure it was; `None` for a response. See
    /// [`Classifier::describe`](crate::Classifier::describe) for where this and all that follows come
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

    /// The address, unless the name of the peer contains it.
    fn further_address(&self) -> Option<SocketAddr> {
        let address = self.address()?;
        let told = self.peer()?.ends_with(&address.to_string());
        (!told).then_some(address)
    }

    /// Whether the classifier asked for another attempt after a response that the
    /// [standard one](crate::Standard) finds final: for what stands in its body, or for a status
    /// that it was told of.
    #[must_use]
    pub fn is_asked_again(&self) -> bool {
        self.asked_again == AskedAgain::ByClassifier
    }

    /// The offset, in bytes, from which on it asked for the rest of a body that had broken: see
    /// [`resume`](crate::resume). `None` for an attempt that asked for the whole.
    #[must_use]
    pub fn resumed_at(&self) -> Option<u64> {
        self.resumed_at
    }

    /// Whether it was a [hedge](crate::hedge): sent beside an attempt that was still under way.
    #[must_use]
    pub fn is_hedge(&self) -> bool {
        self.role == Role::Hedge
    }

    /// The same attempt of a call that began so much earlier, if it is known how much.
    pub(super) fn after(self, earlier: Option<Duration>) -> Self {
        let began = earlier.zip(self.began);
        let began = began.map(|(earlier, began)| earlier.saturating_add(began));
        Self { began, ..self }
    }

    pub(super) fn ended(&self) -> Option<Duration> {
        Some(self.began?.saturating_add(self.took?))
    }
}

impl fmt::Display for AttemptRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.details.kind {
            Some(kind) => spaced(kind.as_str(), f)?,
            None => write!(f, "{}", self.outcome)?,
        }
        if self.is_hedge() {
            f.write_str(" to a hedge")?;
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
        if let Some(held_back) = self.held_back {
            let millis = u64::try_from(held_back.as_millis()).unwrap_or(u64::MAX);
            write!(f, ", held back for {:?},", Duration::from_millis(millis))?;
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
            (AskedAgain::ByClassifier, Some(_)) => {
                f.write_str(", retried: the classifier asked for it")
            }
            (AskedAgain::ByClassifier, None) => {
                f.write_str(", not retried though the classifier asked for it")
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
    pub(super) began: Option<Duration>,
    pub(super) took: Option<Duration>,
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
    /// Without an outcome, beside another attempt of the same call: that was answered first, and this one
    /// was dropped. Of the attempt before a [hedge](crate::hedge), that it is still under way.
    Unanswered,
}

impl fmt::Display for AttemptOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => f.write_str(status.as_str()),
            Self::Error(class) => write!(f, "error ({})", class.as_str()),
            Self::Unanswered => f.write_str("unanswered"),
        }
    }
}
