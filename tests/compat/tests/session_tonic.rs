//! A session as the transport of a generated tonic client, against a real tonic server.
#![allow(clippy::unwrap_used, reason = "a test fails by its panic")]

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::{HeaderMap, Uri};
use retry_layer::{
    Class, Classifier, Exponential, Outcome, ReplayBody, Retry, RetryLayer, RetryPolicy,
    RetryPolicyBuilder, classifier_fn, grpc::Grpc,
};
use session_layer::{Connector, Error, Http2, PoolConfig, Session, SessionLayer, Timeouts};
use test_support::Port;
use tokio::{
    sync::{oneshot, watch},
    task::JoinHandle,
    time::timeout,
};
use tokio_stream::StreamExt;
use tonic::{Code, Status, body::Body, transport::server::TcpIncoming};
use tonic_health::{
    ServingStatus,
    pb::{HealthCheckRequest, health_check_response, health_client::HealthClient},
    server::HealthReporter,
};
use tower::{Layer, ServiceBuilder, util::MapErr};

const SERVICE: &str = "database";
const PATIENCE: Duration = Duration::from_secs(20);

/// What stands in a user's struct, with every type written out.
type Plain = HealthClient<MapErr<Session<Body>, fn(Error) -> Status>>;
type Retrying = HealthClient<MapErr<Retry<Session<ReplayBody<Body>>>, fn(Error) -> Status>>;

/// A session for one kind of request body that speaks HTTP/2 without asking.
fn layer<B>() -> SessionLayer<B> {
    SessionLayer::new(PoolConfig::default(), Timeouts::default())
        .and_then(|layer| layer.http2(Http2::default().prior_knowledge(true)))
        .unwrap()
}

/// What a session's error is to a gRPC caller. tonic looks for a status among an error's causes,
/// and calls all else unknown.
fn status(error: Error) -> Status {
    let code = if error.is_timeout() && !error.is_connect() {
        Code::DeadlineExceeded
    } else {
        Code::Unavailable
    };
    let mut status = Status::new(code, error.to_string());
    status.set_source(Arc::new(error));
    status
}

/// gRPC's rules, told which of the session's errors prove that nothing was processed.
fn classifier() -> impl Classifier {
    let grpc = Grpc::default();
    classifier_fn(
        move |outcome: &Outcome<'_>| match outcome.find_error::<Error>() {
            Some(error) if error.is_unsent() => Class::NotSent,
            Some(error) if error.is_unprocessed() => Class::Unprocessed,
            _ => grpc.classify(outcome),
        },
    )
}

fn plain(origin: Uri) -> Plain {
    let service = ServiceBuilder::new()
        .map_err(status as fn(Error) -> Status)
        .layer(layer())
        .service(Connector::new());
    HealthClient::with_origin(service, origin)
}

/// Every gRPC call is a POST: only what was provably not processed is sent again.
fn cautious() -> RetryPolicyBuilder {
    RetryPolicy::builder()
        .classifier(classifier())
        .backoff(Exponential::from(Duration::from_millis(20)))
}

/// For methods that may run twice: a status of `UNAVAILABLE` is retried too.
fn idempotent() -> RetryPolicyBuilder {
    cautious().any_method()
}

fn retrying(origin: Uri, policy: RetryPolicyBuilder) -> (Session<ReplayBody<Body>>, Retrying) {
    let policy = policy.build().unwrap();
    let session = layer().layer(Connector::new());
    let service = ServiceBuilder::new()
        .map_err(status as fn(Error) -> Status)
        .layer(RetryLayer::new(policy))
        .service(session.clone());
    (session, HealthClient::with_origin(service, origin))
}

fn ask() -> HealthCheckRequest {
    HealthCheckRequest {
        service: SERVICE.into(),
    }
}

/// tonic's own health service on loopback, until it is told to go.
struct Server {
    port: Port,
    reporter: HealthReporter,
    /// The headers of the last request.
    seen: watch::Receiver<HeaderMap>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Server {
    async fn start() -> Self {
        Self::at(Port::free(), 0).await
    }

    /// Refuses so many calls as unavailable, in the head.
    async fn at(port: Port, refusals: usize) -> Self {
        let listener = port.listen();
        let (reporter, service) = tonic_health::server::health_reporter();
        reporter
            .set_service_status(SERVICE, ServingStatus::Serving)
            .await;
        let calls = AtomicUsize::new(0);
        let (note, seen) = watch::channel(HeaderMap::new());
        let first_fail = move |request: tonic::Request<()>| {
            note.send_replace(request.metadata().clone().into_headers());
            if calls.fetch_add(1, Ordering::Relaxed) < refusals {
                return Err(Status::unavailable("not yet"));
            }
            Ok(request)
        };
        let first_fail = Arc::new(first_fail);
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            tonic::transport::Server::builder()
                .layer(tonic::service::InterceptorLayer::new(
                    move |request: tonic::Request<()>| first_fail(request),
                ))
                .add_service(service)
                .serve_with_incoming_shutdown(TcpIncoming::from(listener), async {
                    if stopped.await.is_err() {
                        pending::<()>().await;
                    }
                })
                .await
                .unwrap();
        });
        Self {
            port,
            reporter,
            seen,
            stop,
            task,
        }
    }

    fn origin(&self) -> Uri {
        self.port.url().parse().unwrap()
    }

    /// Goes away gracefully: ends when what it carries has ended.
    async fn go(self) -> Port {
        self.stop.send(()).unwrap();
        timeout(PATIENCE, self.task).await.unwrap().unwrap();
        self.port
    }
}

fn serving() -> i32 {
    health_check_response::ServingStatus::Serving.into()
}

fn not_serving() -> i32 {
    health_check_response::ServingStatus::NotServing.into()
}

#[tokio::test]
async fn a_unary_call_is_answered() {
    let server = Server::start().await;
    let mut health = plain(server.origin());

    let answer = health.check(ask()).await.unwrap();

    assert_eq!(answer.into_inner().status, serving());
    // gRPC asks for it; HTTP/2 allows no other value.
    assert_eq!(server.seen.borrow()["te"], "trailers");
}

#[tokio::test]
async fn a_status_in_the_head_reaches_the_caller() {
    let server = Server::start().await;
    let unknown = HealthCheckRequest {
        service: "nobody".into(),
    };
    let status = plain(server.origin()).check(unknown).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
}

#[tokio::test]
async fn a_stream_of_answers_arrives_as_it_is_sent_beside_other_calls() {
    let server = Server::start().await;
    let (session, mut health) = retrying(server.origin(), cautious());
    let mut stream = health.watch(ask()).await.unwrap().into_inner();
    assert_eq!(stream.next().await.unwrap().unwrap().status, serving());

    for _ in 0..3 {
        server
            .reporter
            .set_service_status(SERVICE, ServingStatus::NotServing)
            .await;
        assert_eq!(stream.next().await.unwrap().unwrap().status, not_serving());
        server
            .reporter
            .set_service_status(SERVICE, ServingStatus::Serving)
            .await;
        assert_eq!(stream.next().await.unwrap().unwrap().status, serving());
        health.check(ask()).await.unwrap();
    }

    let stats = session.stats();
    assert_eq!((stats.opened, stats.streams), (1, 1));
    drop(stream);
    assert_eq!(session.stats().streams, 0);
}

#[tokio::test]
async fn an_unavailable_status_in_the_head_is_retried_on_the_same_connection() {
    let server = Server::at(Port::free(), 2).await;
    let (session, mut health) = retrying(server.origin(), idempotent());

    let answer = health.check(ask()).await.unwrap();

    assert_eq!(answer.into_inner().status, serving());
    assert_eq!(session.stats().opened, 1);
}

#[tokio::test]
async fn the_last_unavailable_status_is_the_callers() {
    let server = Server::at(Port::free(), 9).await;
    let (_, mut health) = retrying(server.origin(), idempotent());
    let status = health.check(ask()).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::Unavailable, "not yet")
    );
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    let nobody = Port::free();
    let origin: Uri = nobody.url().parse().unwrap();

    let status = plain(origin.clone()).check(ask()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");

    let (_, mut health) = retrying(origin, cautious());
    let status = health.check(ask()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
}

#[tokio::test]
async fn calls_outlive_a_server_that_goes_gracefully_and_comes_back() {
    let mut server = Server::start().await;
    let (session, health) = retrying(server.origin(), cautious().max_attempts(12));
    let (stop, stopped) = watch::channel(false);
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let (mut health, stopped) = (health.clone(), stopped.clone());
            tokio::spawn(async move {
                let mut calls = 0;
                while !*stopped.borrow() {
                    health.check(ask()).await.unwrap();
                    calls += 1;
                }
                calls
            })
        })
        .collect();

    for _ in 0..5 {
        tokio::time::sleep(Duration::from_millis(30)).await;
        server = Server::at(server.go().await, 0).await;
    }
    tokio::time::sleep(Duration::from_millis(30)).await;
    stop.send(true).unwrap();

    for caller in callers {
        let calls: u32 = timeout(PATIENCE, caller).await.unwrap().unwrap();
        assert!(calls > 0);
    }
    let stats = session.stats();
    assert!(stats.opened >= 5, "{stats:?}");
    assert_eq!((stats.streams, stats.waiting), (0, 0), "{stats:?}");
}
