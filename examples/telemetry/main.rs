//! Metrics for Prometheus: a client calls a server of its own that is slow and fails at times, and what
//! Prometheus would scrape is printed. A service serves that text at `/metrics` instead.
//!
//! `dashboard.json` beside this file is a dashboard for Grafana over these metrics; import it there.

use std::{
    error::Error,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::{Router, http::StatusCode, routing::get};
use client::{Client, PoolConfig, telemetry::METRICS};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusRecorder};
use tokio::{net::TcpListener, task::JoinSet, time::sleep};

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let recorder = recorder()?;
    let exposition = recorder.handle();
    metrics::set_global_recorder(recorder)?;
    work().await?;
    print!("{}", exposition.render());
    Ok(())
}

/// A recorder with the buckets that the client recommends. The names that it makes are those that an
/// OpenTelemetry exporter would make too: `http_client_call_duration_seconds`.
fn recorder() -> Result<PrometheusRecorder, BuildError> {
    let mut builder = PrometheusBuilder::new().with_recommended_naming(true);
    for metric in METRICS {
        if !metric.buckets().is_empty() {
            let name = Matcher::Full(metric.name().to_owned());
            builder = builder.set_buckets_for_metric(name, metric.buckets())?;
        }
    }
    Ok(builder.build_recorder())
}

async fn work() -> Result<(), Failure> {
    let server = start_server().await?;
    let client = Client::builder()
        .base_url(format!("http://{server}/"))?
        .record_metrics()
        .pool(PoolConfig::default().max_connections_per_origin(4))
        .build()?;
    let mut calls = JoinSet::new();
    for id in 0..20 {
        let client = client.clone();
        calls.spawn(async move {
            let user = client
                .get(format!("users/{id}"))
                // One series for all users.
                .url_template("/users/{id}")
                .fetch();
            user.await.map(|response| response.status())
        });
    }
    while let Some(call) = calls.join_next().await {
        call??;
    }
    // The call of this request was dropped.
    let slow = client.get("slow").url_template("/slow").fetch();
    let _ = tokio::time::timeout(Duration::from_millis(50), slow).await;
    client
        .get("missing")
        .url_template("/missing")
        .fetch()
        .await?;
    client.close().await;
    Ok(())
}

async fn start_server() -> Result<SocketAddr, Failure> {
    let requests = Arc::new(AtomicU32::new(0));
    // One of three is refused.
    let user = move || {
        let number = requests.fetch_add(1, Ordering::Relaxed);
        async move {
            sleep(Duration::from_millis(5)).await;
            match number % 3 {
                1 => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
                _ => (StatusCode::OK, "a user"),
            }
        }
    };
    let app = Router::new()
        .route("/users/{id}", get(user))
        .route("/slow", get(|| sleep(Duration::from_secs(60))));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(address)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    /// The names of all series in what Prometheus scrapes.
    fn series(exposition: &str) -> BTreeSet<String> {
        let lines = exposition.lines().filter(|line| !line.starts_with('#'));
        let names = lines.map(|line| line.split(['{', ' ']).next().unwrap_or_default());
        names
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect()
    }

    /// Every query of a dashboard, wherever it stands.
    fn queries(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    match value {
                        Value::String(query) if ["expr", "query"].contains(&&**name) => {
                            found.push(query.clone());
                        }
                        other => queries(other, found),
                    }
                }
            }
            Value::Array(values) => values.iter().for_each(|value| queries(value, found)),
            _ => {}
        }
    }

    #[tokio::test]
    async fn the_dashboard_asks_for_what_is_printed_and_for_all_of_it() {
        let recorder = recorder().unwrap();
        let exposition = {
            let _guard = metrics::set_default_local_recorder(&recorder);
            work().await.unwrap();
            recorder.handle().render()
        };
        let printed = series(&exposition);
        let dashboard: Value = serde_json::from_str(include_str!("dashboard.json")).unwrap();
        let mut asked = Vec::new();
        queries(&dashboard, &mut asked);
        let is_ours = |word: &&str| word.starts_with("http_client_") || word.starts_with("retry_");
        let words = asked.iter().flat_map(|query| {
            query.split(|char: char| !(char.is_ascii_alphanumeric() || char == '_'))
        });
        // Labels have no prefix of ours but these.
        let labels = ["retry_stop", "retry_previous"];
        let words = words.filter(is_ours).filter(|word| !labels.contains(word));
        let asked: BTreeSet<_> = words.map(str::to_owned).collect();
        let unknown: Vec<_> = asked.difference(&printed).collect();
        assert!(unknown.is_empty(), "{unknown:?} of {printed:#?}");

        // And each metric has a panel.
        for metric in METRICS {
            let name = metric.name().replace('.', "_");
            assert!(asked.iter().any(|it| it.starts_with(&name)), "{name}");
        }
        // Histograms have the buckets of the table.
        for metric in METRICS.iter().filter(|it| !it.buckets().is_empty()) {
            let name = metric.name().replace('.', "_");
            let is_bucket = |line: &&str| line.starts_with(&name) && line.contains("_bucket{");
            let bucket = exposition.lines().find(is_bucket);
            let least = format!("le=\"{}\"", metric.buckets()[0]);
            assert!(
                bucket.is_some_and(|line| line.contains(&least)),
                "{name}: {bucket:?}"
            );
        }
    }
}
