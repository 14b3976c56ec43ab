//! Connections that break, and what that means to requests which have nothing to do with it.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use client::Client;
use h2::{Reason, server::Builder};
use http::Uri;
use retry_layer::{Exponential, RetryPolicy, budget};
use session_layer::{Http2, PoolConfig, Timeouts};
use test_suite::{BytesSession, fetch, get};
use test_support::http2::{Peer, Stream};
use tokio::{sync::Semaphore, task::JoinSet};
use tower::{Layer, service_fn};

use crate::http2::faults::{
    frames::{DATA, Frames, HEADERS, PUSH_PROMISE, SETTINGS, WINDOW_UPDATE, allow, behave, frame},
    pipe::Pipe,
    sweeps::layer,
};

/// What breaks the rules of a connection, and has nothing to do with any request.
fn violations() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("data for stream 0", frame(DATA, 0, 0, b"x")),
        (
            "a block that is no HPACK",
            frame(HEADERS, 4, 5, &[0xff; 20]),
        ),
        ("a push", frame(PUSH_PROMISE, 4, 1, &[0, 0, 0, 2, 0x82])),
        ("settings of five bytes", frame(SETTINGS, 0, 0, &[0; 5])),
        ("a frame above the limit", frame(DATA, 0, 1, &[0; 16_385])),
        (
            "a window that overflows",
            frame(WINDOW_UPDATE, 0, 0, &0x7fff_ffff_u32.to_be_bytes()),
        ),
    ]
}

/// The first connection takes three requests, and then breaks the rules; the others behave.
async fn break_rules(io: tokio::io::DuplexStream, violation: Vec<u8>) {
    let mut frames = Frames::accept(io).await.unwrap();
    frames.write(&allow(100)).await;
    let mut requests = 0;
    while requests < 3 {
        let Some(it) = frames.next().await else {
            return;
        };
        requests += usize::from(it.kind == HEADERS);
    }
    frames.write(&violation).await;
    while frames.next().await.is_some() {}
}

fn connector(
    violation: &[u8],
) -> impl tower::Service<
    Uri,
    Response = Pipe<hyper_util::rt::TokioIo<tokio::io::DuplexStream>>,
    Error = io::Error,
    Future: Send + 'static,
> + Clone
+ Send
+ Sync
+ 'static {
    let made = Arc::new(AtomicUsize::new(0));
    let violation = violation.to_vec();
    service_fn(move |_: Uri| {
        let (near, far) = Pipe::whole();
        if made.fetch_add(1, SeqCst) == 0 {
            tokio::spawn(break_rules(far, violation.clone()));
        } else {
            tokio::spawn(behave(far));
        }
        async { Ok::<_, io::Error>(near) }
    })
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_breaks_the_rules_breaks_all_its_requests() {
    for (what, violation) in violations() {
        let session: BytesSession =
            layer(PoolConfig::default(), Timeouts::default()).layer(connector(&violation));
        let mut calls = JoinSet::new();
        for _ in 0..3 {
            let session = session.clone();
            calls.spawn(async move { fetch(&session, get("http://peer/")).await });
        }
        while let Some(answered) = calls.join_next().await {
            let error = answered.unwrap().unwrap_err();
            assert!(
                error.is_broken() && !error.is_protocol(),
                "{what}: {error:?}"
            );
            assert!(!error.is_unsent(), "{what}: {error:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn requests_on_a_connection_that_breaks_the_rules_are_sent_again() {
    for (what, violation) in violations() {
        let client = Client::builder()
            .http2(Http2::default().prior_knowledge(true))
            .build_with_connector(connector(&violation))
            .unwrap();
        let mut calls = JoinSet::new();
        for _ in 0..3 {
            let client = client.clone();
            calls.spawn(async move { client.get("http://peer/").fetch().await });
        }
        while let Some(answered) = calls.join_next().await {
            let answered = answered.unwrap();
            assert!(answered.is_ok(), "{what}: {answered:?}");
        }
    }
}

const CALLS: usize = 500;
const IN_FLIGHT: usize = 24;

/// Refuses, resets, goes away, and answers, by the number of the request.
async fn churn(stream: Stream, number: usize) {
    match number % 20 {
        0..=2 => stream.refuse(),
        3 | 4 => stream.reset(Reason::INTERNAL_ERROR),
        5 => stream.reset(Reason::CANCEL),
        6 => {
            stream.go_away();
            stream.answer(200, "fine");
        }
        7 if number % 3 == 0 => stream.abort(Reason::INTERNAL_ERROR),
        8 => stream.hold().await,
        9 | 10 => {
            tokio::time::sleep(Duration::from_millis(3)).await;
            stream.answer(200, vec![b'x'; 40_000]);
        }
        _ => {
            tokio::task::yield_now().await;
            stream.answer(200, "fine");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_idempotent_call_is_lost_while_connections_come_and_go() {
    let number = Arc::new(AtomicUsize::new(0));
    let peer = Peer::new(Builder::new(), move |stream: Stream| {
        churn(stream, number.fetch_add(1, SeqCst))
    });
    let address = peer.listen().await;
    let millisecond = Duration::from_millis(1);
    let policy = RetryPolicy::builder()
        .max_attempts(20)
        .backoff(
            Exponential::new(millisecond)
                .cap(millisecond)
                .throttled_base(millisecond),
        )
        .budget(budget::Unlimited);
    let client = Client::builder()
        .http2(Http2::default().prior_knowledge(true))
        .timeouts(Timeouts::default().head(Duration::from_millis(500)))
        .retry(policy)
        .build()
        .unwrap();
    let places = Arc::new(Semaphore::new(IN_FLIGHT));
    let mut calls = JoinSet::new();
    for call in 0..CALLS {
        let place = places.clone().acquire_owned().await.unwrap();
        let request = client.get(format!("http://{address}/"));
        calls.spawn(async move {
            let _place = place;
            let fetched = request.fetch();
            if call % 9 == 0 {
                // Given up at once, or soon.
                let soon = Duration::from_micros(u64::try_from(call).unwrap());
                let _ = tokio::time::timeout(soon, fetched).await;
                return None;
            }
            Some(fetched.await)
        });
    }
    let mut lost = Vec::new();
    while let Some(answered) = calls.join_next().await {
        lost.extend(answered.unwrap().and_then(Result::err));
    }
    assert!(
        lost.is_empty(),
        "{} lost, such as {:?}",
        lost.len(),
        lost[0]
    );
}
