//! The shared cases for retries: each is run here, or named as not meant for this crate yet.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by its panic"
)]

mod support;

use std::{
    convert::Infallible,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Uri};
use http_body_util::{Empty, Full};
use retry_layer::{
    Backoff, Class, Exponential, Jitter, ResponseExt, Retry, RetryPolicy, StopReason, WaitReason,
    budget::{Budget, Cost, FixedBudget, Unlimited},
    retry_after,
};
use serde_json::Value;
use support::{Failure, Frames, Knowing, Peer, RefusedBody, Reply, error, io_error, status};
use tokio::time::Instant;
use tower::ServiceExt;

const VECTORS: &str = include_str!("vectors/retry.json");

/// Kinds that describe parts which the crate does not have.
const OTHER_PARTS: &[&str] = &[
    "attempt_header",
    "budget_aws",
    "budget_concurrency",
    "budget_finagle",
    "budget_grpc",
    "grpc_pushback",
    "hedging",
    "idempotency_key",
    "max_attempts",
    "resume",
    "telemetry",
];

/// Single cases of kinds that are run otherwise, and why they are not.
const OTHER_CASES: &[(&str, &str)] = &[
    (
        "decision-42",
        "409 in a mode where the layer sends the key itself",
    ),
    ("decision-50", "early data"),
    (
        "decision-94",
        "a committed response is out of the layer's hands",
    ),
    ("decision-104", "hints in headers of the server"),
    ("decision-105", "hints in headers of the server"),
    ("decision-106", "hints in headers of the server"),
    ("decision-107", "hints in headers of the server"),
    ("wait_header-01", "legacy headers"),
    ("wait_header-08", "legacy headers"),
    ("wait_header-10", "RateLimit"),
    ("wait_header-13", "RateLimit"),
    ("wait_header-20", "legacy headers"),
    ("wait_header-21", "legacy headers"),
    ("wait_header-22", "legacy headers"),
    ("wait_header-23", "legacy headers"),
    ("delay_combine-11", "another profile"),
    ("delay_combine-13", "another profile"),
    ("delay_combine-14", "another profile"),
    ("delay_combine-15", "another profile"),
    ("delay_combine-17", "another profile"),
    (
        "jitter_bounds-08",
        "needs the wait before: in the unit tests of jitter",
    ),
    (
        "jitter_bounds-09",
        "needs the wait before: in the unit tests of jitter",
    ),
    ("jitter_bounds-10", "another algorithm"),
    ("jitter_bounds-11", "another algorithm"),
    ("jitter_bounds-17", "another algorithm"),
    ("jitter_bounds-18", "another algorithm"),
    ("jitter_bounds-19", "another algorithm"),
    ("jitter_fixed_rng-01", "another algorithm"),
    ("jitter_fixed_rng-02", "another algorithm"),
    ("jitter_fixed_rng-03", "another algorithm"),
    ("jitter_fixed_rng-08", "another algorithm"),
    ("jitter_fixed_rng-10", "another algorithm"),
    ("jitter_fixed_rng-13", "another algorithm"),
    ("jitter_fixed_rng-18", "another algorithm"),
    ("config_validation-06", "another profile"),
];

#[tokio::test(start_paused = true)]
async fn every_case_holds_or_is_named_as_another_part() {
    let file: Value = serde_json::from_str(VECTORS).unwrap();
    let mut run = 0;
    for vector in file["vectors"].as_array().unwrap() {
        let id = vector["id"].as_str().unwrap();
        let kind = vector["kind"].as_str().unwrap();
        if OTHER_PARTS.contains(&kind) || OTHER_CASES.iter().any(|(other, _)| *other == id) {
            continue;
        }
        let (input, expect) = (&vector["input"], &vector["expect"]);
        match kind {
            // Both answers are right, so there is nothing to check but that there is one.
            "retry_after_parse" if vector["acceptance"] == "either" => {}
            "retry_after_parse" => retry_after_parse(id, input, expect),
            "wait_header" => wait_header(id, input, expect),
            "clock" => clock(id, input, expect),
            "delay_combine" => delay_combine(id, input, expect).await,
            "backoff_nojitter" => backoff(id, input, expect),
            "jitter_bounds" => jitter_bounds(id, input, expect),
            "jitter_fixed_rng" => jitter_midpoint(id, input, expect),
            "budget_project" => budget(id, input, expect),
            "config_validation" => config_validation(id, input),
            "decision" => decision(id, input, expect).await,
            other => panic!("{id}: nobody runs a {other}"),
        }
        run += 1;
    }
    assert!(run > 90, "only {run} cases were run");
}

fn at(text: &Value) -> SystemTime {
    // "1999-12-31T23:59:57Z"
    let text = text.as_str().unwrap();
    let number = |from: usize, to: usize| text[from..to].parse::<u64>().unwrap();
    let (year, month, day) = (number(0, 4), number(5, 7), number(8, 10));
    let (y, m) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (m * 153 + 2) / 5 + day - 1 - 719_468;
    let seconds = days * 86_400 + number(11, 13) * 3_600 + number(14, 16) * 60 + number(17, 19);
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn millis(value: &Value) -> Option<Duration> {
    value
        .as_f64()
        .map(|ms| Duration::from_secs_f64(ms / 1_000.0))
}

fn headers(object: &Value) -> HeaderMap {
    let pair = |(name, value): (&String, &Value)| {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        (
            name,
            HeaderValue::from_bytes(value.as_str().unwrap().as_bytes()).unwrap(),
        )
    };
    object.as_object().unwrap().iter().map(pair).collect()
}

fn retry_after_parse(id: &str, input: &Value, expect: &Value) {
    let mut headers = HeaderMap::new();
    for line in input["lines"].as_array().unwrap() {
        let line = HeaderValue::from_bytes(line.as_str().unwrap().as_bytes()).unwrap();
        headers.append("retry-after", line);
    }
    let delay = retry_after::parse(&headers, at(&input["now"]));
    if expect["delay_ms"] == "saturated" {
        assert_eq!(delay, Some(Duration::from_secs(u64::MAX)), "{id}");
    } else {
        assert_eq!(delay, millis(&expect["delay_ms"]), "{id}");
    }
}

fn wait_header(id: &str, input: &Value, expect: &Value) {
    let delay = retry_after::parse(&headers(&input["headers"]), at(&input["now"]));
    assert_eq!(delay, millis(&expect["delay_ms"]), "{id}");
}

fn clock(id: &str, input: &Value, expect: &Value) {
    let mut headers = HeaderMap::new();
    for (field, name) in [
        ("retry_after", "retry-after"),
        ("date", "date"),
        ("age", "age"),
    ] {
        if let Some(value) = input[field].as_str() {
            headers.insert(name, value.parse().unwrap());
        }
    }
    let delay = retry_after::parse(&headers, at(&input["now"]));
    assert_eq!(delay, millis(&expect["delay_ms"]), "{id}");
}

async fn delay_combine(id: &str, input: &Value, expect: &Value) {
    let mut builder = RetryPolicy::builder()
        .backoff(Backoff::fixed(millis(&input["backoff_ms"]).unwrap()))
        .max_retry_after(millis(&input["max_retry_after_ms"]).unwrap())
        .predicate(Knowing::standard());
    if let Some(deadline) = millis(&input["deadline_remaining_ms"]) {
        builder = builder.deadline(deadline);
    }
    let mut refused = status(503);
    if let Some(hint) = millis(&input["header_ms"]) {
        refused = refused.header("retry-after", hint.as_secs().to_string());
    }
    let peer = Peer::new([refused, status(200)]);
    let retry = Retry::new(peer.handle(), builder.build().unwrap());
    let request = Request::get("http://peer/")
        .body(Empty::<Bytes>::new())
        .unwrap();
    let start = Instant::now();
    let report = retry.oneshot(request).await.unwrap().retry_report();
    if expect["action"] == "stop" {
        assert_eq!(report.stop().as_str(), expect["reason"], "{id}");
        assert_eq!(start.elapsed(), Duration::ZERO, "{id}");
    } else {
        let delay = report.attempts()[0].wait().unwrap().delay();
        let bounds = millis(&expect["min_ms"]).unwrap()..=millis(&expect["max_ms"]).unwrap();
        assert!(bounds.contains(&delay), "{id}: {delay:?}");
    }
}

fn backoff(id: &str, input: &Value, expect: &Value) {
    let base = millis(&input["base_ms"]).unwrap();
    let cap = millis(&input["cap_ms"]).unwrap_or(Duration::MAX);
    let backoff = if input["algo"] == "linear" {
        let step = millis(&input["step_ms"]).unwrap();
        Backoff::schedule((0..).map(move |n| base + step * n)).cap(cap)
    } else {
        let factor = input["factor"].as_f64().unwrap();
        Backoff::from(Exponential::new(base).factor(factor).cap(cap)).jitter(Jitter::None)
    };
    let indices: Vec<u64> = match input["indices"].as_array() {
        Some(indices) => indices.iter().map(|n| n.as_u64().unwrap()).collect(),
        None => (0..input["n"].as_u64().unwrap()).collect(),
    };
    let wait = |n: &u64| backoff.delays(0).nth(usize::try_from(*n).unwrap());
    let waits: Vec<_> = indices.iter().map(wait).collect();
    let expected: Vec<_> = expect["ms"]
        .as_array()
        .unwrap()
        .iter()
        .map(millis)
        .collect();
    assert_eq!(waits, expected, "{id}");
}

fn jitter_bounds(id: &str, input: &Value, expect: &Value) {
    let n = usize::try_from(input["n"].as_u64().unwrap()).unwrap();
    let cap = millis(&input["cap_ms"]).unwrap();
    let exponential = Exponential::new(millis(&input["base_ms"]).unwrap()).cap(cap);
    let (jitter, index) = match input["algo"].as_str().unwrap() {
        "full" => (
            Jitter::Full,
            if input["exponent"] == "n" { n } else { n - 1 },
        ),
        "grpc" => (Jitter::Proportional(20), n - 1),
        "stripe" => (Jitter::Equal, n - 1),
        other => panic!("{id}: {other}"),
    };
    let bounds = millis(&expect["min_ms"]).unwrap()..=millis(&expect["max_ms"]).unwrap();
    let backoff = Backoff::from(exponential).jitter(jitter);
    for seed in 0..1_000 {
        let wait = backoff.delays(seed).nth(index).unwrap();
        assert!(bounds.contains(&wait), "{id}: {wait:?}");
    }
}

/// The generator cannot be told what to say, but half of its draws lie below the middle.
fn jitter_midpoint(id: &str, input: &Value, expect: &Value) {
    let index = usize::try_from(input["n"].as_u64().unwrap()).unwrap() - 1;
    let backoff = Backoff::from(Exponential::new(millis(&input["base_ms"]).unwrap()));
    let middle = millis(&expect["ms"]).unwrap();
    let below = (0..2_000)
        .filter(|seed| backoff.delays(*seed).nth(index).unwrap() < middle)
        .count();
    assert!((900..1_100).contains(&below), "{id}: {below}");
}

fn budget(id: &str, input: &Value, expect: &Value) {
    let number = |field: &str| input[field].as_f64().unwrap();
    assert_eq!((number("cost"), number("cost_throttled")), (1.0, 0.5));
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "small numbers"
    )]
    let budget = FixedBudget::new(
        number("capacity") as u32,
        (number("deposit") * 100.0) as u16,
    )
    .unwrap();
    let (uri, now) = (Uri::from_static("http://peer/"), Instant::now());
    let ops = input["ops"].as_array().unwrap();
    for (op, step) in ops.iter().zip(expect["steps"].as_array().unwrap()) {
        let granted = match op.as_str().unwrap() {
            "retry" | "hedge" => Some(budget.withdraw(&uri, Cost::Retry, now)),
            "retry_throttled" => Some(budget.withdraw(&uri, Cost::Throttled, now)),
            "transparent" => Some(true),
            "ok" => {
                budget.deposit(&uri);
                None
            }
            other => panic!("{id}: {other}"),
        };
        assert_eq!(granted, step["granted"].as_bool(), "{id}");
        let tokens = Duration::from_millis(budget.millitokens()).as_secs_f64();
        assert!(
            (tokens - step["tokens"].as_f64().unwrap()).abs() < 1e-9,
            "{id}: {tokens}"
        );
    }
}

fn config_validation(id: &str, input: &Value) {
    let rejected = if let Some(tokens) = input["max_tokens"].as_u64() {
        FixedBudget::new(u32::try_from(tokens).unwrap(), 10).is_err()
    } else {
        let exponential = Exponential::new(millis(&input["base_ms"]).unwrap());
        let cap = millis(&input["max_ms"]).unwrap();
        RetryPolicy::builder()
            .backoff(exponential.cap(cap))
            .build()
            .is_err()
    };
    assert!(rejected, "{id}");
}

async fn decision(id: &str, input: &Value, expect: &Value) {
    let budget = Arc::new(FixedBudget::new(1, 10).unwrap());
    if input["budget"] == "empty" {
        assert!(budget.withdraw(&Uri::default(), Cost::Retry, Instant::now()));
    }
    let empty = budget.millitokens();
    let policy = RetryPolicy::builder()
        .predicate(Knowing::standard())
        .max_attempts(u32::try_from(input["max_attempts"].as_u64().unwrap()).unwrap())
        .replay_limit(if input["body"] == "consumed_stream" {
            0
        } else {
            65_536
        })
        .budget(Arc::clone(&budget))
        .build()
        .unwrap();

    let reply = outcome(id, &input["outcome"]).reading(match input["body"].as_str().unwrap() {
        "partially_sent_stream" => 1,
        "unpolled_stream" => 0,
        _ => usize::MAX,
    });
    let mut replies = vec![reply, status(200)];
    let prior = input["prior_resends"].as_array().map_or(0, Vec::len);
    replies.splice(0..0, (0..prior).map(|_| error(Class::Unprocessed)));
    let peer = Peer::new(replies);
    let request = Request::builder()
        .method(input["method"].as_str().unwrap())
        .uri("http://peer/");
    let result = match input["body"].as_str().unwrap() {
        "empty" => send(&peer, policy, request.body(Empty::new()).unwrap()).await,
        "replayable" => send(&peer, policy, request.body(Full::from("body")).unwrap()).await,
        _ => {
            send(
                &peer,
                policy,
                request.body(Frames::new(["one", "two"])).unwrap(),
            )
            .await
        }
    };

    let report = match result {
        Ok(response) => response.retry_report(),
        Err(failure) => failure.report.expect("annotated"),
    };
    let wait = report.attempts()[prior].wait().map(|wait| wait.reason());
    match expect["action"].as_str().unwrap() {
        "return" => {
            // A success has a word of its own here.
            let reason = match report.stop() {
                StopReason::Answered => StopReason::StatusNotRetryable,
                reason => reason,
            };
            assert_eq!(
                (wait, reason.as_str()),
                (None, expect["reason"].as_str().unwrap()),
                "{id}"
            );
            assert!(budget.millitokens() >= empty, "{id}: free");
        }
        "retry" => {
            assert!(
                wait.is_some_and(|wait| wait != WaitReason::Resend),
                "{id}: {report}"
            );
            assert!(budget.millitokens() < 1_000, "{id}: charged");
            assert_eq!(report.attempts().len() - prior, 2, "{id}");
        }
        "resend" => {
            assert_eq!(wait, Some(WaitReason::Resend), "{id}: {report}");
            assert_eq!(budget.millitokens(), 1_000, "{id}: free");
        }
        other => panic!("{id}: {other}"),
    }
}

async fn send<B>(
    peer: &Peer,
    policy: RetryPolicy,
    request: Request<B>,
) -> Result<Response<RefusedBody>, Failure>
where
    B: http_body::Body<Data = Bytes, Error = Infallible> + Send + 'static,
{
    Retry::new(peer.handle(), policy).oneshot(request).await
}

/// What a predicate that knows its transport says about these.
fn outcome(id: &str, outcome: &Value) -> Reply {
    if let Some(code) = outcome["status"].as_u64() {
        let mut reply = status(u16::try_from(code).unwrap());
        for (name, value) in outcome["headers"].as_object().unwrap() {
            assert_eq!(name, "retry-after", "{id}");
            reply = reply.header("retry-after", value.as_str().unwrap());
        }
        return reply;
    }
    let wrote = outcome["bytes_written"].as_u64() != Some(0);
    match outcome["error"].as_str().unwrap() {
        "connect_refused" => io_error(std::io::ErrorKind::ConnectionRefused),
        "network_unreachable" => io_error(std::io::ErrorKind::NetworkUnreachable),
        "dns" | "connect_timeout" => error(Class::NotSent),
        "tls_certificate" | "invalid_url" => error(Class::Permanent),
        "closed_before_response" if outcome["reused"] == true => error(Class::Stale { wrote }),
        "closed_before_response" | "closed_mid_header" => {
            io_error(std::io::ErrorKind::UnexpectedEof)
        }
        "h2_reset" => error(match outcome["code"].as_str().unwrap() {
            "REFUSED_STREAM" => Class::Unprocessed,
            "PROTOCOL_ERROR" => Class::Permanent,
            _ => Class::Ambiguous,
        }),
        "h2_goaway" if outcome["last_stream_id"].as_u64() < outcome["stream_id"].as_u64() => {
            error(Class::Unprocessed)
        }
        "h2_conn_unusable" => error(Class::Unprocessed),
        "h2_goaway" | "attempt_timeout" | "body_read_failed" => error(Class::Ambiguous),
        other => panic!("{id}: {other}"),
    }
}

#[test]
fn budgets_can_be_left_out() {
    assert!(Unlimited.withdraw(&Uri::default(), Cost::Retry, Instant::now()));
}
