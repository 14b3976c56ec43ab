/// What one outcome says about sending the request again.
///
/// A class states a fact about the attempt; the layer turns it into an act, together with the
/// method, the body, the number of attempts, the deadline and the budget.
///
/// A response that is worth another attempt is [`Ambiguous`](Self::Ambiguous): the server
/// answered, but it may have processed the request, which is what that class means. The status
/// itself stays visible in the [`Outcome`](crate::Outcome) and in the
/// [report](crate::RetryReport), so it has no variant of its own.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Class {
    /// The caller gets this outcome: a success, a status that is not retried, an unknown error.
    Final,
    /// The request may have been processed. Sent again if its method is idempotent, if it carries
    /// an `Idempotency-Key`, or if its sender [vouched for it](crate::Idempotent).
    Ambiguous,
    /// No byte of the request left this process: any method may be sent again, after a wait.
    NotSent,
    /// The peer states that it did not process the request (RFC 9113, section 8.7; 421 of
    /// RFC 9110, section 15.5.20). Any method is sent again: the first time at once and without
    /// counting as an attempt, afterwards as a counted retry. A connection that the peer closes (a
    /// GOAWAY, known by the feature `h2`) is no fault of the service: after five of these in a call
    /// no attempt is counted, and from the second on the policy's backoff comes before. Of all
    /// transparent retries of a call only the first is free, see [budgets](crate::budget).
    Unprocessed,
    /// The peer closed a reused connection before it sent the first byte of a response. The request
    /// is sent again at once, and without counting as an attempt, once per call; afterwards as a
    /// counted retry. If any byte of it was written it is [`Possibly`](Processed::Possibly)
    /// processed, and sent again only if it is idempotent.
    Stale(Processed),
    /// The peer asks for fewer requests: HTTP/2's `ENHANCE_YOUR_CALM` (RFC 9113, section 7), gRPC's
    /// `RESOURCE_EXHAUSTED`. A counted retry follows, whose wait starts at the
    /// [throttled base](crate::Exponential::throttled_base), and which costs half a token. It is
    /// never sent at once. If the peer does not state that it [`Never`](Processed::Never) processed
    /// the request, only one that is idempotent is sent again. Responses of status 429, and of 503
    /// with a hint when to come back, are treated alike whatever their class.
    Throttled(Processed),
    /// An error that would come again: a bad URL, a certificate, a broken request body.
    Permanent,
}

/// Whether the peer may have processed a request.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Processed {
    /// The peer certainly did not process it.
    Never,
    /// The peer may have processed it.
    Possibly,
}

impl Class {
    /// Whether this class allows another attempt at all.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        !matches!(self, Self::Final | Self::Permanent)
    }

    /// Whether any method may be sent again, since the request was certainly not processed.
    #[must_use]
    pub const fn is_unprocessed(self) -> bool {
        matches!(
            self,
            Self::NotSent
                | Self::Unprocessed
                | Self::Stale(Processed::Never)
                | Self::Throttled(Processed::Never)
        )
    }

    /// Whether the peer asks for fewer requests.
    #[must_use]
    pub const fn is_throttled(self) -> bool {
        matches!(self, Self::Throttled(_))
    }

    /// What follows if both of these are known of one outcome that is to be retried: the class
    /// that proves more, see [the rules](crate::classify#how-classes-combine).
    pub(crate) fn joined(self, other: Self) -> Self {
        if self.is_throttled() || other.is_throttled() {
            let never = self.is_unprocessed() || other.is_unprocessed();
            return Self::Throttled(if never {
                Processed::Never
            } else {
                Processed::Possibly
            });
        }
        if self.proof() >= other.proof() {
            self
        } else {
            other
        }
    }

    /// Orders the classes by what they prove about the request.
    const fn proof(self) -> u8 {
        match self {
            Self::Final => 0,
            Self::Throttled(_) | Self::Ambiguous => 1,
            Self::Stale(Processed::Possibly) => 2,
            Self::Unprocessed => 3,
            Self::Stale(Processed::Never) => 4,
            Self::NotSent => 5,
            Self::Permanent => 6,
        }
    }

    /// A short name for logs and metrics, such as `not_sent`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Final => "final",
            Self::Ambiguous => "ambiguous",
            Self::NotSent => "not_sent",
            Self::Unprocessed => "unprocessed",
            Self::Stale(_) => "stale",
            Self::Throttled(_) => "throttled",
            Self::Permanent => "permanent",
        }
    }
}

/// `true` is [`Class::Ambiguous`], `false` is [`Class::Final`].
impl From<bool> for Class {
    fn from(retry: bool) -> Self {
        if retry { Self::Ambiguous } else { Self::Final }
    }
}
