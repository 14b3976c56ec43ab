//! Whether the peer is alive, and what asking it costs.

use std::{
    future::{Future, poll_fn},
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::Poll,
    time::Duration,
};

use http::Uri;
use session_layer::{Http2, Phase, PoolConfig, SessionLayer, ThroughputFloor, Timeouts};
use test_suite::{BytesSession, fetch, get, send};
use tokio::{
    io::DuplexStream,
    time::{Instant, timeout},
};
use tower::{Layer, service_fn};

use crate::http2::faults::{
    frames::{
        ACK, END_HEADERS, Frames, GOAWAY, HEADERS, OK, PING, SETTINGS, allow, fine, frame,
        settings_ack,
    },
    pipe::Pipe,
};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// The PINGs that each connection has got, and when, after the test began.
type Pings = Arc<Mutex<Vec<(usize, Duration)>>>;

#[derive(Clone, Copy)]
enum Answers {
    /// All requests.
    All,
    /// PINGs, and no request.
    Pings,
    /// Nothing at all after the first request.
    Dead,
    /// Heads, and no body.
    Heads,
    /// The head of the first request, and nothing at all after it.
    HeadThenDead,
    /// The first PING of a connection by a GOAWAY.
    Calm,
}

async fn serve(io: DuplexStream, number: usize, answers: Answers, pings: Pings, began: Instant) {
    let Some(mut frames) = Frames::accept(io).await else {
        return;
    };
    frames.write(&allow(100)).await;
    let mut answered = false;
    while let Some(it) = frames.any().await {
        match (it.kind, it.flags) {
            (SETTINGS, 0) => {
                frames.write(&settings_ack()).await;
            }
            (PING, 0) => {
                pings.lock().unwrap().push((number, began.elapsed()));
                match answers {
                    Answers::Dead | Answers::HeadThenDead => {}
                    Answers::Calm => {
                        let last = [1_u32.to_be_bytes(), 11_u32.to_be_bytes()].concat();
                        let why = [&last[..], b"too_many_pings"].concat();
                        frames.write(&frame(GOAWAY, 0, 0, &why)).await;
                        return;
                    }
                    _ => {
                        frames.write(&frame(PING, ACK, 0, &it.payload)).await;
                    }
                }
            }
            (HEADERS, _) => {
                let first = !std::mem::replace(&mut answered, true);
                match answers {
                    Answers::All => frames.write(&fine(it.stream)).await,
                    Answers::HeadThenDead if !first => true,
                    Answers::Heads | Answers::HeadThenDead | Answers::Calm => {
                        let head = frame(HEADERS, END_HEADERS, it.stream, &[OK]);
                        frames.write(&head).await
                    }
                    Answers::Pings | Answers::Dead if first => frames.write(&fine(it.stream)).await,
                    Answers::Pings | Answers::Dead => true,
                };
            }
            _ => {}
        }
    }
}

/// A session whose first connection answers so, and the others answer all.
fn session(
    http2: Http2,
    timeouts: Timeouts,
    first: Answers,
    others: Answers,
) -> (BytesSession, Arc<AtomicUsize>, Pings) {
    let made = Arc::new(AtomicUsize::new(0));
    let pings = Pings::default();
    let (counted, seen) = (made.clone(), pings.clone());
    let began = Instant::now();
    let connector = service_fn(move |_: Uri| {
        let number = counted.fetch_add(1, SeqCst);
        let answers = if number == 0 { first } else { others };
        let (near, far) = Pipe::whole();
        tokio::spawn(serve(far, number, answers, seen.clone(), began));
        async { Ok::<_, io::Error>(near) }
    });
    let session = SessionLayer::new(PoolConfig::default(), timeouts)
        .and_then(|layer| layer.http2(http2.prior_knowledge(true)))
        .unwrap()
        .layer(connector);
    (session, made, pings)
}

#[tokio::test(start_paused = true)]
async fn a_call_given_up_on_a_dead_connection_is_the_last_that_meets_it() {
    let (session, made, pings) = session(
        Http2::default().keep_alive_interval(None),
        Timeouts::default(),
        Answers::Dead,
        Answers::All,
    );
    fetch(&session, get("http://peer/")).await.unwrap();
    let dropped = timeout(SECOND / 5, fetch(&session, get("http://peer/"))).await;
    assert!(dropped.is_err());
    let began = Instant::now();
    for _ in 0..5 {
        fetch(&session, get("http://peer/")).await.unwrap();
    }
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(made.load(SeqCst), 2);
    tokio::time::sleep(SECOND / 2).await;
    assert_eq!(pings.lock().unwrap().len(), 1, "it was asked at once");
    assert_eq!(session.stats().open, 2);
    tokio::time::sleep(SECOND).await;
    assert_eq!(session.stats().open, 1, "and closed when it did not answer");
    assert_eq!(session.stats().closed.timeout, 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_given_up_on_a_connection_that_lives_costs_one_ping() {
    let (session, made, pings) = session(
        Http2::default(),
        Timeouts::default(),
        Answers::Pings,
        Answers::All,
    );
    fetch(&session, get("http://peer/")).await.unwrap();
    let dropped = timeout(SECOND, send(&session, get("http://peer/slow"))).await;
    assert!(dropped.is_err());
    tokio::time::sleep(SECOND).await;
    assert_eq!(pings.lock().unwrap().len(), 1);
    // The answer makes it good again: the next goes over it, though it gets no answer there.
    let dropped = timeout(SECOND, send(&session, get("http://peer/slow"))).await;
    assert!(dropped.is_err());
    assert_eq!(made.load(SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_only_answers_pings_gets_two_and_is_then_replaced() {
    let (session, made, pings) = session(
        Http2::default(),
        Timeouts::default(),
        Answers::Pings,
        Answers::All,
    );
    fetch(&session, get("http://peer/")).await.unwrap();
    for _ in 0..10 {
        let _ = timeout(SECOND, fetch(&session, get("http://peer/"))).await;
        tokio::time::sleep(SECOND).await;
    }
    let pings = pings.lock().unwrap().clone();
    assert_eq!(pings.iter().filter(|(number, _)| *number == 0).count(), 2);
    assert_eq!(made.load(SeqCst), 2);
    fetch(&session, get("http://peer/")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_never_asked() {
    let (session, made, pings) = session(
        Http2::default().keep_alive_interval(SECOND),
        Timeouts::default(),
        Answers::All,
        Answers::All,
    );
    fetch(&session, get("http://peer/")).await.unwrap();
    tokio::time::sleep(40 * SECOND).await;
    assert_eq!(session.stats().open, 1);
    assert!(pings.lock().unwrap().is_empty());
    assert_eq!(made.load(SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_silent_streams_peer_is_pinged_no_oftener_than_grpc_servers_allow() {
    let timeouts = Timeouts::default().body_idle(None);
    let (session, _, pings) = session(Http2::default(), timeouts, Answers::Heads, Answers::All);
    let response = send(&session, get("http://peer/")).await.unwrap();
    tokio::time::sleep(60 * MINUTE).await;
    let pings = pings.lock().unwrap();
    assert!((9..=12).contains(&pings.len()), "{pings:?}");
    for pair in pings.windows(2) {
        assert!(
            pair[1].1.saturating_sub(pair[0].1) >= 5 * MINUTE,
            "{pair:?}"
        );
    }
    drop(response);
}

#[tokio::test(start_paused = true)]
async fn a_dead_peer_is_noticed_while_a_stream_is_silent() {
    let timeouts = Timeouts::default().body_idle(None).head(None);
    let http2 = Http2::default().keep_alive_interval(20 * SECOND);
    let (session, _, pings) = session(http2, timeouts, Answers::Dead, Answers::All);
    fetch(&session, get("http://peer/")).await.unwrap();
    let began = Instant::now();
    let error = fetch(&session, get("http://peer/")).await.unwrap_err();
    assert!(error.is_broken() && !error.is_unsent(), "{error:?}");
    assert_eq!(began.elapsed().as_secs(), 30);
    assert_eq!(pings.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_has_had_too_many_pings_gets_half_as_many() {
    let timeouts = Timeouts::default().body_idle(None);
    let http2 = Http2::default().keep_alive_interval(20 * SECOND);
    let (session, made, pings) = session(http2, timeouts, Answers::Calm, Answers::Calm);
    for _ in 0..3 {
        let response = send(&session, get("http://peer/")).await.unwrap();
        tokio::time::sleep(100 * SECOND).await;
        drop(response);
    }
    assert_eq!(made.load(SeqCst), 3);
    let pings = pings.lock().unwrap();
    let after: Vec<_> = pings
        .iter()
        .map(|(number, at)| at.as_secs() - 100 * u64::try_from(*number).unwrap())
        .collect();
    assert_eq!(after, [20, 40, 80]);
}

#[tokio::test(start_paused = true)]
async fn a_head_that_is_polled_late_raises_no_doubt() {
    let timeouts = Timeouts::default().head(5 * SECOND);
    let (session, made, pings) = session(Http2::default(), timeouts, Answers::All, Answers::All);
    fetch(&session, get("http://peer/")).await.unwrap();
    let mut late = Box::pin(send(&session, get("http://peer/")));
    let first = poll_fn(|cx| Poll::Ready(late.as_mut().poll(cx))).await;
    assert!(first.is_pending());
    tokio::time::sleep(7 * SECOND).await;
    fetch(&session, get("http://peer/")).await.unwrap();
    let late = late.await.unwrap();
    let body = http_body_util::BodyExt::collect(late.into_body()).await;
    assert_eq!(body.unwrap().to_bytes(), "fine");
    assert_eq!(made.load(SeqCst), 1);
    assert!(pings.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_peer_silent_within_a_body_is_in_doubt_whatever_timeout_ended_it() {
    let ends = [
        Timeouts::default().body_idle(10 * SECOND),
        Timeouts::default().download_floor(ThroughputFloor::new(1, 10 * SECOND)),
    ];
    for timeouts in ends {
        let dead = Answers::HeadThenDead;
        let (session, made, pings) = session(Http2::default(), timeouts, dead, Answers::All);
        let error = fetch(&session, get("http://peer/")).await.unwrap_err();
        assert_eq!(error.timeout_phase(), Some(Phase::Body), "{error}");
        let began = Instant::now();
        fetch(&session, get("http://peer/")).await.unwrap();
        assert!(began.elapsed() < SECOND, "{:?}", began.elapsed());
        assert_eq!(made.load(SeqCst), 2);
        assert_eq!(pings.lock().unwrap().len(), 1);
    }
}
