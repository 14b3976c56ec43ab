//! The shared cases for retries: each is run here, or named as not meant for this crate yet.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Uri};
use http_body::Frame;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use retry_layer::{
    AttemptHeader, AttemptOutcome, Backoff, Class, EndedAttempt, Exponential, IdempotencyKeys,
    Jitter, Processed, ReplayBody, ResponseExt, Retry, RetryObserver, RetryPolicy,
    RetryPolicyBuilder, StopReason, Wait, WaitReason,
    budget::{
        AwsBudget, Budget, ConcurrencyShare, Cost, FinagleBudget, FixedBudget, GrpcThrottle,
        Unlimited,
    },
    grpc::GrpcRetry,
    hint::{Hint, Hints},
    resume::{Resume, ResumeBodyError},
    retry_after,
};
use serde_json::Value;
use tokio::time::Instant;
use tower::{ServiceExt, service_fn};

use crate::support::{Failure, Frames, Knowing, Peer, RefusedBody, Reply, error, io_error, status};

const VECTORS: &str = include_str!("retry.json");

/// Kinds that describe parts which the crate does not have, and which have their own issues.
const OTHER_ISSUES: &[&str] = &["hedging"];

/// Single cases that describe what another library does, and this one does not: see the table of
/// differences.
const OTHER_CASES: &[(&str, &str)] = &[(
    "telemetry-02",
    "redirects are followed above this layer, and counted there",
)];

#[tokio::test(start_paused = true)]
async fn every_case_holds_or_is_named_as_another_part() {
    let file: Value = serde_json::from_str(VECTORS).unwrap();
    let mut run = 0;
    for vector in file["vectors"].as_array().unwrap() {
        let id = vector["id"].as_str().unwrap();
        let kind = vector["kind"].as_str().unwrap();
        if OTHER_ISSUES.contains(&kind) || OTHER_CASES.iter().any(|(other, _)| *other == id) {
            continue;
        }
        let (input, expect) = (&vector["input"], &vector["expect"]);
        match kind {
            // Both answers are right, so there is nothing to check but that there is one.
            "retry_after_parse" if vector["acceptance"] == "either" => {}
            "retry_after_parse" => retry_after_parse(id, input, expect),
            "wait_header" => wait_header(id, input, expect),
            "grpc_pushback" => grpc_pushback(id, input, expect),
            "clock" => clock(id, input, expect),
            "delay_combine" => delay_combine(id, vector).await,
            "backoff_nojitter" => backoff(id, input, expect),
            "jitter_bounds" => jitter_bounds(id, input, expect),
            "jitter_fixed_rng" => jitter_quantile(id, input, expect),
            "budget_project" => budget(id, input, expect),
            "budget_grpc" => budget_grpc(id, input, expect).await,
            "budget_aws" => budget_aws(id, input, expect),
            "budget_finagle" => budget_finagle(id, input, expect),
            "budget_concurrency" => budget_concurrency(id, input, expect),
            "config_validation" => config_validation(id, vector),
            "max_attempts" => max_attempts(id, input, expect),
            "attempt_header" => attempt_header(id, input, expect).await,
            "idempotency_key" => idempotency_key(id, input, expect).await,
            "telemetry" => telemetry(id, input, expect).await,
            "decision" => decision(id, input, expect).await,
            "resume" => resume(id, input, expect).await,
            other => panic!("{id}: nobody runs a {other}"),
        }
        run += 1;
    }
    assert_eq!(run, 179, "cases that were run");
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
    let hints = Hints::default()
        .with(Hint::RateLimitReset)
        .with(Hint::XRateLimitReset)
        .with(Hint::RetryAfterMs)
        .with(Hint::XAmzRetryAfter);
    let delay = hints.wait(&headers(&input["headers"]), at(&input["now"]));
    assert_eq!(delay, millis(&expect["delay_ms"]), "{id}");
}

fn grpc_pushback(id: &str, input: &Value, expect: &Value) {
    let name = "grpc-retry-pushback-ms";
    let mut headers = HeaderMap::new();
    for value in input[name].as_array().unwrap() {
        headers.append(name, value.as_str().unwrap().parse().unwrap());
    }
    let hints = Hints::none().with(Hint::GrpcPushback);
    let wait = hints.wait(&headers, SystemTime::UNIX_EPOCH);
    assert_eq!(wait, millis(&expect["retry_after_ms"]), "{id}");
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

async fn delay_combine(id: &str, vector: &Value) {
    let (input, expect) = (&vector["input"], &vector["expect"]);
    let aws = vector["profile"]
        .as_str()
        .is_some_and(|profile| profile.starts_with("aws"));
    let backoff = millis(&input["backoff_ms"]).unwrap_or_default();
    let mut builder = RetryPolicy::builder()
        .backoff(Backoff::fixed(backoff))
        .hints(
            Hints::default()
                .with(Hint::XAmzRetryAfter)
                .with(Hint::RetryAfterMs),
        )
        .classifier(Knowing::standard());
    if let Some(longest) = millis(&input["max_retry_after_ms"]) {
        builder = builder.max_retry_after(longest);
    }
    if let Some(deadline) = millis(&input["deadline_remaining_ms"]) {
        builder = builder.deadline(deadline);
    }
    let mut refused = status(503);
    if let Some(hint) = millis(&input["header_ms"]) {
        refused = if aws {
            refused.header("x-amz-retry-after", hint.as_millis().to_string())
        } else if hint.subsec_millis() > 0 {
            refused.header("retry-after-ms", hint.as_millis().to_string())
        } else {
            refused.header("retry-after", hint.as_secs().to_string())
        };
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
        Backoff::linear(base, step).cap(cap)
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
    let n = usize::try_from(input["n"].as_u64().unwrap_or(1)).unwrap();
    let base = millis(&input["base_ms"]).unwrap();
    let cap = millis(&input["cap_ms"]).unwrap_or(Duration::MAX);
    let bounds = millis(&expect["min_ms"]).unwrap()..=millis(&expect["max_ms"]).unwrap();
    let exponential = Backoff::from(Exponential::new(base).cap(cap));
    let doubled = move |n: u32| base.saturating_mul(1 << n);
    let (backoff, index) = match input["algo"].as_str().unwrap() {
        "full" => (
            exponential,
            if input["exponent"] == "n" { n } else { n - 1 },
        ),
        "grpc" => (exponential.jitter(Jitter::Proportional(20)), n - 1),
        "stripe" => (exponential.jitter(Jitter::Equal), n - 1),
        "polly_constant" => (Backoff::fixed(base).jitter(Jitter::Proportional(25)), 0),
        "r4j" => (Backoff::fixed(base).jitter(Jitter::Proportional(50)), 0),
        // Not named here, but a schedule with a jitter that is.
        "envoy" => {
            let waits = (1..=32).map(move |n| doubled(n).saturating_sub(base));
            (
                Backoff::schedule(waits).jitter(Jitter::Full).cap(cap),
                n - 1,
            )
        }
        // From the doubled base to a fifth more: its middle, give or take.
        "axios" => {
            let waits = (0..32).map(move |n| doubled(n) / 100 * 110);
            (Backoff::schedule(waits).jitter(Jitter::Proportional(9)), n)
        }
        "decorrelated" => return decorrelated(id, input, &bounds),
        other => panic!("{id}: {other}"),
    };
    for seed in 0..1_000 {
        let wait = backoff.delays(seed).nth(index).unwrap();
        assert!(bounds.contains(&wait), "{id}: {wait:?}");
    }
}

/// Looks for waits that follow one about as long as the case has it.
fn decorrelated(id: &str, input: &Value, bounds: &std::ops::RangeInclusive<Duration>) {
    let previous = millis(&input["previous_ms"]).unwrap();
    let cap = millis(&input["cap_ms"]).unwrap();
    let exponential = Exponential::new(millis(&input["base_ms"]).unwrap()).cap(cap);
    let backoff = Backoff::from(exponential).jitter(Jitter::Decorrelated);
    let mut found = 0;
    for seed in 0..2_000 {
        let waits: Vec<_> = backoff.delays(seed).take(20).collect();
        for pair in waits.windows(2) {
            if pair[0] <= previous && pair[0] * 10 > previous * 9 {
                assert!(bounds.contains(&pair[1]), "{id}: {pair:?}");
                found += 1;
            }
        }
    }
    assert!(found > 100, "{id}: {found}");
}

/// The waits of others, which are not named here: their formulas are schedules, with the draws
/// that the case has.
fn scripted(input: &Value) -> Option<Vec<Duration>> {
    let base = input["base_ms"].as_f64().unwrap();
    let draw = || input["rng"].as_f64().unwrap();
    let waits = match input["algo"].as_str().unwrap() {
        // Envoy: the remainder of a draw by the interval, which doubles to its cap.
        "envoy_mod" => {
            let cap = input["cap_ms"].as_f64().unwrap();
            vec![draw() % base, draw() % (2.0 * base).min(cap)]
        }
        // Envoy, when a server says how long to wait.
        "envoy_lower" => vec![base + draw() % (base / 2.0)],
        // Polly: the differences along a smooth curve.
        "polly_decorr_v2" => {
            let mut before = 0.0;
            let mut wait = |(n, u): (u32, &Value)| {
                let t = f64::from(n) + u.as_f64().unwrap();
                let curve = t.exp2() * (4.0 * t).sqrt().tanh();
                base / 1.4 * (curve - std::mem::replace(&mut before, curve))
            };
            (0..)
                .zip(input["u"].as_array().unwrap())
                .map(&mut wait)
                .collect()
        }
        _ => return None,
    };
    let waits = waits
        .into_iter()
        .map(|ms| Duration::from_secs_f64(ms / 1_000.0));
    Some(waits.collect())
}

fn plays_as_it_is(id: &str, schedule: &[Duration], expected: &Value) {
    let played: Vec<_> = Backoff::schedule(schedule.to_vec()).delays(0).collect();
    let expected: Vec<_> = expected
        .as_array()
        .unwrap()
        .iter()
        .filter_map(millis)
        .collect();
    assert_eq!(played.len(), expected.len(), "{id}");
    for (played, expected) in played.into_iter().zip(expected) {
        assert!(
            played.abs_diff(expected) <= Duration::from_micros(10),
            "{id}: {played:?}"
        );
    }
}

/// The generator cannot be told what to say, but as many of its draws lie below what the case
/// expects as the case says: half of them below the middle.
fn jitter_quantile(id: &str, input: &Value, expect: &Value) {
    const DRAWS: u32 = 2_000;
    if let Some(schedule) = scripted(input) {
        return plays_as_it_is(id, &schedule, &expect["ms"]);
    }
    let base = millis(&input["base_ms"]).unwrap();
    let index = |name: &str| usize::try_from(input[name].as_u64().unwrap()).unwrap();
    let (backoff, index) = match input["algo"].as_str().unwrap() {
        "polly_constant" => (Backoff::fixed(base).jitter(Jitter::Proportional(25)), 0),
        "polly_linear" => (
            Backoff::linear(base, base).jitter(Jitter::Proportional(25)),
            index("attempt"),
        ),
        _ => (Backoff::from(Exponential::new(base)), index("n") - 1),
    };
    let expected = millis(&expect["ms"]).unwrap();
    let below = (0..u64::from(DRAWS))
        .filter(|seed| backoff.delays(*seed).nth(index).unwrap() < expected)
        .count();
    let share = f64::from(u32::try_from(below).unwrap()) / f64::from(DRAWS);
    let wanted = input["u"].as_f64().unwrap_or(0.5);
    assert!((share - wanted).abs() < 0.05, "{id}: {share}");
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

/// Calls one after the other; the server answers the attempts of all of them by their number.
async fn budget_grpc(id: &str, input: &Value, expect: &Value) {
    let number = |field: &str| input[field].as_f64().unwrap();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "small numbers"
    )]
    let (max_tokens, ratio) = (
        number("max_tokens") as u16,
        (number("token_ratio") * 1_000.0) as u32,
    );
    let budget = Arc::new(GrpcThrottle::new(max_tokens, ratio).unwrap());
    let attempts = u32::try_from(input["max_attempts"].as_u64().unwrap()).unwrap();
    let policy = GrpcRetry::new(attempts, Duration::ZERO, Duration::ZERO, 1.0)
        .to_builder()
        .unwrap()
        .budget(Arc::clone(&budget))
        .build()
        .unwrap();
    let oks: Vec<u64> = input["server_ok_at_index"]
        .as_array()
        .unwrap()
        .iter()
        .map(|index| index.as_u64().unwrap())
        .collect();
    let replies = (0..100).map(|index| {
        let code = if oks.contains(&index) { "0" } else { "14" };
        status(200).header("grpc-status", code)
    });
    let peer = Peer::new(replies);
    for call in expect["calls"].as_array().unwrap() {
        let before = peer.seen().len();
        let request = Request::post("http://peer/").body(Empty::new()).unwrap();
        let response = send(&peer, policy.clone(), request).await.unwrap();
        let ok = response.headers()["grpc-status"] == "0";
        assert_eq!(
            if ok { "ok" } else { "unavailable" },
            call["result"],
            "{id}"
        );
        let seen = peer.seen().len();
        assert_eq!(seen as u64 - 1, call["last_server_index"], "{id}");
        assert_eq!((seen - before) as u64, call["attempts"], "{id}");
        let tokens = Duration::from_millis(budget.millitokens()).as_secs_f64();
        let after = call["tokens_after"].as_f64().unwrap();
        assert!((tokens - after).abs() < 1e-9, "{id}: {tokens}");
    }
}

fn budget_aws(id: &str, input: &Value, expect: &Value) {
    let capacity = u32::try_from(input["capacity"].as_u64().unwrap()).unwrap();
    let budget = AwsBudget::v2_1().with_capacity(capacity).unwrap();
    let (uri, now) = (Uri::from_static("http://peer/"), Instant::now());
    let mut last = Cost::Retry;
    let ops = input["ops"].as_array().unwrap();
    for (op, step) in ops.iter().zip(expect["steps"].as_array().unwrap()) {
        let granted = match op[0].as_str().unwrap() {
            "acquire" => {
                last = match op[1].as_u64().unwrap() {
                    14 => Cost::Retry,
                    5 => Cost::Throttled,
                    other => panic!("{id}: {other}"),
                };
                Some(budget.withdraw(&uri, last, now))
            }
            "success_after_retry" => {
                budget.deposit_after_retry(&uri, last);
                None
            }
            "failure" => {
                budget.failure(&uri, 2);
                None
            }
            other => panic!("{id}: {other}"),
        };
        assert_eq!(granted, step["granted"].as_bool(), "{id}");
        assert_eq!(budget.tokens(), step["capacity"], "{id}");
    }
}

fn budget_finagle(id: &str, input: &Value, expect: &Value) {
    let percent = input["percent"].as_f64().unwrap_or_default();
    if percent < 0.0 {
        // A negative share cannot be said.
        assert_eq!(expect["rejected"], true, "{id}");
        return;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "small numbers"
    )]
    let basis_points = (percent * 10_000.0).round() as u32;
    let reserve = input["min_per_s"].as_u64().unwrap_or_default();
    let budget = FinagleBudget::new(
        Duration::from_secs(input["ttl_s"].as_u64().unwrap()),
        u32::try_from(reserve).unwrap(),
        basis_points,
    );
    let Ok(budget) = budget else {
        assert_eq!(expect["rejected"], true, "{id}");
        return;
    };
    let uri = Uri::from_static("http://peer/");
    let withdraw = || budget.withdraw(&uri, Cost::Retry, Instant::now());
    if expect["always_denies"] == true {
        (0..1_000).for_each(|_| budget.deposit(&uri));
        assert!(!withdraw(), "{id}");
        return;
    }
    assert_eq!(budget.balance(), expect["initial_balance"], "{id}");
    let retries = (0..input["requests"].as_u64().unwrap())
        .filter(|_| {
            budget.deposit(&uri);
            withdraw()
        })
        .count() as u64;
    let expected = expect["retries"].as_u64().unwrap();
    let tolerance = expect["tolerance"].as_u64().unwrap();
    assert!(retries.abs_diff(expected) <= tolerance, "{id}: {retries}");
}

fn budget_concurrency(id: &str, input: &Value, expect: &Value) {
    let number = |field: &str| input[field].as_u64().unwrap();
    let percent = u8::try_from(number("percent")).unwrap();
    let least = u32::try_from(number("min_concurrency")).unwrap();
    let budget = ConcurrencyShare::new(percent, least).unwrap();
    (0..number("active_plus_pending")).for_each(|_| budget.enter());
    let granted = (0..1_000)
        .take_while(|_| budget.withdraw(&Uri::default(), Cost::Retry, Instant::now()))
        .count() as u64;
    assert_eq!(granted, expect["max_active_retries"], "{id}");
}

fn max_attempts(id: &str, input: &Value, expect: &Value) {
    let policy = u32::try_from(input["policy"].as_u64().unwrap()).unwrap();
    // A limit below 2 is none.
    let limit = input["client_limit"].as_i64().unwrap().max(0);
    assert_eq!(input["default_limit"], 5, "{id}");
    let policy = GrpcRetry::new(policy, Duration::ZERO, Duration::ZERO, 1.0)
        .client_limit(u32::try_from(limit).unwrap())
        .to_builder()
        .unwrap()
        .build()
        .unwrap();
    assert_eq!(policy.max_attempts(), expect["attempts"], "{id}");
}

/// A call of three attempts under this policy, with this method, and what the server saw.
async fn three_attempts(builder: RetryPolicyBuilder, method: &str) -> Vec<HeaderMap> {
    let peer = Peer::new([status(500), status(500), status(200)]);
    let policy = builder.any_method().build().unwrap();
    let request = Request::builder().method(method).uri("http://peer/");
    let request = request.body(Empty::new()).unwrap();
    assert_eq!(send(&peer, policy, request).await.unwrap().status(), 200);
    peer.seen().into_iter().map(|seen| seen.headers).collect()
}

async fn attempt_header(id: &str, input: &Value, expect: &Value) {
    assert_eq!(input["attempts"], 3, "{id}");
    let (header, name) = if input["max"].is_null() {
        (AttemptHeader::grpc(), "grpc-previous-rpc-attempts")
    } else {
        (AttemptHeader::aws(), "amz-sdk-request")
    };
    let builder = RetryPolicy::builder().attempt_header(header);
    let seen = three_attempts(builder, "GET").await;
    let values: Vec<_> = seen
        .iter()
        .map(|headers| headers.get(name).map(|value| value.to_str().unwrap()))
        .collect();
    assert_eq!(serde_json::json!(values), expect["values"], "{id}");
}

/// The key of the case is one that nobody can choose: the layer's own has its form.
async fn idempotency_key(id: &str, input: &Value, expect: &Value) {
    const NAME: &str = "idempotency-key";
    let bare = input["style"] == "bare";
    let keys = if bare {
        IdempotencyKeys::new().bare()
    } else {
        IdempotencyKeys::new()
    };
    let builder = RetryPolicy::builder().idempotency_keys(keys);
    let seen = three_attempts(builder.clone(), "POST").await;
    let key = seen[0][NAME].to_str().unwrap();
    assert!(seen.iter().all(|headers| headers[NAME] == key), "{id}");
    let example = input["key"]
        .as_str()
        .unwrap_or("8e03978e-40d5-43e8-bc93-6894a57f9324");
    let example = match expect["header"].as_str() {
        Some(header) => header.to_owned(),
        None => example.to_owned(),
    };
    let form = |key: &str| key.replace(|c: char| c.is_ascii_hexdigit(), "x");
    assert_eq!(form(key), form(&example), "{id}");
    for (method, keyed) in input["methods"].as_object().into_iter().flatten() {
        let seen = three_attempts(builder.clone(), method).await;
        assert_eq!(seen[0].contains_key(NAME), *keyed, "{id}: {method}");
    }
}

/// What a span of each attempt would have, from what an observer is told.
#[derive(Default)]
struct Spans(Mutex<Vec<Value>>);

impl Spans {
    fn note(&self, exchange: &EndedAttempt<'_>) {
        let AttemptOutcome::Status(status) = exchange.outcome() else {
            panic!("a response was sent")
        };
        let resends = exchange.number() - 1;
        self.0.lock().unwrap().push(serde_json::json!({
            "status": status.as_u16(),
            "resend_count": (resends > 0).then_some(resends),
            "error.type": (status.as_u16() >= 400).then(|| status.as_str()),
        }));
    }
}

impl RetryObserver for Spans {
    fn sends_again(&self, exchange: &EndedAttempt<'_>, _: Wait) {
        self.note(exchange);
    }

    fn stops(&self, exchange: &EndedAttempt<'_>, _: StopReason) {
        self.note(exchange);
    }
}

async fn telemetry(id: &str, input: &Value, expect: &Value) {
    assert_eq!(
        input["attempts"],
        serde_json::json!([500, 500, 200]),
        "{id}"
    );
    let spans = Arc::new(Spans::default());
    let builder = RetryPolicy::builder().observer(Arc::clone(&spans));
    three_attempts(builder, "GET").await;
    assert_eq!(
        Value::Array(spans.0.lock().unwrap().clone()),
        expect["spans"],
        "{id}"
    );
}

fn config_validation(id: &str, vector: &Value) {
    let input = &vector["input"];
    let rejected = if let Some(attempts) = input["max_attempts"].as_u64() {
        assert_eq!(vector["expect"]["profile"], "grpc", "{id}");
        let attempts = u32::try_from(attempts).unwrap();
        let retry = GrpcRetry::new(attempts, Duration::ZERO, Duration::ZERO, 1.0);
        retry.to_builder().is_err()
    } else if let Some(tokens) = input["max_tokens"].as_u64() {
        FixedBudget::new(u32::try_from(tokens).unwrap(), 10).is_err()
            && GrpcThrottle::new(u16::try_from(tokens).unwrap(), 100).is_err()
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
    if input["response_committed"] == true {
        // Such a call has ended: the layer gives no reason for it.
        assert_eq!(expect["reason"], "response_committed", "{id}");
        return committed(id, &input["outcome"]).await;
    }
    let mut hints = Hints::default();
    for hint in input["hints"].as_array().into_iter().flatten() {
        hints = hints.with(match hint.as_str().unwrap() {
            "x-should-retry" => Hint::XShouldRetry,
            "x-retry-attempts-exhausted" => Hint::XRetryAttemptsExhausted,
            other => panic!("{id}: {other}"),
        });
    }
    if input["budget"] == "empty" {
        assert!(budget.withdraw(&Uri::default(), Cost::Retry, Instant::now()));
    }
    let empty = budget.millitokens();
    let mut builder = RetryPolicy::builder();
    if input["idempotency_key"] == true {
        builder = builder.idempotency_keys(IdempotencyKeys::new());
    }
    let policy = builder
        .classifier(Knowing::standard())
        .hints(hints)
        .max_attempts(u32::try_from(input["max_attempts"].as_u64().unwrap()).unwrap())
        .replay_limit(if input["body"] == "consumed_stream" {
            0
        } else {
            65_536
        })
        .budget(Arc::clone(&budget))
        .build()
        .unwrap();

    let mut reply = outcome(id, &input["outcome"]);
    reply.early_data = input["early_data"] == true;
    let reply = reply.reading(match input["body"].as_str().unwrap() {
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
            assert_eq!((wait, reason.as_str()), (None, stop_reason(expect)), "{id}");
            assert!(budget.millitokens() >= empty, "{id}: free");
        }
        "retry" => {
            assert!(
                wait.is_some_and(|wait| wait != WaitReason::TransparentRetry),
                "{id}: {report}"
            );
            assert!(budget.millitokens() < 1_000, "{id}: charged");
            assert_eq!(report.attempts().len() - prior, 2, "{id}");
        }
        "resend" => {
            assert_eq!(wait, Some(WaitReason::TransparentRetry), "{id}: {report}");
            assert_eq!(budget.millitokens(), 1_000, "{id}: free");
        }
        other => panic!("{id}: {other}"),
    }
}

/// The layer has returned by then: the caller gets the error of the body, and nobody asks again.
async fn committed(id: &str, outcome: &Value) {
    let sent = usize::try_from(outcome["body_bytes"].as_u64().unwrap()).unwrap();
    let calls = Arc::new(AtomicU32::new(0));
    let service = service_fn({
        let calls = Arc::clone(&calls);
        move |_: Request<ReplayBody<Empty<Bytes>>>| {
            calls.fetch_add(1, Ordering::Relaxed);
            let broken = Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset));
            let frames = [Ok(Frame::data(Bytes::from(vec![b'.'; sent]))), broken];
            let body = StreamBody::new(Iter(frames.into_iter()));
            async { Ok::<_, Infallible>(Response::new(body)) }
        }
    });
    let request = Request::get("http://peer/").body(Empty::new()).unwrap();
    let retry = Retry::new(service, RetryPolicy::default());
    let mut body = retry.oneshot(request).await.unwrap().into_body();
    let first = body.frame().await.unwrap().unwrap();
    assert_eq!(first.into_data().unwrap().len(), sent, "{id}");
    assert!(body.frame().await.unwrap().is_err(), "{id}");
    assert_eq!(calls.load(Ordering::Relaxed), 1, "{id}");
}

/// A body breaks behind what was received, and is continued, or not.
async fn resume(id: &str, input: &Value, expect: &Value) {
    let first = script_answer(&input["first"])
        .data(text(&input["received"]))
        .breaks();
    let acts = match &input["second"] {
        Value::Null => vec![first, crate::support::script::answer(404)],
        second => vec![first, script_answer(second).data(text(&second["body"]))],
    };
    let server = crate::support::script::Server::new(acts);
    let no_wait = Backoff::fixed(Duration::ZERO);
    let policy = RetryPolicy::builder().backoff(no_wait).build().unwrap();
    let mut request = Request::get("http://peer/")
        .body(Empty::<Bytes>::new())
        .unwrap();
    if let Some(method) = input["method"].as_str() {
        *request.method_mut() = method.parse().unwrap();
    }
    let service = Resume::new(server.clone(), policy);
    let (head, mut body) = service.oneshot(request.clone()).await.unwrap().into_parts();
    let resumable = body.is_resumable();
    let mut received = Vec::new();
    let mut error = None;
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => received.extend_from_slice(&frame.into_data().unwrap()),
            Err(broken) => error = Some(broken),
        }
    }
    let asked = server.asked();
    if expect["resume"] == false {
        assert_eq!(asked.len(), 1, "{id}");
    }
    if let Some(reason) = expect["reason"].as_str() {
        assert!(!resumable, "{id}");
        let found = Resume::new(server, RetryPolicy::default()).check_head(&request, &head);
        assert_eq!(found.unwrap_err().as_str(), reason, "{id}");
        assert!(matches!(error, Some(ResumeBodyError::Inner(_))), "{id}");
    } else if let Some(expected) = expect["error"].as_str() {
        let error = error.unwrap();
        assert_eq!(
            error.resume_error().unwrap().kind().as_str(),
            expected,
            "{id}"
        );
    } else if let Some(result) = expect["result"].as_str() {
        assert!(error.is_none(), "{id}");
        assert_eq!(received, result.as_bytes(), "{id}");
    } else {
        assert_eq!(
            asked[1].header("range"),
            expect["request_range"].as_str(),
            "{id}"
        );
        assert_eq!(
            asked[1].header("if-range"),
            expect["if_range"].as_str(),
            "{id}"
        );
    }
}

fn script_answer(answer: &Value) -> crate::support::script::Answer {
    let status = answer["status"].as_u64().unwrap();
    let mut scripted = crate::support::script::answer(u16::try_from(status).unwrap());
    for name in [
        "etag",
        "content_range",
        "content_type",
        "date",
        "last_modified",
    ] {
        if let Some(value) = answer[name].as_str() {
            scripted = scripted.header(&name.replace('_', "-"), value);
        }
    }
    match answer["content_length"].as_u64() {
        Some(length) => scripted.length(length),
        None => scripted,
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

struct Iter<I>(I);

impl<I: Iterator + Unpin> futures_core::Stream for Iter<I> {
    type Item = I::Item;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<I::Item>> {
        Poll::Ready(self.0.next())
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

/// What a classifier that knows its transport says about these.
fn outcome(id: &str, outcome: &Value) -> Reply {
    if let Some(code) = outcome["status"].as_u64() {
        let mut reply = status(u16::try_from(code).unwrap());
        for (name, value) in outcome["headers"].as_object().unwrap() {
            let name: HeaderName = name.parse().unwrap();
            reply = reply.header(name, value.as_str().unwrap());
        }
        return reply;
    }
    let processed = match outcome["bytes_written"].as_u64() {
        Some(0) => Processed::Never,
        Some(_) | None => Processed::Possibly,
    };
    match outcome["error"].as_str().unwrap() {
        "connect_refused" => io_error(std::io::ErrorKind::ConnectionRefused),
        "network_unreachable" => io_error(std::io::ErrorKind::NetworkUnreachable),
        "dns" | "connect_timeout" => error(Class::NotSent),
        "tls_certificate" | "invalid_url" => error(Class::Permanent),
        "closed_before_response" if outcome["reused"] == true => error(Class::Stale(processed)),
        "closed_before_response" | "closed_mid_header" => {
            io_error(std::io::ErrorKind::UnexpectedEof)
        }
        "h2_reset" => error(match outcome["code"].as_str().unwrap() {
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
        other => panic!("{id}: {other}"),
    }
}

#[test]
fn budgets_can_be_left_out() {
    assert!(Unlimited.withdraw(&Uri::default(), Cost::Retry, Instant::now()));
}

/// The reason for which a call is to stop, by its name here.
fn stop_reason(expect: &Value) -> &str {
    match expect["reason"].as_str().unwrap() {
        "server_said_no" => "retry_forbidden",
        reason => reason,
    }
}
