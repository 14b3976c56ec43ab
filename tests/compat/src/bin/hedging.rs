//! GETs to a server that is slow in one of a hundred, by a client that hedges them and by one that does not.
//!
//! `tests/real-peers/hedging` starts the server and runs this; the arguments are its origins over HTTP/1 and over
//! HTTP/2 without TLS. The server logs each request, by which the script knows how many have come.

use std::{env, error::Error, process::ExitCode, time::Duration};

use client::{Client, Http2, retry_layer::hedge::Hedging};
use tokio::{runtime::Builder, task::JoinSet, time::Instant};

type Failure = Box<dyn Error + Send + Sync>;

/// Calls that count, after those of which the delay is learned.
const CALLS: usize = 6_000;
const FIRST_CALLS: usize = 400;
/// So many callers make one call after the other.
const CALLERS: usize = 20;

fn main() -> Result<ExitCode, Failure> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let [http1, http2] = arguments.as_slice() else {
        return Err("usage: hedging HTTP1_ORIGIN HTTP2_ORIGIN".into());
    };
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let mut holds = true;
    for (name, origin, knows) in [("HTTP/1", http1, false), ("HTTP/2", http2, true)] {
        let builder = || Client::builder().http2(Http2::default().prior_knowledge(knows));
        let hedged = builder().hedge(Hedging::learned()).build()?;
        let plain = runtime.block_on(slowest(&builder().build()?, origin, "plain"))?;
        let (fast, open) = runtime.block_on(async {
            let fast = slowest(&hedged, origin, "hedged").await?;
            // What the losers leave is closed, or reset, when their calls are over.
            tokio::time::sleep(Duration::from_millis(100)).await;
            let stats = hedged.stats();
            Ok::<_, Failure>((fast, (stats.in_use, stats.streams, stats.waiting)))
        })?;
        println!(
            "{name}: the slowest hundredth took {plain:?} on average, and {fast:?} with hedges; in use afterwards: {open:?}"
        );
        holds &= fast * 5 <= plain && open == (0, 0, 0);
    }
    Ok(if holds {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// How long the slowest hundredth of the calls took on average.
async fn slowest(client: &Client, origin: &str, path: &str) -> Result<Duration, Failure> {
    calls(client, &format!("{origin}/first"), FIRST_CALLS).await?;
    let mut took = calls(client, &format!("{origin}/{path}"), CALLS).await?;
    took.sort_unstable();
    let slowest = took.iter().rev().take(CALLS / 100);
    let sum: Duration = slowest.sum();
    Ok(sum / u32::try_from(CALLS / 100)?)
}

async fn calls(client: &Client, url: &str, count: usize) -> Result<Vec<Duration>, Failure> {
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let (client, url) = (client.clone(), url.to_owned());
        callers.spawn(async move {
            let mut took = Vec::new();
            for _ in 0..count / CALLERS {
                let began = Instant::now();
                let response = client.get(&*url).fetch().await?;
                if response.status() != 200 {
                    return Err(format!("{url} answered {}", response.status()).into());
                }
                took.push(began.elapsed());
            }
            Ok::<_, Failure>(took)
        });
    }
    let mut all = Vec::new();
    while let Some(took) = callers.join_next().await {
        all.extend(took??);
    }
    Ok(all)
}
