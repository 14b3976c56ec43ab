//! A client in the company that it is meant for: in axum's state until the app has shut down, under
//! and over tower's own layers, with a circuit breaker. All of it over strict services.
#![allow(clippy::unwrap_used, reason = "a test fails by its panic")]

use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, extract::State, routing::get};
use bytes::Bytes;
use client::{AttemptBody, Body, Client, InnerService, ResponseBody};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use test_support::{Reply, Server, StrictService, answer};
use tokio::{net::TcpListener, sync::oneshot, task::JoinSet};
use tower::{
    BoxError, Layer, Service, ServiceBuilder, ServiceExt,
    balance::p2c::Balance,
    buffer::{Buffer, BufferLayer},
    discover::ServiceList,
    limit::{ConcurrencyLimit, ConcurrencyLimitLayer},
    load::{CompleteOnResponse, PendingRequests},
    load_shed::{LoadShed, LoadShedLayer},
    timeout::{Timeout, TimeoutLayer},
};
use tower_resilience_circuitbreaker::{CircuitBreaker, CircuitBreakerLayer, DefaultClassifier};

const SECOND: Duration = Duration::from_secs(1);

type Answered = Result<Response<Full<Bytes>>, Infallible>;

/// A server that answers its first requests by 503, and then by 200; it counts them.
#[derive(Clone, Default)]
struct Peer {
    refusals: usize,
    requests: Arc<AtomicUsize>,
}

impl Peer {
    fn refusing(refusals: usize) -> Self {
        Self {
            refusals,
            ..Self::default()
        }
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    fn strict(&self) -> StrictService<Self> {
        StrictService::new(self.clone())
    }
}

impl Service<Request<Body>> for Peer {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Answered>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        let before = self.requests.fetch_add(1, Ordering::Relaxed);
        let mut response = Response::new(Full::from("there"));
        if before < self.refusals {
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        }
        ready(Ok(response))
    }
}

/// The state of a user's app.
#[derive(Clone)]
struct App {
    client: Client,
}

async fn forward(State(app): State<App>) -> Result<Response<ResponseBody>, StatusCode> {
    let answer = app.client.get("slow").send().await;
    let answer = answer.map_err(|_| StatusCode::BAD_GATEWAY)?;
    Ok(answer.into_inner())
}

#[tokio::test]
async fn a_client_in_an_apps_state_is_closed_after_its_graceful_shutdown() {
    let upstream = Server::start(answer(|_| {
        Reply::status(200)
            .body("from upstream")
            .delay(Duration::from_millis(100))
    }))
    .await;
    let client = Client::builder()
        .base_url(upstream.url("/"))
        .unwrap()
        .build()
        .unwrap();
    let app = App {
        client: client.clone(),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (stop, stopped) = oneshot::channel::<()>();
    let router = Router::new().route("/", get(forward)).with_state(app);
    let serving = tokio::spawn(
        axum::serve(listener, router)
            .with_graceful_shutdown(async { drop(stopped.await) })
            .into_future(),
    );
    let visitor = Client::new();
    let visit = tokio::spawn(visitor.get(url).fetch());
    upstream.wait_for(|log| log.requests.len() == 1).await;

    stop.send(()).unwrap();

    let answer = visit.await.unwrap().unwrap();
    assert_eq!(answer.body(), "from upstream");
    visitor.close().await;
    serving.await.unwrap().unwrap();
    let report = client.close().await;
    assert_eq!(report.aborted, 0);
    let stats = client.stats();
    assert_eq!((stats.open, stats.waiting), (0, 0), "{stats:?}");
    let error = client.get("late").send().await.unwrap_err();
    assert!(error.is_closed());
    assert_eq!(upstream.log().requests.len(), 1);
}

/// What stands in a user's struct, with every type written out.
struct Gateway {
    client: Buffer<Request<Body>, client::ResponseFuture>,
    limited: LoadShed<ConcurrencyLimit<Timeout<Client>>>,
}

fn over(peer: &Peer) -> Client {
    Client::builder().build_with_service(peer.strict()).unwrap()
}

fn ask() -> Request<Body> {
    Request::get("http://peer/").body(Body::empty()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_client_stands_under_towers_layers() {
    let peer = Peer::refusing(1);
    let client = over(&peer);
    let mut gateway = Gateway {
        client: Buffer::new(client.clone(), 4),
        limited: ServiceBuilder::new()
            .layer(LoadShedLayer::new())
            .layer(ConcurrencyLimitLayer::new(1))
            .layer(TimeoutLayer::new(SECOND))
            .service(client),
    };
    let buffered = gateway.client.clone().oneshot(ask());
    let response = tokio::spawn(buffered).await.unwrap().unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(peer.requests(), 2, "the client retries below");

    let limited: &mut LoadShed<_> = ServiceExt::<Request<Body>>::ready(&mut gateway.limited)
        .await
        .unwrap();
    let first = limited.call(ask());
    let second = ServiceExt::<Request<Body>>::ready(limited).await.unwrap();
    let shed = second.call(ask()).await;
    assert!(
        shed.unwrap_err()
            .is::<tower::load_shed::error::Overloaded>()
    );
    assert_eq!(tokio::spawn(first).await.unwrap().unwrap().status(), 200);
}

/// Layers of tower, over whatever is strict below and strict above.
fn layered<B: Send + 'static>(
    inner: InnerService<B>,
) -> impl Service<
    Request<B>,
    Response = Response<ResponseBody>,
    Error = BoxError,
    Future = impl Future<Output = Result<Response<ResponseBody>, BoxError>> + Send,
> + Clone
+ Send
+ Sync {
    ServiceBuilder::new()
        .layer(BufferLayer::new(4))
        .layer(LoadShedLayer::new())
        .layer(ConcurrencyLimitLayer::new(4))
        .layer(TimeoutLayer::new(SECOND))
        .service(StrictService::new(inner))
}

#[tokio::test(start_paused = true)]
async fn towers_layers_stand_between_a_client_and_a_strict_service() {
    let peer = Peer::refusing(2);
    let client = Client::builder()
        .layer(tower::layer::layer_fn(layered::<Body>))
        .attempt_layer(tower::layer::layer_fn(layered::<AttemptBody>))
        .build_with_service(peer.strict())
        .unwrap();
    let call = client.get("http://peer/").fetch();
    let response = tokio::spawn(call).await.unwrap().unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(peer.requests(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_client_retries_above_a_balance_of_others() {
    let (moody, good) = (Peer::refusing(4), Peer::default());
    let services = [&moody, &good]
        .map(|peer| PendingRequests::new(peer.strict(), CompleteOnResponse::default()));
    let balance = Balance::new(ServiceList::new::<Request<Body>>(services));
    let client = Client::builder()
        .retry(client::RetryPolicy::builder().max_attempts(20))
        .build_with_service(Buffer::new(balance, 16))
        .unwrap();
    let mut calls = JoinSet::new();
    for _ in 0..8 {
        calls.spawn(client.get("http://balanced/").fetch());
    }
    while let Some(answer) = calls.join_next().await {
        assert_eq!(answer.unwrap().unwrap().status(), 200);
    }
    let refused = moody.requests().min(4);
    assert_eq!(moody.requests() + good.requests(), 8 + refused);
}

fn breaker() -> CircuitBreakerLayer {
    CircuitBreakerLayer::builder()
        .consecutive_failures(2)
        .wait_duration_in_open(Duration::from_secs(30))
        .permitted_calls_in_half_open(1)
        .build()
        .unwrap()
}

/// A client whose every request fails before it is sent.
fn hopeless(
    calls: Arc<AtomicUsize>,
) -> impl Service<
    Request<Body>,
    Response = Response<Full<Bytes>>,
    Error = std::io::Error,
    Future = impl Future<Output = Result<Response<Full<Bytes>>, std::io::Error>> + Send,
> + Clone
+ Send
+ Sync {
    StrictService::new(tower::service_fn(move |_: Request<Body>| {
        calls.fetch_add(1, Ordering::Relaxed);
        ready(Err(std::io::ErrorKind::ConnectionRefused.into()))
    }))
}

#[tokio::test(start_paused = true)]
async fn a_circuit_breaker_counts_calls_above_the_retries_and_attempts_below() {
    let calls = Arc::new(AtomicUsize::new(0));
    let above = Client::builder()
        .layer(breaker())
        .build_with_service(hopeless(calls.clone()))
        .unwrap();
    for sent in [3, 6, 6] {
        let error = above.get("http://peer/").send().await.unwrap_err();
        assert_eq!(calls.load(Ordering::Relaxed), sent, "{error}");
    }

    calls.store(0, Ordering::Relaxed);
    let below = Client::builder()
        .attempt_layer(breaker())
        .build_with_service(hopeless(calls.clone()))
        .unwrap();
    for _ in 0..3 {
        below.get("http://peer/").send().await.unwrap_err();
    }
    assert_eq!(calls.load(Ordering::Relaxed), 2);
}

/// The types of a breaker over a client can be written down too.
#[tokio::test(start_paused = true)]
async fn a_breaker_over_a_client_has_a_type() {
    let breaker: CircuitBreaker<Client, DefaultClassifier> =
        breaker().layer(over(&Peer::default()));
    let answer = tokio::spawn(breaker.oneshot(ask())).await.unwrap();
    assert_eq!(answer.unwrap().status(), 200);
}
