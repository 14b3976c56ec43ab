//! What holds for one request of several on a connection, as it does for one that has a connection of
//! its own.

use std::{
    convert::Infallible,
    future::{poll_fn, ready},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use h2::{Reason, server::Builder};
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper_util::rt::TokioIo;
use session_layer::{Http2, PoolConfig, Session, SessionLayer, Timeouts};
use test_suite::{BytesSession, eventually, fetch, get, post, send};
use test_support::{
    Server,
    http2::{Peer, Stream},
};
use tokio::{io::DuplexStream, task::JoinHandle, time::Instant};
use tower::{Layer, ServiceExt, service_fn};
use tower_service::Service;

const SECOND: Duration = Duration::from_secs(1);
const HELLO: &str = "hello";

fn in_memory(pool: PoolConfig, timeouts: Timeouts, http2: Http2, peer: &Peer) -> BytesSession {
    SessionLayer::new(pool, timeouts)
        .and_then(|layer| layer.http2(http2.prior_knowledge(true)))
        .expect("valid")
        .layer(peer.connector())
}

struct Pipe(TokioIo<DuplexStream>);

impl hyper::rt::Read for Pipe {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buf: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl hyper::rt::Write for Pipe {
    fn poll_write(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        std::pin::Pin::new(&mut self.0).poll_write(cx, buf)
    }
    fn poll_flush(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.0).poll_flush(cx)
    }
    fn poll_shutdown(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl hyper_util::client::legacy::connect::Connection for Pipe {
    fn connected(&self) -> hyper_util::client::legacy::connect::Connected {
        hyper_util::client::legacy::connect::Connected::new()
    }
}

fn hello() -> Peer {
    Peer::new(Builder::new(), |stream: Stream| async {
        stream.answer(200, HELLO);
    })
}

fn over<F>(pool: PoolConfig, http2: Http2, serve: F) -> BytesSession
where
    F: Fn(DuplexStream) + Clone + Send + Sync + 'static,
{
    let connector = service_fn(move |_: http::Uri| {
        let (near, far) = tokio::io::duplex(64 * 1024);
        serve(far);
        ready(Ok::<_, Infallible>(Pipe(TokioIo::new(near))))
    });
    SessionLayer::new(pool, Timeouts::default())
        .and_then(|layer| layer.http2(http2.prior_knowledge(true)))
        .expect("valid")
        .layer(connector)
}

#[tokio::test(start_paused = true)]
async fn a_future_that_is_not_polled_does_not_stop_others() {
    let mut session = in_memory(
        PoolConfig::default(),
        Timeouts::default(),
        Http2::default(),
        &hello(),
    );
    let first = session.call(get("http://peer/"));
    let second = tokio::time::timeout(3600 * SECOND, session.call(get("http://peer/"))).await;
    assert!(
        second.is_ok(),
        "neither an answer nor an error within an hour"
    );
    drop(first);
}

#[tokio::test]
async fn parts_of_a_connection_that_ended_do_not_panic() {
    // Keeps the connection until it is told, answers heads with a body that does not end.
    let servers: Arc<Mutex<Vec<JoinHandle<()>>>> = Arc::default();
    let log = servers.clone();
    let number = Arc::new(AtomicUsize::new(0));
    let session = over(
        PoolConfig::default().max_connections_per_origin(1),
        Http2::default().max_concurrent_streams(2),
        move |far| {
            let first = number.fetch_add(1, SeqCst) == 0;
            log.lock().unwrap().push(tokio::spawn(async move {
                let mut frames = Builder::new().handshake::<_, Bytes>(far).await.unwrap();
                let mut kept = Vec::new();
                while let Some(Ok((request, mut respond))) = frames.accept().await {
                    let path = request.uri().path().to_owned();
                    let mut body = respond.send_response(Response::new(()), false).unwrap();
                    if first && path == "/open" {
                        kept.push((body, respond));
                    } else {
                        body.send_data(Bytes::from_static(b"hello"), true).unwrap();
                    }
                }
            }));
        },
    );
    fetch(&session, get("http://peer/")).await.unwrap();
    // At the same time, so that there are two boxes to use again.
    let (one, two) = tokio::join!(
        send(&session, get("http://peer/open")),
        send(&session, get("http://peer/open")),
    );
    let (one, two) = (one.unwrap(), two.unwrap());
    let mut waiting = Vec::new();
    for _ in 0..2 {
        let session = session.clone();
        waiting.push(tokio::spawn(async move {
            fetch(&session, get("http://peer/")).await
        }));
    }
    eventually("both wait", || session.stats().waiting == 2).await;
    // In one stretch: the peer's end, then two parts for the waiters, then the driver sees the end.
    tokio::spawn(async move {
        servers.lock().unwrap()[0].abort();
        let mut again = true;
        poll_fn(|cx| {
            if std::mem::take(&mut again) {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(())
        })
        .await;
        drop((one, two));
    })
    .await
    .unwrap();
    for waiting in waiting {
        let answered = waiting.await.expect("no panic");
        assert!(answered.is_ok(), "{answered:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_upload_in_one_piece_may_take_longer_than_the_head_timeout() {
    let peer = Peer::new(Builder::new(), |mut stream: Stream| async move {
        while let Some(Ok(bytes)) = stream.request.body_mut().data().await {
            tokio::time::sleep(SECOND / 20).await;
            let _ = stream
                .request
                .body_mut()
                .flow_control()
                .release_capacity(bytes.len());
        }
        stream.answer(200, HELLO);
    });
    let timeouts = Timeouts::default().head(5 * SECOND);
    let session = in_memory(PoolConfig::default(), timeouts, Http2::default(), &peer);
    let began = Instant::now();
    let answered = fetch(&session, post("http://peer/", vec![0; 1024 * 1024])).await;
    assert!(
        answered.is_ok(),
        "after {:?}: {answered:?}",
        began.elapsed()
    );
}

/// A body of which somebody counts how many live.
struct Counted((), Arc<AtomicUsize>, usize);

impl Drop for Counted {
    fn drop(&mut self) {
        self.1.fetch_sub(1, SeqCst);
    }
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = Infallible;
    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        // Small frames, so that the body is held by whoever sends it.
        // In pieces, so that whoever sends it holds it until the last is taken.
        let _ = cx;
        let left = &mut self.2;
        let Some(rest) = left.checked_sub(1024) else {
            return Poll::Ready(None);
        };
        *left = rest;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[0; 1024])))))
    }
    fn is_end_stream(&self) -> bool {
        false
    }
}

#[tokio::test(start_paused = true)]
async fn an_upload_ends_with_its_exchange() {
    let running = Arc::new(Mutex::new((0_usize, 0_usize)));
    let seen = running.clone();
    let serve = move |far: DuplexStream| {
        let seen = seen.clone();
        tokio::spawn(async move {
            let mut frames = Builder::new()
                .initial_window_size(1024)
                .handshake::<_, Bytes>(far)
                .await
                .unwrap();
            while let Some(Ok((mut request, mut respond))) = frames.accept().await {
                let mut body = respond.send_response(Response::new(()), false).unwrap();
                body.send_data(Bytes::from_static(b"early"), true).unwrap();
                let seen = seen.clone();
                tokio::spawn(async move {
                    {
                        let mut seen = seen.lock().unwrap();
                        seen.0 += 1;
                        seen.1 = seen.1.max(seen.0);
                    }
                    // Takes nothing of the upload, and waits for its end.
                    while let Some(Ok(_)) = request.body_mut().data().await {}
                    seen.lock().unwrap().0 -= 1;
                    drop(respond);
                });
            }
        });
    };
    let connector = service_fn(move |_: http::Uri| {
        let (near, far) = tokio::io::duplex(64 * 1024);
        serve(far);
        ready(Ok::<_, Infallible>(Pipe(TokioIo::new(near))))
    });
    let http2 = Http2::default()
        .prior_knowledge(true)
        .max_concurrent_streams(1);
    let session: Session<Counted> = SessionLayer::new(PoolConfig::default(), Timeouts::default())
        .and_then(|layer| layer.http2(http2))
        .unwrap()
        .layer(connector);
    let alive = Arc::new(AtomicUsize::new(0));
    for _ in 0..20 {
        alive.fetch_add(1, SeqCst);
        let body = Counted((), alive.clone(), 64 * 1024);
        let request = Request::post("http://peer/").body(body).unwrap();
        let response = session.clone().oneshot(request).await.unwrap();
        response.into_body().collect().await.unwrap();
    }
    let stats = session.stats();
    tokio::time::sleep(40 * SECOND).await;
    let most = running.lock().unwrap().1;
    assert!(
        alive.load(SeqCst) == 0,
        "the peer saw {most} streams at once, limit 1; {} uploads live on after 40 s; {stats:?}",
        alive.load(SeqCst),
    );
}

#[tokio::test]
async fn a_request_that_is_sent_again_keeps_its_host() {
    let servers: Arc<Mutex<Vec<JoinHandle<()>>>> = Arc::default();
    let log = servers.clone();
    let session = over(
        PoolConfig::default().max_connections_per_origin(1),
        Http2::default().max_concurrent_streams(1),
        move |far| {
            log.lock().unwrap().push(tokio::spawn(async move {
                let mut frames = Builder::new().handshake::<_, Bytes>(far).await.unwrap();
                let mut kept = Vec::new();
                while let Some(Ok((request, mut respond))) = frames.accept().await {
                    let mut body = respond.send_response(Response::new(()), false).unwrap();
                    if request.uri().path() == "/open" {
                        kept.push((body, respond));
                    } else {
                        let host = request.uri().authority().unwrap().to_string();
                        body.send_data(Bytes::from(host), true).unwrap();
                    }
                }
            }));
        },
    );
    fetch(&session, get("http://peer/")).await.unwrap();
    let open = send(&session, get("http://peer/open")).await.unwrap();
    let other = session.clone();
    let waiting = tokio::spawn(async move {
        let request = Request::get("http://peer/").header("host", "tenant.example");
        fetch(&other, request.body(Full::default()).unwrap()).await
    });
    eventually("it waits", || session.stats().waiting == 1).await;
    tokio::spawn(async move {
        servers.lock().unwrap()[0].abort();
        let mut again = true;
        poll_fn(|cx| {
            if std::mem::take(&mut again) {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(())
        })
        .await;
        drop(open);
    })
    .await
    .unwrap();
    let (_, host) = waiting.await.unwrap().unwrap();
    assert_eq!(host, "tenant.example");
}

#[tokio::test(start_paused = true)]
async fn one_slow_path_does_not_make_its_origin_unreachable() {
    let peer = Peer::new(Builder::new(), |stream: Stream| async move {
        match stream.request.uri().path() {
            "/slow" => stream.hold().await,
            _ => stream.answer(200, HELLO),
        }
    });
    let pool = PoolConfig::default().max_connections_per_origin(1);
    let session = in_memory(
        pool,
        Timeouts::default().head(SECOND),
        Http2::default(),
        &peer,
    );
    fetch(&session, get("http://peer/")).await.unwrap();
    fetch(&session, get("http://peer/slow")).await.unwrap_err();
    let began = Instant::now();
    for _ in 0..3 {
        let answered = fetch(&session, get("http://peer/")).await;
        assert!(
            answered.is_ok(),
            "after {:?}: {answered:?} {:?}",
            began.elapsed(),
            session.stats()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_misdirected_connection_gets_nothing_new() {
    let peer = Peer::new(Builder::new(), |stream: Stream| async move {
        let status = if stream.connection == 0 { 421 } else { 200 };
        stream.answer(status, HELLO);
    });
    let session = in_memory(
        PoolConfig::default(),
        Timeouts::default(),
        Http2::default(),
        &peer,
    );
    let (first, _) = fetch(&session, get("http://peer/")).await.unwrap();
    let (second, _) = fetch(&session, get("http://peer/")).await.unwrap();
    assert_eq!((first.as_u16(), second), (421, StatusCode::OK));
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_makes_room_though_a_busy_one_was_asked_first() {
    let peer = Peer::new(Builder::new(), |stream: Stream| async move {
        let host = stream.request.uri().host().unwrap_or_default().to_owned();
        match (host.as_str(), stream.request.uri().path()) {
            (_, "/endless") => stream.drip(&["."], Duration::ZERO, false).await,
            (_, "/short") => {
                tokio::time::sleep(SECOND).await;
                stream.answer(200, HELLO);
            }
            (_, "/long") => {
                tokio::time::sleep(3 * SECOND).await;
                stream.answer(200, HELLO);
            }
            _ => stream.answer(200, HELLO),
        }
    });
    let pool = PoolConfig::default().max_connections(2);
    let timeouts = Timeouts::default().body_idle(None);
    let session = in_memory(pool, timeouts, Http2::default(), &peer);
    fetch(&session, get("http://a/")).await.unwrap();
    let endless = send(&session, get("http://a/endless")).await.unwrap();
    let short = {
        let s = session.clone();
        tokio::spawn(async move { fetch(&s, get("http://a/short")).await })
    };
    let long = {
        let s = session.clone();
        tokio::spawn(async move { fetch(&s, get("http://b/long")).await })
    };
    tokio::time::sleep(SECOND / 2).await;
    let began = Instant::now();
    let third = fetch(&session, get("http://c/")).await;
    assert!(
        third.is_ok(),
        "after {:?}: {third:?} {:?}",
        began.elapsed(),
        session.stats()
    );
    short.await.unwrap().unwrap();
    long.await.unwrap().unwrap();
    drop(endless);
}

#[tokio::test]
async fn an_upgrade_counts_against_the_limit_of_its_origin() {
    let server = Server::start(|mut connection| async move {
        connection.read_request().await;
        tokio::time::sleep(SECOND).await;
        connection.respond(200, "x").await;
    })
    .await;
    let session: BytesSession =
        test_suite::session(PoolConfig::default().max_connections_per_origin(1));
    let mut tasks = Vec::new();
    for upgrade in [false, true] {
        let (session, url) = (session.clone(), server.url("/"));
        tasks.push(tokio::spawn(async move {
            let mut request = get(&url);
            if upgrade {
                request
                    .headers_mut()
                    .insert("upgrade", "websocket".parse().unwrap());
            }
            let _ = fetch(&session, request).await;
        }));
    }
    tokio::time::sleep(SECOND / 2).await;
    assert_eq!(session.stats().open, 1, "max_connections_per_origin(1)");
}

#[tokio::test]
async fn a_connection_that_the_peer_closed_counts_as_closed_by_the_peer() {
    let peer = Peer::new(Builder::new(), |stream: Stream| async move {
        stream.go_away();
        stream.answer(200, HELLO);
    });
    let session = in_memory(
        PoolConfig::default(),
        Timeouts::default(),
        Http2::default(),
        &peer,
    );
    fetch(&session, get("http://peer/")).await.unwrap();
    eventually("it is closed", || session.stats().open == 0).await;
    let closed = session.stats().closed;
    assert_eq!((closed.peer, closed.evicted), (1, 0), "{closed:?}");
}

#[tokio::test(start_paused = true)]
async fn a_shared_connection_carries_no_more_requests_than_it_may() {
    let peer = hello();
    let pool = PoolConfig::default().max_requests_per_connection(2);
    let session = in_memory(pool, Timeouts::default(), Http2::default(), &peer);
    let mut tasks = Vec::new();
    for _ in 0..50 {
        let session = session.clone();
        tasks.push(tokio::spawn(async move {
            fetch(&session, get("http://peer/")).await
        }));
    }
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    let most = peer.log().connections.iter().map(|it| it.streams).max();
    assert!(most <= Some(2), "{most:?}");
}

#[tokio::test(start_paused = true)]
async fn all_lines_about_the_connection_are_left_out() {
    let peer = Peer::new(Builder::new(), |stream: Stream| async move {
        let headers = format!("{:?}", stream.request.headers());
        stream.answer(200, headers);
    });
    let session = in_memory(
        PoolConfig::default(),
        Timeouts::default(),
        Http2::default(),
        &peer,
    );
    let request = Request::get("http://peer/")
        .header("connection", "x-one")
        .header("connection", "x-two")
        .header("x-one", "1")
        .header("x-two", "2")
        .header("te", "trailers")
        .header("te", "gzip");
    let (_, seen) = fetch(&session, request.body(Full::default()).unwrap())
        .await
        .unwrap();
    let seen = String::from_utf8_lossy(&seen).into_owned();
    assert!(!seen.contains("x-two") && !seen.contains("gzip"), "{seen}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_head_that_is_kept_holds_no_place() {
    let peer = Peer::new(Builder::new(), |stream: Stream| async move {
        stream.answer_with_length(9);
    });
    let session = in_memory(
        PoolConfig::default(),
        Timeouts::default(),
        Http2::default(),
        &peer,
    );
    let request = Request::head("http://peer/").body(Full::default()).unwrap();
    let response = send(&session, request).await.unwrap();
    assert_eq!(response.headers()["content-length"], "9");
    assert_eq!(session.stats().streams, 0);
    assert_eq!(session.stats().idle, 1);
    drop(response);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_comes_late_finds_the_body_though_it_began_to_read_before() {
    let peer = Peer::new(Builder::new(), |stream: Stream| async move {
        stream
            .drip(&["one", "two", "three", "four"], 4 * SECOND, true)
            .await;
    });
    let timeouts = Timeouts::default().body_idle(5 * SECOND);
    let session = in_memory(PoolConfig::default(), timeouts, Http2::default(), &peer);
    let mut body = send(&session, get("http://peer/"))
        .await
        .unwrap()
        .into_body();
    assert!(tokio::time::timeout(SECOND, body.frame()).await.is_err());
    tokio::time::sleep(10 * SECOND).await;
    assert_eq!(body.collect().await.unwrap().to_bytes(), "onetwothreefour");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_failed_resets_its_stream_at_once() {
    let peer = Peer::new(Builder::new(), |stream: Stream| async move {
        stream.drip(&["one"], Duration::ZERO, false).await;
    });
    let timeouts = Timeouts::default().body_idle(SECOND);
    let session = in_memory(PoolConfig::default(), timeouts, Http2::default(), &peer);
    let mut response = send(&session, get("http://peer/")).await.unwrap();
    while let Some(Ok(_)) = response.body_mut().frame().await {}
    tokio::time::sleep(SECOND).await;
    assert_eq!(session.stats().streams, 0);
    assert_eq!(
        peer.log().connections[0].resets,
        1,
        "counted as free, and still open at the peer"
    );
    drop(response);
}

#[tokio::test(start_paused = true)]
async fn a_body_cut_short_of_its_length_is_an_error_whatever_the_reason() {
    // hyper takes `NO_ERROR` for an end, since it may follow one.
    for reason in [Reason::NO_ERROR, Reason::CANCEL, Reason::INTERNAL_ERROR] {
        let peer = Peer::new(Builder::new(), move |stream: Stream| {
            stream.break_off(Some(9), "short", reason)
        });
        let session = in_memory(
            PoolConfig::default(),
            Timeouts::default(),
            Http2::default(),
            &peer,
        );
        let response = send(&session, get("http://peer/")).await.unwrap();
        let error = response.into_body().collect().await.unwrap_err();
        assert!(error.is_response_body(), "{reason:?}: {error:?}");
        assert_eq!(session.stats().streams, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_length_without_a_body_is_no_body_that_was_cut() {
    let peer = Peer::new(Builder::new(), |stream: Stream| async move {
        stream.answer_with_length(9);
    });
    let session = in_memory(
        PoolConfig::default(),
        Timeouts::default(),
        Http2::default(),
        &peer,
    );
    let request = Request::head("http://peer/").body(Full::default());
    let response = send(&session, request.unwrap()).await.unwrap();
    assert_eq!(response.headers()["content-length"], "9");
    let body = response.into_body().collect().await.unwrap();
    assert!(body.to_bytes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_body_that_fails_is_the_cause_of_its_requests_error() {
    let peer = Peer::new(Builder::new(), Stream::hold);
    let session: Session<_> = SessionLayer::new(PoolConfig::default(), Timeouts::default())
        .and_then(|layer| layer.http2(Http2::default().prior_knowledge(true)))
        .unwrap()
        .layer(peer.connector());
    let failing = tokio_stream::iter([Err::<Frame<Bytes>, _>(std::fmt::Error)]);
    let request = Request::post("http://peer/").body(StreamBody::new(failing));
    let error = session.oneshot(request.unwrap()).await.unwrap_err();
    assert!(error.is_request_body(), "{error:?}");
    let source = std::error::Error::source(&error).unwrap();
    assert!(source.is::<std::fmt::Error>(), "{source:?}");
}

#[tokio::test(start_paused = true)]
async fn a_body_shorter_than_announced_is_an_error_of_the_body() {
    let data = Arc::new(Mutex::new(Vec::new()));
    let seen = data.clone();
    let session: Session<Counted> = SessionLayer::new(PoolConfig::default(), Timeouts::default())
        .and_then(|layer| layer.http2(Http2::default().prior_knowledge(true)))
        .unwrap()
        .layer(service_fn(move |_: http::Uri| {
            let (near, far) = tokio::io::duplex(64 * 1024);
            tokio::spawn(frames(far, false, seen.clone()));
            ready(Ok::<_, Infallible>(Pipe(TokioIo::new(near))))
        }));
    for (announced, what) in [("5000", "short"), ("1024", "long")] {
        let request = Request::post("http://peer/")
            .header("content-length", announced)
            .body(Counted((), Arc::new(AtomicUsize::new(1)), 2048))
            .unwrap();
        data.lock().unwrap().clear();
        let answered = session.clone().oneshot(request).await;
        tokio::time::sleep(SECOND).await;
        let sent = data.lock().unwrap().clone();
        assert!(
            answered
                .as_ref()
                .is_err_and(session_layer::Error::is_request_body)
                && sent.iter().map(|it| it.0).sum::<usize>() <= announced.parse().unwrap()
                && sent.iter().all(|it| !it.1),
            "{what}: announced {announced}; DATA frames (length, END_STREAM): {sent:?}; {answered:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_allows_nothing_more_is_replaced() {
    let first = Arc::new(AtomicUsize::new(0));
    let session: BytesSession = SessionLayer::new(PoolConfig::default(), Timeouts::default())
        .and_then(|layer| layer.http2(Http2::default().prior_knowledge(true)))
        .unwrap()
        .layer(service_fn(move |_: http::Uri| {
            let (near, far) = tokio::io::duplex(64 * 1024);
            let drains = first.fetch_add(1, SeqCst) == 0;
            tokio::spawn(frames(far, drains, Arc::default()));
            ready(Ok::<_, Infallible>(Pipe(TokioIo::new(near))))
        }));
    fetch(&session, get("http://peer/")).await.unwrap();
    tokio::time::sleep(SECOND).await;
    let began = Instant::now();
    let answered = fetch(&session, get("http://peer/")).await;
    assert!(
        answered.is_ok(),
        "after {:?}: {answered:?} {:?}",
        began.elapsed(),
        session.stats()
    );
}

type Data = Arc<Mutex<Vec<(usize, bool)>>>;

/// A peer of bare frames, which checks nothing: it answers each request when its body has ended.
async fn frames(io: DuplexStream, drains: bool, data: Data) {
    // The client's end is the end of this peer.
    let _ = exchange_frames(io, drains, data).await;
}

async fn exchange_frames(io: DuplexStream, drains: bool, data: Data) -> std::io::Result<()> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (mut read, mut write) = tokio::io::split(io);
    read.read_exact(&mut [0; 24]).await?;
    write.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await?;
    loop {
        let mut head = [0; 9];
        read.read_exact(&mut head).await?;
        let [_, high, low, kind, flags, id @ ..] = head;
        let length = usize::from(high) << 8 | usize::from(low);
        read.read_exact(&mut vec![0; length]).await?;
        let ends = flags & 1 != 0;
        match kind {
            0 => data.lock().expect("nobody panics").push((length, ends)),
            4 if !ends => write.write_all(&[0, 0, 0, 4, 1, 0, 0, 0, 0]).await?,
            _ => {}
        }
        if kind <= 1 && ends {
            let answer = [&[0, 0, 1, 1, 5][..], &id, &[0x88]].concat();
            write.write_all(&answer).await?;
            if drains {
                let none = [0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0];
                write.write_all(&none).await?;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn dropping_a_response_body_resets_its_stream() {
    let reset = Arc::new(AtomicUsize::new(0));
    let seen = reset.clone();
    let connector = service_fn(move |_: http::Uri| {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let seen = seen.clone();
        tokio::spawn(async move {
            let mut frames = Builder::new()
                .initial_window_size(1024)
                .handshake::<_, Bytes>(far)
                .await
                .unwrap();
            while let Some(Ok((request, mut respond))) = frames.accept().await {
                let mut body = respond.send_response(Response::new(()), false).unwrap();
                body.send_data(Bytes::from_static(b"early"), false).unwrap();
                let seen = seen.clone();
                tokio::spawn(async move {
                    let _ = poll_fn(|cx| body.poll_reset(cx)).await;
                    seen.fetch_add(1, SeqCst);
                    drop((request, respond));
                });
            }
        });
        ready(Ok::<_, Infallible>(Pipe(TokioIo::new(near))))
    });
    let session: Session<Counted> = SessionLayer::new(PoolConfig::default(), Timeouts::default())
        .and_then(|layer| layer.http2(Http2::default().prior_knowledge(true)))
        .unwrap()
        .layer(connector);
    let alive = Arc::new(AtomicUsize::new(1));
    let request = Request::post("http://peer/")
        .body(Counted((), alive.clone(), 64 * 1024))
        .unwrap();
    drop(session.clone().oneshot(request).await.unwrap());
    tokio::time::sleep(40 * SECOND).await;
    assert_eq!(
        (reset.load(SeqCst), alive.load(SeqCst)),
        (1, 0),
        "(resets, uploads alive) {:?}",
        session.stats()
    );
}

#[tokio::test(start_paused = true)]
async fn a_body_longer_than_announced_sends_nothing_beyond_it() {
    let data: Data = Arc::default();
    let seen = data.clone();
    let session: Session<Counted> = SessionLayer::new(PoolConfig::default(), Timeouts::default())
        .and_then(|layer| layer.http2(Http2::default().prior_knowledge(true)))
        .unwrap()
        .layer(service_fn(move |_: http::Uri| {
            let (near, far) = tokio::io::duplex(64 * 1024);
            tokio::spawn(frames(far, false, seen.clone()));
            ready(Ok::<_, Infallible>(Pipe(TokioIo::new(near))))
        }));
    let request = Request::post("http://peer/")
        .header("content-length", "1500")
        .body(Counted((), Arc::new(AtomicUsize::new(1)), 4096))
        .unwrap();
    let answered = session.clone().oneshot(request).await;
    tokio::time::sleep(SECOND).await;
    let sent = data.lock().unwrap().clone();
    let bytes: usize = sent.iter().map(|it| it.0).sum();
    assert!(
        bytes <= 1500,
        "announced 1500, sent {bytes}: {sent:?} {answered:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn no_userinfo_in_the_authority() {
    let peer = Peer::new(Builder::new(), |stream: Stream| async move {
        let uri = stream.request.uri().to_string();
        stream.answer(200, uri);
    });
    let session = in_memory(
        PoolConfig::default(),
        Timeouts::default(),
        Http2::default(),
        &peer,
    );
    let request = Request::get("http://peer/").header("host", "user:canary@peer");
    let seen = fetch(&session, request.body(Full::default()).unwrap()).await;
    assert!(!format!("{seen:?}").contains("canary"), "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_gets_a_used_connection_counts_as_reused() {
    let peer = Peer::new(Builder::new(), |stream: Stream| async move {
        tokio::time::sleep(SECOND).await;
        stream.answer(200, HELLO);
    });
    let pool = PoolConfig::default().max_connections_per_origin(1);
    let session = in_memory(
        pool,
        Timeouts::default(),
        Http2::default().max_concurrent_streams(1),
        &peer,
    );
    let mut tasks = Vec::new();
    for _ in 0..5 {
        let session = session.clone();
        tasks.push(tokio::spawn(async move {
            send(&session, get("http://peer/"))
                .await
                .unwrap()
                .into_body()
        }));
    }
    let mut reused = 0;
    for task in tasks {
        let body = task.await.unwrap();
        reused += u64::from(body.connection().is_reused());
        body.collect().await.unwrap();
    }
    assert_eq!(session.stats().reused, reused);
}

#[tokio::test(start_paused = true)]
async fn bodies_that_wait_for_their_reader_do_not_stop_others() {
    let peer = Peer::new(Builder::new(), |stream: Stream| async move {
        match stream.request.uri().path() {
            "/large" => stream.answer(200, vec![0; 4 * 1024 * 1024]),
            _ => stream.answer(200, HELLO),
        }
    });
    let session = in_memory(
        PoolConfig::default(),
        Timeouts::default(),
        Http2::default(),
        &peer,
    );
    fetch(&session, get("http://peer/")).await.unwrap();
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(send(&session, get("http://peer/large")).await.unwrap());
    }
    tokio::time::sleep(SECOND).await;
    let began = Instant::now();
    let answered = fetch(&session, get("http://peer/")).await;
    assert!(
        answered.is_ok(),
        "after {:?}: {answered:?} {:?}",
        began.elapsed(),
        session.stats()
    );
}
