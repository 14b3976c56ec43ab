//! Keeps a stream of a gRPC server silent: see `tests/real-peers/grpc-pings`.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a command")]

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use session_layer::{Connector, Http2, PoolConfig, Session, SessionLayer, Timeouts};
use tower::{Layer, ServiceExt};

const SECOND: Duration = Duration::from_secs(1);

type Grpc = Session<Full<Bytes>>;

fn session(interval: Duration) -> Grpc {
    let http2 = Http2::default()
        .prior_knowledge(true)
        .keep_alive_interval(interval);
    SessionLayer::new(PoolConfig::default(), Timeouts::default().body_idle(None))
        .and_then(|layer| layer.http2(http2))
        .unwrap()
        .layer(Connector::new())
}

/// Opens a stream that stays silent; returns how long it lived, if it ended before `keep`.
async fn silent(session: &Grpc, server: &str, keep: Duration) -> Option<Duration> {
    let request = Request::post(format!("{server}/test.Silent/Wait"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::from(vec![0; 5]))
        .unwrap();
    let response = session.clone().oneshot(request).await.unwrap();
    let mut body = response.into_body();
    let first = body.frame().await.unwrap().unwrap();
    assert!(first.data_ref().is_some_and(|it| it.ends_with(b"first")));
    let began = Instant::now();
    let ended = tokio::time::timeout(keep, body.frame()).await;
    ended.ok().map(|_| began.elapsed())
}

#[tokio::main]
async fn main() {
    let server = std::env::args().nth(1).expect("the server's URL");

    let kept = session(11 * SECOND);
    let lived = silent(&kept, &server, 60 * SECOND).await;
    println!("a PING each 11 s, allowed each 10 s: ended after {lived:?}");
    assert!(lived.is_none(), "the stream was ended");

    let punished = session(3 * SECOND);
    let mut lengths = Vec::new();
    loop {
        let lived = silent(&punished, &server, 60 * SECOND).await;
        println!("a PING each 3 s at first: ended after {lived:?}");
        let Some(lived) = lived else {
            break;
        };
        lengths.push(lived);
        assert!(lengths.len() < 3, "it did not back off: {lengths:?}");
    }
    assert!(!lengths.is_empty(), "the server lets everything pass");
    assert!(
        lengths.is_sorted_by(|before, after| before < after),
        "{lengths:?}"
    );
}
