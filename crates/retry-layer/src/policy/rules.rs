//! What a policy says of one request before it is sent.

use std::{fmt, time::Duration};

use http::{Request, Uri};
use http_body::Body;
use tokio::time::Instant;

use super::RetryPolicy;
use crate::{
    budget::Cost,
    class::Processed,
    jitter::Jitter,
    key::{IDEMPOTENCY_KEY, IdempotencyKeys},
    marker::{Idempotent, NoHedge},
    replay::BodyFactory,
    stop::StopReason,
};

/// Which rules a [`RetryPolicy`] has for one request: how often it may be sent, and after what.
///
/// It is made without sending anything, by [`RetryPolicy::rules_for`], and its [`Display`](fmt::Display)
/// tells all of it in a few lines.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RetryRules {
    max_attempts: u32,
    once: Option<StopReason>,
    idempotence: Idempotence,
    body: BodyReplay,
    transparent: bool,
    waits: Vec<Duration>,
    deadline: Option<Duration>,
    max_retry_after: Option<Duration>,
    is_bounded: bool,
    hedged: Option<Hedged>,
}

/// When a request gets a second attempt beside one that takes long: see [`hedge`](crate::hedge).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Hedged {
    /// After so long without an answer.
    After(Duration),
    /// The delay is learned, and too little is known of the origin yet.
    NotYetLearned,
}

/// Whether a request may be processed twice, and why.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Idempotence {
    /// Its method is one of those that the policy [repeats](crate::RetryPolicyBuilder::methods).
    Method,
    /// It has an `Idempotency-Key`, or [will get one](IdempotencyKeys).
    Key,
    /// It is marked as [`Idempotent`].
    Marked,
    /// Nothing says that it may.
    Unknown,
}

/// Whether a later attempt can send the body of a request again.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum BodyReplay {
    /// There is no body.
    Empty,
    /// A [`BodyFactory`] makes it anew.
    MadeAnew,
    /// It is in memory, or no longer than the policy's
    /// [`replay_limit`](crate::RetryPolicyBuilder::replay_limit).
    Kept,
    /// Its length is not known: it can be repeated as long as what was read of it is not longer than this
    /// many bytes.
    UpTo(usize),
    /// It is longer than this many bytes: it can be repeated only if it comes in one piece.
    OnlyInOnePiece(usize),
}

impl RetryPolicy {
    /// Tells which rules this policy, or the one that the request brings, has for the request. Nothing is sent,
    /// and no budget is asked.
    ///
    /// ```
    /// use http::Request;
    /// use http_body_util::Empty;
    /// use retry_layer::{Processed, RetryPolicy, StopReason};
    ///
    /// let policy = RetryPolicy::default();
    /// let request = Request::post("http://peer/").body(Empty::<bytes::Bytes>::new())?;
    /// let rules = policy.rules_for(&request);
    /// assert_eq!(rules.refusal_after(Processed::Possibly), Some(StopReason::NotIdempotent));
    /// assert_eq!(rules.refusal_after(Processed::Never), None);
    /// # Ok::<(), http::Error>(())
    /// ```
    #[must_use]
    pub fn rules_for<B>(&self, request: &Request<B>) -> RetryRules
    where
        B: Body + 'static,
    {
        let policy = self.for_request(request);
        let settings = policy.settings();
        let schedule = settings.backoff.clone().jitter(Jitter::None);
        let retries = usize::try_from(settings.max_attempts.saturating_sub(1));
        // What nobody waits through need not be listed.
        let retries = retries.unwrap_or(usize::MAX).min(MOST_WAITS);
        RetryRules {
            max_attempts: settings.max_attempts,
            once: policy.refusal(request),
            idempotence: policy.idempotence(request),
            body: policy.body_replay(request),
            transparent: !settings.transparent_retries.is_none(),
            waits: schedule.delays(0).take(retries).collect(),
            deadline: policy
                .deadline_of(request.extensions(), None)
                .map(|it| it.remaining()),
            max_retry_after: policy.max_retry_after(),
            is_bounded: policy.budget().is_bounded(),
            hedged: policy.hedged(request),
        }
    }

    /// The longest wait that a server may ask for; `None` if no [hint](crate::hint) is honoured.
    #[must_use]
    pub fn max_retry_after(&self) -> Option<Duration> {
        let settings = self.settings();
        (settings.hints != crate::hint::Hints::none()).then_some(settings.max_retry_after)
    }

    /// The waits between the attempts.
    #[must_use]
    pub fn backoff(&self) -> &crate::Backoff {
        &self.settings().backoff
    }

    /// How many bytes of a streamed body are kept for a later attempt, and how many all calls may keep together, if
    /// that is [limited](crate::RetryPolicyBuilder::replay_memory).
    #[must_use]
    pub fn replay_limits(&self) -> (usize, Option<usize>) {
        let memory = self.replay_memory().map(|memory| memory.limit());
        (self.settings().replay_limit, memory)
    }

    /// Whether the [budget](crate::budget) has a token for a retry of a call to this URI now. The token is taken and given
    /// back.
    #[must_use]
    pub fn can_pay_retry(&self, uri: &Uri) -> bool {
        let budget = self.budget();
        budget.enter();
        let paid = budget.withdraw(uri, Cost::Retry, Instant::now());
        if paid {
            budget.refund(uri, Cost::Retry);
        }
        budget.leave();
        paid
    }

    /// Whether the [budget](crate::budget) bounds retries at all, as any but
    /// [`Unlimited`](crate::budget::Unlimited) does.
    #[must_use]
    pub fn has_budget(&self) -> bool {
        self.budget().is_bounded()
    }

    fn hedged<B>(&self, request: &Request<B>) -> Option<Hedged> {
        let hedging = self.hedging()?;
        if self.max_attempts() == 1 || request.extensions().get::<NoHedge>().is_some() {
            return None;
        }
        let delay = hedging.delay(request.uri());
        Some(delay.map_or(Hedged::NotYetLearned, Hedged::After))
    }

    fn idempotence<B>(&self, request: &Request<B>) -> Idempotence {
        let extensions = request.extensions();
        let method = request.method();
        let keys = extensions.get::<IdempotencyKeys>();
        let keys = keys.or_else(|| self.extras()?.keys.as_ref());
        if self.settings().methods.contains(method) {
            Idempotence::Method
        } else if request.headers().contains_key(IDEMPOTENCY_KEY)
            || keys.is_some_and(|keys| keys.are_for(method))
        {
            Idempotence::Key
        } else if extensions.get::<Idempotent>().is_some() {
            Idempotence::Marked
        } else {
            Idempotence::Unknown
        }
    }

    fn body_replay<B: Body + 'static>(&self, request: &Request<B>) -> BodyReplay {
        let limit = self.settings().replay_limit;
        let body = request.body();
        let size = body.size_hint();
        let fits = |bytes| usize::try_from(bytes).is_ok_and(|bytes| bytes <= limit);
        if body.is_end_stream() {
            BodyReplay::Empty
        } else if request.extensions().get::<BodyFactory<B>>().is_some() {
            BodyReplay::MadeAnew
        } else if size.upper().is_some_and(fits) {
            BodyReplay::Kept
        } else if fits(size.lower()) {
            BodyReplay::UpTo(limit)
        } else {
            BodyReplay::OnlyInOnePiece(limit)
        }
    }
}

/// How many waits are listed.
const MOST_WAITS: usize = 100;

impl RetryRules {
    /// How many attempts a call makes at most, the first one included: 1 if it is [sent once](Self::once).
    #[must_use]
    pub fn max_attempts(&self) -> u32 {
        if self.once.is_some() {
            1
        } else {
            self.max_attempts
        }
    }

    /// Why the request is sent once whatever its outcome; `None` if it may be sent again.
    #[must_use]
    pub fn once(&self) -> Option<StopReason> {
        self.once
    }

    /// Why the request would not be sent again after a first attempt that failed and that the server has processed,
    /// or not; `None` if it would, as far as the outcome, the deadline and the budget allow.
    ///
    /// `Possibly` also stands for a response whose status is retried. A body whose length is not known counts as
    /// one that can be repeated. [Transparent retries](Self::has_transparent_retries) come on top.
    #[must_use]
    pub fn refusal_after(&self, processed: Processed) -> Option<StopReason> {
        if self.once.is_some() {
            return self.once;
        }
        if processed == Processed::Possibly && self.idempotence == Idempotence::Unknown {
            return Some(StopReason::NotIdempotent);
        }
        if self.max_attempts == 1 {
            return Some(StopReason::AttemptsExhausted);
        }
        match self.body {
            BodyReplay::OnlyInOnePiece(_) => Some(StopReason::BodyNotReplayable),
            _ => None,
        }
    }

    /// Whether the request may be processed twice, and why.
    #[must_use]
    pub fn idempotence(&self) -> Idempotence {
        self.idempotence
    }

    /// Whether a later attempt can send the body again.
    #[must_use]
    pub fn body(&self) -> BodyReplay {
        self.body
    }

    /// The same rules for a body of which the caller knows more than a [`Body`] tells, such as that it is one piece.
    #[must_use]
    pub fn with_body(mut self, body: BodyReplay) -> Self {
        self.body = body;
        self
    }

    /// What the backoff's schedule says for each wait between two attempts, before jitter, which makes most of them shorter.
    /// At most a hundred are listed.
    #[must_use]
    pub fn waits(&self) -> &[Duration] {
        if self.once.is_some() {
            return &[];
        }
        &self.waits
    }

    /// What is left until the deadline that the policy, or the request, sets for the call.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        self.deadline
    }

    /// The longest wait that the server may ask for; `None` if it is not heard.
    #[must_use]
    pub fn max_retry_after(&self) -> Option<Duration> {
        self.max_retry_after
    }

    /// Whether a request that was not processed, or met a connection that its peer had closed, is sent again without
    /// counting as an attempt.
    #[must_use]
    pub fn has_transparent_retries(&self) -> bool {
        self.transparent && self.once.is_none()
    }

    /// Whether a [budget](crate::budget) bounds the retries of all calls together.
    #[must_use]
    pub fn has_budget(&self) -> bool {
        self.is_bounded
    }

    /// When an attempt gets a hedge beside it, if a [`HedgeLayer`](crate::hedge::HedgeLayer) stands below; `None` if it does not,
    /// by the policy, its method or a mark, or since its body cannot be sent again.
    #[must_use]
    pub fn hedged(&self) -> Option<Hedged> {
        let is_repeatable = self.refusal_after(Processed::Possibly).is_none();
        self.hedged.filter(|_| is_repeatable)
    }
}

impl fmt::Display for RetryRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(once) = self.once {
            return write!(f, "sent once, whatever comes of it: {once}");
        }
        let plural = if self.max_attempts == 1 { "" } else { "s" };
        write!(f, "up to {} attempt{plural}", self.max_attempts)?;
        match (self.waits.first(), self.waits.last()) {
            (Some(first), Some(last)) if first != last => {
                write!(f, ", {first:?} to {last:?} apart before jitter")?;
            }
            (Some(wait), _) => write!(f, ", {wait:?} apart before jitter")?,
            (None, _) => {}
        }
        if !self.is_bounded {
            f.write_str(", and no budget")?;
        }
        for (processed, what) in [
            (Processed::Possibly, "may have been processed"),
            (Processed::Never, "was not processed"),
        ] {
            write!(f, "\nif it {what}: ")?;
            match self.refusal_after(processed) {
                Some(StopReason::NotIdempotent) => f.write_str(
                    "not sent again, since it is not idempotent, has no key and no mark",
                )?,
                Some(stop) => write!(f, "not sent again ({stop})")?,
                None if processed == Processed::Possibly => {
                    write!(f, "sent again, {}", self.idempotence)?;
                }
                None => f.write_str("sent again")?,
            }
        }
        if self.transparent {
            f.write_str(
                "\nif it was refused unprocessed, or met a closed connection: sent again at once, without counting as an attempt",
            )?;
        }
        write!(f, "\nits body: {}", self.body)?;
        match self.hedged() {
            Some(Hedged::After(delay)) => write!(f, "\na hedge after {delay:?} without an answer")?,
            Some(Hedged::NotYetLearned) => {
                f.write_str("\na hedge as soon as its delay is learned")?;
            }
            None => {}
        }
        match self.max_retry_after {
            Some(longest) => write!(f, "\na server may ask for a wait of up to {longest:?}"),
            None => f.write_str("\na server may not ask for a wait"),
        }
    }
}

impl fmt::Display for Idempotence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Method => "by its method",
            Self::Key => "by its Idempotency-Key",
            Self::Marked => "by its mark",
            Self::Unknown => "not known to be idempotent",
        })
    }
}

impl fmt::Display for BodyReplay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("empty"),
            Self::MadeAnew => f.write_str("made anew for each attempt"),
            Self::Kept => f.write_str("kept for each attempt"),
            Self::UpTo(limit) => write!(f, "a stream, kept up to {limit} bytes"),
            Self::OnlyInOnePiece(limit) => {
                write!(f, "longer than the {limit} bytes that are kept")
            }
        }
    }
}
