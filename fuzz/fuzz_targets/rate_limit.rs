//! `RateLimit`: a structured field in one line or more.

#![no_main]

use libfuzzer_sys::fuzz_target;
use retry_layer::hint::{Hint, Hints};

fuzz_target!(|data: &[u8]| {
    let headers = fuzz::headers(data, &["ratelimit"]);
    let hints = Hints::none().with(Hint::RateLimit);
    let Some(wait) = hints.wait(&headers, fuzz::now()) else {
        return;
    };
    // The longest integer of a structured field has fifteen digits.
    assert!(wait.as_secs() < 1_000_000_000_000_000);
    assert_eq!(wait.subsec_nanos(), 0);
    // It cannot come from a field in which nothing is used up, or which names no time.
    let all: Vec<u8> = headers
        .get_all("ratelimit")
        .iter()
        .flat_map(|value| value.as_bytes().to_vec())
        .collect();
    assert!(all.windows(2).any(|pair| pair == b"r="));
    assert!(all.windows(2).any(|pair| pair == b"t="));
    assert!(all.contains(&b'"'));
});
