//! Every way in which a generated tonic client may be put over a client: each constructor, each
//! setting, each layer that tonic's documentation shows; and which protocol and timeouts its calls
//! have.
#![allow(clippy::unwrap_used, reason = "a test fails by its panic")]

use std::{convert::Infallible, future::pending, time::Duration};

use bytes::Bytes;
use client::{Client, ClientBuilder, Http2, Timeouts, grpc::GrpcChannel};
use h2::server::Builder;
use http::Version;
use test_support::http2::{Peer, Stream};
use tokio::{net::TcpListener, time::Instant};
use tokio_stream::StreamExt as _;
use tonic::{
    Code, Request, Response, Status,
    body::Body,
    codec::CompressionEncoding,
    metadata::MetadataValue,
    service::{
        Interceptor, LayerExt as _, interceptor::InterceptedService, interceptor::InterceptorLayer,
    },
    transport::{Server, server::TcpIncoming},
};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_check_response::ServingStatus,
    health_client::HealthClient,
    health_server::{Health, HealthServer},
};
use tower::{
    Layer, Service, ServiceBuilder,
    buffer::BufferLayer,
    limit::{ConcurrencyLimitLayer, RateLimitLayer},
    load_shed::LoadShedLayer,
    timeout::TimeoutLayer,
    util::{BoxCloneService, BoxCloneSyncService},
};

/// Answers those who have a token.
#[derive(Clone)]
struct Guarded;

#[tonic::async_trait]
impl Health for Guarded {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        match request.metadata().get("x-token") {
            Some(token) if token == "open" => Ok(Response::new(serving())),
            Some(_) | None => Err(Status::unauthenticated("no token")),
        }
    }

    type WatchStream = tokio_stream::Pending<Result<HealthCheckResponse, Status>>;

    async fn watch(
        &self,
        _: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        Ok(Response::new(tokio_stream::pending()))
    }
}

fn serving() -> HealthCheckResponse {
    let status = ServingStatus::Serving.into();
    HealthCheckResponse { status }
}

async fn guarded() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let health = HealthServer::new(Guarded)
        .accept_compressed(CompressionEncoding::Gzip)
        .send_compressed(CompressionEncoding::Gzip);
    let server = Server::builder().accept_http1(true).add_service(health);
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    format!("http://{address}")
}

/// A client with nothing set but where its server is.
fn at(server: &str) -> ClientBuilder {
    Client::builder().base_url(server).unwrap()
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "an interceptor may refuse the request"
)]
fn with_token(mut request: Request<()>) -> Result<Request<()>, Status> {
    let token = MetadataValue::from_static("open");
    request.metadata_mut().insert("x-token", token);
    Ok(request)
}

fn refusing(_: Request<()>) -> Result<Request<()>, Status> {
    Err(Status::permission_denied("not from here"))
}

#[derive(Clone)]
struct Token;

impl Interceptor for Token {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        with_token(request)
    }
}

/// A layer of a user's own, as tonic's example `tower` has one.
#[derive(Clone)]
struct TokenLayer;

#[derive(Clone)]
struct TokenService<S>(S);

impl<S> Layer<S> for TokenLayer {
    type Service = TokenService<S>;

    fn layer(&self, inner: S) -> TokenService<S> {
        TokenService(inner)
    }
}

impl<S: Service<http::Request<Body>>> Service<http::Request<Body>> for TokenService<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(
        &mut self,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> S::Future {
        let token = http::HeaderValue::from_static("open");
        request.headers_mut().insert("x-token", token);
        self.0.call(request)
    }
}

/// Asks in a task, as servers do.
macro_rules! assert_serves {
    ($health:expr) => {{
        let mut health = $health;
        let call = async move { health.check(HealthCheckRequest::default()).await };
        let answer = tokio::spawn(call).await.unwrap();
        assert_eq!(answer.unwrap().into_inner(), serving());
    }};
}

#[tokio::test]
async fn every_generated_constructor_and_setting_goes_over_a_plain_client() {
    let server = guarded().await;
    let client = at(&server).build().unwrap();
    let origin: http::Uri = server.parse().unwrap();

    let status = HealthClient::new(client.grpc())
        .check(HealthCheckRequest::default())
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    assert_serves!(HealthClient::with_interceptor(client.grpc(), with_token));
    assert_serves!(HealthClient::with_interceptor(client.grpc(), Token));
    let anywhere = InterceptedService::new(Client::new().grpc(), with_token);
    assert_serves!(HealthClient::with_origin(anywhere, origin));
    assert_serves!(
        HealthClient::with_interceptor(client.grpc(), with_token)
            .send_compressed(CompressionEncoding::Gzip)
            .accept_compressed(CompressionEncoding::Gzip)
            .max_decoding_message_size(1024)
            .max_encoding_message_size(1024)
    );
    let tiny = HealthClient::with_interceptor(client.grpc(), with_token);
    let status = tiny
        .max_decoding_message_size(1)
        .check(HealthCheckRequest::default())
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange, "{status}");
}

#[tokio::test]
async fn an_interceptor_that_refuses_is_the_answer_and_nothing_is_sent() {
    let client = at(&guarded().await).build().unwrap();
    let mut health = HealthClient::with_interceptor(client.grpc(), refusing);
    let status = health
        .check(HealthCheckRequest::default())
        .await
        .unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::PermissionDenied, "not from here")
    );
    let status = health
        .watch(HealthCheckRequest::default())
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    assert_eq!(client.stats().opened, 0);
}

#[tokio::test]
async fn an_intercepted_client_has_a_type_that_can_be_written_down() {
    struct Monitor {
        health: HealthClient<InterceptedService<GrpcChannel, Token>>,
    }
    let client = at(&guarded().await).build().unwrap();
    let monitor = Monitor {
        health: HealthClient::with_interceptor(client.grpc(), Token),
    };
    assert_serves!(monitor.health);
}

#[tokio::test]
async fn every_layer_of_tonics_documentation_goes_over_it() {
    let client = at(&guarded().await).build().unwrap();
    let minute = Duration::from_secs(60);
    let channel = ServiceBuilder::new()
        .timeout(minute)
        .layer(InterceptorLayer::new(with_token))
        .service(client.grpc());
    assert_serves!(HealthClient::new(channel));
    assert_serves!(HealthClient::new(TokenLayer.layer(client.grpc())));
    assert_serves!(HealthClient::new(TokenLayer.named_layer(client.grpc())));
    let channel = ServiceBuilder::new()
        .layer(BufferLayer::new(8))
        .layer(LoadShedLayer::new())
        .layer(ConcurrencyLimitLayer::new(4))
        .layer(TokenLayer)
        .service(client.grpc());
    assert_serves!(HealthClient::new(channel));
    let channel = ServiceBuilder::new()
        .layer(BufferLayer::new(8))
        .layer(RateLimitLayer::new(9, minute))
        .layer(TimeoutLayer::new(minute))
        .layer(TokenLayer)
        .service(client.grpc());
    assert_serves!(HealthClient::new(channel));
    let boxed = BoxCloneService::new(TokenLayer.layer(client.grpc()));
    assert_serves!(HealthClient::new(boxed));
    let boxed = BoxCloneSyncService::new(TokenLayer.layer(client.grpc()));
    assert_serves!(HealthClient::new(boxed));
}

#[tokio::test]
async fn a_status_keeps_its_code_through_layers_that_box_errors() {
    let client = at("http://127.0.0.1:1").build().unwrap();
    let channel = ServiceBuilder::new()
        .layer(ConcurrencyLimitLayer::new(4))
        .layer(TimeoutLayer::new(Duration::from_secs(60)))
        .service(client.grpc());
    let status = HealthClient::new(channel)
        .check(HealthCheckRequest::default())
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
}

#[tokio::test]
async fn calls_go_over_http2_and_all_else_to_the_same_server_over_http1() {
    let server = guarded().await;
    let client = at(&server).build().unwrap();
    for _ in 0..2 {
        assert_serves!(HealthClient::with_interceptor(client.grpc(), with_token));
        let plain = client.get("/").fetch().await.unwrap();
        assert_eq!(plain.version(), Version::HTTP_11);
    }
    let stats = client.stats();
    assert_eq!((stats.opened, stats.reused), (2, 2), "one of each kind");

    // A client that knows it of all has one connection for both.
    let client = at(&server)
        .http2(Http2::default().prior_knowledge(true))
        .build()
        .unwrap();
    assert_serves!(HealthClient::with_interceptor(client.grpc(), with_token));
    let plain = client.get("/").fetch().await.unwrap();
    assert_eq!(plain.version(), Version::HTTP_2);
    assert_eq!(client.stats().opened, 1);
}

/// Says nothing for 100 s at a time: before the head, before each message, before the end.
async fn quiet(stream: Stream) {
    let pause = Duration::from_secs(100);
    tokio::time::sleep(pause).await;
    stream
        .drip(&["\0\0\0\0\0", "\0\0\0\0\0"], pause, true)
        .await;
}

async fn silent(stream: Stream) {
    let _held = stream;
    pending::<()>().await;
}

fn over(peer: &Peer, builder: ClientBuilder) -> Client {
    builder.build_with_connector(peer.connector()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_stream_may_be_silent_for_longer_than_the_default_timeouts() {
    let peer = Peer::new(Builder::new(), quiet);
    let client = over(&peer, at("http://peer"));
    let begun = Instant::now();
    let mut health = HealthClient::new(client.grpc());
    let watch = health.watch(HealthCheckRequest::default()).await;
    let mut stream = watch.unwrap().into_inner();
    for _ in 0..2 {
        stream.next().await.unwrap().unwrap();
    }
    assert!(begun.elapsed() >= Duration::from_secs(200));
    // The same, for a call that brings a deadline.
    let mut request = Request::new(HealthCheckRequest::default());
    request.set_timeout(Duration::from_secs(150));
    let mut stream = health.watch(request).await.unwrap().into_inner();
    let status = loop {
        match stream.next().await.unwrap() {
            Ok(_) => {}
            Err(status) => break status,
        }
    };
    assert_eq!(status.code(), Code::DeadlineExceeded);
}

#[tokio::test(start_paused = true)]
async fn timeouts_that_were_set_count_for_streams_too() {
    let limits = Timeouts::default().head(Duration::from_secs(120));
    let peer = Peer::new(Builder::new(), silent);
    let client = over(&peer, at("http://peer").timeouts(limits));
    let begun = Instant::now();
    let mut health = HealthClient::new(client.grpc());
    let status = health
        .check(HealthCheckRequest::default())
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(begun.elapsed().as_secs(), 120);

    let limits = Timeouts::default().body_idle(Duration::from_secs(60));
    let peer = Peer::new(Builder::new(), quiet);
    let client = over(&peer, at("http://peer").timeouts(limits));
    let mut health = HealthClient::new(client.grpc());
    let watch = health.watch(HealthCheckRequest::default()).await;
    let mut stream = watch.unwrap().into_inner();
    let status = loop {
        match stream.next().await.unwrap() {
            Ok(_) => {}
            Err(status) => break status,
        }
    };
    assert_eq!(status.code(), Code::DeadlineExceeded);
}

#[tokio::test(start_paused = true)]
async fn the_clients_deadline_ends_a_call_whose_head_does_not_come() {
    let peer = Peer::new(Builder::new(), silent);
    let client = over(&peer, at("http://peer"));
    let begun = Instant::now();
    let mut health = HealthClient::new(client.grpc());
    let status = health
        .check(HealthCheckRequest::default())
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(begun.elapsed().as_secs(), 300);
}

#[tokio::test(start_paused = true)]
async fn other_requests_keep_the_default_timeouts() {
    let peer = Peer::new(Builder::new(), silent);
    let http2 = Http2::default().prior_knowledge(true);
    let client = over(&peer, at("http://peer").http2(http2));
    let begun = Instant::now();
    let request = client.get("/").no_retry();
    assert!(request.fetch().await.unwrap_err().is_timeout());
    assert_eq!(begun.elapsed().as_secs(), 30);
}

#[tokio::test]
async fn a_client_of_a_mock_is_a_channel_too() {
    let echo = tower::service_fn(|_: http::Request<client::Body>| async {
        Ok::<_, Infallible>(http::Response::new(http_body_util::Full::new(Bytes::new())))
    });
    let client = Client::from_service(echo);
    let health = HealthClient::with_origin(client.grpc(), "http://any".parse().unwrap());
    let status = { health }.check(HealthCheckRequest::default()).await;
    assert_ne!(status.unwrap_err().code(), Code::Unavailable);
}
