//! All hints together, heard in every combination.

#![no_main]

use libfuzzer_sys::fuzz_target;
use retry_layer::hint::{Hint, Hints};

const HINTS: [Hint; 9] = [
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

const NAMES: [&str; 13] = [
    "retry-after",
    "ratelimit",
    "x-ratelimit-reset",
    "retry-after-ms",
    "x-amz-retry-after",
    "grpc-retry-pushback-ms",
    "x-should-retry",
    "x-retry-attempts-exhausted",
    "ratelimit-reset",
    "ratelimit-remaining",
    "x-ratelimit-remaining",
    "date",
    "age",
];

fuzz_target!(|data: (u16, &[u8])| {
    let (heard, data) = data;
    let headers = fuzz::headers(data, &NAMES);
    let hints = HINTS
        .into_iter()
        .enumerate()
        .filter(|(index, _)| heard >> index & 1 == 1)
        .fold(Hints::none(), |hints, (_, hint)| hints.with(hint));

    let wait = hints.wait(&headers, fuzz::now());

    // Whatever decides, it is one of those that are heard.
    let alone = |hint| Hints::none().with(hint).wait(&headers, fuzz::now());
    if wait.is_some() {
        assert!(
            HINTS
                .into_iter()
                .any(|hint| hints.contains(hint) && alone(hint) == wait)
        );
    }
    assert_eq!(
        wait,
        hints.wait(&headers, fuzz::now()),
        "it depends on nothing else"
    );
});
