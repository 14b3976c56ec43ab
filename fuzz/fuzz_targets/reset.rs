//! The dialects that are one number: resets, and waits in milliseconds.

#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use retry_layer::hint::{Hint, Hints};

fuzz_target!(|data: &[u8]| {
    for (hint, name, left) in [
        (
            Hint::RateLimitReset,
            "ratelimit-reset",
            "ratelimit-remaining",
        ),
        (
            Hint::XRateLimitReset,
            "x-ratelimit-reset",
            "x-ratelimit-remaining",
        ),
    ] {
        let headers = fuzz::headers(data, &[name, left, "date", "age"]);
        let wait = Hints::none().with(hint).wait(&headers, fuzz::now());
        let number = headers.get(name).and_then(fuzz::digits);
        let left = headers.get(left).and_then(fuzz::digits);
        match number {
            Some(seconds) if left.is_none_or(|left| left == 0) => {
                let wait = wait.expect("a number is heard when nothing is left");
                assert!(wait <= Duration::from_secs(seconds));
                // Below that it is a wait, from there on a time since 1970.
                assert!(seconds >= 1_000_000_000 || wait == Duration::from_secs(seconds));
            }
            _ => assert_eq!(wait, None),
        }
    }
    for (hint, name) in [
        (Hint::RetryAfterMs, "retry-after-ms"),
        (Hint::XAmzRetryAfter, "x-amz-retry-after"),
    ] {
        let headers = fuzz::headers(data, &[name]);
        let wait = Hints::none().with(hint).wait(&headers, fuzz::now());
        let number = headers.get(name).and_then(fuzz::digits);
        assert_eq!(wait, number.map(Duration::from_millis));
    }
});
