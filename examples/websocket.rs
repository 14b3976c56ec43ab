//! A WebSocket through the client: it makes the handshake, with its pool, timeouts and retries;
//! tokio-tungstenite speaks over the connection that comes of it.
//!
//! `cargo run --example websocket` talks to a server of its own, whose first answer is a 503.

use std::{
    error::Error,
    sync::atomic::{AtomicU32, Ordering},
};

use axum::{
    Router,
    extract::ws::{self, WebSocket, WebSocketUpgrade},
    response::{IntoResponse, Response},
    routing::get,
};
use client::Client;
use futures_util::{SinkExt, StreamExt};
use http::{
    StatusCode,
    header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE},
};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        handshake::{client::generate_key, derive_accept_key},
        protocol::Role,
    },
};

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/echo", listener.local_addr()?);
    let router = Router::new().route("/echo", get(echo));
    tokio::spawn(axum::serve(listener, router).into_future());

    let client = Client::new();
    let mut socket = connect(&client, &url).await?;
    for text in ["hello", "and again"] {
        socket.send(Message::text(text)).await?;
        let answer = socket.next().await.ok_or("it ended too early")??;
        println!("{text} -> {}", answer.into_text()?);
    }
    // The socket counts as one of the client's connections, but never goes back to be reused.
    println!("connections open: {}", client.stats().open);

    socket.close(None).await?;
    while let Some(message) = socket.next().await {
        println!("the last message: {:?}", message?);
    }
    drop(socket);
    let report = client.close().await;
    println!("closed; cut off: {}", report.aborted);
    Ok(())
}

/// Asks for a WebSocket ([RFC 6455, section 4.1](https://www.rfc-editor.org/rfc/rfc6455#section-4.1)).
/// The URL's scheme is `http` or `https` in place of `ws` or `wss`.
async fn connect(
    client: &Client,
    url: &str,
) -> Result<WebSocketStream<TokioIo<Upgraded>>, Failure> {
    let key = generate_key();
    let response = client
        .get(url)
        .header(CONNECTION, "upgrade")
        .header(UPGRADE, "websocket")
        .header(SEC_WEBSOCKET_VERSION, "13")
        .header(SEC_WEBSOCKET_KEY, &key)
        .send()
        .await?;
    println!("{} {}", response.status(), response.retry_report());
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(format!("the server does not switch: {}", response.status()).into());
    }
    // So an answer from a cache, or by who knows nothing of WebSockets, is told apart.
    let accepted = response.headers().get(SEC_WEBSOCKET_ACCEPT);
    if accepted.is_none_or(|it| it != derive_accept_key(key.as_bytes()).as_str()) {
        return Err("the server answers to another handshake".into());
    }
    let io = hyper::upgrade::on(response.into_inner()).await?;
    Ok(WebSocketStream::from_raw_socket(TokioIo::new(io), Role::Client, None).await)
}

async fn echo(upgrade: WebSocketUpgrade) -> Response {
    static ASKED: AtomicU32 = AtomicU32::new(0);

    if ASKED.fetch_add(1, Ordering::Relaxed) == 0 {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    upgrade.on_upgrade(async |mut socket: WebSocket| {
        while let Some(Ok(message)) = socket.recv().await {
            // The library answers a close by itself.
            if !matches!(message, ws::Message::Close(_)) && socket.send(message).await.is_err() {
                break;
            }
        }
    })
}
