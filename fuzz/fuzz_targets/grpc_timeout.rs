//! The headers by which a caller says how long it waits.

#![no_main]

use http::HeaderName;
use libfuzzer_sys::fuzz_target;
use retry_layer::{Deadline, TimeoutHeader};

const NAME: HeaderName = HeaderName::from_static("x-timeout");

fuzz_target!(|data: &[u8]| {
    let headers = fuzz::headers(data, &["grpc-timeout"]);
    let value = headers.get("grpc-timeout");
    let deadline = Deadline::from_headers(&headers, &TimeoutHeader::grpc());
    if deadline.is_some() {
        let text = value.expect("it was read").as_bytes().trim_ascii();
        let (unit, number) = text.split_last().expect("it has a unit");
        assert!(b"HMSmun".contains(unit));
        assert!((1..=8).contains(&number.len()) && number.iter().all(u8::is_ascii_digit));
        assert_eq!(headers.len(), 1);
    }

    let headers = fuzz::headers(data, &["x-timeout"]);
    for header in [
        TimeoutHeader::seconds(NAME),
        TimeoutHeader::milliseconds(NAME),
    ] {
        let deadline = Deadline::from_headers(&headers, &header);
        let number = headers.get(NAME).and_then(fuzz::digits);
        assert_eq!(deadline.is_some(), headers.len() == 1 && number.is_some());
    }
});
