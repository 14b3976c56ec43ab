//! Over hyper-util's legacy client, by HTTP/1.1.
#![allow(clippy::unwrap_used, reason = "a test fails by its panic")]

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use client::Client;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Channel, Full};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::TokioExecutor,
};
use retry_layer::{
    AttemptOutcome, Class, Exponential, Outcome, ReplayBody, ResponseExt, Retry, RetryLayer,
    RetryPolicy, StopReason,
    attempt_timeout::{AttemptError, AttemptTimeout, AttemptTimeoutLayer},
    classifier_fn,
    peek::{PeekLayer, Peeked},
};
use test_support::{Connect, MemoryConnector, Port, Reply, Server, sequence};
use tower::{Service, ServiceBuilder, ServiceExt};

/// What stands in a user's struct, with every type written out.
struct Api {
    service: Retry<AttemptTimeout<legacy::Client<HttpConnector, ReplayBody<Full<Bytes>>>>>,
    origin: String,
}

type ApiError = AttemptError<legacy::Error>;

impl Api {
    async fn put(&self, body: &'static str) -> Result<Response<Incoming>, ApiError> {
        let request = Request::put(&self.origin).body(Full::from(body)).unwrap();
        self.service.clone().oneshot(request).await
    }
}

/// What a user's function returns; its body may be any.
fn in_memory<B>(
    peer: MemoryConnector,
) -> impl Service<
    Request<B>,
    Response = Response<Incoming>,
    Error = legacy::Error,
    Future = impl Future<Output = Result<Response<Incoming>, legacy::Error>> + Send,
> + Clone
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let client = legacy::Client::builder(TokioExecutor::new())
        .retry_canceled_requests(false)
        .build(peer);
    ServiceBuilder::new()
        .layer(RetryLayer::new(
            RetryPolicy::builder().seed(1).build().unwrap(),
        ))
        .service(client)
}

fn at_once() -> RetryPolicy {
    let backoff = Exponential::from(Duration::from_millis(1));
    RetryPolicy::builder().backoff(backoff).build().unwrap()
}

fn over_tcp() -> legacy::Client<HttpConnector, ReplayBody<Full<Bytes>>> {
    legacy::Client::builder(TokioExecutor::new())
        .retry_canceled_requests(false)
        .build_http()
}

#[tokio::test]
async fn an_answer_of_503_over_a_socket_is_followed_by_one_of_200() {
    let server = Server::start(sequence([
        Reply::status(503).body("busy"),
        Reply::status(200).body("there"),
    ]))
    .await;
    let api = Api {
        service: ServiceBuilder::new()
            .layer(RetryLayer::new(at_once()))
            .layer(AttemptTimeoutLayer::new(Duration::from_secs(30)))
            .service(over_tcp()),
        origin: server.url("/"),
    };

    let response = tokio::spawn(async move { api.put("7").await });

    let response = response.await.unwrap().unwrap();
    assert_eq!(response.retry_report().attempts().len(), 2);
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        "there"
    );
    let log = server.log();
    assert_eq!(log.accepted, 1, "the refused answer left its connection");
    assert!(log.requests.iter().all(|request| request.body == "7"));
}

#[tokio::test]
async fn a_socket_that_nobody_listens_on_is_tried_three_times_even_for_a_post() {
    let unused = Port::free();
    let origin = unused.url();
    let attempts = Arc::new(AtomicUsize::new(0));
    let counted = ServiceBuilder::new()
        .layer(RetryLayer::new(at_once()))
        .map_request({
            let attempts = attempts.clone();
            move |request| {
                attempts.fetch_add(1, Ordering::Relaxed);
                request
            }
        })
        .service(over_tcp());

    let post = Request::post(origin).body(Full::from("1")).unwrap();
    let error = counted.oneshot(post).await.unwrap_err();

    assert!(error.is_connect());
    assert_eq!(attempts.load(Ordering::Relaxed), 3);
}

#[tokio::test(start_paused = true)]
async fn a_refused_connect_is_followed_by_one_that_stands() {
    let peer = MemoryConnector::new(test_support::always(200, "there"));
    peer.script([Connect::Refuse, Connect::Accept]);

    let post = Request::post("http://peer/").body(Full::<Bytes>::from("1"));
    let response = in_memory(peer).oneshot(post.unwrap()).await.unwrap();

    let report = response.retry_report();
    assert_eq!(response.status(), 200);
    assert_eq!(
        report.attempts()[0].outcome(),
        AttemptOutcome::Error(Class::NotSent)
    );
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_sent_again_from_its_beginning() {
    let peer = MemoryConnector::new(sequence([Reply::status(503), Reply::status(200)]));
    let (mut sender, body) = Channel::<Bytes>::new(4);
    for part in ["one, ", "two, ", "three"] {
        sender.send_data(Bytes::from(part)).await.unwrap();
    }
    drop(sender);

    let put = Request::put("http://peer/").body(body).unwrap();
    let response = in_memory(peer.clone()).oneshot(put).await.unwrap();

    assert_eq!(response.status(), 200);
    let bodies: Vec<_> = peer.log().requests.into_iter().map(|r| r.body).collect();
    assert_eq!(bodies, ["one, two, three"; 2]);
}

#[tokio::test(start_paused = true)]
async fn a_post_on_a_connection_that_was_reset_is_not_sent_again() {
    let peer = MemoryConnector::new(sequence([Reply::reset(), Reply::status(200)]));
    let post = Request::post("http://peer/").body(Full::<Bytes>::from("1"));

    let error = in_memory(peer.clone()).oneshot(post.unwrap()).await;

    assert!(error.is_err());
    assert_eq!(peer.log().requests.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_get_on_a_connection_that_was_reset_is_sent_again() {
    let peer = MemoryConnector::new(sequence([Reply::reset(), Reply::status(200)]));
    let get = Request::get("http://peer/").body(Full::<Bytes>::default());

    let response = in_memory(peer.clone()).oneshot(get.unwrap()).await.unwrap();

    assert_eq!(response.status(), 200);
    assert_eq!(peer.log().accepted, 2);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_is_not_answered_in_time_gives_way_to_another() {
    let peer = MemoryConnector::new(sequence([Reply::stall(), Reply::status(200).body("there")]));
    let service = ServiceBuilder::new()
        .layer(RetryLayer::new(RetryPolicy::default()))
        .layer(AttemptTimeoutLayer::new(Duration::from_secs(2)))
        .service(legacy::Client::builder(TokioExecutor::new()).build(peer.clone()));

    let put = Request::put("http://peer/").body(Full::<Bytes>::from("7"));
    let response = service.oneshot(put.unwrap()).await.unwrap();

    assert_eq!(response.status(), 200);
    let bodies: Vec<_> = peer.log().requests.into_iter().map(|r| r.body).collect();
    assert_eq!(bodies, ["7"; 2]);
}

#[tokio::test(start_paused = true)]
async fn a_failure_inside_a_body_is_seen_and_the_body_stays_whole() {
    let peer = MemoryConnector::new(sequence([
        Reply::status(200).body("Code: 202. Too many simultaneous queries"),
        Reply::status(200).body("1\n2\n3\n"),
    ]));
    let too_busy = classifier_fn(|outcome: &Outcome<'_>| {
        let peeked = outcome.extensions().and_then(|all| all.get::<Peeked>());
        peeked.is_some_and(|peeked| peeked.prefix().starts_with(b"Code: 202."))
    });
    let policy = RetryPolicy::builder().classifier(too_busy).build().unwrap();
    let service = ServiceBuilder::new()
        .layer(RetryLayer::new(policy))
        .layer(PeekLayer::new(16))
        .service(legacy::Client::builder(TokioExecutor::new()).build(peer.clone()));

    let get = Request::get("http://peer/").body(Full::<Bytes>::default());
    let response = service.oneshot(get.unwrap()).await.unwrap();

    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "1\n2\n3\n");
    assert_eq!(peer.log().requests.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_client_brings_its_retries_along() {
    let peer = MemoryConnector::new(sequence([
        Reply::status(503),
        Reply::reset(),
        Reply::status(200).body("there"),
    ]));
    let legacy = legacy::Client::builder(TokioExecutor::new())
        .retry_canceled_requests(false)
        .build::<_, client::Body>(peer.clone());
    let client: Client = Client::builder().build_with_service(legacy).unwrap();

    let put = client.put("http://peer/").body("7");
    let answer = tokio::spawn(async move { put.fetch().await });
    let answer = answer.await.unwrap().unwrap();

    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.retry_report().stop(), StopReason::Answered);
    assert_eq!(answer.body(), "there");
    let bodies: Vec<_> = peer.log().requests.into_iter().map(|r| r.body).collect();
    assert_eq!(bodies, ["7"; 3]);
}
