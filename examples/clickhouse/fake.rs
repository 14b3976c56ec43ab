//! A server that knows the few queries of this example, and answers them as `ClickHouse` 25.11
//! does.

use std::{
    collections::{HashMap, HashSet},
    fmt::Write as _,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    Router,
    extract::{Query, State},
    response::{IntoResponse, Response},
    routing::get,
};
use http::StatusCode;
use tokio::net::TcpListener;

pub(crate) struct FakeServer {
    address: SocketAddr,
    stored: Stored,
}

#[derive(Clone, Default)]
struct Stored(Arc<Mutex<Table>>);

#[derive(Default)]
struct Table {
    rows: String,
    tokens: HashSet<String>,
    repeated: usize,
}

type Parameters = Query<HashMap<String, String>>;

impl FakeServer {
    pub(crate) async fn start() -> io::Result<Self> {
        let stored = Stored::default();
        let router = Router::new()
            .route("/", get(select).post(change))
            .with_state(stored.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        tokio::spawn(axum::serve(listener, router).into_future());
        Ok(Self { address, stored })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    pub(crate) fn summary(&self) -> String {
        let table = self.stored.lock();
        format!(
            "{} batches, and {} times one that it had already",
            table.tokens.len(),
            table.repeated
        )
    }
}

impl Stored {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn select(State(stored): State<Stored>, Query(parameters): Parameters) -> Response {
    let query = parameters.get("query").map_or("", String::as_str);
    if query.contains("version()") {
        return "{\"version\":\"25.11, a fake\",\"tokens\":1}\n".into_response();
    }
    if query.contains("FROM nowhere") {
        let code = [("x-clickhouse-exception-code", "60")];
        let text = "Code: 60. DB::Exception: Unknown table 'nowhere'. (UNKNOWN_TABLE)\n";
        return (StatusCode::NOT_FOUND, code, text).into_response();
    }
    if query.contains("FROM system.numbers") {
        return fail_after_rows();
    }
    stored.lock().rows.clone().into_response()
}

/// The head says 200, since all was well when it was written.
fn fail_after_rows() -> Response {
    const TAG: &str = "kqvxjwbnzyhtrmcd";
    const MESSAGE: &str = "Code: 153. DB::Exception: Division by zero. (ILLEGAL_DIVISION)";

    let mut body = String::new();
    for number in 0..200_000 {
        let _ = writeln!(body, "{{\"number\":{number},\"q\":0}}");
    }
    let _ = write!(
        body,
        "\r\n__exception__\r\n{TAG}\r\n{MESSAGE}\n{} {TAG}\r\n__exception__\r\n",
        MESSAGE.len()
    );
    ([("x-clickhouse-exception-tag", TAG)], body).into_response()
}

async fn change(
    State(stored): State<Stored>,
    Query(parameters): Parameters,
    body: String,
) -> StatusCode {
    // A CREATE or a DROP: there is one table, whatever its name.
    let Some(token) = parameters.get("insert_deduplication_token") else {
        return StatusCode::OK;
    };
    let mut table = stored.lock();
    if !table.tokens.insert(token.clone()) {
        table.repeated += 1;
        return StatusCode::OK;
    }
    table.rows.push_str(&body);
    // Executed, but the first caller gets no response.
    if table.tokens.len() == 1 {
        StatusCode::SERVICE_UNAVAILABLE
    } else {
        StatusCode::OK
    }
}
