//! Calls dropped at any poll, and answers cut at any byte.

use std::{
    future::{Future, poll_fn},
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use h2::server::Builder;
use http::StatusCode;
use http_body_util::Full;
use session_layer::{Error, Http2, PoolConfig, SessionLayer, Timeouts};
use test_suite::{fetch, get, post};
use test_support::http2::{Peer, Stream};
use tower::{Layer, Service, service_fn};

use crate::http2::faults::pipe::{Break, Pipe};

/// HTTP/2 without asking.
pub(crate) fn layer(pool: PoolConfig, timeouts: Timeouts) -> SessionLayer<Full<Bytes>> {
    SessionLayer::new(pool, timeouts)
        .and_then(|layer| layer.http2(Http2::default().prior_knowledge(true)))
        .expect("the test's settings are valid")
}

/// Answers with its path, after a while, in pieces or whole.
fn echoing(builder: &Builder) -> Peer {
    Peer::new(builder.clone(), |stream: Stream| async move {
        tokio::task::yield_now().await;
        match stream.request.uri().path() {
            "/pieces" => {
                stream
                    .drip(&["/pi", "ec", "es"], Duration::from_millis(1), true)
                    .await;
            }
            "/upload" => stream.echo().await,
            path => {
                let path = path.to_owned();
                stream.answer(200, path);
            }
        }
    })
}

/// Polls a future this many times, then drops it; `None` if it ended before.
async fn drop_after(polls: usize, future: impl Future<Output = ()>) -> Option<()> {
    let mut future = Box::pin(future);
    for _ in 0..polls {
        let polled = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await;
        if polled.is_ready() {
            return None;
        }
        // The connection's task and the peer get on, and once in a while time does.
        tokio::time::sleep(Duration::from_micros(100)).await;
    }
    Some(())
}

/// Drops three calls at once after so many polls, and looks at what is left; whether they had ended.
async fn dropped_at(polls: usize, builder: &Builder) -> bool {
    let peer = echoing(builder);
    let pool = PoolConfig::default().max_connections(1);
    let session = layer(pool, Timeouts::default()).layer(peer.connector());
    let upload = Bytes::from(vec![7; 100_000]);
    let dropped = drop_after(polls, async {
        let (one, two, three) = tokio::join!(
            fetch(&session, get("http://peer/one")),
            fetch(&session, get("http://peer/pieces")),
            fetch(&session, post("http://peer/upload", upload.clone())),
        );
        assert_eq!(one.unwrap().1, "/one");
        assert_eq!(two.unwrap().1, "/pieces");
        assert!(three.unwrap().1 == upload);
    });
    let ended = dropped.await.is_none();

    let stats = session.stats();
    assert_eq!(
        (stats.streams, stats.waiting),
        (0, 0),
        "after a drop at poll {polls}: {stats:?}"
    );
    let (_, body) = fetch(&session, get("http://peer/next")).await.unwrap();
    assert_eq!(body, "/next", "after a drop at poll {polls}");
    tokio::time::sleep(Duration::from_secs(1)).await;
    let stats = session.stats();
    assert_eq!(
        (stats.in_use, stats.streams, stats.waiting, stats.connecting),
        (0, 0, 0, 0),
        "after a drop at poll {polls}"
    );
    assert_eq!(stats.idle, stats.open, "after a drop at poll {polls}");
    let connections = peer.log().connections;
    assert!(connections.iter().filter(|seen| !seen.ended).count() <= 1);
    let report = session.close(Duration::from_secs(1)).await;
    assert_eq!((report.finished, report.aborted), (0, 0));
    ended
}

#[tokio::test(start_paused = true)]
async fn a_call_dropped_at_any_poll_leaves_no_stream_and_spoils_nothing() {
    let mut one = Builder::new();
    one.max_concurrent_streams(1);
    for builder in [Builder::new(), one] {
        let mut ended = false;
        for polls in 0..500 {
            ended = dropped_at(polls, &builder).await;
            if ended {
                break;
            }
        }
        assert!(ended, "the calls were too long for this test");
    }
}

/// Whether an error says that a connection broke, at one time or another, and nothing else.
fn is_a_break(error: &Error) -> bool {
    error.is_connect()
        || error.is_unsent()
        || error.is_broken()
        || error.is_stale()
        || error.is_response_body()
}

/// What a connection is cut to, where it is not.
const WHOLE: usize = usize::MAX / 2;

#[tokio::test(start_paused = true)]
async fn an_answer_cut_at_any_byte_is_an_error_never_a_short_success() {
    for then in [Break::Fin, Break::Rst] {
        let (whole, right) = cut_at(WHOLE, then).await;
        assert_eq!(right, CALLS);
        let mut broken = 0;
        for after in 0..whole {
            let (_, right) = cut_at(after, then).await;
            broken += usize::from(right < CALLS);
        }
        // A cut between two answers costs nobody anything.
        assert!(broken > whole / 2, "{broken} of {whole}");
    }
}

const CALLS: usize = 3;

/// Makes three calls over a connection that breaks after so many bytes, and one over the next. Returns how many bytes
/// came over the first connection, and how many calls were answered, all of them well.
async fn cut_at(after: usize, then: Break) -> (usize, usize) {
    let peer = echoing(&Builder::new());
    let read = Arc::new(AtomicUsize::new(0));
    let (inner, counted, made) = (peer.connector(), read.clone(), AtomicUsize::new(0));
    let made = Arc::new(made);
    let connector = service_fn(move |uri| {
        let io = inner.clone().call(uri);
        let (after, read) = match made.fetch_add(1, Ordering::Relaxed) {
            0 => (after, counted.clone()),
            _ => (WHOLE, Arc::default()),
        };
        async move { Ok::<_, io::Error>(Pipe::cut(io.await?, after, then, read)) }
    });
    let session = layer(PoolConfig::default(), Timeouts::default()).layer(connector);
    let upload = Bytes::from(vec![7; 1_000]);
    let mut right = 0;
    for (request, expected) in [
        (get("http://peer/one"), Bytes::from("/one")),
        (get("http://peer/pieces"), Bytes::from("/pieces")),
        (post("http://peer/upload", upload.clone()), upload),
    ] {
        match fetch(&session, request).await {
            Ok((status, body)) => {
                assert_eq!(status, StatusCode::OK);
                assert_eq!(body, expected, "cut after {after} bytes by {then:?}");
                right += 1;
            }
            Err(error) => assert!(is_a_break(&error), "after {after} by {then:?}: {error:?}"),
        }
    }
    let first = read.load(Ordering::Relaxed);
    let (_, body) = fetch(&session, get("http://peer/next")).await.unwrap();
    assert_eq!(body, "/next");
    assert_eq!(session.stats().streams, 0);
    (first, right)
}
