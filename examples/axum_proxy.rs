//! A reverse proxy in axum: streams both ways, keeps to its caller's deadline, and passes on what is
//! meant for the other end only.
//!
//! `cargo run --example axum_proxy` puts it between a visitor and an upstream of its own, and stops.

use std::{error::Error, net::SocketAddr, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use bytes::Bytes;
use client::{Client, Redirects};
use futures_util::stream;
use http::{
    HeaderMap, HeaderName, StatusCode,
    header::{CONNECTION, HOST},
};
use tokio::{net::TcpListener, sync::mpsc, time::Instant};

type Failure = Box<dyn Error + Send + Sync>;

/// How long the caller waits, in milliseconds; as Envoy calls it.
const PATIENCE: HeaderName = HeaderName::from_static("x-envoy-expected-rq-timeout-ms");
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
const LONGEST: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let upstream = serve(upstream()).await?;
    // Redirects and encoded bodies are the caller's; a proxy hands them on as they are.
    let client = Client::builder()
        .base_url(format!("http://{upstream}/"))?
        .redirects(Redirects::none())
        .decompression(false)
        .no_user_agent()
        .build()?;
    let proxy = serve(Router::new().fallback(forward).with_state(client.clone())).await?;
    visit(proxy).await?;
    client.close().await;
    Ok(())
}

/// Sends a request on. Its body streams; it is sent again only as long as it can be.
async fn forward(State(client): State<Client>, mut request: Request) -> Response {
    let patience = patience(request.headers());
    drop_hop_by_hop(request.headers_mut());
    // The upstream's own name comes in its place.
    request.headers_mut().remove(HOST);
    match client.request_from(request).timeout(patience).send().await {
        Ok(response) => {
            let mut response = response.into_inner().map(Body::new);
            drop_hop_by_hop(response.headers_mut());
            response
        }
        Err(error) => {
            println!("  the proxy: {error}");
            let status = if error.is_timeout() {
                StatusCode::GATEWAY_TIMEOUT
            } else {
                StatusCode::BAD_GATEWAY
            };
            status.into_response()
        }
    }
}

/// A caller may wait for less than the proxy would, never for longer.
fn patience(headers: &HeaderMap) -> Duration {
    let wanted = headers.get(PATIENCE).and_then(|it| it.to_str().ok());
    let wanted = wanted.and_then(|it| it.parse().ok());
    wanted.map_or(LONGEST, |it| Duration::from_millis(it).min(LONGEST))
}

/// What is for one connection only
/// ([RFC 9110, section 7.6.1](https://www.rfc-editor.org/rfc/rfc9110#section-7.6.1)).
fn drop_hop_by_hop(headers: &mut HeaderMap) {
    let named = headers.get_all(CONNECTION).iter();
    let named = named
        .filter_map(|value| value.to_str().ok())
        .collect::<Vec<_>>();
    for name in named.join(",").split(',').chain(HOP_BY_HOP) {
        headers.remove(name.trim());
    }
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
    tokio::spawn(axum::serve(listener, router).into_future());
    Ok(address)
}
