//! A client as the transport of generated tonic clients: what they are told when something fails.
#![allow(clippy::unwrap_used, reason = "a test fails by its panic")]

use std::{
    convert::Infallible,
    error::Error as _,
    future::{pending, ready},
    time::Duration,
};

use bytes::Bytes;
use client::{
    Client, ClientBuilder, Error, Http2, PoolConfig, RetryReport, TimeoutPhase, Timeouts,
    grpc::GrpcChannel,
    retry_layer::{AttemptHeader, TimeoutHeader, grpc::GrpcRetry},
    session_layer::CloseReport,
    token_fn,
};
use h2::{Reason, server::Builder};
use http_body_util::{BodyExt as _, StreamBody};
use test_support::{
    Port,
    http2::{Peer, Stream},
};
use tokio::{net::TcpListener, time::timeout};
use tokio_stream::StreamExt as _;
use tonic::{
    Code, Request, Response, Status,
    transport::{Server, server::TcpIncoming},
};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_check_response::ServingStatus,
    health_client::HealthClient,
    health_server::{Health, HealthServer},
};
use tower::{BoxError, Service as _, ServiceExt as _, service_fn};

const PATIENCE: Duration = Duration::from_secs(20);

/// What stands in a user's struct, with every type written out.
#[derive(Clone)]
struct Monitor {
    health: HealthClient<GrpcChannel>,
}

impl Monitor {
    fn new(client: &Client) -> Self {
        Self {
            health: HealthClient::new(client.grpc()),
        }
    }

    async fn ask(&self, service: &str) -> Result<Response<HealthCheckResponse>, Status> {
        self.clone().health.check(question(service)).await
    }
}

fn question(service: &str) -> HealthCheckRequest {
    let service = service.to_owned();
    HealthCheckRequest { service }
}

/// A client of one server that speaks HTTP/2 without being asked.
fn at(server: &str) -> ClientBuilder {
    Client::builder()
        .base_url(server)
        .unwrap()
        .http2(Http2::default().prior_knowledge(true))
}

/// A health service that answers each question as its text says.
struct Oracle;

#[tonic::async_trait]
impl Health for Oracle {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let previous = request.metadata().get("grpc-previous-rpc-attempts");
        match request.get_ref().service.as_str() {
            "silent" => pending().await,
            "moody" if previous.is_none() => Err(Status::unavailable("not yet")),
            "unknown" => Err(Status::not_found("no such service")),
            _ => Ok(Response::new(serving())),
        }
    }

    type WatchStream = std::pin::Pin<
        Box<dyn tokio_stream::Stream<Item = Result<HealthCheckResponse, Status>> + Send>,
    >;

    async fn watch(
        &self,
        _: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let stream = tokio_stream::once(Ok(serving())).chain(tokio_stream::pending());
        Ok(Response::new(Box::pin(stream)))
    }
}

fn serving() -> HealthCheckResponse {
    let status = ServingStatus::Serving.into();
    HealthCheckResponse { status }
}

async fn oracle() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::builder().add_service(HealthServer::new(Oracle));
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    format!("http://{address}")
}

async fn peer<F>(handler: fn(Stream) -> F) -> String
where
    F: Future<Output = ()> + Send + 'static,
{
    let address = Peer::new(Builder::new(), handler).listen().await;
    format!("http://{address}")
}

/// The client's own error, which a status carries.
fn cause(status: &Status) -> &Error {
    status.source().unwrap().downcast_ref().unwrap()
}

#[tokio::test]
async fn a_call_is_answered_by_the_base_urls_server_from_any_task() {
    let client = at(&oracle().await).build().unwrap();
    let monitor = Monitor::new(&client);
    let answer = tokio::spawn(async move { monitor.ask("database").await });
    assert_eq!(answer.await.unwrap().unwrap().into_inner(), serving());
    let status = Monitor::new(&client).ask("unknown").await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::NotFound, "no such service")
    );
}

#[tokio::test]
async fn grpcs_own_policy_sends_an_unavailable_call_again_and_the_answer_tells() {
    let policy = GrpcRetry::new(4, Duration::from_millis(5), Duration::from_secs(1), 2.0);
    let client = at(&oracle().await)
        .retry(
            policy
                .to_builder()
                .unwrap()
                .attempt_header(AttemptHeader::grpc()),
        )
        .build()
        .unwrap();
    let answer = Monitor::new(&client).ask("moody").await.unwrap();
    let report: &RetryReport = answer.extensions().get().unwrap();
    assert_eq!(report.attempts().len(), 2);
}

#[tokio::test]
async fn an_absent_server_is_unavailable_and_the_status_tells_the_attempts() {
    let nobody = Port::free();
    let client = at(&nobody.url())
        .retry(
            client::RetryPolicy::builder()
                .backoff(client::Exponential::from(Duration::from_millis(1))),
        )
        .build()
        .unwrap();

    let status = Monitor::new(&client).ask("database").await.unwrap_err();

    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("3 attempts"), "{status}");
    assert!(cause(&status).is_connect());
    let report = cause(&status).retry_report().unwrap();
    assert_eq!(report.attempts().len(), 3);
}

#[tokio::test]
async fn a_client_that_is_closed_is_unavailable() {
    let client = at(&oracle().await).build().unwrap();
    let monitor = Monitor::new(&client);
    monitor.ask("database").await.unwrap();
    let report: CloseReport = client.close().await;
    assert_eq!(report.aborted, 0);
    let status = monitor.ask("database").await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(cause(&status).is_closed());
}

#[tokio::test]
async fn a_timeout_of_the_call_is_a_deadline() {
    let client = at(&oracle().await).build().unwrap();
    let mut request = Request::new(question("silent"));
    request.set_timeout(Duration::from_millis(40));

    let mut health = Monitor::new(&client).health;
    let call = timeout(PATIENCE, health.check(request));
    let status = call.await.expect("it ends by itself").unwrap_err();

    assert_eq!(status.code(), Code::DeadlineExceeded);
    let phase = cause(&status).timeout_phase();
    assert_eq!(phase, Some(TimeoutPhase::Deadline));
}

#[tokio::test]
async fn the_deadline_of_a_call_ends_its_stream_of_answers_too() {
    let client = at(&oracle().await).build().unwrap();
    let mut request = Request::new(question("database"));
    request.set_timeout(Duration::from_millis(80));
    let mut health = Monitor::new(&client).health;
    let mut stream = health.watch(request).await.unwrap().into_inner();
    assert_eq!(stream.next().await.unwrap().unwrap(), serving());

    let next = timeout(PATIENCE, stream.next()).await;

    let status = next.expect("it ends by itself").unwrap().unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(client.stats().streams, 0, "the server was told");
}

#[tokio::test]
async fn the_clients_own_deadline_does_not_end_a_stream() {
    let client = at(&oracle().await)
        .deadline(Duration::from_millis(50))
        .build()
        .unwrap();
    let mut health = Monitor::new(&client).health;
    let watch = health.watch(question("database")).await;
    let mut stream = watch.unwrap().into_inner();
    assert_eq!(stream.next().await.unwrap().unwrap(), serving());
    let next = timeout(Duration::from_millis(150), stream.next()).await;
    assert!(next.is_err(), "it goes on: {next:?}");
}

#[tokio::test]
async fn a_head_or_a_body_that_does_not_come_in_time_is_a_deadline_too() {
    let limits = Timeouts::default()
        .head(Duration::from_millis(40))
        .body_idle(Duration::from_millis(40));
    let client = at(&oracle().await).timeouts(limits).build().unwrap();
    let status = Monitor::new(&client).ask("silent").await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");

    let mut health = Monitor::new(&client).health;
    let watch = health.watch(question("database")).await;
    let mut stream = watch.unwrap().into_inner();
    assert_eq!(stream.next().await.unwrap().unwrap(), serving());
    let status = stream.next().await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
    assert_eq!(cause(&status).timeout_phase(), Some(TimeoutPhase::Body));
}

#[tokio::test]
async fn a_place_in_the_pool_that_does_not_come_free_is_unavailable() {
    let pool = PoolConfig::default()
        .max_connections_per_origin(1)
        .queue_timeout(Duration::from_millis(40));
    let client = at(&oracle().await)
        .pool(pool)
        .http2(
            Http2::default()
                .prior_knowledge(true)
                .max_concurrent_streams(1),
        )
        .build()
        .unwrap();
    let mut health = Monitor::new(&client).health;
    let _held = health.watch(question("database")).await.unwrap();

    let status = Monitor::new(&client).ask("database").await.unwrap_err();

    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert_eq!(cause(&status).timeout_phase(), Some(TimeoutPhase::Queue));
}

#[tokio::test]
async fn a_stream_that_the_peer_refuses_is_unavailable() {
    let server = peer(|stream| async { stream.refuse() }).await;
    let client = at(&server).build().unwrap();
    let status = Monitor::new(&client).ask("database").await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert!(cause(&status).is_unprocessed());
}

#[tokio::test]
async fn a_connection_that_ends_is_unavailable() {
    let server = peer(|stream| async move {
        stream.close();
        stream.hold().await;
    })
    .await;
    let client = at(&server).build().unwrap();
    let status = Monitor::new(&client).ask("database").await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
}

/// The reasons of gRPC's table, and one that it does not know.
const REASONS: [(Reason, Code); 6] = [
    (Reason::NO_ERROR, Code::Internal),
    (Reason::INTERNAL_ERROR, Code::Internal),
    (Reason::CANCEL, Code::Cancelled),
    (Reason::ENHANCE_YOUR_CALM, Code::ResourceExhausted),
    (Reason::INADEQUATE_SECURITY, Code::PermissionDenied),
    (Reason::HTTP_1_1_REQUIRED, Code::Unknown),
];

#[tokio::test]
async fn a_stream_that_is_reset_has_the_code_of_its_reason() {
    for (reason, code) in REASONS {
        let handler = move |stream: Stream| async move { stream.reset(reason) };
        let address = Peer::new(Builder::new(), handler).listen().await;
        let client = at(&format!("http://{address}")).build().unwrap();
        let status = Monitor::new(&client).ask("database").await.unwrap_err();
        assert_eq!(status.code(), code, "{reason:?}: {status}");
    }
}

#[tokio::test]
async fn so_has_one_that_is_reset_in_the_middle_of_its_answers() {
    // hyper keeps `NO_ERROR` to itself.
    let told = REASONS.iter().filter(|(it, _)| *it != Reason::NO_ERROR);
    for (reason, code) in told.copied() {
        let handler = move |stream: Stream| stream.break_off(Some(9), "\0\0\0\0", reason);
        let address = Peer::new(Builder::new(), handler).listen().await;
        let client = at(&format!("http://{address}")).build().unwrap();
        let mut channel = client.grpc();
        let request = http::Request::post("/x").body(tonic::body::Body::empty());
        let answer = channel.call(request.unwrap()).await.unwrap();
        let status = answer.into_body().collect().await.unwrap_err();
        assert_eq!(status.code(), code, "{reason:?}: {status}");
        assert!(cause(&status).is_body());
    }
}

#[tokio::test]
async fn a_stream_of_requests_ends_the_call_with_its_own_status() {
    let client = at(&oracle().await).build().unwrap();
    let failing =
        tokio_stream::iter([Err::<http_body::Frame<Bytes>, _>(Status::aborted("enough"))]);
    let request = http::Request::post("/grpc.health.v1.Health/Check")
        .header("content-type", "application/grpc")
        .body(tonic::body::Body::new(StreamBody::new(failing)));

    let status = client.grpc().call(request.unwrap()).await.unwrap_err();

    assert_eq!((status.code(), status.message()), (Code::Aborted, "enough"));
    assert!(cause(&status).is_body());
}

#[tokio::test]
async fn a_token_that_cannot_be_fetched_is_unauthenticated() {
    let source = token_fn(|| ready(Err(BoxError::from("no such user"))));
    let client = at(&oracle().await).auth(source).build().unwrap();
    let status = Monitor::new(&client).ask("database").await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated, "{status}");
    assert!(!status.message().contains("no such user"), "{status}");
}

#[tokio::test]
async fn an_error_of_any_service_or_layer_is_read_from_its_causes() {
    let cases: [(fn() -> BoxError, Code); 4] = [
        (|| Box::new(Status::data_loss("gone")), Code::DataLoss),
        (
            || Box::new(tower::timeout::error::Elapsed::new()),
            Code::DeadlineExceeded,
        ),
        (
            || Box::new(tower::load_shed::error::Overloaded::new()),
            Code::ResourceExhausted,
        ),
        (|| "something".into(), Code::Unknown),
    ];
    for (error, code) in cases {
        let failing = service_fn(move |_: http::Request<client::Body>| {
            ready(Err::<http::Response<tonic::body::Body>, BoxError>(error()))
        });
        let client = Client::from_service(failing);
        let health = HealthClient::with_origin(client.grpc(), "http://any".parse().unwrap());
        let status = { health }.check(question("database")).await.unwrap_err();
        assert_eq!(status.code(), code, "{status}");
    }
}

#[tokio::test]
async fn nothing_is_added_that_grpc_does_not_know_and_a_timeout_is_passed_on() {
    let echo = service_fn(|request: http::Request<client::Body>| {
        let mut answer = http::Response::new(tonic::body::Body::empty());
        *answer.headers_mut() = request.headers().clone();
        ready(Ok::<_, Infallible>(answer))
    });
    let policy = client::RetryPolicy::builder().timeout_header(TimeoutHeader::grpc());
    let client = Client::builder()
        .retry(policy)
        .build_with_service(echo)
        .unwrap();
    let request = http::Request::post("http://any/")
        .header("grpc-timeout", "5S")
        .body(tonic::body::Body::empty());
    let answer = client.grpc().oneshot(request.unwrap()).await.unwrap();
    let headers = answer.headers();
    assert!(!headers.contains_key("accept-encoding"), "{headers:?}");
    let timeout = headers["grpc-timeout"].to_str().unwrap();
    assert!(timeout.starts_with('4') || timeout == "5S", "{timeout}");
}

#[tokio::test]
async fn a_redirect_is_no_answer_of_grpcs_and_not_followed() {
    let away = service_fn(|_: http::Request<client::Body>| {
        let answer = http::Response::builder()
            .status(307)
            .header("location", "http://other/");
        ready(answer.body(tonic::body::Body::empty()))
    });
    let client = Client::from_service(away);
    let health = HealthClient::with_origin(client.grpc(), "http://any".parse().unwrap());
    let status = { health }.check(question("database")).await.unwrap_err();
    assert_eq!(status.code(), Code::Unknown);
    assert!(status.message().contains("307"), "{status}");
}
