//! Hedges over what may stand below them: a buffer, a circuit breaker, a service that panics.

use std::{
    convert::Infallible,
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::Full;
use retry_layer::{
    Attempt, AttemptOutcome, NamedErrorLayer, ReplayBody, ResponseExt, Retry, RetryPolicy,
    breaker::{Breaker, BreakerLayer, CircuitState},
    budget::ConcurrencyShare,
    health::PartitionKey,
    hedge::HedgeLayer,
};
use tokio::time::{Instant, sleep};
use tower::{Layer, ServiceExt, buffer::Buffer, limit::ConcurrencyLimit, service_fn};

use super::{get, hedging, ms, policy};
use crate::support::timed::{TimedPeer, after};

#[tokio::test(start_paused = true)]
async fn over_a_buffer_a_hedge_is_sent_and_leaves_its_place() {
    let peer = TimedPeer::playing([after(10_000), after(10), after(10), after(10)]);
    let buffered = Buffer::new(peer.handle(), 1);
    let hedge = HedgeLayer::new().layer(NamedErrorLayer::new().layer(buffered));
    let service = Retry::new(hedge, policy(hedging()).build().unwrap());
    let start = Instant::now();
    for took in [110, 120, 130] {
        let response = service.clone().oneshot(get()).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(start.elapsed(), ms(took));
        assert_eq!(peer.alive(), 1, "the body that is being read");
    }
    assert_eq!(peer.sent_at(), [0, 100, 110, 120]);
}

#[tokio::test(start_paused = true)]
async fn a_hedge_that_waits_in_a_buffer_is_not_sent_after_the_answer() {
    let peer = TimedPeer::playing([after(300), after(10)]);
    // While the attempt has the only place, its hedge is in the buffer.
    let buffered = Buffer::new(ConcurrencyLimit::new(peer.handle(), 1), 8);
    let hedge = HedgeLayer::new().layer(NamedErrorLayer::new().layer(buffered));
    let share = Arc::new(ConcurrencyShare::new(20, 1).unwrap());
    let policy = policy(hedging()).budget(share.clone());
    let service = Retry::new(hedge, policy.build().unwrap());
    let start = Instant::now();
    for (took, sent) in [(300, 1), (310, 2)] {
        let response = service.clone().oneshot(get()).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(start.elapsed(), ms(took));
        assert_eq!(peer.seen().len(), sent);
        assert_eq!(share.active(), 0);
    }
}

fn breaker() -> Breaker {
    let once = NonZeroU32::new(1).unwrap();
    let builder = Breaker::builder().consecutive_failures(once);
    let builder = builder.min_wait(ms(1_000)).jitter_percent(0);
    builder.build().unwrap()
}

fn key() -> PartitionKey {
    PartitionKey::of(&Uri::from_static("http://peer/"))
}

fn direct() -> Request<ReplayBody<Full<Bytes>>> {
    get().map(ReplayBody::passing)
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_is_a_losing_hedge_counts_neither_way() {
    let peer = TimedPeer::playing([after(2_500), after(0).status(503), after(60_000), after(10)]);
    let breaker = breaker();
    let guarded = BreakerLayer::new(breaker.clone()).layer(peer.handle());
    let hedge = HedgeLayer::new().layer(guarded.clone());
    let hedging = hedging().after(ms(2_000));
    let policy = RetryPolicy::builder().hedging(hedging.build().unwrap());
    let call = tokio::spawn(Retry::new(hedge, policy.build().unwrap()).oneshot(get()));
    sleep(ms(500)).await;
    let failed = guarded.clone().oneshot(direct()).await.unwrap();
    assert_eq!(failed.status(), 503);
    assert_eq!(breaker.state(&key()), CircuitState::Open);
    sleep(ms(1_600)).await;
    // At 2 s the hedge was sent.
    assert_eq!(peer.seen().len(), 3);
    assert!(!breaker.admits(&key()), "it is the probe");

    let response = call.await.unwrap().unwrap();
    assert_eq!(response.retry_report().attempts().len(), 2);
    assert!(response.retry_report().attempts()[0].is_hedge());
    assert_eq!(breaker.state(&key()), CircuitState::HalfOpen);
    assert!(breaker.admits(&key()));
    let next = guarded.oneshot(direct()).await.unwrap();
    assert_eq!(next.status(), 200);
    assert_eq!(breaker.state(&key()), CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_hedge_that_the_breaker_refuses_leaves_the_probe_to_its_attempt() {
    let peer = TimedPeer::playing([after(0).status(503), after(300)]);
    let breaker = breaker();
    let guarded = BreakerLayer::new(breaker.clone()).layer(peer.handle());
    guarded.clone().oneshot(direct()).await.unwrap();
    sleep(ms(1_000)).await;
    assert_eq!(breaker.state(&key()), CircuitState::HalfOpen);
    let hedge = HedgeLayer::new().layer(guarded);
    let policy = RetryPolicy::builder().hedging(hedging().build().unwrap());
    let start = Instant::now();
    let service = Retry::new(hedge, policy.build().unwrap());
    let response = service.oneshot(get()).await.unwrap();
    assert_eq!(
        (response.status().as_u16(), start.elapsed()),
        (200, ms(300))
    );
    let report = response.retry_report();
    let refused = &report.attempts()[0];
    assert!(refused.is_hedge());
    assert!(
        matches!(refused.outcome(), AttemptOutcome::Error(_)),
        "{refused:?}"
    );
    assert_eq!(breaker.state(&key()), CircuitState::Closed);
}

/// Where a service panics.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Panics {
    Attempt,
    Hedge,
    CallOfHedge,
}

/// Counts as alive until it is dropped.
struct Alive(Arc<AtomicUsize>);

impl Alive {
    fn new(alive: &Arc<AtomicUsize>) -> Self {
        alive.fetch_add(1, Relaxed);
        Self(alive.clone())
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_below_ends_its_call_and_leaves_nothing_of_the_others() {
    for panics in [Panics::Attempt, Panics::Hedge, Panics::CallOfHedge] {
        let alive = Arc::new(AtomicUsize::new(0));
        let counted = alive.clone();
        let below = service_fn(move |request: Request<ReplayBody<Full<Bytes>>>| {
            let alive = Alive::new(&counted);
            let attempt = request.extensions().get::<Attempt>();
            let is_hedge = attempt.is_some_and(|it| it.hedge().is_some());
            let is_well = request.uri().path() == "/well";
            assert!(is_well || !is_hedge || panics != Panics::CallOfHedge);
            async move {
                let _alive = alive;
                if !is_well {
                    // The hedge is sent after 100 ms, and is there when the attempt panics.
                    let panics = is_hedge == (panics == Panics::Hedge);
                    sleep(ms(if panics { 120 } else { 5_000 })).await;
                    assert!(!panics);
                }
                Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("well")))
            }
        });
        let share = Arc::new(ConcurrencyShare::new(20, 1).unwrap());
        let policy = RetryPolicy::builder().budget(share.clone());
        let policy = policy.hedging(hedging().build().unwrap()).build().unwrap();
        let service = Retry::new(HedgeLayer::new().layer(below), policy);
        let call = tokio::spawn(service.clone().oneshot(get()));
        assert!(call.await.unwrap_err().is_panic(), "{panics:?}");
        assert_eq!(alive.load(Relaxed), 0, "{panics:?}");
        assert_eq!(share.active(), 0, "{panics:?}");

        let well = Request::get("http://peer/well").body(Full::default());
        let response = service.oneshot(well.unwrap()).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(share.active(), 0);
    }
}
