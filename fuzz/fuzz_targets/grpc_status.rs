//! `grpc-status` beside any HTTP status.

#![no_main]

use http::StatusCode;
use libfuzzer_sys::fuzz_target;
use retry_layer::grpc::Code;

fuzz_target!(|data: (u16, &[u8])| {
    let (status, data) = data;
    let Ok(status) = StatusCode::from_u16(100 + status % 900) else {
        return;
    };
    let headers = fuzz::headers(data, &["grpc-status"]);
    let code = Code::of_response(status, &headers);
    assert_eq!(
        code.is_none(),
        status == StatusCode::OK && !headers.contains_key("grpc-status")
    );
    if code == Some(Code::Ok) {
        assert!(
            headers.contains_key("grpc-status"),
            "only the server can say so"
        );
    }
});
