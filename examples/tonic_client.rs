//! gRPC by tonic, retried in two ways: the retry layer over tonic's own channel, and a `Client` in
//! the channel's place.
//!
//! `cargo run --example tonic_client` asks a server of its own, which is unavailable twice.

use std::{
    error::Error,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use client::{Client, grpc::GrpcChannel};
use futures_util::stream;
use retry_layer::{
    RetryPolicyBuilder, RetryReport,
    grpc::GrpcRetry,
    tonic::{RetryChannel, RetryChannelLayer},
};
use tokio::net::TcpListener;
use tonic::{
    Request, Response, Status,
    transport::{Channel, Endpoint, Server, server::TcpIncoming},
};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_check_response::ServingStatus,
    health_client::HealthClient,
    health_server::{Health, HealthServer},
};
use tower::Layer;

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let (address, asked) = start_server().await?;
    let origin = format!("http://{address}");

    let channel = Endpoint::new(origin.clone())?.connect_lazy();
    let mut health = HealthClient::new(retrying(channel)?);
    let answer = health.check(question("database")).await?;
    tell("the layer over a channel", &answer);

    asked.store(0, Ordering::Relaxed);
    let client = client(&origin)?;
    let mut health: HealthClient<GrpcChannel> = HealthClient::new(client.grpc());
    let answer = health.check(question("database")).await?;
    tell("a client in its place", &answer);

    // What cannot be mended comes back as the server's status.
    let status = health.check(question("unknown")).await.err();
    println!("an unknown service: {:?}", status.map(|it| it.code()));
    client.close().await;

    // What never reached a server has gRPC's code too, and the client's own error behind it.
    let status = health.check(question("database")).await.err();
    println!("a closed client: {:?}", status.as_ref().map(Status::code));
    let cause = status.as_ref().and_then(Error::source);
    println!(
        "because {}",
        cause.map_or_else(String::new, ToString::to_string)
    );
    Ok(())
}

/// What a service config calls `retryPolicy`: 4 attempts, from 20 ms, doubled up to 1 s.
fn policy() -> Result<RetryPolicyBuilder, retry_layer::BuildError> {
    GrpcRetry::new(4, Duration::from_millis(20), Duration::from_secs(1), 2.0).to_builder()
}

/// The whole type, as it would stand in a struct.
fn retrying(channel: Channel) -> Result<RetryChannel<Channel>, Failure> {
    Ok(RetryChannelLayer::new(policy()?.build()?).layer(channel))
}

/// A client that asks one server; its gRPC goes over HTTP/2, also without TLS.
fn client(origin: &str) -> Result<Client, Failure> {
    Ok(Client::builder()
        .base_url(origin)?
        .retry(policy()?)
        .build()?)
}

fn question(service: &str) -> HealthCheckRequest {
    HealthCheckRequest {
        service: service.to_owned(),
    }
}

fn tell(how: &str, answer: &Response<HealthCheckResponse>) {
    let report = answer.extensions().get::<RetryReport>();
    let report = report.map_or_else(String::new, ToString::to_string);
    println!("{how}: {:?}; {report}", answer.get_ref().status());
}

/// Unavailable to the first two who ask.
struct Moody(Arc<AtomicU32>);

#[tonic::async_trait]
impl Health for Moody {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        if self.0.fetch_add(1, Ordering::Relaxed) < 2 {
            return Err(Status::unavailable("not yet"));
        }
        if request.get_ref().service != "database" {
            return Err(Status::not_found("no such service"));
        }
        let status = ServingStatus::Serving.into();
        Ok(Response::new(HealthCheckResponse { status }))
    }

    type WatchStream = stream::Empty<Result<HealthCheckResponse, Status>>;

    async fn watch(
        &self,
        _: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        Ok(Response::new(stream::empty()))
    }
}

async fn start_server() -> Result<(SocketAddr, Arc<AtomicU32>), Failure> {
    let asked = Arc::new(AtomicU32::new(0));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let server = Server::builder().add_service(HealthServer::new(Moody(asked.clone())));
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    Ok((address, asked))
}
