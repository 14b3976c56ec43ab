//! Cases about what retries cost, and when they are refused for it.

use std::{sync::Arc, time::Duration};

use http::{Request, Uri};
use http_body_util::Empty;
use retry_layer::{
    RetryPolicy,
    budget::{
        AwsBudget, Budget, ConcurrencyShare, Cost, FinagleBudget, FixedBudget, GrpcThrottle,
        Unlimited,
    },
    grpc::GrpcRetry,
};
use serde_json::Value;
use tokio::time::Instant;

use super::case::CaseValue;
use crate::support::{Peer, send, status};

fn withdraw(budget: &impl Budget, cost: Cost) -> bool {
    budget.withdraw(&Uri::default(), cost, Instant::now())
}

fn assert_tokens(millitokens: u64, expected: &Value) {
    let tokens = Duration::from_millis(millitokens).as_secs_f64();
    assert!((tokens - expected.float()).abs() < 1e-9, "{tokens}");
}

/// A number such as 0.1, in hundredths, tenths of a percent and the like.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "small numbers"
)]
fn scaled(number: &Value, scale: f64) -> u32 {
    (number.float() * scale).round() as u32
}

/// What is withdrawn and deposited, and the tokens after each step.
pub(super) fn fixed(input: &Value, expect: &Value) {
    assert_eq!(
        (input["cost"].float(), input["cost_throttled"].float()),
        (1.0, 0.5)
    );
    let deposit = u16::try_from(scaled(&input["deposit"], 100.0)).unwrap();
    let budget = FixedBudget::new(scaled(&input["capacity"], 1.0), deposit).unwrap();
    for (operation, step) in input["ops"].list().iter().zip(expect["steps"].list()) {
        let granted = match operation.text() {
            "retry" => Some(withdraw(&budget, Cost::Retry)),
            "hedge" => Some(withdraw(&budget, Cost::Hedge)),
            "retry_throttled" => Some(withdraw(&budget, Cost::Throttled)),
            "transparent" => Some(true),
            "ok" => {
                budget.deposit(&Uri::default());
                None
            }
            other => panic!("there is no operation {other}"),
        };
        assert_eq!(granted, step["granted"].as_bool());
        assert_tokens(budget.millitokens(), &step["tokens"]);
    }
}

/// Calls one after the other. The server answers the attempts of all of them by their number.
pub(super) async fn grpc(input: &Value, expect: &Value) {
    let max_tokens = u16::try_from(scaled(&input["max_tokens"], 1.0)).unwrap();
    let ratio = scaled(&input["token_ratio"], 1_000.0);
    let budget = Arc::new(GrpcThrottle::new(max_tokens, ratio).unwrap());
    let policy = grpc_policy(input["max_attempts"].integer(), &budget);
    let succeeds: Vec<u64> = input["server_ok_at_index"]
        .list()
        .iter()
        .map(CaseValue::integer)
        .collect();
    let replies = (0..100).map(|index| {
        let code = if succeeds.contains(&index) { "0" } else { "14" };
        status(200).header("grpc-status", code)
    });
    let peer = Peer::new(replies);
    for call in expect["calls"].list() {
        let before = peer.seen().len();
        let request = Request::post("http://peer/").body(Empty::new()).unwrap();
        let response = send(&peer, policy.clone(), request).await.unwrap();
        let result = match response.headers()["grpc-status"].as_bytes() {
            b"0" => "ok",
            _ => "unavailable",
        };
        assert_eq!(result, call["result"]);
        let seen = peer.seen().len();
        assert_eq!(seen as u64 - 1, call["last_server_index"]);
        assert_eq!((seen - before) as u64, call["attempts"]);
        assert_tokens(budget.millitokens(), &call["tokens_after"]);
    }
}

fn grpc_policy(attempts: u32, budget: &Arc<GrpcThrottle>) -> RetryPolicy {
    GrpcRetry::new(attempts, Duration::ZERO, Duration::ZERO, 1.0)
        .to_builder()
        .unwrap()
        .budget(Arc::clone(budget))
        .build()
        .unwrap()
}

/// What is withdrawn and deposited, and the capacity after each step.
pub(super) fn aws(input: &Value, expect: &Value) {
    let budget = AwsBudget::v2_1()
        .with_capacity(input["capacity"].integer())
        .unwrap();
    let mut last = Cost::Retry;
    for (operation, step) in input["ops"].list().iter().zip(expect["steps"].list()) {
        let granted = match operation[0].text() {
            "acquire" => {
                last = match operation[1].integer() {
                    14_u32 => Cost::Retry,
                    5 => Cost::Throttled,
                    other => panic!("nothing costs {other}"),
                };
                Some(withdraw(&budget, last))
            }
            "success_after_retry" => {
                budget.deposit_after_retry(&Uri::default(), last);
                None
            }
            "failure" => {
                budget.failure(&Uri::default(), 2);
                None
            }
            other => panic!("there is no operation {other}"),
        };
        assert_eq!(granted, step["granted"].as_bool());
        assert_eq!(budget.tokens(), step["capacity"]);
    }
}

/// How many of many requests may be retried, or that the settings are refused.
pub(super) fn finagle(input: &Value, expect: &Value) {
    let percent = input["percent"].as_f64().unwrap_or_default();
    if percent < 0.0 {
        // The type has no negative shares.
        assert_eq!(expect["rejected"], true);
        return;
    }
    let budget = FinagleBudget::new(
        Duration::from_secs(input["ttl_s"].integer()),
        input["min_per_s"].optional_integer().unwrap_or_default(),
        scaled(&percent.into(), 10_000.0),
    );
    let Ok(budget) = budget else {
        assert_eq!(expect["rejected"], true);
        return;
    };
    let uri = Uri::default();
    if expect["always_denies"] == true {
        (0..1_000).for_each(|_| budget.deposit(&uri));
        assert!(!withdraw(&budget, Cost::Retry));
        return;
    }
    assert_eq!(budget.balance(), expect["initial_balance"]);
    let is_retried = |_: &u64| {
        budget.deposit(&uri);
        withdraw(&budget, Cost::Retry)
    };
    let requests: u64 = input["requests"].integer();
    let retries = (0..requests).filter(is_retried).count() as u64;
    let tolerance: u64 = expect["tolerance"].integer();
    assert!(
        retries.abs_diff(expect["retries"].integer()) <= tolerance,
        "{retries}"
    );
}

/// How many retries may be under way beside so many calls.
pub(super) fn concurrency(input: &Value, expect: &Value) {
    let budget = ConcurrencyShare::new(
        input["percent"].integer(),
        input["min_concurrency"].integer(),
    )
    .unwrap();
    let calls: u64 = input["active_plus_pending"].integer();
    (0..calls).for_each(|_| budget.enter());
    let granted = (0..1_000).take_while(|_| withdraw(&budget, Cost::Retry));
    assert_eq!(granted.count() as u64, expect["max_active_retries"]);
}

#[test]
fn a_budget_can_be_left_out() {
    assert!(withdraw(&Unlimited, Cost::Retry));
}
