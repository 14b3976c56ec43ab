//! Cases about what a server asks for in its headers.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::Empty;
use retry_layer::{
    Backoff, ResponseExt, Retry, RetryPolicy,
    hint::{Hint, Hints},
    retry_after,
};
use serde_json::Value;
use tokio::time::Instant;
use tower::ServiceExt;

use super::case::{CaseValue, header};
use crate::support::{Knowing, Peer, Reply, status};

/// Lines of `Retry-After`, and the wait that they ask for.
pub(super) fn retry_after(input: &Value, expect: &Value) {
    let mut headers = HeaderMap::new();
    for line in input["lines"].list() {
        headers.append("retry-after", header(line));
    }
    let wait = retry_after::parse(&headers, input["now"].time());
    let expected = match &expect["delay_ms"] {
        saturated if saturated == "saturated" => Some(Duration::from_secs(u64::MAX)),
        millis => millis.optional_millis(),
    };
    assert_eq!(wait, expected);
}

/// A `Retry-After` with a date, beside the server's own clock in `Date` and `Age`.
pub(super) fn clock(input: &Value, expect: &Value) {
    let mut headers = HeaderMap::new();
    for (field, name) in [
        ("retry_after", "retry-after"),
        ("date", "date"),
        ("age", "age"),
    ] {
        if !input[field].is_null() {
            headers.insert(name, header(&input[field]));
        }
    }
    let wait = retry_after::parse(&headers, input["now"].time());
    assert_eq!(wait, expect["delay_ms"].optional_millis());
}

/// Any headers that ask for a wait.
pub(super) fn wait(input: &Value, expect: &Value) {
    let hints = Hints::default()
        .with(Hint::RateLimitReset)
        .with(Hint::XRateLimitReset)
        .with(Hint::RetryAfterMs)
        .with(Hint::XAmzRetryAfter);
    let wait = hints.wait(&input["headers"].headers(), input["now"].time());
    assert_eq!(wait, expect["delay_ms"].optional_millis());
}

pub(super) fn pushback(input: &Value, expect: &Value) {
    let name = "grpc-retry-pushback-ms";
    let mut headers = HeaderMap::new();
    for value in input[name].list() {
        headers.append(name, header(value));
    }
    let hints = Hints::none().with(Hint::GrpcPushback);
    let wait = hints.wait(&headers, SystemTime::UNIX_EPOCH);
    assert_eq!(wait, expect["retry_after_ms"].optional_millis());
}

/// A hint and a backoff, of which one wait is made, or the end of the call.
pub(super) async fn combined(case: &Value) {
    let (input, expect) = (&case["input"], &case["expect"]);
    let peer = Peer::new([refused(case), status(200)]);
    let request = Request::get("http://peer/").body(Empty::<Bytes>::new());
    let start = Instant::now();
    let response = Retry::new(peer.handle(), combining_policy(input))
        .oneshot(request.unwrap())
        .await;
    let report = response.unwrap().retry_report();
    if expect["action"] == "stop" {
        assert_eq!(report.stop().as_str(), expect["reason"]);
        assert_eq!(start.elapsed(), Duration::ZERO);
    } else {
        let wait = report.attempts()[0].wait().unwrap().delay();
        let bounds = expect["min_ms"].millis()..=expect["max_ms"].millis();
        assert!(bounds.contains(&wait), "{wait:?}");
    }
}

fn combining_policy(input: &Value) -> RetryPolicy {
    let backoff = input["backoff_ms"].optional_millis().unwrap_or_default();
    let hints = Hints::default()
        .with(Hint::XAmzRetryAfter)
        .with(Hint::RetryAfterMs);
    let mut builder = RetryPolicy::builder()
        .backoff(Backoff::fixed(backoff))
        .hints(hints)
        .classifier(Knowing::standard());
    if let Some(longest) = input["max_retry_after_ms"].optional_millis() {
        builder = builder.max_retry_after(longest);
    }
    if let Some(deadline) = input["deadline_remaining_ms"].optional_millis() {
        builder = builder.deadline(deadline);
    }
    builder.build().unwrap()
}

/// A 503 with the hint of the case, in the header that can say it.
fn refused(case: &Value) -> Reply {
    let refused = status(503);
    let Some(hint) = case["input"]["header_ms"].optional_millis() else {
        return refused;
    };
    let millis = hint.as_millis().to_string();
    let profile = case["profile"].as_str().unwrap_or_default();
    if profile.starts_with("aws") {
        refused.header("x-amz-retry-after", millis)
    } else if hint.subsec_millis() > 0 {
        refused.header("retry-after-ms", millis)
    } else {
        refused.header("retry-after", hint.as_secs().to_string())
    }
}
