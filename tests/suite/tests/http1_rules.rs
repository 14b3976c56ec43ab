//! Responses over HTTP/1: how large a head may be, what is read although it is odd, and what becomes
//! of a body that nobody reads.

use std::{
    fmt::Write as _,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use http::StatusCode;
use http_body_util::BodyExt;
use session_layer::{PoolConfig, Session, SessionLayer, Stats, Timeouts};
use test_suite::{BytesSession, eventually, fetch, get, in_memory, send, session};
use test_support::{Connection, MemoryConnector, Reply, Server, answer, sequence};
use tokio::time::Instant;

fn over(connector: &MemoryConnector) -> BytesSession {
    in_memory(PoolConfig::default(), Timeouts::default(), connector)
}

/// Answers the requests by these, again and again.
fn in_turn(
    replies: Vec<Reply>,
) -> impl Fn(Connection) -> test_support::Handling + Clone + Send + Sync + 'static {
    let next = AtomicUsize::new(0);
    answer(move |_| {
        let next = next.fetch_add(1, Relaxed);
        let reply = replies.get(next % replies.len());
        reply.expect("there are some").clone()
    })
}

// Bodies that nobody reads.

/// What came of the connection of a response whose body is dropped unread.
async fn dropped_unread(session: &BytesSession, url: &str) -> Stats {
    let response = send(session, get(url)).await;
    drop(response.expect("it is answered"));
    eventually("the connection is idle or closed", || {
        session.stats().in_use == 0
    })
    .await;
    session.stats()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_body_that_nobody_reads_keeps_its_connection() {
    let chunked =
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n2\r\nok\r\n0\r\n\r\n";
    let server = Server::start(in_turn(vec![
        Reply::raw(chunked),
        Reply::status(200).body(vec![b'x'; 20_000]),
        Reply::status(200).body("short"),
    ]))
    .await;
    let session = session(PoolConfig::default());
    for _ in 0..60 {
        let stats = dropped_unread(&session, &server.url("/")).await;
        assert_eq!((stats.opened, stats.idle), (1, 1), "{stats:?}");
    }
    let (_, body) = fetch(&session, get(&server.url("/"))).await.unwrap();
    assert_eq!(body, "okok", "of the next exchange");
}

/// Sends a body in two pieces, the second after a while.
fn slow(after: Duration, more: usize) -> MemoryConnector {
    MemoryConnector::new(move |mut connection: Connection| async move {
        while connection.read_head().await.is_some() {
            let length = 2 + more;
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\nok");
            connection.write(head).await;
            tokio::time::sleep(after).await;
            if !connection.write(vec![b'x'; more]).await {
                return;
            }
            connection.answered();
        }
    })
}

#[tokio::test(start_paused = true)]
async fn the_rest_of_an_unread_body_has_50_ms_and_64_kib() {
    for (after, more, kept) in [
        (40, 1_000, true),
        (40, 60_000, true),
        (60, 1_000, false),
        (0, 70_000, false),
    ] {
        let connector = slow(Duration::from_millis(after), more);
        let session = over(&connector);
        let began = Instant::now();
        let stats = dropped_unread(&session, "http://peer/").await;
        assert_eq!(
            stats.idle,
            usize::from(kept),
            "{after} ms, {more}: {stats:?}"
        );
        assert_eq!(stats.closed.abandoned, u64::from(!kept));
        assert!(
            began.elapsed() <= Duration::from_millis(52),
            "{:?}",
            began.elapsed()
        );
        let (answered, body) = fetch(&session, get("http://peer/")).await.unwrap();
        assert_eq!((answered, body.len()), (StatusCode::OK, 2 + more));
    }
}

#[tokio::test(start_paused = true)]
async fn an_unread_body_has_its_bound_with_all_timeouts_off() {
    let connector = slow(Duration::from_secs(3600), 10);
    let pool = PoolConfig::default().idle_timeout(None).max_lifetime(None);
    let timeouts = Timeouts::default().head(None).body_idle(None);
    let session = in_memory(pool, timeouts, &connector);
    let began = Instant::now();
    let stats = dropped_unread(&session, "http://peer/").await;
    assert_eq!(stats.closed.abandoned, 1, "{stats:?}");
    assert!(began.elapsed() <= Duration::from_millis(52));
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_is_not_kept_by_an_unread_body_nor_given_its_dying_connection() {
    let connector = slow(Duration::from_secs(3600), 10);
    let pool = PoolConfig::default().max_connections(1);
    let session = in_memory(pool, Timeouts::default(), &connector);
    let unread = send(&session, get("http://peer/")).await.unwrap();
    let waits = tokio::spawn({
        let session = session.clone();
        async move { send(&session, get("http://peer/")).await.map(drop) }
    });
    tokio::time::sleep(Duration::from_millis(1)).await;
    let began = Instant::now();
    drop(unread);
    waits.await.unwrap().unwrap();
    assert!(began.elapsed() <= Duration::from_millis(52));
    assert_eq!(connector.log().accepted, 2);
    // Where the limits allow another, nobody waits at all.
    let session = over(&connector);
    drop(send(&session, get("http://peer/")).await.unwrap());
    let began = Instant::now();
    drop(send(&session, get("http://peer/")).await.unwrap());
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_session_closes_although_a_body_is_unread() {
    let connector = slow(Duration::from_secs(3600), 10);
    let session = over(&connector);
    drop(send(&session, get("http://peer/")).await.unwrap());
    let began = Instant::now();
    session.close(Duration::from_secs(60)).await;
    assert!(began.elapsed() <= Duration::from_millis(52));
    assert_eq!(session.stats().open, 0);
}

#[tokio::test(start_paused = true)]
async fn an_unread_body_without_end_is_closed_within_its_bound() {
    let connector = MemoryConnector::new(|mut connection: Connection| async move {
        let _ = connection.read_request().await;
        connection
            .write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
            .await;
        while connection.write("1\r\nx\r\n").await {}
    });
    let session: Session<_> = over(&connector);
    let stats = dropped_unread(&session, "http://peer/").await;
    assert_eq!(stats.closed.abandoned, 1, "{stats:?}");
}

#[tokio::test(start_paused = true)]
async fn a_body_without_a_length_that_nobody_reads_costs_its_connection() {
    let connector = MemoryConnector::new(|mut connection: Connection| async move {
        let _ = connection.read_request().await;
        connection
            .write("HTTP/1.1 200 OK\r\n\r\nuntil the end")
            .await;
    });
    let session = over(&connector);
    let stats = dropped_unread(&session, "http://peer/").await;
    assert_eq!((stats.idle, stats.open), (0, 0), "{stats:?}");
}
