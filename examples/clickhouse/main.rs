//! A small typed client for `ClickHouse`: inserts in batches that are safe to send twice, rows as
//! they come, and errors wherever `ClickHouse` puts them.
//!
//! `cargo run --example clickhouse` starts a server of its own that knows just enough, and needs no
//! network.
//! `cargo run --example clickhouse -- URL` uses a real one, for instance `http://127.0.0.1:8123/`.
//! It makes a table of its own there, and drops it.

mod error;
mod fake;
mod rows;
mod warehouse;

use std::{env, error::Error, process, time::Instant};

use serde::{Deserialize, Serialize};

use self::{
    fake::FakeServer,
    warehouse::{Config, Warehouse},
};

type Failure = Box<dyn Error + Send + Sync>;

/// What an app would read from a file. 500 is not among the statuses: `ClickHouse` answers so to a
/// query that is wrong, and it will be as wrong the next time.
const CONFIG: &str = r#"{
    "batch_rows": 400,
    "http": {
        "user_agent": "clickhouse-example",
        "deadline": "2m",
        "retry": {
            "max_attempts": 4,
            "statuses": [429, 502, 503, 504],
            "backoff": { "base": "50ms" }
        },
        "pool": { "max_connections_per_origin": 8, "idle_timeout": "2500ms" }
    }
}"#;

#[derive(Debug, Deserialize, Serialize)]
struct Visit {
    id: u64,
    page: String,
}

#[derive(Deserialize)]
struct Quotient {
    number: u64,
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (url, fake) = match &arguments[..] {
        [] => {
            let fake = FakeServer::start().await?;
            (fake.url(), Some(fake))
        }
        [url] if !url.starts_with('-') => (url.clone(), None),
        _ => return Err("usage: cargo run --example clickhouse [-- URL]".into()),
    };
    let config: Config = serde_json::from_str(CONFIG)?;
    let warehouse = Warehouse::connect(config, &url).await?;
    println!("ClickHouse {} at {url}", warehouse.version());

    // Its own, so that two runs do not meet.
    let table = format!("example_visits_{}", process::id());
    let shown = show(&warehouse, &table).await;
    warehouse
        .execute(&format!("DROP TABLE IF EXISTS {table}"))
        .await?;
    shown?;
    if let Some(fake) = fake {
        println!("the server got {}", fake.summary());
    }
    warehouse.close().await;
    Ok(())
}

async fn show(warehouse: &Warehouse, table: &str) -> Result<(), Failure> {
    warehouse
        .create_table(table, "id UInt64, page String", "id")
        .await?;

    let visits = |count| {
        (0..count).map(|id| Visit {
            id,
            page: format!("/{}", id % 7),
        })
    };
    // The same load twice, as after a crash: the second one changes nothing where the server knows
    // tokens.
    for attempt in ["first", "second"] {
        let load = warehouse
            .insert(table, "visits-2026-01-01", visits(1000))
            .await?;
        println!(
            "{attempt} load: {} rows in {} batches, sent {} times",
            load.rows, load.batches, load.attempts
        );
        if !warehouse.knows_tokens() {
            println!("this server knows no tokens, so the load is not repeated");
            break;
        }
    }

    let begun = Instant::now();
    let mut rows = warehouse
        .select::<Visit>(&format!("SELECT id, page FROM {table} ORDER BY id"))
        .await?;
    let (mut count, mut last) = (0, None);
    while let Some(row) = rows.next().await.transpose()? {
        count += 1;
        last = Some(row);
    }
    println!("{count} rows in {:.1?}, the last {last:?}", begun.elapsed());

    // Wrong from the start: told by the status and a header.
    match warehouse
        .select::<Visit>("SELECT id, page FROM nowhere")
        .await
    {
        Ok(_) => return Err("there is no such table".into()),
        Err(error) => println!("no table:   {error}"),
    }

    // Wrong after a while: the status was 200 by then.
    let query = "SELECT number, intDiv(1, 200000 - toInt64(number)) AS q FROM system.numbers";
    let mut rows = warehouse.select::<Quotient>(query).await?;
    let mut last = None;
    let error = loop {
        match rows.next().await {
            Some(Ok(row)) => last = Some(row.number),
            Some(Err(error)) => break error,
            None => return Err("the error was not seen".into()),
        }
    };
    println!("mid-stream: {error}, after row {last:?}");
    Ok(())
}
