//! What reports, observers and events tell of hedges.

use std::{
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use retry_layer::{
    AttemptOutcome, Class, EndedAttempt, ReplayBody, ResponseExt, Retry, RetryObserver,
    RetryPolicy, RetryReport, SentHedge, StopReason,
    health::{Ledger, PartitionKey},
    hedge::{Hedge, HedgeLayer, Hedging, HedgingBuilder},
};
use tokio::time::{advance, timeout};
use tower::{Layer, Service, ServiceExt};

use super::{begin, get, hedging, ms, policy, send, stack, up_to};
use crate::support::{
    Failure,
    timed::{TimedPeer, after},
};

#[tokio::test(start_paused = true)]
async fn what_is_learned_of_an_origin_is_told_by_its_ledger() {
    let ledger = Ledger::default();
    let hedging = Hedging::learned().ledger(ledger.clone());
    let peer = TimedPeer::new(|number| after(if number < 18 { 10 } else { 200 }));
    let stack = stack(&peer, policy(hedging));
    let health = || ledger.health(&PartitionKey::of(get().uri()));
    assert_eq!(health().latency(), None);
    for _ in 0..20 {
        send(&stack, get()).await;
    }
    let latency = health().latency().unwrap();
    assert_eq!(latency.answers, 20);
    let near = |time: Duration, millis| ms(millis) <= time && time <= ms(millis) * 9 / 8;
    assert!(near(latency.p50, 10), "{latency:?}");
    assert!(near(latency.p95, 200), "{latency:?}");
    assert!(near(latency.p99, 200), "{latency:?}");
    advance(Duration::from_secs(31)).await;
    assert_eq!(health().latency(), None);
}

#[tokio::test(start_paused = true)]
async fn what_learns_by_itself_shares_nothing_and_a_set_ledger_is_kept() {
    let (own, default) = (Ledger::default(), Ledger::default());
    let uri = Uri::from_static("http://peer/");
    let learn = |hedging: HedgingBuilder| {
        let hedging = hedging.default_ledger(default.clone()).build().unwrap();
        let stack = stack(
            &TimedPeer::new(|_| after(10)),
            RetryPolicy::builder().hedging(hedging),
        );
        async move { send(&stack, get()).await }
    };
    let answers = |ledger: &Ledger| {
        let latency = ledger.health(&PartitionKey::of(&uri)).latency();
        latency.map_or(0, |latency| latency.answers)
    };
    learn(Hedging::learned().ledger(own.clone())).await;
    assert_eq!((answers(&own), answers(&default)), (1, 0));
    learn(Hedging::learned()).await;
    assert_eq!((answers(&own), answers(&default)), (1, 1));
    assert!(Hedging::after(ms(1)).build().unwrap().ledger().is_none());
}

/// The attempts of a report: outcome, whether it is a hedge, when it began and how long it took.
fn attempts(report: &RetryReport) -> Vec<(AttemptOutcome, bool, u128, u128)> {
    let millis = |time: Option<Duration>| time.unwrap().as_millis();
    let attempts = report.attempts().iter();
    attempts
        .map(|it| {
            (
                it.outcome(),
                it.is_hedge(),
                millis(it.began()),
                millis(it.took()),
            )
        })
        .collect()
}

fn status(code: u16) -> AttemptOutcome {
    AttemptOutcome::Status(code.try_into().unwrap())
}

#[tokio::test(start_paused = true)]
async fn the_report_has_all_attempts_and_the_last_is_the_one_that_is_returned() {
    let peer = TimedPeer::playing([after(1_000), after(50)]);
    let outcome = send(&stack(&peer, policy(hedging())), get()).await;
    let report = outcome.result.unwrap().retry_report();
    let unanswered = AttemptOutcome::Unanswered;
    assert_eq!(
        attempts(&report),
        [(unanswered, false, 0, 150), (status(200), true, 100, 50)]
    );
    assert_eq!(report.stop(), StopReason::Answered);
    assert_eq!(
        report.to_string(),
        "unanswered after 150ms, then 200 to a hedge after 50ms; stopped: answered"
    );

    let peer = TimedPeer::playing([after(130), after(500)]);
    let outcome = send(&stack(&peer, policy(hedging())), get()).await;
    let report = outcome.result.unwrap().retry_report();
    assert_eq!(
        attempts(&report),
        [(unanswered, true, 100, 30), (status(200), false, 0, 130)]
    );
}

#[tokio::test(start_paused = true)]
async fn a_call_without_a_hedge_has_no_report() {
    let peer = TimedPeer::playing([after(10)]);
    let outcome = send(&stack(&peer, policy(hedging())), get()).await;
    let response = outcome.result.unwrap();
    assert!(response.extensions().get::<RetryReport>().is_none());
}

#[tokio::test(start_paused = true)]
async fn failures_of_a_race_are_reported_and_the_retries_after_them() {
    let peer = TimedPeer::playing([
        after(300).status(500),
        after(50).error(Class::Ambiguous),
        after(10),
    ]);
    let outcome = send(&stack(&peer, policy(hedging())), get()).await;
    let report = outcome.result.unwrap().retry_report();
    assert_eq!(
        attempts(&report),
        [
            (AttemptOutcome::Error(Class::Ambiguous), true, 100, 50),
            (status(500), false, 0, 300),
            (status(200), false, 1_300, 10),
        ]
    );
    assert_eq!(report.attempts()[1].wait().unwrap().delay(), ms(1_000));
    assert!(report.attempts()[0].wait().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_before_its_first_byte_is_reported_as_a_failure() {
    let peer = TimedPeer::playing([after(120).breaks(), after(300)]);
    let outcome = send(&stack(&peer, policy(hedging())), get()).await;
    let report = outcome.result.unwrap().retry_report();
    assert_eq!(
        attempts(&report),
        [
            (AttemptOutcome::Error(Class::Ambiguous), false, 0, 120),
            (status(200), true, 100, 300)
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_cut_off_tells_of_the_hedges_that_were_under_way() {
    let peer = TimedPeer::playing([after(1_000), after(1_000)]);
    let mut stack = stack(&peer, policy(hedging()));
    let mut call = begin(&mut stack, get()).await;
    assert!(timeout(ms(120), &mut call).await.is_err());
    let cut_off = AttemptOutcome::Error(Class::Ambiguous);
    assert_eq!(
        attempts(&call.report_so_far()),
        [(cut_off, false, 0, 120), (cut_off, true, 100, 20)]
    );
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_cut_off_in_a_body_tells_which_attempt_brought_it() {
    // A layer between the retries and the hedges reads the body, so the race is over long before.
    let peer = TimedPeer::playing([after(1_000), after(50).rest_after(10_000)]);
    let reading = Reading(HedgeLayer::new().layer(peer.handle()));
    let mut service = Retry::new(reading, policy(hedging()).build().unwrap());
    let call = ServiceExt::<Request<Full<Bytes>>>::ready(&mut service).await;
    let mut call = Box::pin(call.unwrap().call(get()));
    assert!(timeout(ms(500), &mut call).await.is_err());
    let cut_off = AttemptOutcome::Error(Class::Ambiguous);
    assert_eq!(
        attempts(&call.report_so_far()),
        [
            (AttemptOutcome::Unanswered, false, 0, 150),
            (cut_off, true, 100, 400)
        ]
    );
}

/// Reads the body before it gives out the head.
#[derive(Clone)]
struct Reading(Hedge<TimedPeer>);

impl Service<Request<ReplayBody<Full<Bytes>>>> for Reading {
    type Response = Response<Full<Bytes>>;
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Failure>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Service::<Request<ReplayBody<Full<Bytes>>>>::poll_ready(&mut self.0, cx)
    }

    fn call(&mut self, request: Request<ReplayBody<Full<Bytes>>>) -> Self::Future {
        let sending = self.0.call(request);
        Box::pin(async move {
            let (head, body) = sending.await?.into_parts();
            let body = body.collect().await;
            let body = body.map_err(|_| Failure::of(Class::Ambiguous))?;
            Ok(Response::from_parts(head, Full::new(body.to_bytes())))
        })
    }
}

#[derive(Default)]
struct Told(Mutex<Vec<String>>);

impl RetryObserver for Told {
    fn stops(&self, exchange: &EndedAttempt<'_>, reason: StopReason) {
        let number = exchange.number();
        let text = format!("{number}: {} ({reason})", exchange.outcome());
        self.0.lock().unwrap().push(text);
    }

    fn hedges(&self, hedge: &SentHedge<'_>) {
        assert_eq!(hedge.method(), "GET");
        assert_eq!(hedge.uri(), "http://peer/");
        let text = format!("hedge {} after {:?}", hedge.number(), hedge.after());
        self.0.lock().unwrap().push(text);
    }
}

#[tokio::test(start_paused = true)]
async fn an_observer_is_told_of_each_hedge_that_is_sent() {
    let told = Arc::new(Told::default());
    let peer = TimedPeer::playing([after(1_000), after(1_000), after(50)]);
    let policy = policy(up_to(2)).observer(told.clone());
    send(&stack(&peer, policy), get()).await;
    assert_eq!(
        *told.0.lock().unwrap(),
        [
            "hedge 2 after 100ms",
            "hedge 3 after 200ms",
            "3: 200 (answered)"
        ]
    );
}
