//! What is learned of how long a peer keeps idle connections, and what that saves.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use session_layer::{CloseReason, Event, Http2, Observer, PoolConfig, SessionLayer, Timeouts};
use test_suite::{BytesSession, fetch, get, in_memory, post};
use test_support::{Connection, MemoryConnector, http2};
use tokio::time::{Instant, sleep, timeout};
use tower::Layer;

const SECOND: Duration = Duration::from_secs(1);

/// How long a request takes to the server and its answer back, or the news of its close: a request that
/// is sent within this time before a close is lost.
const ROUND_TRIP: Duration = Duration::from_millis(100);

/// Answers, and closes connections that have been idle for as long as `idle` says.
fn closes_after(idle: impl Fn() -> Duration + Send + Sync + 'static) -> MemoryConnector {
    let idle = Arc::new(idle);
    MemoryConnector::new(move |mut connection: Connection| {
        let idle = idle.clone();
        async move {
            loop {
                let until_close = idle().saturating_sub(ROUND_TRIP);
                match timeout(until_close, connection.read_request()).await {
                    Ok(Some(_)) => _ = connection.respond(200, "ok").await,
                    Ok(None) => return,
                    // It closes, and the client hears of that later.
                    Err(_) => return sleep(ROUND_TRIP).await,
                }
            }
        }
    })
}

/// How many of so many POSTs fail, one after the other, each after a gap of three to five quarters of
/// `around`.
async fn failures(session: &BytesSession, posts: usize, around: Duration) -> usize {
    let mut random = fastrand::Rng::with_seed(7);
    let mut failed = 0;
    for _ in 0..posts {
        let answer = fetch(session, post("http://peer/", "order")).await;
        match answer {
            Ok(_) => {}
            Err(error) if error.is_stale() => failed += 1,
            Err(error) => panic!("{error}"),
        }
        sleep(around.mul_f64(0.75 + 0.5 * random.f64())).await;
    }
    failed
}

fn without() -> PoolConfig {
    PoolConfig::default().learned_keep_alive(false)
}

#[tokio::test(start_paused = true)]
async fn posts_around_a_servers_close_fail_a_tenth_as_often_at_most() {
    for idle in [2 * SECOND, 5 * SECOND] {
        let connector = closes_after(move || idle);
        let session = in_memory(without(), Timeouts::default(), &connector);
        let unlearned = failures(&session, 1000, idle).await;
        let session = in_memory(PoolConfig::default(), Timeouts::default(), &connector);
        let learned = failures(&session, 1000, idle).await;
        println!(
            "closed after {idle:?}: {unlearned} of 1000 POSTs fail, and {learned} with what is learned"
        );
        assert!(unlearned >= 30, "{unlearned}");
        assert!(learned * 10 <= unlearned, "{learned} of {unlearned}");
        let stats = session.stats();
        assert_eq!(stats.learned_keep_alives, 1);
        assert!(stats.closed.keep_alive > 100, "{:?}", stats.closed);
        // Shorter gaps are served by one connection.
        let opened = stats.opened;
        fetch(&session, get("http://peer/")).await.unwrap();
        for _ in 0..100 {
            sleep(idle * 3 / 4).await;
            fetch(&session, get("http://peer/")).await.unwrap();
        }
        assert!(session.stats().opened <= opened + 1);
    }
}

#[derive(Default)]
struct Heard {
    limits: Mutex<Vec<Duration>>,
    reasons: Mutex<Vec<CloseReason>>,
}

struct Ear(Arc<Heard>);

impl Observer for Ear {
    fn observe(&self, event: &Event<'_>) {
        match event {
            Event::KeepAliveLearned { limit, .. } => self.0.limits.lock().unwrap().push(*limit),
            Event::Closed { reason, .. } => self.0.reasons.lock().unwrap().push(*reason),
            _ => {}
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_observer_is_told_the_limit_once_and_why_a_connection_closed() {
    let connector = closes_after(|| 4 * SECOND);
    let heard = Arc::new(Heard::default());
    let session: BytesSession = SessionLayer::new(PoolConfig::default(), Timeouts::default())
        .unwrap()
        .observer(Ear(heard.clone()))
        .layer(connector.clone());
    for _ in 0..4 {
        fetch(&session, get("http://peer/")).await.unwrap();
        sleep(5 * SECOND).await;
    }
    for _ in 0..3 {
        fetch(&session, get("http://peer/")).await.unwrap();
        // Less than the server allows, and more than the limit.
        sleep(Duration::from_millis(3700)).await;
    }
    assert_eq!(*heard.limits.lock().unwrap(), [Duration::from_millis(3600)]);
    let reasons = heard.reasons.lock().unwrap();
    assert_eq!(reasons[..4], [CloseReason::Peer; 4]);
    assert!(reasons[4..].iter().all(|it| *it == CloseReason::KeepAlive));
    assert_eq!(connector.log().accepted, 7);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_says_how_long_it_keeps_connections_is_taken_at_its_word() {
    // It says five seconds, and closes after one and a half.
    let connector = MemoryConnector::new(|mut connection: Connection| async move {
        while let Ok(Some(_)) = timeout(SECOND * 3 / 2, connection.read_request()).await {
            let head = "HTTP/1.1 200 OK\r\nkeep-alive: timeout=5\r\ncontent-length: 0\r\n\r\n";
            connection.write(head).await;
        }
    });
    let session = in_memory(PoolConfig::default(), Timeouts::default(), &connector);
    for _ in 0..10 {
        fetch(&session, get("http://peer/")).await.unwrap();
        sleep(2 * SECOND).await;
    }
    assert_eq!(session.stats().learned_keep_alives, 0);
    assert_eq!(session.stats().closed.peer, 10);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_closes_at_random_does_not_disable_reuse() {
    let random = Mutex::new(fastrand::Rng::with_seed(3));
    let connector = closes_after(move || {
        let millis = random.lock().unwrap().u64(200..40_000);
        Duration::from_millis(millis)
    });
    let session = in_memory(PoolConfig::default(), Timeouts::default(), &connector);
    let plain = in_memory(without(), Timeouts::default(), &connector);
    let mut opened = Vec::new();
    for session in [session, plain] {
        let mut gaps = fastrand::Rng::with_seed(4);
        for _ in 0..2000 {
            let _ = fetch(&session, get("http://peer/")).await;
            sleep(Duration::from_millis(gaps.u64(0..8000))).await;
        }
        opened.push(session.stats().opened);
    }
    let [with, without] = opened[..] else {
        panic!("two were asked");
    };
    assert!(with <= without + without / 10, "{with} and {without}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_keeps_connections_longer_than_before_is_noticed() {
    let idle = Arc::new(Mutex::new(3 * SECOND));
    let connector = {
        let idle = idle.clone();
        closes_after(move || *idle.lock().unwrap())
    };
    let pool = PoolConfig::default().max_lifetime(None);
    let session = in_memory(pool, Timeouts::default(), &connector);
    for _ in 0..6 {
        fetch(&session, get("http://peer/")).await.unwrap();
        sleep(4 * SECOND).await;
    }
    assert_eq!(session.stats().learned_keep_alives, 1);
    *idle.lock().unwrap() = 40 * SECOND;
    let began = Instant::now();
    while began.elapsed() < 30 * 60 * SECOND {
        fetch(&session, get("http://peer/")).await.unwrap();
        sleep(10 * SECOND).await;
    }
    let opened = session.stats().opened;
    for _ in 0..50 {
        fetch(&session, get("http://peer/")).await.unwrap();
        sleep(10 * SECOND).await;
    }
    assert_eq!(session.stats().opened, opened);
    assert_eq!(session.stats().learned_keep_alives, 0);
}

#[tokio::test(start_paused = true)]
async fn over_http2_no_connection_is_used_that_is_about_to_go_away() {
    let handler = async |stream: http2::Stream| {
        stream.go_away_after(3 * SECOND);
        stream.answer(200, "ok");
    };
    let peer = http2::Peer::new(h2::server::Builder::new(), handler);
    let layer = SessionLayer::new(PoolConfig::default(), Timeouts::default()).unwrap();
    let layer = layer.http2(Http2::default().prior_knowledge(true)).unwrap();
    let session: BytesSession = layer.layer(peer.connector());
    for _ in 0..4 {
        fetch(&session, get("http://peer/")).await.unwrap();
        sleep(5 * SECOND).await;
    }
    assert_eq!(session.stats().learned_keep_alives, 1);
    fetch(&session, get("http://peer/")).await.unwrap();
    sleep(SECOND * 2).await;
    fetch(&session, get("http://peer/")).await.unwrap();
    assert_eq!(session.stats().opened, 5, "it is young enough");
    sleep(Duration::from_millis(2800)).await;
    fetch(&session, get("http://peer/")).await.unwrap();
    assert_eq!(session.stats().closed.peer, 5);
    sleep(Duration::from_millis(2800)).await;
    fetch(&session, get("http://peer/")).await.unwrap();
    assert_eq!(session.stats().closed.keep_alive, 1);
}

#[tokio::test(start_paused = true)]
async fn over_http2_what_carries_other_requests_tells_nothing_of_idle_ones() {
    // It keeps idle connections for three seconds, and takes two seconds for an answer.
    let handler = async |stream: http2::Stream| {
        let ends = stream.request.uri().path() == "/last";
        sleep(2 * SECOND).await;
        if ends {
            stream.go_away_after(3 * SECOND);
        }
        stream.answer(200, "ok");
    };
    let peer = http2::Peer::new(h2::server::Builder::new(), handler);
    let layer = SessionLayer::new(PoolConfig::default(), Timeouts::default()).unwrap();
    let layer = layer.http2(Http2::default().prior_knowledge(true)).unwrap();
    let session: BytesSession = layer.layer(peer.connector());
    for round in 0..4 {
        // One begins each second, so that the connection always carries some.
        let mut calls = tokio::task::JoinSet::new();
        for _ in 0..30 {
            let session = session.clone();
            calls.spawn(async move { fetch(&session, get("http://peer/")).await.map(drop) });
            sleep(SECOND).await;
        }
        let last = fetch(&session, get("http://peer/last"));
        last.await.unwrap();
        while let Some(call) = calls.join_next().await {
            call.unwrap().unwrap();
        }
        sleep(5 * SECOND).await;
        assert_eq!(session.stats().opened, round + 1);
        assert_eq!(session.stats().closed.peer, round + 1);
    }
    assert_eq!(session.stats().learned_keep_alives, 1);
}

#[tokio::test(start_paused = true)]
async fn over_http2_a_peer_that_dies_with_requests_under_way_teaches_nothing() {
    let handler = async |stream: http2::Stream| {
        let dies = stream.request.uri().path() == "/dies";
        sleep(2 * SECOND).await;
        if dies {
            return stream.close();
        }
        stream.answer(200, "ok");
    };
    let peer = http2::Peer::new(h2::server::Builder::new(), handler);
    let layer = SessionLayer::new(PoolConfig::default(), Timeouts::default()).unwrap();
    let layer = layer.http2(Http2::default().prior_knowledge(true)).unwrap();
    let session: BytesSession = layer.layer(peer.connector());
    for _ in 0..6 {
        let mut calls = tokio::task::JoinSet::new();
        for number in 0..10 {
            let session = session.clone();
            let uri = if number == 8 {
                "http://peer/dies"
            } else {
                "http://peer/"
            };
            calls.spawn(async move { fetch(&session, get(uri)).await.map(drop) });
            sleep(SECOND).await;
        }
        while calls.join_next().await.is_some() {}
        sleep(5 * SECOND).await;
    }
    assert!(session.stats().opened >= 6);
    assert_eq!(session.stats().learned_keep_alives, 0);
}

#[tokio::test(start_paused = true)]
async fn connections_that_were_never_used_teach_nothing_of_those_that_were() {
    // It waits two seconds for the first request of a connection, and forty for each later one.
    let connector = MemoryConnector::new(|mut connection: Connection| async move {
        let mut patience = 2 * SECOND;
        while let Ok(Some(_)) = timeout(patience, connection.read_request()).await {
            patience = 40 * SECOND;
            sleep(Duration::from_millis(50)).await;
            connection.respond(200, "ok").await;
        }
    });
    connector.delay(Duration::from_millis(100));
    let session = in_memory(PoolConfig::default(), Timeouts::default(), &connector);
    fetch(&session, get("http://peer/")).await.unwrap();
    for _ in 0..6 {
        // The second begins a connect, and is served by the connection of the first before that ends.
        let first = fetch(&session, get("http://peer/"));
        let second = async {
            sleep(Duration::from_millis(10)).await;
            fetch(&session, get("http://peer/")).await
        };
        let (first, second) = tokio::join!(first, second);
        first.unwrap();
        second.unwrap();
        sleep(3 * SECOND).await;
    }
    let stats = session.stats();
    assert_eq!(stats.closed.peer, 6, "{stats:?}");
    assert_eq!(stats.learned_keep_alives, 0);
    assert_eq!((stats.opened, stats.idle), (7, 1));
}
