//! What the layer costs on the path of a call that succeeds at once: no allocation.
#![allow(clippy::unwrap_used, reason = "a test fails by its panic")]

use std::{
    alloc::System,
    convert::Infallible,
    future::{Ready, ready},
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::{Empty, Full};
use retry_layer::{
    ReplayBody, Retry, RetryPolicy,
    budget::{Budget as _, Cost, SuccessBudget},
    hedge::{HedgeLayer, Hedging},
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokio::time::Instant;
use tower::{Layer, Service, service_fn};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The fewest allocations in a number of runs: those of the test harness are not ours.
fn allocations<B, R>(
    service: &mut Retry<
        impl Service<Request<ReplayBody<B>>, Response = Response<R>, Error = Infallible> + Clone,
    >,
    request: impl Fn() -> Request<B>,
) -> usize
where
    B: Body<Data = Bytes, Error = Infallible> + 'static,
    R: Body,
{
    let count = |_| {
        let request = request();
        let region = Region::new(ALLOCATOR);
        call(service, request);
        region.change().allocations
    };
    (0..50).map(count).min().unwrap()
}

fn answer<B>(_: Request<ReplayBody<B>>) -> Ready<Result<Response<Empty<Bytes>>, Infallible>> {
    ready(Ok(Response::new(Empty::new())))
}

/// Reads the body before it answers.
fn read_and_answer<B>(
    request: Request<ReplayBody<B>>,
) -> Ready<Result<Response<Empty<Bytes>>, Infallible>>
where
    B: Body<Data = Bytes, Error = Infallible>,
{
    let mut cx = Context::from_waker(Waker::noop());
    let mut body = pin!(request.into_body());
    let mut length = 0;
    while let Poll::Ready(Some(frame)) = body.as_mut().poll_frame(&mut cx) {
        length += frame.unwrap().data_ref().map_or(0, Bytes::len);
    }
    assert_eq!(length, LENGTH);
    ready(Ok(Response::new(Empty::new())))
}

const LENGTH: usize = 1024 * 1024;

/// A stream of 16 frames, whose length is not known.
struct Frames {
    frame: Bytes,
    left: usize,
}

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(left) = self.left.checked_sub(1) else {
            return Poll::Ready(None);
        };
        self.left = left;
        Poll::Ready(Some(Ok(Frame::data(self.frame.clone()))))
    }
}

fn call<B, R>(
    service: &mut Retry<
        impl Service<Request<ReplayBody<B>>, Response = Response<R>, Error = Infallible> + Clone,
    >,
    request: Request<B>,
) where
    B: Body<Data = Bytes, Error = Infallible> + 'static,
    R: Body,
{
    let mut cx = Context::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut cx).is_ready());
    let response = pin!(service.call(request));
    assert!(matches!(response.poll(&mut cx), Poll::Ready(Ok(_))));
}

// One test, since the counter is that of the whole process.
#[test]
fn a_plain_success_allocates_nothing_and_a_body_only_its_tape() {
    let mut service = Retry::new(service_fn(answer::<Empty<Bytes>>), RetryPolicy::default());
    let plain = || {
        Request::get("http://example.com/path")
            .body(Empty::new())
            .unwrap()
    };
    assert_eq!(allocations(&mut service, plain), 0);

    let mut service = Retry::new(service_fn(answer::<Full<Bytes>>), RetryPolicy::default());
    let bytes = || {
        Request::put("http://example.com/path")
            .body(Full::from("body"))
            .unwrap()
    };
    assert_eq!(allocations(&mut service, bytes), 2);

    let policy = RetryPolicy::builder().replay_limit(LENGTH).build().unwrap();
    let mut service = Retry::new(service_fn(read_and_answer::<Frames>), policy);
    let whole = Bytes::from(vec![b'b'; LENGTH]);
    let stream = || {
        let frame = whole.slice(..LENGTH / 16);
        let body = Frames { frame, left: 16 };
        Request::put("http://example.com/path").body(body).unwrap()
    };
    assert_eq!(allocations(&mut service, stream), 2);
}

#[test]
fn a_hedge_layer_that_the_policy_does_not_use_allocates_nothing() {
    let hedge = HedgeLayer::new().layer(service_fn(answer::<Empty<Bytes>>));
    let mut service = Retry::new(hedge.clone(), RetryPolicy::default());
    let plain = || {
        Request::get("http://example.com/path")
            .body(Empty::new())
            .unwrap()
    };
    assert_eq!(allocations(&mut service, plain), 0);

    // One that may be hedged is shared by both layers: what they share, and a place for it among the
    // request's extensions and in the copy that is kept of them.
    let hedging = Hedging::learned().build().unwrap();
    let policy = RetryPolicy::builder().hedging(hedging).build().unwrap();
    let mut service = Retry::new(hedge, policy);
    let used = allocations(&mut service, plain);
    assert!((1..=9).contains(&used), "{used}");
}

#[test]
fn an_attempt_through_a_closed_circuit_allocates_nothing() {
    let breaker = retry_layer::breaker::Breaker::default();
    let echo = service_fn(|_: Request<()>| ready(Ok::<_, Infallible>(Response::new(()))));
    let mut service = retry_layer::breaker::CircuitBreaker::new(echo, breaker);
    let count = |_| {
        let request = Request::get("http://peer:8080/path").body(()).unwrap();
        let region = Region::new(ALLOCATOR);
        let mut cx = Context::from_waker(Waker::noop());
        assert!(pin!(service.call(request)).poll(&mut cx).is_ready());
        region.change().allocations
    };
    // The first one adds the origin.
    assert_eq!((0..50).map(count).min(), Some(0));
}

#[tokio::test]
async fn a_retry_to_an_origin_that_failed_before_costs_the_budget_its_bucket_only() {
    let budget = SuccessBudget::default();
    let uri = http::Uri::from_static("http://Peer:8080/path");
    let count = |_| {
        let region = Region::new(ALLOCATOR);
        assert!(budget.withdraw(&uri, Cost::Retry, Instant::now()));
        // The bucket is full again then, and vanishes.
        (0..5).for_each(|_| budget.deposit(&uri));
        region.change().allocations
    };
    // The first one adds the origin.
    assert_eq!((0..50).map(count).min(), Some(1));
}
