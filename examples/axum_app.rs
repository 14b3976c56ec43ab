//! A client that lives as long as the app: opened before it serves, shared by its handlers, closed
//! when it ends.
//!
//! `cargo run --example axum_app` makes a few requests to itself, and stops.
//! `cargo run --example axum_app -- --serve 127.0.0.1:8080` serves until ctrl-c.

use std::{
    env,
    error::Error,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{Query, State},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use client::Client;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use tokio::{net::TcpListener, signal, sync::Notify};

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (address, stay) = match arguments[..] {
        [] => ("127.0.0.1:0", false),
        ["--serve", address] => (address, true),
        _ => return Err("usage: cargo run --example axum_app [-- --serve ADDR]".into()),
    };
    let upstream = Upstream::start().await?;

    // Set up: what stood before `yield` in aiohttp's `cleanup_ctx`.
    let client = Client::builder()
        .base_url(format!("http://{}/", upstream.address))?
        .build()?;

    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    println!(
        "the app is at http://{address}, its upstream at http://{}",
        upstream.address
    );

    axum::serve(listener, app(client.clone()))
        .with_graceful_shutdown(async move {
            let ended = if stay {
                println!("try http://{address}/quote?symbol=ACME; ctrl-c stops");
                signal::ctrl_c().await.map_err(Failure::from)
            } else {
                visit(address, &upstream).await
            };
            if let Err(error) = ended {
                eprintln!("error: {error}");
            }
            println!("stopping");
        })
        .await?;

    // Tear down: what stood after `yield`. All handlers have returned by now; what they left
    // behind in tasks of their own may still be under way.
    let in_use = client.stats().in_use;
    println!("the server has stopped; closing the client, connections in use: {in_use}");
    let report = client.close().await;
    println!(
        "closed; of what was in flight {} finished, {} cut off",
        report.finished, report.aborted
    );
    if let Err(error) = client.get("quote").fetch().await {
        println!("from now on: {error}");
    }
    Ok(())
}

fn app(client: Client) -> Router {
    Router::new()
        .route("/quote", get(quote))
        .route("/orders", post(order))
        .with_state(client)
}

#[derive(Deserialize, Serialize)]
struct Symbol {
    symbol: String,
}

/// Asks the upstream while its own caller waits.
async fn quote(
    State(client): State<Client>,
    Query(wanted): Query<Symbol>,
) -> Result<String, BadGateway> {
    let answer = client.get("quote").query(&wanted).fetch().await?;
    let answer = answer.error_for_status()?;
    let attempts = answer.retry_report().attempts().len();
    Ok(format!("{} (attempt {attempts})", answer.text()?))
}

/// The upstream's failure is not the fault of who asks this app.
struct BadGateway(client::Error);

impl From<client::Error> for BadGateway {
    fn from(error: client::Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for BadGateway {
    fn into_response(self) -> Response {
        eprintln!("error: {}", self.0);
        StatusCode::BAD_GATEWAY.into_response()
    }
}

/// Tells the upstream after its own caller has been answered.
async fn order(State(client): State<Client>, Json(order): Json<Symbol>) -> StatusCode {
    tokio::spawn(async move {
        let told = client.post("audit").json(&order).idempotent().fetch().await;
        match told {
            Ok(answer) => println!("  the audit has it: {}", answer.status()),
            Err(error) => eprintln!("  the audit does not have it: {error}"),
        }
    });
    StatusCode::ACCEPTED
}

/// A user of the app, who leaves while an audit is under way.
async fn visit(app: SocketAddr, upstream: &Upstream) -> Result<(), Failure> {
    let visitor = Client::builder()
        .base_url(format!("http://{app}/"))?
        .build()?;
    for symbol in ["ACME", "R&D", "ACME"] {
        let query = [("symbol", symbol)];
        let answer = visitor.get("quote").query(&query).fetch().await?;
        println!(
            "  GET /quote for {symbol}: {} {}",
            answer.status(),
            answer.text()?
        );
    }
    let order = Symbol {
        symbol: "ACME".to_owned(),
    };
    let answer = visitor.post("orders").json(&order).fetch().await?;
    println!("  POST /orders: {}", answer.status());
    upstream.audit_begun.notified().await;
    visitor.close().await;
    Ok(())
}

/// Another service, which is not always well.
struct Upstream {
    address: SocketAddr,
    audit_begun: Arc<Notify>,
}

impl Upstream {
    async fn start() -> Result<Self, Failure> {
        let audit_begun = Arc::new(Notify::new());
        let begun = audit_begun.clone();
        let asked = Arc::new(AtomicU32::new(0));
        let price = async move |Query(Symbol { symbol }): Query<Symbol>| {
            if asked.fetch_add(1, Ordering::Relaxed) == 0 {
                return Err(StatusCode::SERVICE_UNAVAILABLE);
            }
            Ok(format!("{symbol} stands at 42"))
        };
        let audit = async move || {
            begun.notify_one();
            tokio::time::sleep(Duration::from_millis(300)).await;
            StatusCode::CREATED
        };
        let router = Router::new()
            .route("/quote", get(price))
            .route("/audit", post(audit));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        tokio::spawn(axum::serve(listener, router).into_future());
        Ok(Self {
            address,
            audit_begun,
        })
    }
}
