//! Responses over HTTP/1: how large a head may be, what is read although it is odd, and what becomes
//! of a body that nobody reads.

use std::{
    error::Error as _,
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use http::StatusCode;
use http_body_util::BodyExt;
use session_layer::{Error, PoolConfig, Session, SessionLayer, Stats, Timeouts};
use test_suite::{BytesSession, eventually, fetch, get, in_memory, send, session};
use test_support::{
    Connection, MemoryConnector, Reply, Server, answer,
    frames::{self, setting},
    sequence,
};
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

// Heads.

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_body_that_comes_with_its_head_keeps_its_connection() {
    // A long body makes hyper's buffer grow, so that one read brings a whole shorter response.
    let server = Server::start(in_turn(vec![
        Reply::status(200).body(vec![b'x'; 8 << 20]),
        Reply::status(200).body(vec![b'y'; 300_000]),
        Reply::status(200).body(vec![b'z'; 417_000]),
    ]))
    .await;
    let session = session(PoolConfig::default());
    for round in 0..60 {
        let response = send(&session, get(&server.url("/"))).await.unwrap();
        let left = session.stats().closed;
        assert_eq!(left.total(), 0, "round {round}: {left:?}");
        response.into_body().collect().await.unwrap();
    }
    assert_eq!(session.stats().opened, 1, "{:?}", session.stats());
}

/// A head of so many bytes, in lines of a thousand.
fn head_of(status: &str, bytes: usize) -> String {
    let mut head = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n");
    let ends = "\r\n";
    let line = |bytes: usize| format!("x: {}\r\n", "a".repeat(bytes - 5));
    while head.len() + 2000 + ends.len() < bytes {
        head.push_str(&line(1000));
    }
    let rest = bytes - head.len() - ends.len();
    head.push_str(&line(rest / 2));
    head.push_str(&line(rest - rest / 2));
    head.push_str(ends);
    head
}

#[tokio::test(start_paused = true)]
async fn a_head_may_have_256_kib_and_not_a_byte_more() {
    const MOST: usize = 256 * 1024;
    for (bytes, fits) in [(MOST, true), (MOST + 1, false), (2 * MOST, false)] {
        let connector = MemoryConnector::new(sequence([Reply::raw(head_of("200 OK", bytes))]));
        let pool = PoolConfig::default().http1_max_headers(1000);
        let session = in_memory(pool, Timeouts::default(), &connector);
        match fetch(&session, get("http://peer/")).await {
            Ok(_) => assert!(fits, "{bytes}"),
            Err(error) => assert!(!fits && error.is_too_large(), "{bytes}: {error:?}"),
        }
        let closed = session.stats().closed.unclean;
        assert_eq!(closed, u64::from(!fits), "{bytes}: counted with its reason");
    }
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_informational_heads_is_counted_with_its_reason() {
    let connector = MemoryConnector::new(|mut connection: Connection| async move {
        let _ = connection.read_request().await;
        while connection
            .write("HTTP/1.1 103 Hints\r\nlink: </x>\r\n\r\n")
            .await
        {}
    });
    let session = over(&connector);
    let error = fetch(&session, get("http://peer/")).await.unwrap_err();
    assert!(error.is_too_large(), "{error:?}");
    assert_eq!(session.stats().closed.unclean, 1);
}

#[tokio::test(start_paused = true)]
async fn folded_lines_are_read_as_one() {
    for (lines, value) in [
        ("x: a\r\n folded", "a folded"),
        ("x: a\r\n\t folded\r\n  twice  ", "a folded twice"),
        ("x:\r\n a", "a"),
    ] {
        let raw = format!("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n{lines}\r\n\r\nok");
        let connector = MemoryConnector::new(sequence([Reply::raw(raw)]));
        let session = over(&connector);
        for _ in 0..2 {
            let response = send(&session, get("http://peer/")).await.unwrap();
            let read = response.headers()["x"].to_str().unwrap().trim().to_owned();
            assert_eq!(read, value, "{lines:?}");
            let body = response.into_body().collect().await.unwrap();
            assert_eq!(body.to_bytes(), "ok");
        }
        assert_eq!(connector.log().accepted, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_folded_line_does_not_frame_the_message() {
    let raw =
        "HTTP/1.1 200 OK\r\nx: a\r\n transfer-encoding: chunked\r\ncontent-length: 2\r\n\r\nok";
    let connector = MemoryConnector::new(sequence([Reply::raw(raw)]));
    let (_, body) = fetch(&over(&connector), get("http://peer/")).await.unwrap();
    assert_eq!(body, "ok");
}

fn with_fields(fields: usize) -> Reply {
    let mut raw = String::from("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n");
    for field in 1..fields {
        write!(raw, "x-{field}: y\r\n").expect("a string takes everything");
    }
    Reply::raw(raw + "\r\n")
}

#[tokio::test(start_paused = true)]
async fn a_head_has_as_many_fields_as_the_setting_allows() {
    for (setting, limit) in [(None, 100), (Some(10), 10), (Some(5_000), 5_000)] {
        for (fields, fits) in [(limit, true), (limit + 1, false)] {
            let connector = MemoryConnector::new(sequence([with_fields(fields)]));
            let pool = PoolConfig::default().http1_max_headers(setting);
            let session = in_memory(pool, Timeouts::default(), &connector);
            match fetch(&session, get("http://peer/")).await {
                Ok(_) => assert!(fits, "{fields}"),
                Err(error) => {
                    assert!(!fits && error.is_too_large(), "{fields}: {error:?}");
                    assert!(error.to_string().contains("http1_max_headers"), "{error}");
                }
            }
        }
    }
    for refused in [0, 16_385] {
        let pool = PoolConfig::default().http1_max_headers(refused);
        SessionLayer::<String>::new(pool, Timeouts::default()).unwrap_err();
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_valid_is_read_where_that_was_asked_for() {
    let spaced = "HTTP/1.1 200 OK\r\nx : y\r\ncontent-length: 2\r\n\r\nok";
    let no_field = "HTTP/1.1 200 OK\r\nno colon\r\nx: y\r\ncontent-length: 2\r\n\r\nok";
    let strict = PoolConfig::default;
    for (raw, lenient) in [
        (spaced, strict().http1_space_before_colon(true)),
        (no_field, strict().http1_ignore_invalid_headers(true)),
    ] {
        for (pool, is_read) in [(strict(), false), (lenient, true)] {
            let connector = MemoryConnector::new(sequence([Reply::raw(raw)]));
            let session = in_memory(pool, Timeouts::default(), &connector);
            match send(&session, get("http://peer/")).await {
                Ok(response) => assert!(is_read && response.headers()["x"] == "y", "{raw:?}"),
                Err(error) => assert!(!is_read && error.is_protocol(), "{raw:?}: {error:?}"),
            }
        }
    }
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
async fn a_waiter_is_neither_held_up_by_an_unread_body_nor_given_its_connection() {
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

// Floods within a chunked body.

/// Answers with a chunked body of which these bytes have no end, and tells how many of them were taken.
async fn flooded(first: &'static str, then: &'static str) -> (Error, usize) {
    let taken = Arc::new(AtomicUsize::new(0));
    let count = taken.clone();
    let connector = MemoryConnector::new(move |mut connection: Connection| {
        let count = count.clone();
        async move {
            let _ = connection.read_request().await;
            let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
            let mut goes_on = connection.write(head).await && connection.write(first).await;
            while goes_on {
                goes_on = connection.write(then).await;
                count.fetch_add(then.len(), Relaxed);
            }
        }
    });
    let session = over(&connector);
    let error = fetch(&session, get("http://peer/")).await.unwrap_err();
    eventually("the connection is closed", || session.stats().open == 0).await;
    (error, taken.load(Relaxed))
}

#[tokio::test(start_paused = true)]
async fn extensions_and_trailers_of_chunks_without_end_end() {
    for (what, first, then) in [
        ("one extension", "1;", "aaaaaaaaaaaaaaaa"),
        (
            "an extension with each chunk",
            "",
            "1;aaaaaaaaaaaa\r\nx\r\n",
        ),
        ("one trailer", "0\r\nx: ", "aaaaaaaaaaaaaaaa"),
        ("trailers", "0\r\n", "x: aaaaaaaaaaa\r\n"),
    ] {
        let (error, taken) = flooded(first, then).await;
        assert!(error.is_response_body(), "{what}: {error:?}");
        assert!(!error.is_timeout(), "{what}: {error:?}");
        assert!(taken < 512 * 1024, "{what}: {taken} bytes were taken");
        println!("figure: {what}: ended after {} KiB", taken / 1024);
    }
}

// A peer of another protocol.

/// What the error of a GET says whose peer sends this as soon as it is connected.
async fn error_of_a_peer_that_begins_with(bytes: Vec<u8>) -> (Error, String) {
    let connector = MemoryConnector::new(move |mut connection: Connection| {
        let bytes = bytes.clone();
        async move {
            connection.write(bytes).await;
            connection.read_bytes().await;
        }
    });
    let session = over(&connector);
    let error = fetch(&session, get("http://peer/")).await.unwrap_err();
    let mut chain = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        write!(chain, ": {error}").unwrap();
        source = error.source();
    }
    (error, chain)
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_speaks_http2_is_named_as_one_that_may() {
    let settings = frames::settings(&[(setting::MAX_CONCURRENT_STREAMS, 100)]);
    let (error, chain) = error_of_a_peer_that_begins_with(settings).await;
    assert!(error.is_unsent(), "{error:?}");
    assert!(chain.contains("it may speak HTTP/2"), "{chain}");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_greets_is_named_as_one_that_may_speak_no_http() {
    let greeting = b"220 mail.test ESMTP\r\n".to_vec();
    let (error, chain) = error_of_a_peer_that_begins_with(greeting).await;
    assert!(error.is_unsent(), "{error:?}");
    assert!(chain.contains("or no HTTP"), "{chain}");
}
