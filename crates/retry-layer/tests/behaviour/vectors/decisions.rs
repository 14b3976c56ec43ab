//! Cases about whether there is another attempt after an outcome, and what it costs.

use std::{io, iter::repeat_with, sync::Arc};

use bytes::Bytes;
use http::{HeaderName, Request, Uri};
use http_body_util::{BodyExt, Empty, Full};
use retry_layer::{
    Class, IdempotencyKeys, Processed, ResponseExt, Retry, RetryPolicy, RetryReport, StopReason,
    WaitReason,
    budget::{Budget, Cost, FixedBudget},
    hint::{Hint, Hints},
};
use serde_json::Value;
use tokio::time::Instant;
use tower::ServiceExt;

use super::case::CaseValue;
use crate::support::{
    Frames, Knowing, Peer, Reply, error, io_error,
    script::{Server, answer},
    send, status,
};

pub(super) async fn decision(input: &Value, expect: &Value) {
    if input["response_committed"] == true {
        // The layer gives no reason for what happens after the end of its call.
        assert_eq!(expect["reason"], "response_committed");
        return committed(&input["outcome"]).await;
    }
    let budget = Arc::new(FixedBudget::new(1, 10).unwrap());
    if input["budget"] == "empty" {
        assert!(budget.withdraw(&Uri::default(), Cost::Retry, Instant::now()));
    }
    let before = budget.millitokens();
    let transparent = input["prior_resends"].as_array().map_or(0, Vec::len);
    let peer = Peer::new(replies(input, transparent));
    let report = call(&peer, input, policy(input, &budget)).await;

    let wait = report.attempts()[transparent].wait();
    let wait = wait.map(|wait| wait.reason());
    match expect["action"].text() {
        "return" => {
            assert_eq!((wait, stop_reason(&report)), (None, expected_stop(expect)));
            assert!(budget.millitokens() >= before, "it costs nothing");
        }
        "retry" => {
            assert!(wait.is_some(), "{report}");
            assert_ne!(wait, Some(WaitReason::TransparentRetry), "{report}");
            assert!(budget.millitokens() < 1_000, "it costs a token");
            assert_eq!(report.attempts().len() - transparent, 2);
        }
        "resend" => {
            assert_eq!(wait, Some(WaitReason::TransparentRetry), "{report}");
            assert_eq!(budget.millitokens(), 1_000, "it costs nothing");
        }
        other => panic!("there is no action {other}"),
    }
}

fn policy(input: &Value, budget: &Arc<FixedBudget>) -> RetryPolicy {
    let mut hints = Hints::default();
    for hint in input["hints"].as_array().into_iter().flatten() {
        hints = hints.with(match hint.text() {
            "x-should-retry" => Hint::XShouldRetry,
            "x-retry-attempts-exhausted" => Hint::XRetryAttemptsExhausted,
            other => panic!("there is no hint {other}"),
        });
    }
    let mut builder = RetryPolicy::builder();
    if input["idempotency_key"] == true {
        builder = builder.idempotency_keys(IdempotencyKeys::new());
    }
    // What cannot be kept for a replay is as good as consumed.
    let replay_limit = match input["body"].text() {
        "consumed_stream" => 0,
        _ => 65_536,
    };
    builder
        .classifier(Knowing::standard())
        .hints(hints)
        .max_attempts(input["max_attempts"].integer())
        .replay_limit(replay_limit)
        .budget(Arc::clone(budget))
        .build()
        .unwrap()
}

/// So many outcomes that are retried transparently, then the outcome of the case, then a success.
fn replies(input: &Value, transparent: usize) -> Vec<Reply> {
    let mut reply = outcome(&input["outcome"]);
    reply.early_data = input["early_data"] == true;
    let frames_read = match input["body"].text() {
        "partially_sent_stream" => 1,
        "unpolled_stream" => 0,
        _ => usize::MAX,
    };
    repeat_with(|| error(Class::Unprocessed))
        .take(transparent)
        .chain([reply.reading(frames_read), status(200)])
        .collect()
}

async fn call(peer: &Peer, input: &Value, policy: RetryPolicy) -> RetryReport {
    let request = Request::builder()
        .method(input["method"].text())
        .uri("http://peer/");
    let result = match input["body"].text() {
        "empty" => send(peer, policy, request.body(Empty::new()).unwrap()).await,
        "replayable" => send(peer, policy, request.body(Full::from("body")).unwrap()).await,
        _ => {
            let stream = Frames::new(["one", "two"]);
            send(peer, policy, request.body(stream).unwrap()).await
        }
    };
    match result {
        Ok(response) => response.retry_report(),
        Err(failure) => failure
            .report
            .expect("an error of the layer has its report"),
    }
}

/// Why the call stopped. The cases have one word for a success and for a status that is not retried.
fn stop_reason(report: &RetryReport) -> &'static str {
    match report.stop() {
        StopReason::Answered => StopReason::StatusNotRetryable.as_str(),
        reason => reason.as_str(),
    }
}

fn expected_stop(expect: &Value) -> &str {
    match expect["reason"].text() {
        "server_said_no" => "retry_forbidden",
        reason => reason,
    }
}

/// A body that breaks after the layer has returned its response: the caller gets the error, and nothing is sent again.
async fn committed(outcome: &Value) {
    let sent: usize = outcome["body_bytes"].integer();
    let server = Server::new([answer(200).data(vec![b'.'; sent]).breaks()]);
    let request = Request::get("http://peer/").body(Empty::<Bytes>::new());
    let retry = Retry::new(server.clone(), RetryPolicy::default());
    let mut body = retry.oneshot(request.unwrap()).await.unwrap().into_body();
    let first = body.frame().await.unwrap().unwrap();
    assert_eq!(first.into_data().unwrap().len(), sent);
    assert!(body.frame().await.unwrap().is_err());
    assert_eq!(server.asked().len(), 1);
}

/// The response of the case, or an error with the class that a classifier gives it which knows the transport.
fn outcome(outcome: &Value) -> Reply {
    if let Some(code) = outcome["status"].optional_integer() {
        let mut reply = status(code);
        for (name, value) in outcome["headers"].as_object().unwrap() {
            let name: HeaderName = name.parse().unwrap();
            reply = reply.header(name, value.text());
        }
        return reply;
    }
    let processed = match outcome["bytes_written"].as_u64() {
        Some(0) => Processed::Never,
        Some(_) | None => Processed::Possibly,
    };
    match outcome["error"].text() {
        "connect_refused" => io_error(io::ErrorKind::ConnectionRefused),
        "network_unreachable" => io_error(io::ErrorKind::NetworkUnreachable),
        "dns" | "connect_timeout" => error(Class::NotSent),
        "tls_certificate" | "invalid_url" => error(Class::Permanent),
        "closed_before_response" if outcome["reused"] == true => error(Class::Stale(processed)),
        "closed_before_response" | "closed_mid_header" => io_error(io::ErrorKind::UnexpectedEof),
        "h2_reset" => error(match outcome["code"].text() {
            "REFUSED_STREAM" => Class::Unprocessed,
            "ENHANCE_YOUR_CALM" => Class::Throttled(Processed::Possibly),
            "PROTOCOL_ERROR" => Class::Permanent,
            _ => Class::Ambiguous,
        }),
        "h2_goaway" if outcome["last_stream_id"].as_u64() < outcome["stream_id"].as_u64() => {
            error(Class::Unprocessed)
        }
        "h2_conn_unusable" => error(Class::Unprocessed),
        "h2_goaway" | "attempt_timeout" | "body_read_failed" => error(Class::Ambiguous),
        other => panic!("there is no error {other}"),
    }
}
