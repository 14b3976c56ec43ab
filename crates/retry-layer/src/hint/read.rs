//! Reads the hints of a response.

use std::time::{Duration, SystemTime};

use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{HeaderName, RETRY_AFTER},
};

use super::{Advice, Hint, Hints, RequestedWait, Rule, rate_limit};
use crate::{
    report::WaitReason,
    retry_after::{self, parse_digits, trimmed},
    stop::StopReason,
};

pub(super) const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");
pub(super) const AMZ_RETRY_AFTER: HeaderName = HeaderName::from_static("x-amz-retry-after");
pub(super) const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
pub(super) const RATE_LIMIT_RESET: HeaderName = HeaderName::from_static("ratelimit-reset");
pub(super) const RATE_LIMIT_REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
pub(super) const X_RATE_LIMIT_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
pub(super) const X_RATE_LIMIT_REMAINING: HeaderName =
    HeaderName::from_static("x-ratelimit-remaining");
pub(super) const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
pub(super) const ATTEMPTS_EXHAUSTED: HeaderName =
    HeaderName::from_static("x-retry-attempts-exhausted");
pub(super) const GRPC_PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");

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

// As a wait this would be 31 years; as a date it is in 2001. So what is less is a wait, and the rest a
// date.
const FIRST_EPOCH: u64 = 1_000_000_000;

impl Hints {
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
