//! The hints that there are, and which of them are honoured.

use std::time::{Duration, SystemTime};

use http::HeaderMap;

use super::advice::Advice;

/// One header by which servers say when, or whether, to come back.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Hint {
    /// `Retry-After` (RFC 9110, section 10.2.3), see [`retry_after`](crate::retry_after). Honoured by default.
    RetryAfter,
    /// `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10): the longest `t`, in seconds, of the
    /// policies of which nothing remains (`r=0`). Honoured by default.
    RateLimit,
    /// `RateLimit-Reset`, of earlier drafts: seconds. Ignored while `RateLimit-Remaining` is
    /// more than 0. A value from 10⁹ up is taken for seconds since 1970.
    RateLimitReset,
    /// `X-RateLimit-Reset`: seconds, or seconds since 1970 from 10⁹ up, since servers differ. Ignored
    /// while `X-RateLimit-Remaining` is more than 0.
    XRateLimitReset,
    /// `retry-after-ms`, of some AI services: milliseconds. If it is valid, it goes before
    /// `Retry-After`.
    RetryAfterMs,
    /// `x-amz-retry-after`, of AWS: milliseconds. The wait is never shorter than the backoff, and
    /// never more than 5 seconds longer.
    XAmzRetryAfter,
    /// `grpc-retry-pushback-ms` (gRFC A6): exactly that many milliseconds; anything but one
    /// number from 0 to 2³¹−1 ends the call with [`StopReason::RetryForbidden`](crate::StopReason::RetryForbidden).
    GrpcPushback,
    /// `x-should-retry`: `false` ends the call with [`StopReason::RetryForbidden`](crate::StopReason::RetryForbidden); `true` makes a
    /// status from 400 up retryable that is final otherwise. It does not make a
    /// method idempotent.
    XShouldRetry,
    /// `x-retry-attempts-exhausted`: `1` or `true` says that the server has retried on its own
    /// side, and ends the call with [`StopReason::UpstreamExhausted`](crate::StopReason::UpstreamExhausted).
    XRetryAttemptsExhausted,
}

/// Which [`Hint`]s are honoured: `Retry-After` and `RateLimit` by default.
///
/// See the [module docs](super) for their order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use = "hints have an effect only in a policy that they are given to"]
pub struct Hints {
    pub(super) honored: u16,
}

impl Hints {
    /// No hint is honoured.
    pub const fn none() -> Self {
        Self { honored: 0 }
    }

    /// Honours this one too.
    pub const fn with(self, hint: Hint) -> Self {
        Self {
            honored: self.honored | Self::bit(hint),
        }
    }

    /// No longer honours this one.
    pub const fn without(self, hint: Hint) -> Self {
        Self {
            honored: self.honored & !Self::bit(hint),
        }
    }

    /// Whether this one is honoured.
    #[must_use]
    pub const fn contains(self, hint: Hint) -> bool {
        self.honored & Self::bit(hint) != 0
    }

    /// How long a response with these headers asks to wait, if it does. `now` is what a date is
    /// measured against if the response has no fresh `Date` of its own.
    #[must_use]
    pub fn wait(self, headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
        match self.advice(headers, || now) {
            Advice::Wait(asked) => Some(asked.wait),
            Advice::Nothing | Advice::Stop(_) => None,
        }
    }

    const fn bit(hint: Hint) -> u16 {
        1 << hint as u16
    }
}

impl Default for Hints {
    fn default() -> Self {
        Self::none().with(Hint::RetryAfter).with(Hint::RateLimit)
    }
}
