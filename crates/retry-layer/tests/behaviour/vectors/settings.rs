//! Cases about the settings of a policy.

use std::time::Duration;

use retry_layer::{
    Exponential, RetryPolicy,
    budget::{FixedBudget, GrpcThrottle},
    grpc::GrpcRetry,
};
use serde_json::Value;

use super::case::CaseValue;

/// Settings that cannot be built.
pub(super) fn refused(case: &Value) {
    let input = &case["input"];
    let is_refused = if let Some(attempts) = input["max_attempts"].optional_integer() {
        assert_eq!(case["expect"]["profile"], "grpc");
        let retry = GrpcRetry::new(attempts, Duration::ZERO, Duration::ZERO, 1.0);
        retry.to_builder().is_err()
    } else if let Some(tokens) = input["max_tokens"].optional_integer::<u16>() {
        FixedBudget::new(tokens.into(), 10).is_err() && GrpcThrottle::new(tokens, 100).is_err()
    } else {
        let exponential = Exponential::new(input["base_ms"].millis());
        let builder = RetryPolicy::builder().backoff(exponential.cap(input["max_ms"].millis()));
        builder.build().is_err()
    };
    assert!(is_refused);
}

/// The attempts of a gRPC policy, within the limit of the client.
pub(super) fn max_attempts(input: &Value, expect: &Value) {
    assert_eq!(input["default_limit"], 5);
    // A limit below 2 is none.
    let limit = input["client_limit"].as_i64().unwrap().max(0);
    let attempts = input["policy"].integer();
    let policy = GrpcRetry::new(attempts, Duration::ZERO, Duration::ZERO, 1.0)
        .client_limit(u32::try_from(limit).unwrap())
        .to_builder()
        .unwrap()
        .build()
        .unwrap();
    assert_eq!(policy.max_attempts(), expect["attempts"]);
}
