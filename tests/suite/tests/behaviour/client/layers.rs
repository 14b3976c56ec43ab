//! Somebody's own layers around the calls and the attempts of a client.

use std::{
    error::Error as _,
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use client::{
    AttemptBody, Body, Client, ClientBuilder, Error, InnerService, OriginFailures, ResponseBody,
    Timeouts,
    retry_layer::{
        breaker::{Breaker, BreakerLayer, CircuitOpen, CircuitState},
        health::PartitionKey,
    },
};
use http::{HeaderValue, Request, Response, StatusCode, Uri};
use test_support::{MemoryConnector, Recorder, Reply, StrictLayer, always, sequence};
use tower::{
    BoxError, ServiceBuilder,
    buffer::BufferLayer,
    limit::{ConcurrencyLimitLayer, RateLimitLayer},
    load_shed::{LoadShedLayer, error::Overloaded},
    timeout::TimeoutLayer,
};
use tower_http::trace::TraceLayer;
use tower_layer::Layer;
use tower_service::Service;

fn over(connector: &MemoryConnector, builder: ClientBuilder) -> Client {
    builder
        .build_with_connector(connector.clone())
        .expect("the settings are valid")
}

/// Fetches and sends in spawned tasks, as users do: what the layers add must not get in the way.
async fn both_ways(client: &Client) -> [Result<Bytes, Error>; 2] {
    let (one, other) = (client.clone(), client.clone());
    let fetch = tokio::spawn(async move { Ok(one.get("http://peer/").fetch().await?.into_body()) });
    let fetched = fetch.await.expect("it does not panic");
    let send = tokio::spawn(async move { other.get("http://peer/").send().await?.bytes().await });
    [fetched, send.await.expect("it does not panic")]
}

async fn answers(builder: ClientBuilder) {
    let connector = MemoryConnector::new(always(200, "pong"));
    for answer in both_ways(&over(&connector, builder)).await {
        assert_eq!(answer.expect("the peer answers"), "pong");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_meets_the_layers_in_the_order_that_is_written_down() {
    let recorder = Recorder::new();
    let connector = MemoryConnector::new(sequence([Reply::status(503), Reply::status(200)]));
    // What the client adds per attempt is added below.
    let above_attempt = ServiceBuilder::new().map_request(|request: Request<AttemptBody>| {
        assert!(!request.headers().contains_key("user-agent"));
        assert!(!request.headers().contains_key("authorization"));
        request
    });
    let builder = Client::builder()
        .bearer("token")
        .layer(recorder.layer("call 1"))
        .attempt_layer(recorder.layer("attempt 1"))
        .layer(recorder.layer("call 2"))
        .attempt_layer(recorder.layer("attempt 2"))
        .attempt_layer(above_attempt);
    let client = over(&connector, builder);
    client.get("http://peer/").fetch().await.unwrap();
    let last = connector.log().requests.pop().unwrap();
    assert!(last.header("user-agent").is_some() && last.header("authorization").is_some());
    assert_eq!(
        recorder.names(),
        [
            "call 1",
            "call 2",
            "attempt 1",
            "attempt 2",
            "attempt 1",
            "attempt 2"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn towers_own_layers_stand_in_either_place() {
    let second = Duration::from_secs(1);
    answers(Client::builder().layer(TimeoutLayer::new(second))).await;
    answers(Client::builder().attempt_layer(TimeoutLayer::new(second))).await;
    answers(Client::builder().layer(ConcurrencyLimitLayer::new(1))).await;
    answers(Client::builder().attempt_layer(ConcurrencyLimitLayer::new(1))).await;
    answers(Client::builder().layer(BufferLayer::new(8))).await;
    answers(Client::builder().attempt_layer(BufferLayer::new(8))).await;
    answers(Client::builder().layer(LoadShedLayer::new())).await;
    answers(Client::builder().attempt_layer(LoadShedLayer::new())).await;
    answers(Client::builder().layer(TraceLayer::new_for_http())).await;
    answers(Client::builder().attempt_layer(TraceLayer::new_for_http())).await;
}

#[tokio::test(start_paused = true)]
async fn a_service_builder_stands_in_either_place() {
    let layers = {
        ServiceBuilder::new()
            .layer(BufferLayer::new(8))
            .layer(RateLimitLayer::new(100, Duration::from_secs(1)))
            .layer(LoadShedLayer::new())
            .layer(ConcurrencyLimitLayer::new(8))
            .layer(TimeoutLayer::new(Duration::from_secs(1)))
    };
    let header = ServiceBuilder::new().map_request(|mut request: Request<AttemptBody>| {
        let own = HeaderValue::from_static("1");
        request.headers_mut().insert("x-own", own);
        request
    });
    answers(Client::builder().layer(layers).attempt_layer(header)).await;
    answers(
        Client::builder()
            .layer(StrictLayer)
            .attempt_layer(StrictLayer),
    )
    .await;
}

/// A layer as people write it: generic over the body, with the service's own future.
#[derive(Clone)]
struct Counting(Arc<AtomicUsize>);

#[derive(Clone)]
struct Counter<S> {
    inner: S,
    calls: Arc<AtomicUsize>,
}

impl<S> Layer<S> for Counting {
    type Service = Counter<S>;

    fn layer(&self, inner: S) -> Counter<S> {
        let calls = self.0.clone();
        Counter { inner, calls }
    }
}

impl<S, B> Service<Request<B>> for Counter<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> S::Future {
        self.calls.fetch_add(1, Relaxed);
        self.inner.call(request)
    }
}

/// The same with every type written out, and an error in a box.
struct Exact;

#[derive(Clone)]
struct ExactService(InnerService<AttemptBody>);

impl Layer<InnerService<AttemptBody>> for Exact {
    type Service = ExactService;

    fn layer(&self, inner: InnerService<AttemptBody>) -> ExactService {
        ExactService(inner)
    }
}

impl Service<Request<AttemptBody>> for ExactService {
    type Response = Response<ResponseBody>;
    type Error = BoxError;
    type Future =
        std::pin::Pin<Box<dyn Future<Output = Result<Response<ResponseBody>, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<AttemptBody>) -> Self::Future {
        let answer = self.0.call(request);
        Box::pin(async move { Ok(answer.await?) })
    }
}

#[tokio::test(start_paused = true)]
async fn an_own_layer_counts_calls_above_the_retries_and_attempts_below() {
    let (calls, attempts) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let connector = MemoryConnector::new(sequence([Reply::status(503), Reply::status(200)]));
    let builder = Client::builder()
        .layer(Counting(calls.clone()))
        .attempt_layer(Counting(attempts.clone()))
        .attempt_layer(Exact);
    let client = over(&connector, builder);
    let response = client.get("http://peer/").fetch().await.unwrap();
    assert_eq!(response.retry_report().attempts().len(), 2);
    assert_eq!((calls.load(Relaxed), attempts.load(Relaxed)), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn both_ways_share_the_limit_of_one_layer() {
    let connector = MemoryConnector::new(always(200, "x"));
    let client = over(
        &connector,
        Client::builder().layer(ConcurrencyLimitLayer::new(1)),
    );
    connector.hang();
    let held = client.get("http://peer/").send();
    let mut held = tokio_test::task::spawn(held);
    assert!(held.poll().is_pending());
    // The other way waits for the one permit, and for nothing else.
    let mut fetch = tokio_test::task::spawn(client.get("http://peer/").fetch());
    assert!(fetch.poll().is_pending());
    assert_eq!(
        connector
            .wait_for(|log| !log.dialled.is_empty())
            .await
            .dialled
            .len(),
        1
    );
    connector.accept();
    drop(held);
    assert_eq!(fetch.await.unwrap().body(), "x");
}

#[tokio::test(start_paused = true)]
async fn the_clients_own_error_comes_out_of_a_box_as_itself() {
    let connector = MemoryConnector::new(always(200, "x"));
    connector.refuse();
    let builder = Client::builder()
        .layer(TimeoutLayer::new(Duration::from_secs(60)))
        .attempt_layer(TimeoutLayer::new(Duration::from_secs(60)));
    for answer in both_ways(&over(&connector, builder)).await {
        let error = answer.unwrap_err();
        assert!(error.is_connect(), "{error}");
        assert_eq!(error.retry_report().unwrap().attempts().len(), 3);
        assert_eq!(
            error.to_string(),
            "GET http://peer:80: cannot connect (3 attempts)"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_timeout_below_the_retries_is_retried_and_one_above_ends_the_call() {
    let connector = MemoryConnector::new(sequence([Reply::stall(), Reply::status(200).body("x")]));
    let second = Duration::from_secs(1);
    let client = over(
        &connector,
        Client::builder().attempt_layer(TimeoutLayer::new(second)),
    );
    let response = client.get("http://peer/").fetch().await.unwrap();
    assert_eq!(response.retry_report().attempts().len(), 2);

    let connector = MemoryConnector::new(sequence([Reply::stall()]));
    let client = over(
        &connector,
        Client::builder().layer(TimeoutLayer::new(second)),
    );
    let error = client.get("http://peer/").fetch().await.unwrap_err();
    assert!(
        error.is_timeout() && error.timeout_phase().is_none(),
        "{error:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_a_layer_sheds_is_not_tried_again() {
    let connector = MemoryConnector::new(always(200, "x"));
    connector.hang();
    let shedding = ServiceBuilder::new()
        .layer(LoadShedLayer::new())
        .layer(ConcurrencyLimitLayer::new(1));
    let client = over(&connector, Client::builder().attempt_layer(shedding));
    let mut held = tokio_test::task::spawn(client.get("http://peer/").send());
    assert!(held.poll().is_pending());
    let error = client.get("http://peer/").fetch().await.unwrap_err();
    let shed = std::error::Error::source(&error).unwrap();
    assert!(shed.is::<Overloaded>(), "{error:?}");
    assert_eq!(error.retry_report().unwrap().attempts().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_a_layer_wraps_is_collected_within_the_limit() {
    for (limit, fits) in [(4, true), (3, false)] {
        let connector = MemoryConnector::new(always(200, "pong"));
        let builder = Client::builder()
            .max_body(limit)
            .layer(TraceLayer::new_for_http());
        let answer = over(&connector, builder).get("http://peer/").fetch().await;
        match answer {
            Ok(response) => assert!(fits && response.body() == "pong"),
            Err(error) => {
                assert!(!fits && error.is_body(), "{error:?}");
                assert_eq!(error.status(), Some(StatusCode::OK));
                assert!(error.to_string().contains("larger than 3 bytes"), "{error}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_loses_the_extensions_still_gives_a_whole_body() {
    let forgetful = ServiceBuilder::new().map_request(|request: Request<Body>| {
        let (parts, body) = request.into_parts();
        Request::get(parts.uri).body(body).expect("it was valid")
    });
    answers(Client::builder().layer(forgetful)).await;
}

#[tokio::test]
async fn layers_stand_around_a_service_too_but_attempts_need_retries() {
    let recorder = Recorder::new();
    let router = axum::Router::new().route("/", axum::routing::get(async || "pong"));
    let client = Client::builder()
        .layer(recorder.layer("call"))
        .build_from_service(router.clone())
        .unwrap();
    assert_eq!(
        client.get("http://any/").fetch().await.unwrap().body(),
        "pong"
    );
    let client = Client::builder()
        .attempt_layer(recorder.layer("attempt"))
        .build_with_service(router.clone())
        .unwrap();
    assert_eq!(
        client.get("http://any/").fetch().await.unwrap().body(),
        "pong"
    );
    assert_eq!(recorder.names(), ["call", "attempt"]);
    let error = Client::builder()
        .attempt_layer(recorder.layer("attempt"))
        .build_from_service(router)
        .unwrap_err();
    assert!(error.is_builder() && error.to_string().contains("attempt_layer"));
}

#[tokio::test(start_paused = true)]
async fn a_circuit_breaker_around_each_attempt_refuses_what_follows() {
    let connector = MemoryConnector::new(always(503, "busy"));
    let breaker = Breaker::builder()
        .consecutive_failures(NonZeroU32::new(2).unwrap())
        .classifier(OriginFailures::new())
        .build()
        .unwrap();
    let builder = Client::builder().attempt_layer(BreakerLayer::new(breaker.clone()));
    let client = over(&connector, builder);

    for _ in 0..2 {
        let error = client.get("http://peer/").fetch().await.unwrap_err();
        let mut causes = std::iter::successors(error.source(), |cause| (*cause).source());
        let open = causes.find_map(|cause| cause.downcast_ref::<CircuitOpen>());
        assert_eq!(open.unwrap().key().as_str(), "http://peer");
        assert!(!error.is_connect() && !error.is_timeout(), "{error:?}");
    }
    assert_eq!(connector.log().requests.len(), 2);
    breaker.close(&PartitionKey::of(&Uri::from_static("http://peer/")));
    let _ = client.get("http://peer/").fetch().await;
    assert_eq!(connector.log().requests.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn an_error_that_comes_through_a_circuit_breaker_is_known_and_counts() {
    let late = Reply::status(200).delay(Duration::from_secs(60));
    let connector = MemoryConnector::new(sequence([late.clone(), late.clone(), late]));
    let breaker = Breaker::builder()
        .consecutive_failures(NonZeroU32::new(3).unwrap())
        .classifier(OriginFailures::new())
        .build()
        .unwrap();
    let timeouts = Timeouts::default().head(Duration::from_secs(1));
    let builder = Client::builder()
        .timeouts(timeouts)
        .attempt_layer(BreakerLayer::new(breaker.clone()));
    let client = over(&connector, builder);
    let error = client.get("http://peer/").fetch().await.unwrap_err();
    assert!(error.is_timeout(), "{error:?}");
    assert_eq!(error.retry_report().unwrap().attempts().len(), 3);
    let key = PartitionKey::of(&Uri::from_static("http://peer/"));
    assert_eq!(breaker.state(&key), CircuitState::Open);
}
