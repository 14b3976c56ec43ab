//! What is left of attempts and of hedges that are over, and of hedges that are not sent.

use std::{sync::Arc, time::Duration};

use http_body_util::BodyExt;
use retry_layer::{
    Retry,
    budget::{ConcurrencyShare, FixedBudget},
    hedge::{Hedge, HedgeLayer},
};
use tokio::time::{advance, sleep, timeout};
use tokio_test::{assert_pending, task};
use tower::{Layer, Service, ServiceExt, limit::ConcurrencyLimit};

use super::{get, hedging, ms, policy, send, stack, up_to};
use crate::support::timed::{TimedPeer, after};

#[tokio::test(start_paused = true)]
async fn a_hedge_that_the_service_was_not_ready_for_in_time_is_not_sent_after_the_deadline() {
    let peer = TimedPeer::playing([after(1_000)]);
    peer.ready_again_after(ms(300));
    let budget = Arc::new(FixedBudget::new(10, 100).unwrap());
    let policy = policy(hedging()).budget(budget.clone()).deadline(ms(200));
    let stack = stack(&peer, policy);
    let mut call = task::spawn(stack.oneshot(get()));
    assert_pending!(call.poll());
    advance(ms(100)).await;
    assert_pending!(call.poll());
    assert_eq!(budget.millitokens(), 9_000);
    advance(ms(100)).await;
    assert_pending!(call.poll());
    assert_eq!(budget.millitokens(), 10_000, "its token is given back");
    advance(ms(100)).await;
    assert_pending!(call.poll());
    assert_eq!(peer.sent_at(), [0]);
}

#[tokio::test(start_paused = true)]
async fn a_hedge_that_has_failed_holds_nothing_while_the_attempt_goes_on() {
    let peer = TimedPeer::playing([after(1_000), after(50).status(503).rest_after(60_000)]);
    let share = Arc::new(ConcurrencyShare::new(20, 1).unwrap());
    let stack = stack(&peer, policy(hedging()).budget(share.clone()));
    let mut call = task::spawn(stack.oneshot(get()));
    for _ in 0..20 {
        assert_pending!(call.poll());
        advance(ms(10)).await;
    }
    assert_pending!(call.poll());
    assert_eq!(peer.seen().len(), 2);
    assert_eq!(peer.alive(), 1, "the response of the hedge is dropped");
    assert_eq!(share.active(), 0, "and its place is free");
}

#[tokio::test(start_paused = true)]
async fn hedges_that_are_over_leave_their_places_to_the_retry_that_follows() {
    let slow = || after(300).status(503);
    let peer = TimedPeer::playing([slow(), slow(), after(10)]);
    let share = ConcurrencyShare::new(20, 1).unwrap();
    let outcome = send(&stack(&peer, policy(hedging()).budget(share)), get()).await;
    assert_eq!(outcome.status(), 200);
    assert_eq!(peer.sent_at(), [0, 100, 1_400]);
}

#[tokio::test(start_paused = true)]
async fn the_losers_are_dropped_when_the_answer_is_there_and_not_with_the_future() {
    let peer = TimedPeer::playing([after(1_000), after(10).rest_after(500)]);
    let hedge = HedgeLayer::new().layer(peer.handle());
    // The future of this service keeps the one inside until it is dropped itself.
    let kept = Kept(hedge);
    let service = Retry::new(kept, policy(hedging()).build().unwrap());
    let response = service.oneshot(get()).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(peer.alive(), 1, "the body that is being read");
}

/// Keeps the futures of the service inside for a minute after they are ready.
#[derive(Clone)]
struct Kept<S>(S);

impl<S, T> Service<T> for Kept<S>
where
    S: Service<T, Future: Send + 'static>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(
        &mut self,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: T) -> Self::Future {
        let mut inner = Box::pin(self.0.call(request));
        Box::pin(async move {
            let result = inner.as_mut().await;
            tokio::spawn(async move {
                sleep(Duration::from_secs(60)).await;
                drop(inner);
            });
            result
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_place_of_a_limited_service_is_not_kept_for_a_hedge_that_is_not_sent() {
    // Two places: the attempt and its first hedge have them, and the second hedge waits for one.
    let peer = TimedPeer::playing([after(400).status(503), after(5_000), after(10)]);
    let limited = ConcurrencyLimit::new(peer.handle(), 2);
    let hedge = HedgeLayer::new().layer(limited.clone());
    let policy = policy(up_to(2)).build().unwrap();
    let call = tokio::spawn(Retry::new(hedge, policy.clone()).oneshot(get()));
    sleep(ms(450)).await;
    // The attempt has failed: its place is for another call, at once.
    let other: Retry<Hedge<ConcurrencyLimit<TimedPeer>>> =
        Retry::new(HedgeLayer::new().layer(limited), policy);
    let response = timeout(ms(1_000), other.oneshot(get())).await;
    assert_eq!(response.expect("a place is free").unwrap().status(), 200);
    call.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_one_neither_blocks_the_calls_nor_lets_them_hedge() {
    let peer = TimedPeer::new(|_| after(300));
    let limited = ConcurrencyLimit::new(peer.handle(), 1);
    let hedge = HedgeLayer::new().layer(limited);
    let service = Retry::new(hedge, policy(hedging()).build().unwrap());
    let calls = (0..5).map(|_| tokio::spawn(service.clone().oneshot(get())));
    let calls: Vec<_> = calls.collect();
    for call in calls {
        let response = timeout(ms(60_000), call).await.unwrap().unwrap();
        response.unwrap().into_body().collect().await.unwrap();
    }
    assert_eq!(peer.alive(), 0);
}
