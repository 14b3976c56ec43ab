//! No attempt is sent after the deadline, whatever it is that took so long.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::{Either, Empty};
use retry_layer::{
    Class, Jitter, NamedErrorLayer, NamedServiceError, ReplayBody, ResponseExt, RetryLayer,
    RetryPolicy, RetryPolicyBuilder, StopReason, classifier_fn,
};
use tokio::time::{Instant, advance};
use tokio_test::{assert_pending, assert_ready, task};
use tower::{Layer, Service, ServiceExt};
use tower_test::mock;

use crate::support::{Peer, Refused, status};

type Exchange = mock::Handle<Request<ReplayBody<Empty<Bytes>>>, Response<ResponseBody>>;
type ResponseBody = Either<Empty<Bytes>, Hanging>;
type Outcome = Result<Response<ResponseBody>, NamedServiceError>;

const DEADLINE: Duration = Duration::from_secs(1);

/// A body that has not ended and never will.
#[derive(Debug)]
struct Hanging;

impl Body for Hanging {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Pending
    }
}

fn builder() -> RetryPolicyBuilder {
    RetryPolicy::builder()
        .jitter(Jitter::None)
        .deadline(DEADLINE)
}

/// A call whose first attempt was sent; the service is ready for no other.
async fn call(
    policy: RetryPolicy,
) -> (
    task::Spawn<impl Future<Output = Outcome>>,
    Exchange,
    mock::SendResponse<Response<ResponseBody>>,
) {
    let (inner, mut peer) = mock::pair();
    let mut retry = RetryLayer::new(policy).layer(NamedErrorLayer::new().layer(inner));
    peer.allow(1);
    retry.ready().await.expect("the mock is open");
    let call = task::spawn(retry.call(Request::new(Empty::<Bytes>::new())));
    let (_, reply) = peer.next_request().await.expect("an attempt");
    (call, peer, reply)
}

fn answer(status: StatusCode) -> Response<ResponseBody> {
    let mut response = Response::new(Either::Left(Empty::new()));
    *response.status_mut() = status;
    response
}

#[tokio::test(start_paused = true)]
async fn a_service_not_ready_in_time_ends_the_call_with_the_last_response() {
    let (mut call, mut peer, reply) = call(builder().build().unwrap()).await;
    reply.send_response(answer(StatusCode::BAD_GATEWAY));
    assert_pending!(call.poll());
    advance(DEADLINE / 2).await;
    assert_pending!(call.poll(), "the wait is over");
    advance(DEADLINE / 2).await;
    assert!(call.is_woken());
    let response = assert_ready!(call.poll()).unwrap();
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    let report = response.retry_report();
    assert_eq!(report.stop(), StopReason::DeadlineExceeded);
    assert_eq!(report.attempts().len(), 1);
    assert!(peer.next_request().await.is_none(), "nothing was sent");
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_ready_too_late_is_not_called() {
    let (mut call, mut peer, reply) = call(builder().build().unwrap()).await;
    reply.send_response(answer(StatusCode::BAD_GATEWAY));
    assert_pending!(call.poll());
    advance(DEADLINE).await;
    peer.allow(1);
    assert_ready!(call.poll()).unwrap();
    assert!(peer.next_request().await.is_none(), "nothing was sent");
}

#[tokio::test(start_paused = true)]
async fn a_transparent_retry_without_a_ready_service_ends_with_the_last_error() {
    let unprocessed = classifier_fn(|_: &retry_layer::Outcome<'_>| Class::Unprocessed);
    let policy = builder().classifier(unprocessed).build().unwrap();
    let (mut call, _peer, reply) = call(policy).await;
    reply.send_error("refused");
    assert_pending!(call.poll());
    advance(DEADLINE).await;
    let error = assert_ready!(call.poll()).unwrap_err();
    let cause = std::error::Error::source(&error).expect("a named error has a source");
    assert_eq!(cause.to_string(), "refused");
}

#[tokio::test(start_paused = true)]
async fn reading_a_refused_response_leaves_time_for_the_next_attempt() {
    let policy = builder()
        .drain(u64::MAX, Duration::from_secs(60))
        .build()
        .unwrap();
    let hanging = status(421).body(Refused::hanging());
    let peer = Peer::new([hanging, status(200)]);
    let start = Instant::now();
    let service = RetryLayer::new(policy).layer(peer.handle());
    let response = service
        .oneshot(Request::new(Empty::<Bytes>::new()))
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert!(start.elapsed() < DEADLINE);
}

#[tokio::test(start_paused = true)]
async fn without_a_response_to_return_the_attempt_is_made() {
    let (mut call, mut peer, reply) = call(builder().build().unwrap()).await;
    let mut response = answer(StatusCode::BAD_GATEWAY);
    *response.body_mut() = Either::Right(Hanging);
    reply.send_response(response);
    assert_pending!(call.poll());
    advance(DEADLINE).await;
    assert_pending!(call.poll());
    peer.allow(1);
    assert_pending!(call.poll());
    let (_, reply) = peer.next_request().await.unwrap();
    reply.send_response(answer(StatusCode::OK));
    assert_eq!(assert_ready!(call.poll()).unwrap().status(), StatusCode::OK);
}
