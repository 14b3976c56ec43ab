//! When hedges are sent, and whose outcome is returned.

use std::{num::NonZeroU32, time::Duration};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use retry_layer::{
    Retry, RetryPolicy,
    budget::{Budget, Cost, FixedBudget, Unlimited},
    hedge::{HedgeLayer, Hedging},
    hint::{Hint, Hints},
};
use serde_json::Value;
use tokio::time::{Instant, timeout};
use tower::{Layer, ServiceExt};

use super::case::CaseValue;
use crate::support::timed::{Answer, TimedPeer, after};

pub(super) async fn hedging(input: &Value, expect: &Value) {
    let attempts: u32 = input["max_attempts"].integer();
    let delay = input["delay_ms"].millis();
    let hedging = Hedging::after(delay).max_hedges(NonZeroU32::new(attempts - 1).unwrap());
    let policy = RetryPolicy::builder()
        .hints(Hints::default().with(Hint::GrpcPushback))
        .max_attempts(attempts)
        .hedging(hedging.build().unwrap());
    let policy = if input["budget"] == "empty" {
        policy.budget(empty())
    } else {
        policy.budget(Unlimited)
    };
    let responses = input["responses"].as_array().cloned().unwrap_or_default();
    let peer = TimedPeer::new(move |index| {
        let number = u64::try_from(index + 1).unwrap();
        let response = responses.iter().find(|it| it["attempt"] == number);
        response.map_or_else(|| after(1_000_000), |response| answer(response, delay))
    });
    let hedge = HedgeLayer::new().layer(peer.handle());
    let service = Retry::new(hedge, policy.build().unwrap());
    let method = input["method"].as_str().unwrap_or("GET");
    let request = Request::builder().method(method).uri("http://peer/");
    let request = request.body(Full::<Bytes>::default()).unwrap();
    let outcome = timeout(Duration::from_secs(60), service.oneshot(request)).await;
    if let Some(sent) = expect.get("sent_at_ms") {
        let expected: Vec<_> = sent.list().iter().map(Value::integer::<u128>).collect();
        assert_eq!(peer.sent_at(), expected);
    }
    if let Some(status) = expect.get("result") {
        let response = outcome.expect("it is answered").unwrap();
        assert_eq!(*status, response.status().as_u16());
    }
}

/// An answer at a time that is counted from the first attempt; the others are sent after a delay each.
fn answer(response: &Value, delay: Duration) -> Answer {
    let earlier = response["attempt"].integer::<u32>() - 1;
    let takes = response["at_ms"].millis().saturating_sub(delay * earlier);
    let takes = u64::try_from(takes.as_millis()).unwrap();
    let answer = after(takes).status(response["status"].integer());
    match response["pushback"].as_u64() {
        Some(pushback) => answer.header("grpc-retry-pushback-ms", &pushback.to_string()),
        None => answer,
    }
}

fn empty() -> FixedBudget {
    let budget = FixedBudget::new(1, 10).unwrap();
    assert!(budget.withdraw(&"/".parse().unwrap(), Cost::Retry, Instant::now()));
    budget
}
