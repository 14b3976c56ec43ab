//! Asks a server of hostile answers, and prints what came of each.
//!
//! `tests/real-peers/hostile` runs this. The arguments are `session` or `client`, and the server's origin; each line of the
//! standard input is the number of a case and a method. For each case a pool of its own asks for `/c/<number>`, and
//! then for `/next/<number>`, which it does over the same connection if it thinks that it may. Prints the number, and
//! both outcomes: `ok <status> <body in hexadecimal>`, or `error <kind>`, parted by tabs.
#![allow(clippy::print_stdout, reason = "its output is what it is for")]

use std::{env, error::Error, fmt::Write as _, io, sync::Arc, time::Duration};

use bytes::Bytes;
use client::Client;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use session_layer::{Connector, PoolConfig, Session, SessionLayer, Timeouts};
use tokio::{sync::Semaphore, task::JoinSet, time::timeout};
use tower::{Layer, ServiceExt};

type BoxError = Box<dyn Error + Send + Sync>;

const AT_ONCE: usize = 16;

/// What a client waits for bytes; all clients of the comparison wait as long.
const WAIT: Duration = Duration::from_millis(1_500);

/// Far longer: whoever has no outcome then hangs.
const PATIENCE: Duration = Duration::from_secs(15);

#[derive(Clone)]
enum Asker {
    Session(Session<Full<Bytes>>),
    Client(Client),
}

impl Asker {
    fn new(kind: &str) -> Result<Self, BoxError> {
        let timeouts = Timeouts::default().head(WAIT).body_idle(WAIT);
        let pool = PoolConfig::default();
        Ok(match kind {
            "session" => {
                let layer = SessionLayer::new(pool, timeouts)?;
                Self::Session(layer.layer(Connector::new()))
            }
            "client" => Self::Client(Client::builder().pool(pool).timeouts(timeouts).build()?),
            _ => return Err("usage: hostile session|client ORIGIN".into()),
        })
    }

    async fn ask(&self, method: Method, url: &str) -> Result<(u16, Bytes), BoxError> {
        match self {
            Self::Session(session) => {
                let request = Request::builder().method(method).uri(url);
                let request = request.body(Full::default())?;
                let response = session.clone().oneshot(request).await?;
                let status = response.status().as_u16();
                Ok((status, response.into_body().collect().await?.to_bytes()))
            }
            Self::Client(client) => {
                let response = client.request(method, url).no_retry().send().await?;
                let status = response.status().as_u16();
                Ok((status, response.bytes().await?))
            }
        }
    }

    async fn outcome(&self, method: Method, url: &str) -> String {
        let asked = tokio::spawn({
            let (asker, url) = (self.clone(), url.to_owned());
            async move { asker.ask(method, &url).await }
        });
        match timeout(PATIENCE, asked).await {
            Err(_) => "hang".to_owned(),
            Ok(Err(panic)) => format!("panic {panic}"),
            Ok(Ok(Err(error))) => format!("error {error}").replace(['\t', '\n'], " "),
            Ok(Ok(Ok((status, body)))) => format!("ok {status} {}", hex(&body)),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let [kind, origin] = arguments.as_slice() else {
        return Err("usage: hostile session|client ORIGIN".into());
    };
    let room = Arc::new(Semaphore::new(AT_ONCE));
    let mut cases = JoinSet::new();
    for line in io::stdin().lines() {
        let line = line?;
        let (number, method) = line
            .split_once(' ')
            .ok_or("a line is a number and a method")?;
        let (number, method) = (number.to_owned(), Method::from_bytes(method.as_bytes())?);
        let asker = Asker::new(kind)?;
        let (room, origin) = (room.clone(), origin.clone());
        cases.spawn(async move {
            let _room = room.acquire().await;
            let first = asker.outcome(method, &format!("{origin}/c/{number}")).await;
            let next = format!("{origin}/next/{number}");
            let next = asker.outcome(Method::GET, &next).await;
            println!("{number}\t{first}\t{next}");
        });
    }
    while let Some(case) = cases.join_next().await {
        case?;
    }
    Ok(())
}
