//! What a session tells of itself: statistics, events, and the connection of each response.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::Version;
use http_body_util::BodyExt;
use session_layer::{Event, Observer, PoolConfig, SessionLayer, Timeouts};
use test_suite::{BytesSession, eventually, fetch, get, in_memory, send, session};
use test_support::{Connect, Connection, MemoryConnector, Reply, Server, always, sequence};
use tower::Layer;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_response_tells_its_connection_also_after_its_end() {
    let server = Server::start(always(200, "hello")).await;
    let session = session(PoolConfig::default());
    for reused in [false, true] {
        let mut body = send(&session, get(&server.url("/")))
            .await
            .unwrap()
            .into_body();
        while body.frame().await.is_some() {}
        let info = body.connection();
        assert_eq!(info.is_reused(), reused);
        assert_eq!(info.peer_addr(), Some(server.addr()));
        assert_eq!(info.version(), Version::HTTP_11);
        assert_eq!(info.waited() == Duration::ZERO, reused);
        assert!(info.open_time() <= SECOND);
    }
}

/// Answers as many requests on each connection, and breaks off in the head of the next response.
fn breaking(
    answers: usize,
) -> impl Fn(Connection) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync {
    move |mut connection| {
        Box::pin(async move {
            for _ in 0..answers {
                let _ = connection.read_request().await;
                connection.respond(200, "x").await;
            }
            let _ = connection.read_request().await;
            connection.write("HTTP/1.1 200 OK\r\n").await;
            connection.close().await;
        })
    }
}

#[tokio::test]
async fn an_error_tells_the_connection_that_it_arose_on() {
    let server = Server::start(breaking(2)).await;
    let session = session(PoolConfig::default());
    for _ in 0..2 {
        fetch(&session, get(&server.url("/"))).await.unwrap();
    }
    let error = send(&session, get(&server.url("/"))).await.unwrap_err();
    assert!(error.is_broken(), "{error:?}");
    let connection = error.connection().unwrap();
    assert!(connection.is_reused());
    assert_eq!(connection.peer_addr(), Some(server.addr()));
    assert_eq!(connection.version(), Version::HTTP_11);
    assert_eq!(error.other_requests(), Some(2));
    assert_eq!(error.origin().unwrap().to_string(), server.origin());
}

#[tokio::test(start_paused = true)]
async fn an_error_of_any_kind_tells_its_connection_if_it_had_one() {
    let timeouts = || Timeouts::default().head(SECOND).body_idle(SECOND);
    for (reply, what) in [
        (Reply::reset(), "no answer"),
        (Reply::stall(), "a head timeout"),
        (Reply::raw("SMTP\r\n\r\n"), "not HTTP"),
        (Reply::truncated_body(9, "half"), "half a body"),
    ] {
        let connector = MemoryConnector::new(sequence([reply]));
        let session: BytesSession = in_memory(PoolConfig::default(), timeouts(), &connector);
        let error = fetch(&session, get("http://peer/")).await.unwrap_err();
        let connection = error.connection().expect(what);
        assert!(!connection.is_reused(), "{what}");
        assert_eq!(error.other_requests(), Some(0), "{what}");
    }
    let connector = MemoryConnector::new(always(200, "x"));
    connector.refuse();
    let session: BytesSession = in_memory(PoolConfig::default(), timeouts(), &connector);
    let error = fetch(&session, get("http://peer/")).await.unwrap_err();
    assert!(error.connection().is_none(), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn the_time_in_the_queue_is_told() {
    let connector = MemoryConnector::new(always(200, "x"));
    connector.script([Connect::Delay(SECOND)]);
    let pool = PoolConfig::default().max_connections(1);
    let session = in_memory(pool, Timeouts::default(), &connector);
    let first = send(&session, get("http://peer/")).await.unwrap();
    assert_eq!(first.body().connection().waited(), SECOND);
    assert_eq!(first.body().connection().open_time(), SECOND);
    let second = tokio::spawn({
        let session = session.clone();
        async move { send(&session, get("http://peer/")).await }
    });
    tokio::time::sleep(3 * SECOND).await;
    drop(first);
    let second = second.await.unwrap().unwrap();
    let info = second.body().connection();
    assert!(info.is_reused());
    assert_eq!(info.waited(), 3 * SECOND);
}

#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<String>>>);

impl Heard {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Observer for Heard {
    fn observe(&self, event: &Event<'_>) {
        let line = match event {
            Event::Opened { origin, .. } => format!("opened {origin}"),
            Event::OpenFailed { origin, .. } => format!("failed {origin}"),
            Event::Reused { origin, .. } => format!("reused {origin}"),
            Event::Queued { origin, .. } => format!("queued {origin}"),
            Event::Acquired { origin, waited, .. } => format!("acquired {origin} {waited:?}"),
            Event::Closed {
                origin,
                lived,
                reason,
                ..
            } => format!("closed {origin} {lived:?} {reason:?}"),
            _ => "unknown".to_owned(),
        };
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(line);
    }
}

#[tokio::test(start_paused = true)]
async fn an_observer_hears_each_event_once_and_in_order() {
    let connector = MemoryConnector::new(always(200, "x"));
    let heard = Heard::default();
    let pool = PoolConfig::default()
        .max_connections(1)
        .idle_timeout(5 * SECOND);
    let session: BytesSession = SessionLayer::new(pool, Timeouts::default())
        .unwrap()
        .observer(heard.clone())
        .layer(connector.clone());
    for _ in 0..2 {
        fetch(&session, get("http://one/")).await.unwrap();
    }
    assert_eq!(
        heard.take(),
        [
            "opened http://one:80",
            "acquired http://one:80 0ns",
            "reused http://one:80",
            "acquired http://one:80 0ns"
        ]
    );

    fetch(&session, get("http://two/")).await.unwrap();
    assert_eq!(
        heard.take(),
        [
            "queued http://two:80",
            "closed http://one:80 0ns Evicted",
            "opened http://two:80",
            "acquired http://two:80 0ns"
        ]
    );

    tokio::time::sleep(6 * SECOND).await;
    assert_eq!(heard.take(), ["closed http://two:80 5s Idle"]);

    connector.refuse();
    fetch(&session, get("http://two/")).await.unwrap_err();
    assert_eq!(heard.take(), ["failed http://two:80"]);
}

#[tokio::test(start_paused = true)]
async fn an_observer_hears_how_long_a_request_waited_for_its_connection() {
    let slow = Reply::status(200).delay(2 * SECOND);
    let connector = MemoryConnector::new(sequence([slow.clone(), slow]));
    let heard = Heard::default();
    let session: BytesSession = SessionLayer::new(
        PoolConfig::default().max_connections(1),
        Timeouts::default(),
    )
    .unwrap()
    .observer(heard.clone())
    .layer(connector);
    let (first, second) = tokio::join!(
        fetch(&session, get("http://peer/")),
        fetch(&session, get("http://peer/"))
    );
    first.and(second).unwrap();
    let acquired: Vec<_> = heard
        .take()
        .into_iter()
        .filter(|line| line.starts_with("acquired"))
        .collect();
    assert_eq!(
        acquired,
        ["acquired http://peer:80 0ns", "acquired http://peer:80 2s"]
    );
}

/// What becomes of a connection after `reply`, with `pool`.
async fn closed_after(reply: Reply, pool: PoolConfig) -> session_layer::Closed {
    let timeouts = Timeouts::default().head(SECOND);
    let connector = MemoryConnector::new(sequence([reply]));
    let session = in_memory(pool, timeouts, &connector);
    let _ = fetch(&session, get("http://peer/")).await;
    tokio::time::sleep(100 * SECOND).await;
    let stats = session.stats();
    assert_eq!((stats.open, stats.closed.total()), (0, 1));
    stats.closed
}

#[tokio::test(start_paused = true)]
async fn connections_are_counted_by_why_they_closed() {
    let pool = PoolConfig::default;
    let ok = || Reply::status(200).body("x");
    assert_eq!(closed_after(ok(), pool()).await.idle, 1);
    assert_eq!(closed_after(Reply::stall(), pool()).await.timeout, 1);
    assert_eq!(closed_after(Reply::reset(), pool()).await.peer, 1);
    let last = ok().header("connection", "close");
    assert_eq!(closed_after(last, pool()).await.peer, 1);
    let spent = pool().max_requests_per_connection(1);
    assert_eq!(closed_after(ok(), spent).await.requests, 1);
    let aged = pool().idle_timeout(None).max_lifetime(10 * SECOND);
    assert_eq!(closed_after(ok(), aged).await.lifetime, 1);
}

#[tokio::test]
async fn a_dropped_call_and_a_closed_session_are_reasons_too() {
    let server = Server::start(sequence([Reply::stall()])).await;
    let session = session(PoolConfig::default());
    let call = tokio::spawn({
        let (session, request) = (session.clone(), get(&server.url("/")));
        async move { fetch(&session, request).await }
    });
    server.wait_for(|log| log.requests.len() == 1).await;
    call.abort();
    eventually("it is closed", || session.stats().open == 0).await;
    assert_eq!(session.stats().closed.abandoned, 1);
}

#[tokio::test(start_paused = true)]
async fn a_connection_serves_no_more_requests_than_it_may() {
    let connector = MemoryConnector::new(always(200, "x"));
    let pool = PoolConfig::default().max_requests_per_connection(3);
    let session = in_memory(pool, Timeouts::default(), &connector);
    for _ in 0..9 {
        fetch(&session, get("http://peer/")).await.unwrap();
    }
    tokio::time::sleep(SECOND).await;
    let stats = session.stats();
    assert_eq!((stats.opened, stats.closed.requests, stats.open), (3, 3, 0));
}

#[tokio::test(start_paused = true)]
async fn a_peers_keep_alive_hint_ends_an_idle_connection_a_second_early() {
    for (hint, open_for) in [
        ("timeout=5", 4),
        ("max=100, timeout=3", 2),
        ("timeout=600", 50),
        ("timeout=0", 1),
        ("timeout=-1", 50),
        ("timeout=99999999999999999999", 50),
        ("", 50),
    ] {
        let reply = Reply::status(200).body("x").header("keep-alive", hint);
        let connector = MemoryConnector::new(sequence([reply]));
        let session = in_memory(PoolConfig::default(), Timeouts::default(), &connector);
        fetch(&session, get("http://peer/")).await.unwrap();
        let nearly = Duration::from_millis(open_for * 1000 - 100);
        tokio::time::sleep(nearly).await;
        assert_eq!(session.stats().open, 1, "{hint}");
        tokio::time::sleep(SECOND / 5).await;
        assert_eq!(session.stats().open, 0, "{hint}");
    }
}
