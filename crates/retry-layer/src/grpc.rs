//! Retries of gRPC calls whose status is in the headers of the response (gRFC A6).
//!
//! ```
//! use std::time::Duration;
//! use retry_layer::{budget::GrpcThrottle, grpc::{Code, GrpcRetry}};
//!
//! // What a service config says with `retryPolicy` and `retryThrottling`.
//! let policy = GrpcRetry::new(4, Duration::from_millis(100), Duration::from_secs(1), 2.0)
//!     .codes([Code::Unavailable, Code::Aborted])
//!     .to_builder()?
//!     .budget(GrpcThrottle::new(10, 100)?)
//!     .build()?;
//! # Ok::<(), retry_layer::BuildError>(())
//! ```
//!
//! A server that fails at once answers with a head only ("Trailers-Only"), and its `grpc-status`
//! is among the headers: such a call can be retried. Once a head without it has arrived, the
//! response is the caller's; a status in real trailers is final, as gRFC A6 has it.
//!
//! Every gRPC call is a POST, and a method's name does not tell whether it may be executed twice.
//! [`GrpcRetry`] sends any call again when its status says so: use it for methods that may be
//! executed twice, as a service config names them. With the classifier [`Grpc`] in a policy of your
//! own, only requests that are [vouched for](crate::Idempotent), or that were provably not
//! processed, are sent again.
//!
//! # How it differs from gRPC's own
//!
//! - Jitter never lifts a wait above the longest backoff.
//! - A request that was not processed is sent again without counting as an attempt: once for each
//!   cause, and five times after a GOAWAY. gRPC does so without a limit while nothing was sent.
//!   Only the first of these in a call is free; the others take from the budget.
//! - A pushback that is longer than [the limit](crate::RetryPolicyBuilder::max_retry_after) ends
//!   the call, and a shorter one does not restart the backoff.
//! - Without throttling there is still the policy's [budget](crate::budget).

use std::{str, time::Duration};

use http::{HeaderMap, StatusCode, header::HeaderName};

use crate::{
    backoff::{Backoff, Exponential},
    class::{Class, Processed},
    classify::Classifier,
    error::{BuildError, Problem},
    hint::{Hint, Hints},
    jitter::Jitter,
    outcome::Outcome,
    policy::{RetryPolicy, RetryPolicyBuilder},
};

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// A status code of gRPC.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Code {
    /// 0: success.
    Ok,
    /// 1: cancelled, usually by the caller.
    Cancelled,
    /// 2: an error of unknown kind.
    Unknown,
    /// 3: the request makes no sense.
    InvalidArgument,
    /// 4: the deadline passed, on the server or before it.
    DeadlineExceeded,
    /// 5: not found.
    NotFound,
    /// 6: exists already.
    AlreadyExists,
    /// 7: not allowed.
    PermissionDenied,
    /// 8: a quota is used up, or the server has no room.
    ResourceExhausted,
    /// 9: the system is not in the state that the call needs.
    FailedPrecondition,
    /// 10: aborted, for example by a conflict of transactions.
    Aborted,
    /// 11: out of range.
    OutOfRange,
    /// 12: not implemented.
    Unimplemented,
    /// 13: an invariant of the server is broken.
    Internal,
    /// 14: not available at the moment.
    Unavailable,
    /// 15: data is lost.
    DataLoss,
    /// 16: not authenticated.
    Unauthenticated,
}

impl Code {
    const ALL: [Self; 17] = [
        Self::Ok,
        Self::Cancelled,
        Self::Unknown,
        Self::InvalidArgument,
        Self::DeadlineExceeded,
        Self::NotFound,
        Self::AlreadyExists,
        Self::PermissionDenied,
        Self::ResourceExhausted,
        Self::FailedPrecondition,
        Self::Aborted,
        Self::OutOfRange,
        Self::Unimplemented,
        Self::Internal,
        Self::Unavailable,
        Self::DataLoss,
        Self::Unauthenticated,
    ];

    /// The code of a response, by its `grpc-status` header. If it is not a gRPC response, the code
    /// that its HTTP status stands for. `None` for a status 200 without `grpc-status`: the code
    /// comes later, in the trailers.
    #[must_use]
    pub fn of_response(status: StatusCode, headers: &HeaderMap) -> Option<Self> {
        if let Some(value) = headers.get(GRPC_STATUS) {
            let number = str::from_utf8(value.as_bytes()).ok();
            let index = number.and_then(|text| text.parse::<usize>().ok());
            let code = index.and_then(|index| Self::ALL.get(index));
            // In gRPC a code that is not defined is an unknown error.
            return Some(code.copied().unwrap_or(Self::Unknown));
        }
        (status != StatusCode::OK).then(|| Self::of_status(status))
    }

    /// The code for an HTTP status of an intermediary ("HTTP to gRPC Status Code Mapping").
    fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::BAD_REQUEST => Self::Internal,
            StatusCode::UNAUTHORIZED => Self::Unauthenticated,
            StatusCode::FORBIDDEN => Self::PermissionDenied,
            StatusCode::NOT_FOUND => Self::Unimplemented,
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => Self::Unavailable,
            _ => Self::Unknown,
        }
    }

    const fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// A classifier by gRPC's status: retries [`Unavailable`](Code::Unavailable) by default.
///
/// | outcome | class |
/// |---|---|
/// | a code that is retried | [`Ambiguous`](Class::Ambiguous); [`ResourceExhausted`](Code::ResourceExhausted): [`Throttled`](Class::Throttled) |
/// | another code, and a status yet to come in trailers | [`Final`](Class::Final) |
/// | an error before which the request was not processed | its [class](Outcome::error_class) |
/// | an error after which it may have been | its class if `Unavailable` is retried, else `Final` |
///
/// For a [budget](crate::budget) only `OK`, and a status yet to come, is a success. Another code
/// that is not retried is neither a success nor a failure, unless the server adds a pushback that
/// forbids retries (gRFC A6, "Throttling Retry Attempts and Hedged RPCs").
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Grpc {
    codes: u32,
}

impl Grpc {
    /// Sets the codes that are retried, in place of `Unavailable`.
    #[must_use]
    pub fn codes(self, codes: impl IntoIterator<Item = Code>) -> Self {
        let codes = codes.into_iter().fold(0, |bits, code| bits | code.bit());
        // `OK` is never retried.
        Self {
            codes: codes & !Code::Ok.bit(),
        }
    }

    fn retries(self, code: Code) -> bool {
        self.codes & code.bit() != 0
    }
}

impl Default for Grpc {
    fn default() -> Self {
        Self {
            codes: Code::Unavailable.bit(),
        }
    }
}

impl Classifier for Grpc {
    fn classify(&self, outcome: &Outcome<'_>) -> Class {
        if let Some((status, headers)) = outcome.response() {
            return match Code::of_response(status, headers) {
                Some(code) if !self.retries(code) => Class::Final,
                Some(Code::ResourceExhausted) => Class::Throttled(Processed::Possibly),
                Some(_) => Class::Ambiguous,
                None => Class::Final,
            };
        }
        let class = outcome.error_class().unwrap_or(Class::Final);
        if class.is_unprocessed() || self.retries(Code::Unavailable) || !class.is_retryable() {
            return class;
        }
        Class::Final
    }

    fn is_success(&self, outcome: &Outcome<'_>) -> bool {
        outcome.response().is_some_and(|(status, headers)| {
            let code = Code::of_response(status, headers);
            code.is_none_or(|code| code == Code::Ok)
        })
    }
}

/// The `retryPolicy` of a gRPC service config.
#[derive(Clone, Copy, Debug, PartialEq)]
#[must_use = "settings do nothing until `to_builder` is called"]
pub struct GrpcRetry {
    max_attempts: u32,
    client_limit: u32,
    initial: Duration,
    longest: Duration,
    multiplier: f64,
    classifier: Grpc,
}

impl GrpcRetry {
    const DEFAULT_LIMIT: u32 = 5;

    /// `maxAttempts` (the first one included, at least 2), `initialBackoff`, `maxBackoff` and
    /// `backoffMultiplier`.
    pub fn new(max_attempts: u32, initial: Duration, longest: Duration, multiplier: f64) -> Self {
        Self {
            max_attempts,
            client_limit: Self::DEFAULT_LIMIT,
            initial,
            longest,
            multiplier,
            classifier: Grpc::default(),
        }
    }

    /// `retryableStatusCodes`: [`Unavailable`](Code::Unavailable) unless set.
    pub fn codes(mut self, codes: impl IntoIterator<Item = Code>) -> Self {
        self.classifier = self.classifier.codes(codes);
        self
    }

    /// The most attempts that this client makes, even if the service config allows more. Default:
    /// 5. A limit below 2 stands for the default, as in gRPC.
    pub fn client_limit(mut self, attempts: u32) -> Self {
        self.client_limit = if attempts < 2 {
            Self::DEFAULT_LIMIT
        } else {
            attempts
        };
        self
    }

    /// A policy's builder with these settings, for any method, with 20 % jitter; of the
    /// [hints](crate::hint) only gRPC's pushback is read. The budget is the policy's default: set a
    /// [`GrpcThrottle`](crate::budget::GrpcThrottle) for `retryThrottling`.
    ///
    /// # Errors
    ///
    /// If `max_attempts` is below 2. A backoff that is not valid is an error of
    /// [`build`](RetryPolicyBuilder::build).
    pub fn to_builder(self) -> Result<RetryPolicyBuilder, BuildError> {
        if self.max_attempts < 2 {
            return Err(Problem::Setting("gRPC's `maxAttempts` is at least 2").into());
        }
        let exponential = Exponential::new(self.initial)
            .throttled_base(self.initial)
            .factor(self.multiplier)
            .cap(self.longest);
        Ok(RetryPolicy::builder()
            .classifier(self.classifier)
            .any_method()
            .max_attempts(self.max_attempts.min(self.client_limit))
            .backoff(Backoff::from(exponential).jitter(Jitter::Proportional(20)))
            .hints(Hints::none().with(Hint::GrpcPushback)))
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Method, Uri};

    use super::*;

    fn classify(grpc: Grpc, status: u16, code: Option<&str>) -> Class {
        let mut headers = HeaderMap::new();
        if let Some(code) = code {
            headers.insert(GRPC_STATUS, HeaderValue::from_str(code).unwrap());
        }
        let status = StatusCode::from_u16(status).unwrap();
        let uri = Uri::default();
        grpc.classify(&Outcome::from_response(
            &Method::POST,
            &uri,
            status,
            &headers,
        ))
    }

    #[test]
    fn only_unavailable_is_retried_unless_set() {
        for number in 0..20 {
            let class = classify(Grpc::default(), 200, Some(&number.to_string()));
            let expected = Class::from(number == 14);
            assert_eq!(class, expected, "{number}");
        }
        assert_eq!(classify(Grpc::default(), 200, None), Class::Final);
        assert_eq!(classify(Grpc::default(), 200, Some("x")), Class::Final);
    }

    #[test]
    fn codes_can_be_chosen_and_success_cannot() {
        let grpc = Grpc::default().codes(Code::ALL);
        for number in 0..20 {
            let class = classify(grpc, 200, Some(&number.to_string()));
            let expected = match number {
                0 => Class::Final,
                8 => Class::Throttled(Processed::Possibly),
                _ => Class::Ambiguous,
            };
            assert_eq!(class, expected, "{number}");
        }
        let deadline = Grpc::default().codes([Code::DeadlineExceeded]);
        assert_eq!(classify(deadline, 200, Some("4")), Class::Ambiguous);
        assert_eq!(classify(deadline, 200, Some("14")), Class::Final);
    }

    #[test]
    fn a_proxy_without_grpc_is_read_by_its_status() {
        for status in [429, 502, 503, 504] {
            assert_eq!(classify(Grpc::default(), status, None), Class::Ambiguous);
            assert_eq!(classify(Grpc::default(), status, Some("5")), Class::Final);
        }
        for status in [400, 401, 403, 404, 408, 500] {
            assert_eq!(classify(Grpc::default(), status, None), Class::Final);
        }
        let unknown = Grpc::default().codes([Code::Unknown]);
        assert_eq!(classify(unknown, 500, None), Class::Ambiguous);
    }

    #[test]
    fn an_error_counts_as_unavailable_unless_nothing_was_processed() {
        let uri = Uri::default();
        for (class, without) in [
            (Class::Ambiguous, Class::Final),
            (Class::Stale(Processed::Possibly), Class::Final),
            (Class::NotSent, Class::NotSent),
            (Class::Unprocessed, Class::Unprocessed),
            (Class::Permanent, Class::Permanent),
            (Class::Final, Class::Final),
        ] {
            let outcome =
                Outcome::from_error(&Method::POST, &uri, &std::fmt::Error).with_error_class(class);
            assert_eq!(Grpc::default().classify(&outcome), class);
            let aborted = Grpc::default().codes([Code::Aborted]);
            assert_eq!(aborted.classify(&outcome), without, "{class:?}");
        }
    }

    #[test]
    fn only_ok_and_a_status_yet_to_come_are_successes() {
        for (code, success) in [
            (Some("0"), true),
            (None, true),
            (Some("5"), false),
            (Some("7"), false),
            (Some("x"), false),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(code) = code {
                headers.insert(GRPC_STATUS, HeaderValue::from_static(code));
            }
            let uri = Uri::default();
            let outcome = Outcome::from_response(&Method::POST, &uri, StatusCode::OK, &headers);
            assert_eq!(Grpc::default().is_success(&outcome), success, "{code:?}");
        }
    }

    #[test]
    fn attempts_are_bound_by_the_client_too() {
        let attempts = |policy, limit: Option<u32>| {
            let second = Duration::from_secs(1);
            let retry = GrpcRetry::new(policy, second, second, 1.0);
            let retry = limit.map_or(retry, |limit| retry.client_limit(limit));
            let policy = retry.to_builder().unwrap().build().unwrap();
            policy.max_attempts()
        };
        assert_eq!(attempts(9, None), 5);
        assert_eq!(attempts(3, None), 3);
        assert_eq!(attempts(9, Some(7)), 7);
        assert_eq!(attempts(9, Some(0)), 5);
        let once = GrpcRetry::new(1, Duration::ZERO, Duration::ZERO, 1.0);
        assert!(once.to_builder().is_err());
    }
}
