//! Over a tonic channel: a generated client, and a real server on loopback.
#![allow(clippy::unwrap_used, reason = "a test fails by its panic")]

use std::{
    future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use retry_layer::{
    AttemptHeader, AttemptOutcome, Backoff, Class, Classifier, Exponential, Jitter, Outcome,
    RetryLayer, RetryPolicy, RetryReport, Standard, WaitReason,
    attempt_timeout::AttemptTimeoutLayer,
    classifier_fn,
    grpc::{Grpc, GrpcRetry},
    tonic::{RetryChannel, RetryChannelLayer},
};
use test_support::Port;
use tokio::{
    net::TcpListener,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tokio_stream::{Stream, StreamExt};
use tonic::{
    Code, Response, Status,
    body::Body,
    client::GrpcService,
    metadata::MetadataMap,
    transport::{Channel, Endpoint, server::TcpIncoming},
};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_check_response::ServingStatus,
    health_client::HealthClient,
    health_server::{Health, HealthServer},
};
use tower::{Layer as _, ServiceBuilder};
use tower_http::map_request_body::MapRequestBodyLayer;

/// What stands in a user's struct, with every type written out.
#[derive(Clone)]
struct Monitor {
    health: HealthClient<RetryChannel<Channel>>,
}

impl Monitor {
    fn new(channel: Channel, policy: RetryPolicy) -> Self {
        let health = HealthClient::new(RetryChannelLayer::new(policy).layer(channel));
        Self { health }
    }

    async fn check(&mut self, service: &str) -> Result<Response<HealthCheckResponse>, Status> {
        let service = service.to_owned();
        self.health.check(HealthCheckRequest { service }).await
    }
}

/// The same by hand, with the layers of tower-http: what a user's function returns, ready for any generated client.
fn retrying(
    channel: Channel,
    policy: RetryPolicy,
) -> impl GrpcService<
    Body,
    ResponseBody = Body,
    Error = tonic::transport::Error,
    Future = impl Future<Output = Result<http::Response<Body>, tonic::transport::Error>> + Send,
> + Clone {
    ServiceBuilder::new()
        .layer(RetryLayer::new(policy))
        .layer(MapRequestBodyLayer::new(Body::new))
        .service(channel)
}

/// A server whose first answers fail, as head only; tonic writes every error of a handler so.
#[derive(Clone, Default)]
struct Peer {
    calls: Arc<AtomicUsize>,
    refusals: Vec<Status>,
    services: Arc<Mutex<Vec<String>>>,
    /// `grpc-previous-rpc-attempts`, of each call.
    previous: Arc<Mutex<Vec<Option<String>>>>,
    hangs: bool,
}

impl Peer {
    fn refusing(refusals: impl IntoIterator<Item = Status>) -> Self {
        Self {
            refusals: refusals.into_iter().collect(),
            ..Self::default()
        }
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    fn services(&self) -> Vec<String> {
        self.services.lock().unwrap().clone()
    }

    fn next(&self, request: tonic::Request<HealthCheckRequest>) -> Result<(), Status> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        let previous = request.metadata().get("grpc-previous-rpc-attempts");
        let previous = previous.map(|value| value.to_str().unwrap().to_owned());
        self.previous.lock().unwrap().push(previous);
        let service = request.into_inner().service;
        self.services.lock().unwrap().push(service);
        self.refusals.get(call).cloned().map_or(Ok(()), Err)
    }
}

fn serving() -> HealthCheckResponse {
    HealthCheckResponse {
        status: ServingStatus::Serving.into(),
    }
}

#[tonic::async_trait]
impl Health for Peer {
    async fn check(
        &self,
        request: tonic::Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        self.next(request)?;
        if self.hangs && self.calls() == 1 {
            future::pending::<()>().await;
        }
        Ok(Response::new(serving()))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    /// Fails in the trailers, after a head of its own: the first time with nothing before it, then
    /// after a message.
    async fn watch(
        &self,
        request: tonic::Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let failure = self.next(request).err();
        let messages = vec![Ok(serving()); self.calls() - 1];
        let last = failure.map(Err);
        let stream = tokio_stream::iter(messages.into_iter().chain(last));
        Ok(Response::new(Box::pin(stream)))
    }
}

struct Server {
    channel: Channel,
    task: JoinHandle<()>,
}

impl Server {
    async fn start(peer: Peer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::over(listener, peer)
    }

    fn over(listener: TcpListener, peer: Peer) -> Self {
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let task = tokio::spawn(async move {
            tonic::transport::Server::builder()
                .add_service(HealthServer::new(peer))
                .serve_with_incoming(TcpIncoming::from(listener))
                .await
                .unwrap();
        });
        let channel = Endpoint::new(origin).unwrap().connect_lazy();
        Self { channel, task }
    }

    fn channel(&self) -> Channel {
        self.channel.clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn unavailable() -> Status {
    Status::unavailable("try again")
}

fn pushing_back(milliseconds: &'static str) -> Status {
    let mut metadata = MetadataMap::new();
    metadata.insert("grpc-retry-pushback-ms", milliseconds.parse().unwrap());
    Status::with_metadata(Code::Unavailable, "later", metadata)
}

/// What a service config says with `retryPolicy`.
fn grpc() -> RetryPolicy {
    let backoff = Duration::from_millis(1);
    GrpcRetry::new(3, backoff, backoff, 1.0)
        .to_builder()
        .unwrap()
        .build()
        .unwrap()
}

fn report(response: &Response<HealthCheckResponse>) -> &RetryReport {
    response.extensions().get().expect("it was not plain")
}

#[tokio::test]
async fn a_status_in_the_head_is_retried() {
    let peer = Peer::refusing([unavailable(), unavailable()]);
    let server = Server::start(peer.clone()).await;
    let mut monitor = Monitor::new(server.channel(), grpc());

    let response = monitor.check("database").await.unwrap();

    assert_eq!(report(&response).attempts().len(), 3);
    assert_eq!(response.into_inner(), serving());
    assert_eq!(peer.services(), ["database"; 3]);
}

#[tokio::test]
async fn a_call_can_be_spawned() {
    let peer = Peer::refusing([unavailable()]);
    let server = Server::start(peer.clone()).await;
    let mut health = HealthClient::new(retrying(server.channel(), grpc()));
    let mut monitor = Monitor::new(server.channel(), grpc());

    let by_type = tokio::spawn(async move { monitor.check("a").await });
    assert!(by_type.await.unwrap().is_ok());
    let by_trait = tokio::spawn(async move {
        let service = String::from("b");
        let request = HealthCheckRequest { service };
        health.check(request).await
    });
    assert!(by_trait.await.unwrap().is_ok());
    assert_eq!(peer.services(), ["a", "a", "b"]);
}

#[tokio::test]
async fn a_closure_that_reads_the_status_does_as_well() {
    let standard = Standard::default();
    let by_hand = classifier_fn(move |outcome: &Outcome<'_>| {
        let status = outcome.headers().and_then(|head| head.get("grpc-status"));
        match status {
            Some(status) => Class::from(status == "14"),
            None => standard.classify(outcome),
        }
    });
    let policy = RetryPolicy::builder()
        .classifier(by_hand)
        .any_method()
        .backoff(Exponential::from(Duration::from_millis(1)))
        .build()
        .unwrap();
    let peer = Peer::refusing([unavailable(), Status::not_found("no such service")]);
    let server = Server::start(peer.clone()).await;

    let status = Monitor::new(server.channel(), policy).check("").await;

    assert_eq!(status.unwrap_err().code(), Code::NotFound);
    assert_eq!(peer.calls(), 2);
}

#[tokio::test]
async fn the_last_status_comes_back_as_it_is() {
    let peer = Peer::refusing([1, 2, 3, 4].map(|n| Status::unavailable(format!("no. {n}"))));
    let server = Server::start(peer.clone()).await;

    let status = Monitor::new(server.channel(), grpc()).check("").await;

    let status = status.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(status.message(), "no. 3");
    assert_eq!(peer.calls(), 3);
}

#[tokio::test]
async fn a_pushback_is_waited_for_exactly() {
    let peer = Peer::refusing([pushing_back("60")]);
    let server = Server::start(peer.clone()).await;
    let begun = Instant::now();

    let response = Monitor::new(server.channel(), grpc()).check("").await;

    let response = response.unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(60));
    let wait = report(&response).attempts()[0].wait().unwrap();
    assert_eq!(wait.delay(), Duration::from_millis(60));
    assert_eq!(wait.reason(), WaitReason::Pushback);
}

#[tokio::test]
async fn a_negative_or_broken_pushback_ends_the_call() {
    for no in ["-1", "soon"] {
        let peer = Peer::refusing([pushing_back(no)]);
        let server = Server::start(peer.clone()).await;

        let status = Monitor::new(server.channel(), grpc()).check("").await;

        let status = status.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable);
        assert_eq!(peer.calls(), 1, "{no}");
    }
}

#[tokio::test]
async fn a_server_is_told_how_many_attempts_came_before() {
    let peer = Peer::refusing([unavailable(), unavailable()]);
    let server = Server::start(peer.clone()).await;
    let telling = grpc().to_builder().attempt_header(AttemptHeader::grpc());
    let mut monitor = Monitor::new(server.channel(), telling.build().unwrap());

    monitor.check("").await.unwrap();

    let previous = peer.previous.lock().unwrap().clone();
    assert_eq!(previous, [None, Some("1".into()), Some("2".into())]);
}

#[tokio::test]
async fn an_attempt_that_is_not_answered_in_time_gives_way_to_another() {
    let peer = Peer {
        hangs: true,
        ..Peer::default()
    };
    let server = Server::start(peer.clone()).await;
    let service = ServiceBuilder::new()
        .layer(RetryLayer::new(grpc()))
        .layer(AttemptTimeoutLayer::new(Duration::from_millis(200)))
        .layer(MapRequestBodyLayer::new(Body::new))
        .service(server.channel());
    let mut health = HealthClient::new(service);

    let call = tokio::spawn(async move { health.check(HealthCheckRequest::default()).await });

    assert_eq!(call.await.unwrap().unwrap().into_inner(), serving());
    assert_eq!(peer.calls(), 2);
}

#[tokio::test]
async fn a_status_in_the_trailers_is_the_callers() {
    for messages in [0, 1] {
        let peer = Peer::refusing([unavailable(), unavailable()]);
        peer.calls.store(messages, Ordering::Relaxed);
        let server = Server::start(peer.clone()).await;
        let mut monitor = Monitor::new(server.channel(), grpc());

        let watch = monitor.health.watch(HealthCheckRequest::default()).await;
        let stream = watch.unwrap().into_inner();
        let all: Vec<_> = timeout(Duration::from_secs(9), stream.collect())
            .await
            .unwrap();

        let (last, before) = all.split_last().unwrap();
        assert_eq!(last.as_ref().unwrap_err().code(), Code::Unavailable);
        assert_eq!(before.len(), messages);
        assert_eq!(peer.calls(), messages + 1, "it was asked once");
    }
}

#[tokio::test]
async fn a_call_that_could_not_connect_was_not_sent() {
    let port = Port::free();
    let channel = Endpoint::new(port.url()).unwrap();
    let waits = Backoff::from(Exponential::from(Duration::from_millis(20)));
    // Every gRPC call is a POST: only what was not sent is sent again here.
    let policy = RetryPolicy::builder()
        .classifier(Grpc::default())
        .backoff(waits.jitter(Jitter::None))
        .max_attempts(8)
        .build()
        .unwrap();
    let peer = Peer::default();
    let mut monitor = Monitor::new(channel.connect_lazy(), policy);

    let call = tokio::spawn(async move { monitor.check("late").await });
    sleep(Duration::from_millis(30)).await;
    let _server = Server::over(port.listen(), peer.clone());

    let response = call.await.unwrap().unwrap();
    assert_eq!(
        report(&response).attempts()[0].outcome(),
        AttemptOutcome::Error(Class::NotSent)
    );
    assert_eq!(peer.services(), ["late"]);
}
