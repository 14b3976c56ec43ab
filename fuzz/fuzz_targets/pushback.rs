//! `grpc-retry-pushback-ms`: one number that fits an `i32`, or no wait at all.

#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use retry_layer::hint::{Hint, Hints};

fuzz_target!(|data: &[u8]| {
    let headers = fuzz::headers(data, &["grpc-retry-pushback-ms"]);
    let hints = Hints::none().with(Hint::GrpcPushback);
    let wait = hints.wait(&headers, fuzz::now());

    let mut values = headers.get_all("grpc-retry-pushback-ms").iter();
    let expected = match (values.next(), values.next()) {
        (Some(value), None) => fuzz::digits(value)
            .filter(|milliseconds| i32::try_from(*milliseconds).is_ok())
            .map(Duration::from_millis),
        _ => None,
    };
    assert_eq!(wait, expected);
});
