//! A reverse proxy in axum: streams both ways, keeps to its caller's deadline, and passes on what is
//! meant for the other end only.
//!
//! `cargo run --example axum_proxy` puts it between a visitor and an upstream of its own, and stops.

use std::{error::Error, net::SocketAddr, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, Request, State},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use bytes::Bytes;
use client::Client;
use futures_util::stream;
use http::{HeaderMap, HeaderName};
use tokio::{net::TcpListener, sync::mpsc, time::Instant};

type Failure = Box<dyn Error + Send + Sync>;

/// How long the caller waits, in milliseconds; as Envoy calls it.
const PATIENCE: HeaderName = HeaderName::from_static("x-envoy-expected-rq-timeout-ms");
const LONGEST: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let upstream = serve(upstream()).await?;
    let client = Client::builder()
        .base_url(format!("http://{upstream}/"))?
        .build()?;
    let proxy = serve(Router::new().fallback(forward).with_state(client.clone())).await?;
    visit(proxy).await?;
    client.close().await;
    Ok(())
}

/// Sends a request on. Its body streams; it is sent again only as long as it can be. Redirects,
/// cookies and encoded bodies are the caller's, and an upgrade is passed through.
async fn forward(
    State(client): State<Client>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    let patience = patience(request.headers());
    let forwarding = client.forward(request).timeout(patience);
    let forwarding = forwarding.peer(peer.ip()).forwarded().via("proxy");
    match forwarding.send().await {
        Ok(response) => response.map(Body::new),
        Err(error) => {
            println!("  the proxy: {error}");
            error.gateway_status().into_response()
        }
    }
}

/// A caller may wait for less than the proxy would, never for longer.
fn patience(headers: &HeaderMap) -> Duration {
    let wanted = headers.get(PATIENCE).and_then(|it| it.to_str().ok());
    let wanted = wanted.and_then(|it| it.parse().ok());
    wanted.map_or(LONGEST, |it| Duration::from_millis(it).min(LONGEST))
}

fn upstream() -> Router {
    Router::new()
        .route("/echo", post(async |body: Body| body))
        .route("/slow", get(std::future::pending::<()>))
        .route(
            "/headers",
            get(async |headers: HeaderMap| format!("{headers:?}")),
        )
}

async fn visit(proxy: SocketAddr) -> Result<(), Failure> {
    let base = format!("http://{proxy}/");
    let visitor = Client::builder().base_url(base)?.no_user_agent().build()?;

    // Each piece is sent when the one before has come back, so nothing on the way waits for the end.
    let (sender, mut receiver) = mpsc::channel::<Result<Bytes, Failure>>(1);
    let body = client::Body::stream(stream::poll_fn(move |cx| receiver.poll_recv(cx)));
    sender.send(Ok(Bytes::from_static(b"piece 0"))).await?;
    let mut echo = visitor.post("echo").body(body).send().await?.stream();
    for number in 1..=3 {
        let piece = echo.next().await.transpose()?.unwrap_or_default();
        println!("back came: {}", String::from_utf8_lossy(&piece));
        let next = Bytes::from(format!("piece {number}"));
        sender.send(Ok(next)).await?;
    }
    drop(sender);
    while echo.next().await.transpose()?.is_some() {}

    let begun = Instant::now();
    let slow = visitor.get("slow").header(PATIENCE, "200").no_retry();
    let status = slow.fetch().await?.status();
    println!("a slow answer: {status} after {:.0?}", begun.elapsed());

    let request = visitor.get("headers").header("x-kept", "1");
    let request = request
        .header("connection", "x-dropped")
        .header("x-dropped", "1");
    println!("the upstream saw: {}", request.fetch().await?.text()?);
    visitor.close().await;
    Ok(())
}

async fn serve(router: Router) -> Result<SocketAddr, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let router = router.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(axum::serve(listener, router).into_future());
    Ok(address)
}
