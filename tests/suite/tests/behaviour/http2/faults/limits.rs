//! Peers that lower their limit on streams, or allow none.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use http::Uri;
use session_layer::{Error, PoolConfig, Timeouts};
use test_suite::{BytesSession, fetch, get, post};
use tokio::{
    io::{AsyncWriteExt, DuplexStream},
    task::JoinSet,
    time::Instant,
};
use tower::{Layer, service_fn};

use crate::http2::faults::{
    frames::{END_STREAM, Frames, HEADERS, allow, behave, fine, settings_ack},
    pipe::Pipe,
    sweeps::layer,
};

const SECOND: Duration = Duration::from_secs(1);

/// A session whose connections, by number, begin with these bytes from the peer, which are there
/// before the client reads for the first time, and go on with `serve`.
fn session<F>(
    pool: PoolConfig,
    timeouts: Timeouts,
    begin: fn(usize) -> Vec<u8>,
    serve: F,
) -> (BytesSession, Arc<AtomicUsize>)
where
    F: Fn(usize, DuplexStream) + Clone + Send + Sync + 'static,
{
    let made = Arc::new(AtomicUsize::new(0));
    let counted = made.clone();
    let connector = service_fn(move |_: Uri| {
        let number = counted.fetch_add(1, SeqCst);
        let serve = serve.clone();
        async move {
            let (near, mut far) = Pipe::whole();
            far.write_all(&begin(number)).await?;
            serve(number, far);
            Ok::<_, io::Error>(near)
        }
    });
    (layer(pool, timeouts).layer(connector), made)
}

/// Answers every request, and never writes SETTINGS of its own.
async fn answer_all(io: DuplexStream, seen: Arc<Mutex<Vec<usize>>>, number: usize) {
    let Some(mut frames) = Frames::accept(io).await else {
        return;
    };
    while let Some(it) = frames.next().await {
        if it.kind == HEADERS {
            seen.lock().unwrap().push(number);
        }
        if it.flags & END_STREAM != 0 && !frames.write(&fine(it.stream)).await {
            return;
        }
    }
}

fn tells_why(error: &Error) -> bool {
    let source = std::error::Error::source(error);
    source.is_some_and(|it| it.to_string().contains("allows no requests"))
}

#[tokio::test(start_paused = true)]
async fn a_limit_lowered_to_0_with_an_answer_opens_another_at_once() {
    let (session, made) = session(
        PoolConfig::default(),
        Timeouts::default(),
        |_| Vec::new(),
        |number, far| {
            if number > 0 {
                tokio::spawn(behave(far));
                return;
            }
            tokio::spawn(async move {
                let mut frames = Frames::accept(far).await.unwrap();
                let all = [allow(100), settings_ack(), fine(1), allow(0)].concat();
                while let Some(it) = frames.any().await {
                    if it.kind == HEADERS {
                        frames.write(&all).await;
                    }
                }
            });
        },
    );
    let began = Instant::now();
    for _ in 0..3 {
        assert_eq!(
            fetch(&session, get("http://peer/")).await.unwrap().1,
            "fine"
        );
    }
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(made.load(SeqCst), 2);
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(
        session.stats().open,
        1,
        "the one that allows nothing is closed"
    );
}

#[tokio::test(start_paused = true)]
async fn a_request_that_there_is_no_room_for_is_sent_once_and_elsewhere() {
    for connections in [8, 1] {
        sent_once_and_elsewhere(connections).await;
    }
}

async fn sent_once_and_elsewhere(connections: usize) {
    let seen: Arc<Mutex<Vec<usize>>> = Arc::default();
    let log = seen.clone();
    let (session, made) = session(
        PoolConfig::default().max_connections_per_origin(connections),
        Timeouts::default(),
        |number| allow(if number == 0 { 0 } else { 100 }),
        move |number, far| {
            tokio::spawn(answer_all(far, log.clone(), number));
        },
    );
    let began = Instant::now();
    let (_, body) = fetch(&session, post("http://peer/", "once")).await.unwrap();
    assert_eq!(body, "fine");
    // One that allows nothing says nothing of the next, which is tried a second later.
    assert_eq!(began.elapsed(), SECOND);
    assert_eq!(*seen.lock().unwrap(), [1]);
    assert_eq!(made.load(SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn requests_that_a_lowered_limit_leaves_no_room_for_never_reach_that_peer() {
    let seen: Arc<Mutex<Vec<usize>>> = Arc::default();
    let log = seen.clone();
    let (lower, gate) = tokio::sync::watch::channel(false);
    let (session, _) = session(
        PoolConfig::default(),
        Timeouts::default(),
        |_| allow(100),
        move |number, far| {
            let (log, mut gate) = (log.clone(), gate.clone());
            if number > 0 {
                tokio::spawn(answer_all(far, log, number));
                return;
            }
            tokio::spawn(async move {
                let mut frames = Frames::accept(far).await.unwrap();
                let first = frames.next().await.unwrap();
                log.lock().unwrap().push(0);
                gate.wait_for(|lower| *lower).await.unwrap();
                frames.write(&allow(1)).await;
                tokio::time::sleep(SECOND).await;
                frames.write(&fine(first.stream)).await;
                answer_more(&mut frames, &log).await;
            });
        },
    );
    let first = {
        let session = session.clone();
        tokio::spawn(async move { fetch(&session, get("http://peer/")).await })
    };
    tokio::time::sleep(SECOND).await;
    lower.send(true).unwrap();
    let mut others = JoinSet::new();
    for _ in 0..5 {
        // The peer has written its limit before, and the client has not read it.
        tokio::task::yield_now().await;
        let session = session.clone();
        others.spawn(async move { fetch(&session, post("http://peer/", "x")).await });
    }
    while let Some(answered) = others.join_next().await {
        assert_eq!(answered.unwrap().unwrap().1, "fine");
    }
    assert_eq!(first.await.unwrap().unwrap().1, "fine");
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 6, "each was sent once: {seen:?}");
}

async fn answer_more(frames: &mut Frames, log: &Mutex<Vec<usize>>) {
    while let Some(it) = frames.next().await {
        if it.kind == HEADERS {
            log.lock().unwrap().push(0);
        }
        if it.flags & END_STREAM != 0 {
            frames.write(&fine(it.stream)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_always_allows_0_is_tried_once_a_second_and_named() {
    let seen: Arc<Mutex<Vec<usize>>> = Arc::default();
    let log = seen.clone();
    let (session, made) = session(
        PoolConfig::default().queue_timeout(5 * SECOND),
        Timeouts::default(),
        |_| allow(0),
        move |number, far| {
            tokio::spawn(answer_all(far, log.clone(), number));
        },
    );
    let began = Instant::now();
    let mut calls = JoinSet::new();
    for _ in 0..100 {
        let session = session.clone();
        calls.spawn(async move { fetch(&session, get("http://peer/")).await });
    }
    while let Some(answered) = calls.join_next().await {
        let error = answered.unwrap().unwrap_err();
        assert!(error.is_pool_timeout() && error.is_unsent(), "{error:?}");
        assert!(tells_why(&error), "{error:?}");
    }
    assert!(began.elapsed() < 7 * SECOND, "{:?}", began.elapsed());
    let made = made.load(SeqCst);
    assert!(
        (2..=7).contains(&made),
        "{made} connections in five seconds"
    );
    assert!(seen.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_allows_nothing_and_closes_fails_its_waiters() {
    let (session, made) = session(
        PoolConfig::default(),
        Timeouts::default(),
        |_| allow(0),
        |_, far| {
            tokio::spawn(async move {
                let mut frames = Frames::accept(far).await.unwrap();
                let _ = frames.any().await;
            });
        },
    );
    let mut calls = JoinSet::new();
    for _ in 0..100 {
        let session = session.clone();
        calls.spawn(async move { fetch(&session, get("http://peer/")).await });
    }
    while let Some(answered) = calls.join_next().await {
        let error = answered.unwrap().unwrap_err();
        assert!(error.is_unsent(), "{error:?}");
    }
    let made = made.load(SeqCst);
    assert!(made <= 5, "{made} connections for 100 calls");
}

#[tokio::test(start_paused = true)]
async fn a_request_behind_an_upload_that_is_not_taken_was_not_sent() {
    for closes in [false, true] {
        let connector = service_fn(move |_: Uri| async move {
            // Smaller than what h2 writes at once.
            let (near, far) = Pipe::sized(256);
            tokio::spawn(async move {
                let mut frames = Frames::accept(far).await.unwrap();
                frames.write(&allow(100)).await;
                while frames.next().await.is_some_and(|it| it.kind != HEADERS) {}
                tokio::time::sleep(2 * SECOND).await;
                if !closes {
                    std::future::pending::<()>().await;
                }
            });
            Ok::<_, io::Error>(near)
        });
        let timeouts = Timeouts::default().head(5 * SECOND);
        let session: BytesSession = layer(PoolConfig::default(), timeouts).layer(connector);
        let upload = {
            let session = session.clone();
            tokio::spawn(
                async move { fetch(&session, post("http://peer/", vec![0; 60_000])).await },
            )
        };
        tokio::time::sleep(SECOND).await;
        let error = fetch(&session, get("http://peer/")).await.unwrap_err();
        assert!(error.is_unsent(), "closes: {closes}: {error:?}");
        let error = upload.await.unwrap().unwrap_err();
        assert!(!error.is_unsent(), "closes: {closes}: {error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_is_raised_again_in_time_keeps_the_connection() {
    let (session, made) = session(
        PoolConfig::default().max_connections_per_origin(1),
        Timeouts::default(),
        |_| allow(0),
        |_, far| {
            tokio::spawn(async move {
                let mut frames = Frames::accept(far).await.unwrap();
                tokio::time::sleep(SECOND / 2).await;
                frames.write(&allow(10)).await;
                answer_more(&mut frames, &Mutex::default()).await;
            });
        },
    );
    let began = Instant::now();
    assert_eq!(
        fetch(&session, get("http://peer/")).await.unwrap().1,
        "fine"
    );
    assert_eq!(began.elapsed(), SECOND / 2);
    tokio::time::sleep(3 * SECOND).await;
    assert_eq!(
        fetch(&session, get("http://peer/")).await.unwrap().1,
        "fine"
    );
    assert_eq!(made.load(SeqCst), 1);
}
