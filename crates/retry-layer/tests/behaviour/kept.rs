//! What a layer above gets of a call: the request again, and why it does not.

use std::{
    fmt::Debug,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request};
use http_body_util::{BodyExt, Empty};
use retry_layer::{Class, IdempotencyKeys, NoRetry, Retry, RetryOwner, RetryPolicy, StopReason};
use tower::{Service, ServiceExt as _};

use crate::support::{Frames, Peer, error, status};

type Call<B> = <Retry<Peer> as Service<Request<B>>>::Future;

fn retry(peer: &Peer) -> Retry<Peer> {
    Retry::new(peer.handle(), RetryPolicy::default())
}

async fn call<B>(mut retry: Retry<Peer>, request: Request<B>) -> Pin<Box<Call<B>>>
where
    Retry<Peer>: Service<Request<B>, Error: Debug>,
{
    Box::pin(retry.ready().await.unwrap().call(request))
}

#[tokio::test(start_paused = true)]
async fn the_request_is_had_again_as_it_entered_the_layer() {
    let policy = RetryPolicy::builder().idempotency_keys(IdempotencyKeys::new());
    // Answered at once, and after a retry; an error too.
    for replies in [
        vec![status(302)],
        vec![status(503), status(200)],
        vec![error(Class::Permanent)],
    ] {
        let peer = Peer::new(replies);
        let retry = Retry::new(peer.handle(), policy.clone().build().unwrap());
        let request = Request::post("http://peer/path")
            .header("x-own", "1")
            .extension(7_u32)
            .body(Empty::<Bytes>::new());
        let mut call = call(retry, request.unwrap()).await;
        let _ = call.as_mut().await;

        let again = call.as_mut().take_request().unwrap();

        assert_eq!(again.method(), Method::POST);
        assert_eq!(again.uri(), "http://peer/path");
        assert_eq!(again.extensions().get(), Some(&7_u32));
        // The key was for the attempts of this request.
        let headers = again.headers();
        assert_eq!(headers.len(), 1, "{headers:?}");
        assert_eq!(headers.get("x-own"), Some(&HeaderValue::from_static("1")));
        assert!(again.body().is_empty());
        assert!(call.as_mut().take_request().is_none(), "it is had once");
        assert_eq!((call.method(), call.uri()), (&Method::POST, again.uri()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_was_read_whole_is_had_again_any_number_of_times() {
    let peer = Peer::new([status(307).reading(3)]);
    let request = Request::put("http://peer/").body(Frames::new(["a", "b"]));
    let mut call = call(retry(&peer), request.unwrap()).await;
    call.as_mut().await.unwrap();
    let again = call.as_mut().take_request().unwrap().into_body();
    assert!(!again.is_empty());
    for _ in 0..2 {
        let body = again.again().unwrap();
        assert_eq!(body.collect().await.unwrap().to_bytes(), "ab");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_was_not_read_whole_and_one_that_was_answered_for_good_are_not_had_again() {
    for (answer, reads) in [(307, 1), (200, 3)] {
        let peer = Peer::new([status(answer).reading(reads)]);
        let request = Request::put("http://peer/").body(Frames::new(["a", "b"]));
        let mut call = call(retry(&peer), request.unwrap()).await;
        call.as_mut().await.unwrap();
        let again = call.as_mut().take_request().unwrap();
        assert_eq!(again.method(), Method::PUT);
        assert!(again.body().again().is_none(), "{answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_sent_once_is_not_had_again_and_the_service_says_why() {
    let peer = Peer::new([status(302), status(302), status(302)]);
    let once = RetryPolicy::builder()
        .max_attempts(1)
        .without_transparent_retries();
    let empty = || Request::new(Empty::<Bytes>::new());
    let (mut never, mut owned, mut of_policy) = (empty(), empty(), empty());
    never.extensions_mut().insert(NoRetry);
    owned.extensions_mut().insert(RetryOwner);
    of_policy.extensions_mut().insert(once.build().unwrap());
    for (request, reason) in [
        (never, StopReason::Disabled),
        (owned, StopReason::Disabled),
        (of_policy, StopReason::AttemptsExhausted),
    ] {
        let retry = retry(&peer);
        assert_eq!(retry.refusal(&request), Some(reason));
        let mut call = call(retry, request).await;
        call.as_mut().await.unwrap();
        assert!(call.as_mut().take_request().is_none());
    }
    assert_eq!(retry(&peer).refusal(&empty()), None);
}

#[tokio::test(start_paused = true)]
async fn to_take_the_request_ends_the_call() {
    let peer = Peer::new([status(503), status(200)]);
    let mut call = call(retry(&peer), Request::new(Empty::<Bytes>::new())).await;
    assert!(polled(call.as_mut()).is_none());
    assert!(call.attempt().is_none(), "it waits for its next attempt");

    assert!(call.as_mut().take_request().is_some());

    assert_eq!(peer.seen().len(), 1);
    let again = catch_unwind(AssertUnwindSafe(|| polled(call.as_mut())));
    assert!(again.is_err());
}

/// Polls a future once.
fn polled<F: Future>(future: Pin<&mut F>) -> Option<F::Output> {
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}
