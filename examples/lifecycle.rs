//! An app with several resources: set up before it serves, torn down after it in reverse order,
//! whatever fails on the way.
//!
//! `cargo run --example lifecycle` makes a few requests to itself, stops, and then shows a start
//! that fails.

use std::{error::Error, io, net::SocketAddr, time::Duration};

use axum::{Router, extract::State, routing::get};
use client::Client;
use session_layer::Lifecycle;
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
    task::JoinError,
};

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    tracing_subscriber::fmt().without_time().init();
    run().await?;

    println!("and where a setup fails:");
    let mut lifecycle = Lifecycle::new();
    drop(open_journal(&mut lifecycle));
    // Only the journal is there by now, so only the journal is torn down.
    if let Err(error) = open_client(&mut lifecycle, "http://127.0.0.1:1/").await {
        println!(
            "  {error}: {}",
            error.source().map_or_else(String::new, ToString::to_string)
        );
    }
    Ok(())
}

async fn run() -> Result<(), Failure> {
    let upstream = start_upstream().await?;
    let mut lifecycle = Lifecycle::new().timeout(Duration::from_secs(10));

    // Set up: what stands before `yield` in aiohttp's `cleanup_ctx`.
    let journal = open_journal(&mut lifecycle);
    let client = open_client(&mut lifecycle, &format!("http://{upstream}/")).await?;

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (stop, stopped) = oneshot::channel::<()>();
    let app = Router::new()
        .route("/", get(handle))
        .with_state(App { client, journal });
    let visitor = tokio::spawn(async move {
        let visited = visit(address).await;
        // In a real app: `tokio::signal::ctrl_c()`.
        drop(stop);
        visited
    });
    axum::serve(listener, app)
        .with_graceful_shutdown(async {
            let _ = stopped.await;
        })
        .await?;

    // Tear down: what stands after `yield`. The client first, since what it does is written to the
    // journal.
    println!("the server has stopped");
    lifecycle.shutdown().await?;
    visitor.await?
}

/// What the handlers share.
#[derive(Clone)]
struct App {
    client: Client,
    journal: mpsc::Sender<String>,
}

async fn handle(State(app): State<App>) -> String {
    let answer = app.client.get("quote").fetch().await;
    let text = match answer.and_then(|answer| answer.text()) {
        Ok(text) => text,
        Err(error) => error.to_string(),
    };
    // The journal runs for as long as there is a sender.
    let _ = app.journal.send(text.clone()).await;
    text
}

/// A task that writes lines until the last sender is gone. It has to be waited for, so that no line is lost.
fn open_journal(lifecycle: &mut Lifecycle) -> mpsc::Sender<String> {
    let (journal, mut lines) = mpsc::channel::<String>(16);
    let task = tokio::spawn(async move {
        let mut written = 0;
        while lines.recv().await.is_some() {
            written += 1;
        }
        written
    });
    lifecycle.add("journal", async move {
        let written = task.await?;
        println!("  the journal is closed, lines written: {written}");
        Ok::<_, JoinError>(())
    });
    journal
}

/// A client whose upstream answers.
async fn open_client(
    lifecycle: &mut Lifecycle,
    base_url: &str,
) -> Result<Client, session_layer::SetupError> {
    let setup = async {
        let client = Client::builder().base_url(base_url)?.build()?;
        client.get("quote").fetch().await?.error_for_status()?;
        let teardown = {
            let client = client.clone();
            async move {
                let report = client.close().await;
                println!("  the client is closed");
                report
            }
        };
        Ok::<_, client::Error>((client, teardown))
    };
    lifecycle.setup("client", setup).await
}

/// A user of the app.
async fn visit(app: SocketAddr) -> Result<(), Failure> {
    let visitor = Client::new();
    for _ in 0..3 {
        let answer = visitor.get(format!("http://{app}/")).fetch().await?;
        println!("GET /: {}", answer.text()?);
    }
    visitor.close().await;
    Ok(())
}

/// Another service.
async fn start_upstream() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let router = Router::new().route("/quote", get(async || "ACME stands at 42"));
    tokio::spawn(axum::serve(listener, router).into_future());
    Ok(address)
}
