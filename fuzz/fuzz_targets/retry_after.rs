//! `Retry-After`, with the response's own `Date` and `Age`.

#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let headers = fuzz::headers(data, &["retry-after", "date", "age"]);
    let wait = retry_layer::retry_after::parse(&headers, fuzz::now());

    let Some(value) = headers.get("retry-after") else {
        assert_eq!(wait, None);
        return;
    };
    if let Some(seconds) = fuzz::digits(value) {
        assert_eq!(wait, Some(Duration::from_secs(seconds)));
    } else if let Some(wait) = wait {
        // A date has four digits for its year.
        assert!(wait < Duration::from_secs(10_000 * 366 * 86_400));
        assert!(!value.as_bytes().starts_with(b"-"));
    }
});
