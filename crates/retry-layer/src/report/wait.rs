use std::{fmt, time::Duration};

/// The wait between two attempts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Wait {
    pub(super) delay: Duration,
    pub(super) reason: WaitReason,
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
    /// on. See [`RetryReport::transparent_retries`](crate::RetryReport::transparent_retries).
    TransparentRetry,
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
            Self::TransparentRetry => "transparent_retry",
        }
    }
}

impl fmt::Display for WaitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
