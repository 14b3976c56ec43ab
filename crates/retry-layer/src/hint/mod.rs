//! Hints: what a server says, in the headers of a response, about when to come back.
//!
//! ```
//! use std::time::{Duration, SystemTime};
//! use http::{HeaderMap, HeaderValue};
//! use retry_layer::{RetryPolicy, hint::{Hint, Hints}};
//!
//! let hints = Hints::default().with(Hint::XRateLimitReset);
//! let policy = RetryPolicy::builder().hints(hints).build()?;
//!
//! let mut headers = HeaderMap::new();
//! headers.insert("ratelimit", HeaderValue::from_static(r#""burst";r=0;t=10, "daily";r=312;t=9000"#));
//! assert_eq!(hints.wait(&headers, SystemTime::now()), Some(Duration::from_secs(10)));
//! # Ok::<(), retry_layer::BuildError>(())
//! ```
//!
//! Only `Retry-After` and `RateLimit` are honoured by default. The others are extensions of single
//! vendors, and honoured if they are chosen. A hint never shortens the backoff, except for gRPC's
//! pushback, which sets the wait exactly.
//!
//! The first of these that a response has decides; those after it are not looked at:
//!
//! 1. `grpc-retry-pushback-ms`,
//! 2. `x-retry-attempts-exhausted` and `x-should-retry`, if they say no,
//! 3. `x-amz-retry-after`, if it is valid,
//! 4. `retry-after-ms`, if it is valid,
//! 5. `Retry-After`: one that is not valid asks for nothing, but still hides those below,
//! 6. `RateLimit`,
//! 7. `RateLimit-Reset`, then `X-RateLimit-Reset`.

mod rate_limit;

use std::time::{Duration, SystemTime};

use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{HeaderName, RETRY_AFTER},
};

use crate::{
    report::WaitReason,
    retry_after::{self, parse_digits, trimmed},
    stop::StopReason,
};

const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");
const AMZ_RETRY_AFTER: HeaderName = HeaderName::from_static("x-amz-retry-after");
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_RESET: HeaderName = HeaderName::from_static("ratelimit-reset");
const RATE_LIMIT_REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const X_RATE_LIMIT_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
const X_RATE_LIMIT_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
const ATTEMPTS_EXHAUSTED: HeaderName = HeaderName::from_static("x-retry-attempts-exhausted");
const GRPC_PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");

/// One for each [`Hint`].
static NAMES: [HeaderName; 9] = [
    RETRY_AFTER,
    RATE_LIMIT,
    RATE_LIMIT_RESET,
    X_RATE_LIMIT_RESET,
    RETRY_AFTER_MS,
    AMZ_RETRY_AFTER,
    GRPC_PUSHBACK,
    SHOULD_RETRY,
    ATTEMPTS_EXHAUSTED,
];

/// One header by which servers say when, or whether, to come back.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Hint {
    /// `Retry-After` (RFC 9110, section 10.2.3), see [`retry_after`]. Honoured by default.
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
    /// number from 0 to 2³¹−1 ends the call with [`StopReason::RetryForbidden`].
    GrpcPushback,
    /// `x-should-retry`: `false` ends the call with [`StopReason::RetryForbidden`]; `true` makes a
    /// status from 400 up retryable that is final otherwise. It does not make a
    /// method idempotent.
    XShouldRetry,
    /// `x-retry-attempts-exhausted`: `1` or `true` says that the server has retried on its own
    /// side, and ends the call with [`StopReason::UpstreamExhausted`].
    XRetryAttemptsExhausted,
}

/// Which [`Hint`]s are honoured: `Retry-After` and `RateLimit` by default.
///
/// See the [module docs](self) for their order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use = "hints have an effect only in a policy that they are given to"]
pub struct Hints {
    honored: u16,
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

    pub(crate) fn advice(self, headers: &HeaderMap, now: impl FnOnce() -> SystemTime) -> Advice {
        // Most responses have few headers, and no hint: one pass costs less than the look-ups.
        if self.honored == 0 || !headers.keys().any(|name| NAMES.contains(name)) {
            return Advice::Nothing;
        }
        if self.contains(Hint::GrpcPushback) && headers.contains_key(GRPC_PUSHBACK) {
            return pushback(headers);
        }
        if let Some(stop) = self.stop(headers) {
            return Advice::Stop(stop);
        }
        if let Some(wait) = self.millis(Hint::XAmzRetryAfter, headers, AMZ_RETRY_AFTER) {
            return RequestedWait::new(wait, Rule::Near, WaitReason::RetryAfter).into();
        }
        if let Some(wait) = self.millis(Hint::RetryAfterMs, headers, RETRY_AFTER_MS) {
            return RequestedWait::new(wait, Rule::AtLeast, WaitReason::RetryAfter).into();
        }
        if self.contains(Hint::RetryAfter) && headers.contains_key(RETRY_AFTER) {
            return retry_after::parse(headers, now()).map_or(Advice::Nothing, |wait| {
                RequestedWait::new(wait, Rule::AtLeast, WaitReason::RetryAfter).into()
            });
        }
        self.rate_limit(headers, now)
            .map_or(Advice::Nothing, |wait| {
                RequestedWait::new(wait, Rule::AtLeast, WaitReason::RateLimit).into()
            })
    }

    /// Whether the server asks for another attempt after a status that is final otherwise.
    pub(crate) fn invites(self, status: StatusCode, headers: &HeaderMap) -> bool {
        self.contains(Hint::XShouldRetry)
            && status.as_u16() >= 400
            && says(headers, &SHOULD_RETRY, "true")
    }

    fn stop(self, headers: &HeaderMap) -> Option<StopReason> {
        let exhausted = |text| says(headers, &ATTEMPTS_EXHAUSTED, text);
        if self.contains(Hint::XRetryAttemptsExhausted) && (exhausted("1") || exhausted("true")) {
            return Some(StopReason::UpstreamExhausted);
        }
        (self.contains(Hint::XShouldRetry) && says(headers, &SHOULD_RETRY, "false"))
            .then_some(StopReason::RetryForbidden)
    }

    fn millis(self, hint: Hint, headers: &HeaderMap, name: HeaderName) -> Option<Duration> {
        if !self.contains(hint) {
            return None;
        }
        parse_digits(trimmed(headers.get(name)?)).map(Duration::from_millis)
    }

    fn rate_limit(self, headers: &HeaderMap, now: impl FnOnce() -> SystemTime) -> Option<Duration> {
        if self.contains(Hint::RateLimit) && headers.contains_key(RATE_LIMIT) {
            return rate_limit::longest_exhausted(&headers.get_all(RATE_LIMIT));
        }
        let (value, remaining) = [
            (Hint::RateLimitReset, RATE_LIMIT_RESET, RATE_LIMIT_REMAINING),
            (
                Hint::XRateLimitReset,
                X_RATE_LIMIT_RESET,
                X_RATE_LIMIT_REMAINING,
            ),
        ]
        .into_iter()
        .find_map(|(hint, reset, remaining)| {
            let value = self.contains(hint).then(|| headers.get(reset))??;
            Some((value, headers.get(remaining)))
        })?;
        let number = |value: &HeaderValue| parse_digits(trimmed(value));
        if remaining.and_then(number).is_some_and(|left| left > 0) {
            return None;
        }
        let reset = number(value)?;
        Some(if reset < FIRST_EPOCH {
            Duration::from_secs(reset)
        } else {
            retry_after::until_epoch(headers, reset, now())
        })
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

// As a wait this would be 31 years; as a date it is in 2001. So what is less is a wait, and the rest a
// date.
const FIRST_EPOCH: u64 = 1_000_000_000;

/// What a response says about another attempt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Advice {
    Nothing,
    Wait(RequestedWait),
    Stop(StopReason),
}

/// A wait that the server asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct RequestedWait {
    pub(crate) wait: Duration,
    pub(crate) rule: Rule,
    pub(crate) reason: WaitReason,
}

/// How a wait that the server asks for is combined with the backoff.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Rule {
    /// Whichever is longer.
    AtLeast,
    /// Not earlier than the backoff, and at most 5 seconds later.
    Near,
    /// In place of the backoff.
    Exactly,
}

impl RequestedWait {
    pub(crate) fn new(wait: Duration, rule: Rule, reason: WaitReason) -> Self {
        Self { wait, rule, reason }
    }
}

impl From<RequestedWait> for Advice {
    fn from(asked: RequestedWait) -> Self {
        Self::Wait(asked)
    }
}

fn pushback(headers: &HeaderMap) -> Advice {
    let mut values = headers.get_all(GRPC_PUSHBACK).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => parse_digits(trimmed(value))
            .filter(|millis| i32::try_from(*millis).is_ok())
            .map_or(Advice::Stop(StopReason::RetryForbidden), |millis| {
                RequestedWait::new(
                    Duration::from_millis(millis),
                    Rule::Exactly,
                    WaitReason::Pushback,
                )
                .into()
            }),
        (None, _) => Advice::Nothing,
        (Some(_), Some(_)) => Advice::Stop(StopReason::RetryForbidden),
    }
}

fn says(headers: &HeaderMap, name: &HeaderName, text: &str) -> bool {
    headers
        .get(name)
        .is_some_and(|value| trimmed(value).eq_ignore_ascii_case(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use proptest::prelude::*;

    use super::*;

    const ALL: [Hint; 9] = [
        Hint::RetryAfter,
        Hint::RateLimit,
        Hint::RateLimitReset,
        Hint::XRateLimitReset,
        Hint::RetryAfterMs,
        Hint::XAmzRetryAfter,
        Hint::GrpcPushback,
        Hint::XShouldRetry,
        Hint::XRetryAttemptsExhausted,
    ];

    fn all() -> Hints {
        ALL.into_iter().fold(Hints::none(), Hints::with)
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn advice(hints: Hints, pairs: &[(&'static str, &str)]) -> Advice {
        hints.advice(&headers(pairs), || {
            UNIX_EPOCH + Duration::from_secs(1_700_000_000)
        })
    }

    fn seconds(hints: Hints, pairs: &[(&'static str, &str)]) -> Option<u64> {
        hints
            .wait(
                &headers(pairs),
                UNIX_EPOCH + Duration::from_secs(1_700_000_000),
            )
            .map(|wait| wait.as_secs())
    }

    #[test]
    fn each_hint_is_heard_by_itself() {
        for hint in ALL {
            let hints = Hints::none().with(hint);
            assert_eq!(
                ALL.map(|other| hints.contains(other)),
                ALL.map(|o| o == hint)
            );
            assert_eq!(hints.without(hint), Hints::none());
        }
    }

    #[test]
    fn a_hint_that_is_named_twice_is_heard() {
        let hints = Hints::default().with(Hint::RetryAfter);
        assert!(hints.contains(Hint::RetryAfter));
    }

    #[test]
    fn dialects_are_not_heard_unasked() {
        for name in [
            "ratelimit-reset",
            "x-ratelimit-reset",
            "retry-after-ms",
            "x-amz-retry-after",
            "grpc-retry-pushback-ms",
        ] {
            assert_eq!(advice(Hints::default(), &[(name, "7")]), Advice::Nothing);
            assert_ne!(advice(all(), &[(name, "7")]), Advice::Nothing, "{name}");
        }
    }

    #[test]
    fn an_invalid_retry_after_hides_what_is_below_it() {
        let limited = ("ratelimit", "\"a\";r=0;t=9");
        assert_eq!(seconds(all(), &[limited]), Some(9));
        assert_eq!(seconds(all(), &[("retry-after", "soon"), limited]), None);
        assert_eq!(seconds(all(), &[("retry-after", "3"), limited]), Some(3));
        let deaf = all().without(Hint::RetryAfter);
        assert_eq!(seconds(deaf, &[("retry-after", "3"), limited]), Some(9));
    }

    #[test]
    fn a_reset_counts_only_if_nothing_remains() {
        for (reset, remaining) in [
            ("ratelimit-reset", "ratelimit-remaining"),
            ("x-ratelimit-reset", "x-ratelimit-remaining"),
        ] {
            let with = |left| seconds(all(), &[(reset, "30"), (remaining, left)]);
            assert_eq!(with("0"), Some(30));
            assert_eq!(with("4"), None);
            assert_eq!(with("?"), Some(30));
        }
    }

    #[test]
    fn a_large_reset_is_a_time_and_a_small_one_a_wait() {
        let reset = |value| seconds(all(), &[("x-ratelimit-reset", value)]);
        assert_eq!(reset("999999999"), Some(999_999_999));
        assert_eq!(reset("1000000000"), Some(0), "2001 is past");
        assert_eq!(reset("1700000060"), Some(60));
        assert_eq!(reset("-1"), None);
    }

    #[test]
    fn a_reset_time_is_measured_by_the_servers_own_clock() {
        let pairs = [
            ("x-ratelimit-reset", "1700000060"),
            ("date", "Tue, 14 Nov 2023 22:13:50 GMT"), // 1,700,000,030
        ];
        assert_eq!(seconds(all(), &pairs), Some(30));
    }

    #[test]
    fn pushback_is_one_number_or_the_end() {
        let stop = Advice::Stop(StopReason::RetryForbidden);
        let push = |value| advice(all(), &[("grpc-retry-pushback-ms", value)]);
        let exactly = |ms| {
            let wait = Duration::from_millis(ms);
            Advice::from(RequestedWait::new(
                wait,
                Rule::Exactly,
                WaitReason::Pushback,
            ))
        };
        assert_eq!(push("0"), exactly(0));
        assert_eq!(push("2147483647"), exactly(2_147_483_647));
        for bad in [
            "-1",
            "2147483648",
            "1.5",
            "",
            "soon",
            "99999999999999999999",
        ] {
            assert_eq!(push(bad), stop, "{bad}");
        }
        let name = "grpc-retry-pushback-ms";
        assert_eq!(advice(all(), &[(name, "1"), (name, "1")]), stop);
    }

    #[test]
    fn a_server_may_say_no_and_may_invite() {
        let no = |pairs: &[(&'static str, &str)]| advice(all(), pairs);
        assert_eq!(
            no(&[("x-should-retry", "False"), ("retry-after", "1")]),
            Advice::Stop(StopReason::RetryForbidden)
        );
        assert_eq!(
            no(&[("x-retry-attempts-exhausted", "true")]),
            Advice::Stop(StopReason::UpstreamExhausted)
        );
        assert_eq!(no(&[("x-should-retry", "maybe")]), Advice::Nothing);
        let yes = headers(&[("x-should-retry", "true")]);
        assert!(all().invites(StatusCode::BAD_REQUEST, &yes));
        assert!(!all().invites(StatusCode::OK, &yes));
        assert!(!Hints::default().invites(StatusCode::BAD_REQUEST, &yes));
    }

    proptest! {
        #[test]
        fn no_header_panics(bytes in proptest::collection::vec(any::<u8>(), 0..40), now in 0_u64..300_000_000_000) {
            let Ok(value) = HeaderValue::from_bytes(&bytes) else { return Ok(()) };
            let now = UNIX_EPOCH + Duration::from_secs(now);
            for name in [
                RETRY_AFTER, RETRY_AFTER_MS, AMZ_RETRY_AFTER, RATE_LIMIT, RATE_LIMIT_RESET,
                X_RATE_LIMIT_RESET, SHOULD_RETRY, ATTEMPTS_EXHAUSTED, GRPC_PUSHBACK,
            ] {
                let headers = HeaderMap::from_iter([(name, value.clone())]);
                let _ = all().advice(&headers, || now);
            }
        }

        #[test]
        fn numbers_saturate(digits in "[0-9]{20,60}") {
            for name in ["retry-after-ms", "x-amz-retry-after", "ratelimit-reset"] {
                prop_assert!(seconds(all(), &[(name, &digits)]).is_some());
            }
        }
    }
}
