//! The service contract step by step, over a mock whose readiness is in the test's hands.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Empty;
use retry_layer::{
    Jitter, NamedErrorLayer, ReplayBody, ResponseExt, RetryLayer, RetryPolicy, budget::FixedBudget,
};
use tokio::time::advance;
use tokio_test::{assert_pending, assert_ready, assert_ready_ok, task};
use tower::{Layer, Service};
use tower_test::mock;

type Body = Empty<Bytes>;

const WAIT: Duration = Duration::from_millis(101);

fn answer(status: StatusCode) -> Response<Body> {
    Response::builder()
        .status(status)
        .body(Body::new())
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_later_attempt_waits_until_the_service_is_ready() {
    let (inner, mut peer) = mock::pair::<Request<ReplayBody<Body>>, Response<Body>>();
    let policy = RetryPolicy::builder().jitter(Jitter::None).build().unwrap();
    let layer = RetryLayer::new(policy);
    let mut retry = task::spawn(layer.layer(NamedErrorLayer::new().layer(inner)));

    peer.allow(1);
    let mut poll_ready =
        |cx: &mut std::task::Context<'_>| Service::<Request<Body>>::poll_ready(&mut *retry, cx);
    let mut ready = task::spawn(std::future::poll_fn(&mut poll_ready));
    assert_ready_ok!(ready.poll());
    drop(ready);
    let mut call = task::spawn(retry.call(Request::new(Body::new())));

    let (_, reply) = peer.next_request().await.unwrap();
    reply.send_response(answer(StatusCode::BAD_GATEWAY));
    assert_pending!(call.poll());
    advance(WAIT).await;
    assert!(call.is_woken());
    assert_pending!(
        call.poll(),
        "the wait is over, but the service is not ready"
    );

    peer.allow(1);
    assert!(call.is_woken());
    assert_pending!(call.poll());
    let (_, reply) = peer.next_request().await.unwrap();
    reply.send_response(answer(StatusCode::OK));
    let response = assert_ready!(call.poll()).unwrap();
    assert_eq!(response.retry_report().attempts().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_call_dropped_while_the_service_is_not_ready_pays_back() {
    let (inner, mut peer) = mock::pair::<Request<ReplayBody<Body>>, Response<Body>>();
    let budget = Arc::new(FixedBudget::new(1, 10).unwrap());
    let policy = RetryPolicy::builder()
        .jitter(Jitter::None)
        .budget(Arc::clone(&budget))
        .build()
        .unwrap();
    let mut retry = RetryLayer::new(policy).layer(NamedErrorLayer::new().layer(inner));

    peer.allow(1);
    std::future::poll_fn(|cx| Service::<Request<Body>>::poll_ready(&mut retry, cx))
        .await
        .unwrap();
    let mut call = task::spawn(retry.call(Request::new(Body::new())));
    let (_, reply) = peer.next_request().await.unwrap();
    reply.send_response(answer(StatusCode::BAD_GATEWAY));
    assert_pending!(call.poll());
    advance(WAIT).await;
    assert_pending!(call.poll());
    assert_eq!(budget.millitokens(), 0);
    drop(call);
    assert_eq!(budget.millitokens(), 1_000);
}
