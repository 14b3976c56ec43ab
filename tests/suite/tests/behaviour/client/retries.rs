//! What a client retries by itself, over in-memory streams on a paused clock.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use client::{Body, Client, PoolConfig, StopReason, TimeoutPhase};
use http::{Method, StatusCode};
use test_support::{Connect, Connection, MemoryConnector, Reply, Server, always, sequence};
use tokio::time::Instant;

use super::support::{Order, over};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_failure_is_tried_again_by_the_default_policy() {
    let connector = MemoryConnector::new(sequence([
        Reply::status(503).body("one"),
        Reply::reset(),
        Reply::status(200).body("three"),
    ]));
    let began = Instant::now();
    let response = over(&connector).get("http://peer/").fetch().await.unwrap();
    assert_eq!(response.body(), "three");
    let report = response.retry_report();
    // The reset met the connection that the 503 had left: that one is sent again for free.
    assert_eq!(
        (report.attempts().len(), report.transparent_retries()),
        (3, 1)
    );
    assert!(began.elapsed() <= Duration::from_millis(300));
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_waited_for() {
    let connector = MemoryConnector::new(sequence([
        Reply::status(429).header("retry-after", "7"),
        Reply::status(200),
    ]));
    let began = Instant::now();
    over(&connector).get("http://peer/").fetch().await.unwrap();
    let elapsed = began.elapsed();
    assert!(
        elapsed >= 7 * SECOND && elapsed <= 8 * SECOND,
        "{elapsed:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_post_is_not_sent_twice_when_its_connection_breaks_once_written() {
    // On a fresh connection, on a reused one, and before any byte of the answer or in its midst.
    for raw in ["", "HTTP/1.1 200 O"] {
        for reused in [false, true] {
            let connector = MemoryConnector::new(move |mut connection: Connection| async move {
                if reused {
                    let _ = connection.read_request().await;
                    connection.respond(200, "").await;
                }
                let _ = connection.read_request().await;
                connection.write(raw).await;
                connection.reset();
            });
            let client = over(&connector);
            if reused {
                client.get("http://peer/first").fetch().await.unwrap();
            }
            let error = client
                .post("http://peer/")
                .body("once")
                .fetch()
                .await
                .unwrap_err();
            let stop = error.retry_report().unwrap().stop();
            assert_eq!(stop, StopReason::NotIdempotent);
            let posts = connector
                .log()
                .requests
                .iter()
                .filter(|it| it.method == Method::POST)
                .count();
            assert_eq!(posts, 1, "{raw:?}, reused: {reused}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_post_that_was_never_written_is_sent_again() {
    let connector = MemoryConnector::new(always(200, "done"));
    connector.script([Connect::Refuse, Connect::Accept]);
    let response = over(&connector)
        .post("http://peer/")
        .body("once")
        .fetch()
        .await
        .unwrap();
    assert_eq!(response.body(), "done");
    assert_eq!(connector.log().requests.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_get_on_a_stale_connection_is_retried_transparently_at_once() {
    let connector = MemoryConnector::new(|mut connection: Connection| async move {
        let _ = connection.read_request().await;
        connection.respond(200, "first").await;
        let _ = connection.read_request().await;
        connection.reset();
    });
    let client = over(&connector);
    client.get("http://peer/").fetch().await.unwrap();
    let began = Instant::now();
    let response = client.get("http://peer/").fetch().await.unwrap();
    assert_eq!(response.body(), "first");
    assert_eq!(response.retry_report().transparent_retries(), 1);
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_is_fetched_again_but_a_streamed_one_is_an_error() {
    let replies = || {
        MemoryConnector::new(sequence([
            Reply::truncated_body(20, "{\"id\": 7, "),
            Reply::status(200).body("{\"id\": 7, \"name\": \"x\"}"),
        ]))
    };
    let connector = replies();
    let order: Order = over(&connector)
        .get("http://peer/")
        .fetch()
        .await
        .unwrap()
        .json()
        .unwrap();
    assert_eq!(order.id, 7);
    assert_eq!(connector.log().requests.len(), 2);

    let connector = replies();
    let response = over(&connector).get("http://peer/").send().await.unwrap();
    let error = response.bytes().await.unwrap_err();
    assert!(error.is_body(), "{error:?}");
    assert_eq!(connector.log().requests.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_dropped_during_its_wait_sends_nothing_more() {
    let connector = MemoryConnector::new(sequence([Reply::status(503).header("retry-after", "9")]));
    let client = over(&connector);
    let call = tokio::time::timeout(SECOND, client.get("http://peer/").fetch());
    assert!(call.await.is_err());
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(connector.log().requests.len(), 1);
    assert_eq!(client.stats().in_use, 0);
}

#[tokio::test(start_paused = true)]
async fn a_request_body_is_replayed_whole() {
    let connector = MemoryConnector::new(sequence([Reply::status(503), Reply::status(200)]));
    let parts = ["one ", "two ", "three"].map(|part| Ok::<_, std::io::Error>(part.into()));
    let stream = Body::stream(tokio_stream::iter(parts));
    let client = over(&connector);
    client
        .put("http://peer/")
        .body(stream)
        .fetch()
        .await
        .unwrap();
    client
        .put("http://peer/")
        .body(vec![b'x'; 1 << 20])
        .fetch()
        .await
        .unwrap();
    let sizes: Vec<_> = connector
        .log()
        .requests
        .iter()
        .map(|it| it.body.len())
        .collect();
    assert_eq!(sizes, [13, 13, 1 << 20]);
    assert_eq!(connector.log().requests[1].body, "one two three");
}

#[tokio::test(start_paused = true)]
async fn a_request_with_an_idempotency_key_is_tried_again_with_the_same_one() {
    let connector = MemoryConnector::new(sequence([
        Reply::status(503),
        Reply::reset(),
        Reply::status(200),
        Reply::status(200),
    ]));
    let client = over(&connector);
    let post = || client.post("http://peer/").body("order").idempotency_key();
    post().fetch().await.unwrap();
    post().fetch().await.unwrap();
    let log = connector.log();
    let keys: Vec<_> = log
        .requests
        .iter()
        .map(|it| it.header("idempotency-key").unwrap())
        .collect();
    let [first, second, third, other] = keys[..] else {
        panic!("{keys:?}");
    };
    assert!(first.len() > 16, "{first}");
    assert_eq!((first, first), (second, third));
    assert_ne!(first, other, "each call has one of its own");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_can_be_made_is_made_anew_for_each_attempt() {
    let connector = MemoryConnector::new(sequence([Reply::status(503), Reply::status(200)]));
    let made = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&made);
    let request = over(&connector).put("http://peer/").body_with(move || {
        counter.fetch_add(1, Relaxed);
        let frames = (0..8).map(|it| Ok::<_, Infallible>(vec![b'a' + it; 64 * 1024].into()));
        Body::stream(tokio_stream::iter(frames))
    });
    assert_eq!(made.load(Relaxed), 1);
    let response = request.fetch().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(made.load(Relaxed), 2);
    let log = connector.log();
    let [first, second] = &log.requests[..] else {
        panic!("{} requests", log.requests.len());
    };
    assert_eq!(first.body.len(), 512 * 1024);
    assert!(first.body == second.body);
}

#[tokio::test(start_paused = true)]
async fn limit_one_with_large_error_bodies_and_three_attempts_finishes() {
    let connector = MemoryConnector::new(always(503, vec![b'x'; 4 << 20]));
    let client = Client::builder()
        .pool(PoolConfig::default().max_connections(1))
        .build_with_connector(connector.clone())
        .unwrap();
    let fetched = client.get("http://peer/").fetch().await.unwrap();
    assert_eq!(fetched.body().len(), 4 << 20);
    let sent = client.get("http://peer/").send().await.unwrap();
    assert_eq!(sent.bytes().await.unwrap().len(), 4 << 20);
    assert_eq!(connector.log().requests.len(), 6);
    assert_eq!(connector.log().peak_open, 1);
}

#[tokio::test]
async fn a_refused_response_of_200_kb_keeps_its_connection() {
    let refused = Reply::status(503).body(vec![b'x'; 200_000]);
    let server = Server::start(sequence([refused, Reply::status(200).body("fine")])).await;
    let client = Client::new();
    let response = client.get(server.url("/")).send().await.unwrap();
    assert_eq!(response.bytes().await.unwrap(), "fine");
    assert_eq!(server.log().accepted, 1);
}

#[tokio::test]
async fn limit_one_with_large_error_bodies_finishes_over_real_sockets() {
    let server = Server::start(always(503, vec![b'x'; 4 << 20])).await;
    let client = Client::builder()
        .pool(PoolConfig::default().max_connections_per_origin(1))
        .build()
        .unwrap();
    let response = client.get(server.url("/")).send().await.unwrap();
    assert_eq!(response.retry_report().attempts().len(), 3);
    assert_eq!(response.bytes().await.unwrap().len(), 4 << 20);
    assert_eq!(server.log().requests.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_pool_timeout_is_final() {
    let connector = MemoryConnector::new(sequence([Reply::stall()]));
    let client = Client::builder()
        .pool(
            PoolConfig::default()
                .max_connections(1)
                .queue_timeout(SECOND),
        )
        .build_with_connector(connector.clone())
        .unwrap();
    let busy = tokio::spawn(client.get("http://peer/").send());
    tokio::task::yield_now().await;
    let began = Instant::now();
    let error = client.get("http://peer/").fetch().await.unwrap_err();
    assert_eq!(error.timeout_phase(), Some(TimeoutPhase::Queue));
    assert_eq!(began.elapsed(), SECOND);
    busy.abort();
}
