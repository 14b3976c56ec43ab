use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderMap, HeaderValue, StatusCode, header::RETRY_AFTER};
use proptest::prelude::*;

use super::{
    Advice, Hint, Hints, RequestedWait, Rule,
    read::{
        AMZ_RETRY_AFTER, ATTEMPTS_EXHAUSTED, GRPC_PUSHBACK, RATE_LIMIT, RATE_LIMIT_RESET,
        RETRY_AFTER_MS, SHOULD_RETRY, X_RATE_LIMIT_RESET,
    },
};
use crate::{report::WaitReason, stop::StopReason};

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
