//! Cases about what each attempt of a call says of itself.

use std::sync::{Arc, Mutex};

use http::{HeaderMap, Request};
use http_body_util::Empty;
use retry_layer::{
    AttemptHeader, AttemptOutcome, EndedAttempt, IdempotencyKeys, RetryObserver, RetryPolicy,
    RetryPolicyBuilder, StopReason, Wait,
};
use serde_json::{Value, json};

use super::case::CaseValue;
use crate::support::{Peer, send, status};

/// Makes a call of three attempts, and returns the headers of each.
async fn three_attempts(builder: RetryPolicyBuilder, method: &str) -> Vec<HeaderMap> {
    let peer = Peer::new([status(500), status(500), status(200)]);
    let policy = builder.any_method().build().unwrap();
    let request = Request::builder().method(method).uri("http://peer/");
    let request = request.body(Empty::new()).unwrap();
    assert_eq!(send(&peer, policy, request).await.unwrap().status(), 200);
    peer.seen().into_iter().map(|seen| seen.headers).collect()
}

/// The header that counts attempts.
pub(super) async fn header(input: &Value, expect: &Value) {
    assert_eq!(input["attempts"], 3);
    let (header, name) = if input["max"].is_null() {
        (AttemptHeader::grpc(), "grpc-previous-rpc-attempts")
    } else {
        (AttemptHeader::aws(), "amz-sdk-request")
    };
    let builder = RetryPolicy::builder().attempt_header(header);
    let seen = three_attempts(builder, "GET").await;
    let value = |headers: &HeaderMap| Some(headers.get(name)?.to_str().unwrap().to_owned());
    let values: Vec<_> = seen.iter().map(value).collect();
    assert_eq!(json!(values), expect["values"]);
}

/// The idempotency key. That of the case cannot be chosen: the layer's own has to have its form.
pub(super) async fn key(input: &Value, expect: &Value) {
    const NAME: &str = "idempotency-key";
    let keys = match input["style"].as_str() {
        Some("bare") => IdempotencyKeys::new().bare(),
        _ => IdempotencyKeys::new(),
    };
    let builder = RetryPolicy::builder().idempotency_keys(keys);
    let seen = three_attempts(builder.clone(), "POST").await;
    let key = seen[0][NAME].to_str().unwrap();
    assert!(seen.iter().all(|headers| headers[NAME] == key));
    let example = expect["header"].as_str().or(input["key"].as_str());
    let example = example.unwrap_or("8e03978e-40d5-43e8-bc93-6894a57f9324");
    let form = |key: &str| key.replace(|c: char| c.is_ascii_hexdigit(), "x");
    assert_eq!(form(key), form(example));
    for (method, has_key) in input["methods"].as_object().into_iter().flatten() {
        let seen = three_attempts(builder.clone(), method).await;
        assert_eq!(seen[0].contains_key(NAME), *has_key, "{method}");
    }
}

/// What a span of each attempt would have, as an observer is told of it.
#[derive(Default)]
struct Spans(Mutex<Vec<Value>>);

impl Spans {
    fn note(&self, attempt: &EndedAttempt<'_>) {
        let AttemptOutcome::Status(status) = attempt.outcome() else {
            panic!("a response was sent")
        };
        let resends = attempt.number() - 1;
        self.0.lock().unwrap().push(json!({
            "status": status.as_u16(),
            "resend_count": (resends > 0).then_some(resends),
            "error.type": (status.as_u16() >= 400).then(|| status.as_str()),
        }));
    }
}

impl RetryObserver for Spans {
    fn sends_again(&self, attempt: &EndedAttempt<'_>, _: Wait) {
        self.note(attempt);
    }

    fn stops(&self, attempt: &EndedAttempt<'_>, _: StopReason) {
        self.note(attempt);
    }
}

pub(super) async fn telemetry(input: &Value, expect: &Value) {
    assert_eq!(input["attempts"], json!([500, 500, 200]));
    let spans = Arc::new(Spans::default());
    let builder = RetryPolicy::builder().observer(Arc::clone(&spans));
    three_attempts(builder, "GET").await;
    assert_eq!(spans.0.lock().unwrap().as_slice(), expect["spans"].list());
}
