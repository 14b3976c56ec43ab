//! `Expect: 100-continue`: a body that waits until the peer asks for it.

use std::{
    error::Error as StdError,
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Wake},
    thread::{self, Thread},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, StatusCode, Uri, header};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use session_layer::{Http2, PoolConfig, Session, SessionLayer, Timeouts};
use test_suite::{eventually, fetch, get, in_memory, post};
use test_support::{
    Connection as Peer, MemoryConnector, Reply, answer,
    frames::{self, flag, kind},
    http2, sequence,
};
use tokio::time::Instant;
use tower::{Layer, Service, ServiceExt, service_fn};

use super::support::{read, stream};

fn expecting<B>(body: B) -> Request<B> {
    Request::post("http://peer/")
        .header(header::EXPECT, "100-continue")
        .body(body)
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_body_waits_for_the_peer_to_ask_for_it() {
    let connector = MemoryConnector::new(|mut connection: Peer| async move {
        while let Some(request) = connection.read_head().await {
            assert_eq!(request.header("expect"), Some("100-continue"));
            let early = connection.read_bytes();
            let early = tokio::time::timeout(Duration::from_millis(500), early).await;
            assert!(early.is_err(), "{early:?} came before it was asked for");
            connection
                .write("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n")
                .await;
            let asked = Instant::now();
            let body = connection.read_body().await.unwrap();
            assert_eq!(asked.elapsed(), Duration::ZERO);
            connection.respond(200, body).await;
        }
    });
    let session = in_memory(PoolConfig::default(), Timeouts::default(), &connector);
    for _ in 0..2 {
        let began = Instant::now();
        let (_, body) = fetch(&session, expecting(Full::from("abc"))).await.unwrap();
        assert_eq!(body, "abc");
        assert_eq!(began.elapsed(), Duration::from_millis(500));
    }
    assert_eq!(connector.log().accepted, 1, "a 100 is no early answer");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_nobody_asks_for_is_sent_after_a_second() {
    for (timeouts, waits) in [
        (Timeouts::default(), 1000),
        (
            Timeouts::default().expect_continue(Duration::from_millis(20)),
            20,
        ),
        (Timeouts::default().expect_continue(Duration::ZERO), 0),
    ] {
        let connector = MemoryConnector::new(|mut connection: Peer| async move {
            while connection.read_head().await.is_some() {
                let body = connection.read_body().await.unwrap();
                connection.respond(200, body).await;
            }
        });
        let session = in_memory(PoolConfig::default(), timeouts, &connector);
        let began = Instant::now();
        let (_, body) = fetch(&session, expecting(Full::from("abc"))).await.unwrap();
        assert_eq!(body, "abc");
        let took = began.elapsed().as_millis();
        assert!(
            (waits..=waits + 2).contains(&took),
            "{took} ms, not {waits}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_final_answer_in_place_of_a_100_is_given_and_the_body_is_not_sent() {
    let connector = MemoryConnector::new(|mut connection: Peer| async move {
        if connection.read_head().await.is_some() {
            connection.respond(401, "who?").await;
            let closed = connection.stall_until_closed().await;
            assert_eq!(closed.discarded, 0);
        }
    });
    let session = in_memory(PoolConfig::default(), Timeouts::default(), &connector);
    for _ in 0..2 {
        let (status, body) = fetch(&session, expecting(Full::from("abc"))).await.unwrap();
        assert_eq!((status, &*body), (StatusCode::UNAUTHORIZED, &b"who?"[..]));
        connector.wait_for(|log| log.open == 0).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_success_in_place_of_a_100_lets_the_body_go() {
    let connector = MemoryConnector::new(|mut connection: Peer| async move {
        connection.read_head().await;
        connection
            .write("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n")
            .await;
        // It answers while it reads, as a peer that echoes does.
        let body = connection.read_body().await.unwrap();
        connection.write(body).await;
    });
    let session = in_memory(PoolConfig::default(), Timeouts::default(), &connector);
    let (status, body) = fetch(&session, expecting(Full::from("abc"))).await.unwrap();
    assert_eq!((status, &*body), (StatusCode::OK, &b"abc"[..]));
}

#[tokio::test(start_paused = true)]
async fn a_request_whose_expectation_fails_is_sent_once_more_without_it() {
    let connector = MemoryConnector::new(|mut connection: Peer| async move {
        while let Some(request) = connection.read_head().await {
            if request.header("expect").is_some() {
                connection.respond(417, "").await;
                return;
            }
            let body = connection.read_body().await.unwrap();
            connection.respond(200, body).await;
        }
    });
    let session = Session::new(connector.clone());
    let request = expecting(stream(&["abc", "de"]));
    let response = session.clone().oneshot(request).await.unwrap();
    let (status, body) = read(response).await.unwrap();
    assert_eq!((status, &*body), (StatusCode::OK, &b"abcde"[..]));
    assert_eq!(connector.log().requests.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_417_is_given_out_where_the_body_was_sent_or_nothing_was_expected() {
    let connector = MemoryConnector::new(sequence([Reply::status(417)]));
    let session = in_memory(PoolConfig::default(), Timeouts::default(), &connector);
    // The peer of this test asks for the body before it answers.
    let sent = fetch(&session, expecting(Full::from("abc"))).await.unwrap();
    let plain = fetch(&session, post("http://peer/", "abc")).await.unwrap();
    let bare = fetch(&session, get("http://peer/")).await.unwrap();
    for (status, _) in [sent, plain, bare] {
        assert_eq!(status, StatusCode::EXPECTATION_FAILED);
    }
    assert_eq!(connector.log().requests.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_expected_for_a_request_without_a_body() {
    let connector = MemoryConnector::new(answer(|request| {
        assert_eq!(request.header("expect"), None);
        Reply::status(200)
    }));
    let session = in_memory(PoolConfig::default(), Timeouts::default(), &connector);
    for method in [Method::GET, Method::POST] {
        let mut request = expecting(Full::default());
        *request.method_mut() = method;
        fetch(&session, request).await.unwrap();
    }
}

/// A session over HTTP/2.
fn over_http2<B>(peer: &http2::Peer) -> Session<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    SessionLayer::new(PoolConfig::default(), Timeouts::default())
        .and_then(|layer| layer.http2(Http2::default().prior_knowledge(true)))
        .unwrap()
        .layer(peer.connector())
}

#[tokio::test(start_paused = true)]
async fn over_http2_a_body_is_held_back_for_a_second() {
    let peer = http2::Peer::new(h2::server::Builder::new(), http2::Stream::echo);
    let session = over_http2(&peer);
    let began = Instant::now();
    let (_, body) = fetch(&session, expecting(Full::from("abc"))).await.unwrap();
    assert_eq!(body, "abc");
    assert_eq!(began.elapsed().as_secs(), 1);
}

#[tokio::test(start_paused = true)]
async fn over_http2_too_a_failed_expectation_is_left_out() {
    let peer = http2::Peer::new(
        h2::server::Builder::new(),
        |stream: http2::Stream| async move {
            if stream.request.headers().contains_key(header::EXPECT) {
                stream.answer(417, "");
            } else {
                stream.echo().await;
            }
        },
    );
    let session = over_http2(&peer);
    for _ in 0..3 {
        let began = Instant::now();
        let response = session.clone().oneshot(expecting(stream(&["abc", "de"])));
        let (status, body) = read(response.await.unwrap()).await.unwrap();
        assert_eq!((status, &*body), (StatusCode::OK, &b"abcde"[..]));
        assert!(began.elapsed() < Duration::from_secs(1));
        eventually("no stream is left", || session.stats().streams == 0).await;
    }
    assert_eq!(peer.log().connections.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_body_waits_again_where_its_connection_turns_out_to_be_closed() {
    let connector = MemoryConnector::new(|mut connection: Peer| async move {
        if connection.number() == 0 {
            let _ = connection.read_request().await;
            connection.respond(200, "").await;
            return;
        }
        while connection.read_head().await.is_some() {
            connection.write("HTTP/1.1 100 Continue\r\n\r\n").await;
            let body = connection.read_body().await.unwrap();
            connection.respond(200, body).await;
        }
    });
    let session = in_memory(PoolConfig::default(), Timeouts::default(), &connector);
    fetch(&session, get("http://peer/")).await.unwrap();
    // Its end has not been seen yet: hyper hands the request back.
    let began = Instant::now();
    let (_, body) = fetch(&session, expecting(Full::from("abc"))).await.unwrap();
    assert_eq!(body, "abc");
    assert_eq!(connector.log().accepted, 2);
    assert!(began.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_left_for_what_it_is_where_its_peer_answered_417() {
    for (header, by_peer) in [("x: y", 0), ("connection: close", 1)] {
        let connector = MemoryConnector::new(move |mut connection: Peer| async move {
            while let Some(request) = connection.read_head().await {
                if request.header("expect").is_some() {
                    let head = format!("HTTP/1.1 417 No\r\n{header}\r\ncontent-length: 0\r\n\r\n");
                    connection.write(head).await;
                    // It keeps the connection open, and would read the body that was announced.
                    let closed = connection.stall_until_closed().await;
                    assert_eq!(closed.discarded, 0);
                    return;
                }
                let body = connection.read_body().await.unwrap();
                connection.respond(200, body).await;
            }
        });
        let session = in_memory(PoolConfig::default(), Timeouts::default(), &connector);
        fetch(&session, expecting(Full::from("abc"))).await.unwrap();
        eventually("it is closed", || session.stats().closed.total() == 1).await;
        let closed = session.stats().closed;
        assert_eq!((closed.unclean, closed.peer), (1 - by_peer, by_peer));
        assert_eq!(connector.log().accepted, 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_callback_of_the_caller_is_called_and_the_body_goes_with_the_100() {
    let connector = MemoryConnector::new(|mut connection: Peer| async move {
        while connection.read_head().await.is_some() {
            let early = connection.read_bytes();
            let early = tokio::time::timeout(Duration::from_millis(500), early).await;
            assert!(early.is_err(), "{early:?} came before it was asked for");
            connection.write("HTTP/1.1 100 Continue\r\n\r\n").await;
            let body = connection.read_body().await.unwrap();
            connection.respond(200, body).await;
        }
    });
    let session = in_memory(PoolConfig::default(), Timeouts::default(), &connector);
    for _ in 0..2 {
        let (seen, told) = std::sync::mpsc::channel();
        let mut request = expecting(Full::from("abc"));
        hyper::ext::on_informational(&mut request, move |response| {
            seen.send(response.status()).unwrap();
        });
        let began = Instant::now();
        let (_, body) = fetch(&session, request).await.unwrap();
        assert_eq!(body, "abc");
        assert_eq!(began.elapsed(), Duration::from_millis(500));
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [StatusCode::CONTINUE]);
    }
}

/// Waits for a future outside of any runtime.
fn outside<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let waker = Arc::new(Unpark(thread::current())).into();
    let mut cx = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
        thread::park();
    }
}

#[test]
fn outside_of_a_runtime_a_call_ends_and_its_body_is_sent_at_once() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let connector = MemoryConnector::new(|mut connection: Peer| async move {
        while connection.read_head().await.is_some() {
            let body = connection.read_body().await.unwrap();
            connection.respond(200, body).await;
        }
    });
    let timeouts = Timeouts::default().expect_continue(Duration::from_secs(600));
    let session = in_memory(PoolConfig::default(), timeouts, &connector);
    // The first opens a connection, the second finds it idle.
    for _ in 0..2 {
        let call = {
            let _guard = runtime.enter();
            session.clone().call(expecting(Full::from("abc")))
        };
        let response = outside(call).unwrap();
        let body = outside(response.into_body().collect()).unwrap();
        assert_eq!(body.to_bytes(), "abc");
    }
    assert_eq!(connector.log().accepted, 1);
}

/// 417, and the end of the connection for later requests.
fn refuses_and_goes_away(stream: u32) -> Vec<u8> {
    let block = frames::field(":status", b"417");
    let flags = flag::END_HEADERS | flag::END_STREAM;
    let head = frames::frame(kind::HEADERS, flags, stream, &block);
    [head, frames::go_away(stream, 0)].concat()
}

#[tokio::test(start_paused = true)]
async fn a_body_of_unknown_length_refused_by_http2_is_sent_whole_by_http1() {
    let http1 = MemoryConnector::new(|mut connection: Peer| async move {
        while let Some(request) = connection.read_request().await {
            assert_eq!(request.header("transfer-encoding"), Some("chunked"));
            connection.respond(200, request.body).await;
        }
    });
    for method in [Method::GET, Method::DELETE, Method::POST] {
        let http2 = frames::Connector::new(|_, mut peer: frames::Peer| async move {
            if let Some(stream) = peer.request().await {
                peer.write(&refuses_and_goes_away(stream)).await;
            }
            peer.into_seen().await;
        });
        let connector = service_fn({
            let (http1, http2) = (http1.clone(), http2.clone());
            move |uri: Uri| {
                let (mut http1, mut http2) = (http1.clone(), http2.clone());
                async move {
                    match http2.connections() {
                        0 => Ok(http2.call(uri).await?.with_http2()),
                        _ => http1.call(uri).await,
                    }
                }
            }
        });
        let session = SessionLayer::new(PoolConfig::default(), Timeouts::default())
            .and_then(|layer| layer.http2(Http2::default()))
            .unwrap()
            .layer(connector);
        let mut request = expecting(stream(&["abc", "de"]));
        *request.uri_mut() = Uri::from_static("https://peer/");
        *request.method_mut() = method.clone();
        let (status, body) = read(session.oneshot(request).await.unwrap()).await.unwrap();
        assert_eq!(
            (status, &*body),
            (StatusCode::OK, &b"abcde"[..]),
            "{method}"
        );
    }
}
