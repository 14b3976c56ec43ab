//! A bound on each attempt, below the retry layer.

use std::{error::Error, io, time::Duration};

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Empty;
use retry_layer::{
    Class, Jitter, ResponseExt, Retry, RetryPolicy,
    attempt_timeout::{AttemptElapsed, AttemptTimeout, AttemptTimeoutLayer},
    transport,
};
use tokio::time::Instant;
use tower::{Layer, ServiceExt};

use crate::support::{Peer, io_error, status};

const LIMIT: Duration = Duration::from_secs(2);

fn stack(peer: &Peer) -> Retry<AttemptTimeout<Peer>> {
    let policy = RetryPolicy::builder().jitter(Jitter::None).build().unwrap();
    Retry::new(AttemptTimeoutLayer::new(LIMIT).layer(peer.handle()), policy)
}

fn request(method: Method) -> Request<Empty<Bytes>> {
    let builder = Request::builder().method(method).uri("http://peer/");
    builder.body(Empty::new()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_takes_too_long_is_followed_by_another() {
    let peer = Peer::new([status(200).taking(LIMIT * 2), status(200)]);
    let response = stack(&peer).oneshot(request(Method::GET)).await.unwrap();
    let report = response.retry_report();
    assert_eq!(
        report.to_string(),
        "timeout at http://peer, waited 100ms (backoff), 200 at once; stopped: answered"
    );
}

#[tokio::test(start_paused = true)]
async fn a_post_that_takes_too_long_may_have_been_processed() {
    let start = Instant::now();
    let peer = Peer::new([status(200).taking(LIMIT * 2)]);
    let error = stack(&peer)
        .oneshot(request(Method::POST))
        .await
        .unwrap_err();
    assert!(error.is_elapsed());
    assert!(start.elapsed() < LIMIT * 2);
    assert_eq!(peer.seen().len(), 1);
    assert_eq!(transport::classify(&error), Class::Ambiguous);
    assert!(transport::is_timeout(&error));
    assert!(error.source().unwrap().is::<AttemptElapsed>());
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_in_the_last_moment_is_given() {
    let peer = Peer::new([status(200).taking(LIMIT)]);
    let response = stack(&peer).oneshot(request(Method::GET)).await.unwrap();
    assert_eq!(response.retry_report().attempts().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_error_of_the_service_is_kept() {
    let peer = Peer::new([io_error(io::ErrorKind::Other)]);
    let error = stack(&peer)
        .oneshot(request(Method::GET))
        .await
        .unwrap_err();
    assert!(!error.is_elapsed());
    assert!(error.source().unwrap().is::<crate::support::Failure>());
    assert!(error.into_inner().is_some());
}
