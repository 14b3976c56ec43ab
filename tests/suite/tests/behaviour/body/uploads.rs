//! Request bodies: a peer that refuses them early, and a length that is not theirs.

use std::{
    convert::Infallible,
    error::Error as StdError,
    future::{self, ready},
    io, iter,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::{Router, extract::DefaultBodyLimit, routing};
use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::channel::Channel;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::{
    client::legacy::connect::{Connected, Connection},
    rt::TokioIo,
};
use session_layer::{Connector, Error, Http2, PoolConfig, Proxy, Session, SessionLayer, Timeouts};
use test_suite::{BytesSession, eventually, fetch, get, in_memory, post, session};
use test_support::{
    Connection as Peer, MemoryConnector, Reply, Server, answer, proxy, sequence,
    tls::{Authority, LOOPBACK},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    time::Instant,
};
use tower::{Layer, ServiceExt, service_fn};

use super::support::{read, stream};

const MIB: usize = 1 << 20;

fn io_errors(error: &Error) -> Vec<io::ErrorKind> {
    let error: &(dyn StdError + 'static) = error;
    iter::successors(Some(error), |error| (*error).source())
        .filter_map(|error| error.downcast_ref::<io::Error>())
        .map(io::Error::kind)
        .collect()
}

// A peer that refuses a body early.

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_answer_of_a_server_that_reads_no_more_of_an_upload_is_given() {
    let app = Router::new()
        .route(
            "/",
            routing::post(|body: Bytes| async move { body.len().to_string() }),
        )
        .layer(DefaultBodyLimit::max(64 * 1024));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let server = tokio::spawn(async { axum::serve(listener, app).await });
    let session = session(PoolConfig::default());
    for size in [MIB, 20 * MIB] {
        let body = Bytes::from(vec![b'x'; size]);
        for round in 0..40 {
            let answer = fetch(&session, post(&url, body.clone())).await;
            let (status, _) = answer.unwrap_or_else(|error| panic!("{size}, {round}: {error:?}"));
            assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
        }
    }
    // None of those connections is used again.
    let (status, body) = fetch(&session, post(&url, "abc")).await.unwrap();
    assert_eq!((status, &*body), (StatusCode::OK, &b"3"[..]));
    server.abort();
}

/// Answers after the head of a request, and closes without reading any further.
async fn refuse(mut connection: Peer) {
    if connection.read_head().await.is_some() {
        connection
            .write("HTTP/1.1 403 Forbidden\r\nconnection: close\r\ncontent-length: 5\r\n\r\nno no")
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_early_refusal_is_given_over_tls_and_through_proxies_too() {
    let authority = Authority::new();
    let plain = Server::start(refuse).await;
    let secure = Server::start_tls(refuse, authority.server_config(LOOPBACK)).await;
    let trusting = || Connector::new().tls_config(authority.client_config());
    let proxy = Proxy::all(&plain.origin()).unwrap();
    let tunnels = Server::start(proxy::http(secure.addr(), None)).await;
    let tunnel = Proxy::all(&tunnels.origin()).unwrap();
    for (way, connector, url) in [
        ("plain", trusting(), plain.url("/")),
        ("TLS", trusting(), secure.url("/")),
        (
            "proxy",
            trusting().proxy(proxy),
            "http://origin.test/".to_owned(),
        ),
        ("tunnel", trusting().proxy(tunnel), secure.url("/")),
    ] {
        let session = Session::new(connector);
        let body = Bytes::from(vec![b'x'; 4 * MIB]);
        for round in 0..20 {
            let answer = fetch(&session, post(&url, body.clone())).await;
            let (status, body) = answer.unwrap_or_else(|error| panic!("{way}, {round}: {error:?}"));
            assert_eq!(
                (status, &*body),
                (StatusCode::FORBIDDEN, &b"no no"[..]),
                "{way}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_early_refusal_of_a_stream_is_given() {
    let server = Server::start(refuse).await;
    let session: Session<_> = Session::new(Connector::new());
    for round in 0..20 {
        let (mut sender, body) = Channel::<Bytes>::new(1);
        let uploads = tokio::spawn(async move {
            let piece = Bytes::from(vec![b'x'; 64 * 1024]);
            while sender.send_data(piece.clone()).await.is_ok() {}
        });
        let request = Request::post(server.url("/")).body(body).unwrap();
        let response = session.clone().oneshot(request).await;
        let response = response.unwrap_or_else(|error| panic!("{round}: {error:?}"));
        let (status, body) = read(response).await.unwrap();
        assert_eq!((status, &*body), (StatusCode::FORBIDDEN, &b"no no"[..]));
        // The producer hears that nobody wants more.
        uploads.await.unwrap();
    }
}

/// A transport whose writes fail from the moment when the peer has called `break_writes`, and whose
/// reads go on.
struct Deaf {
    near: TokioIo<DuplexStream>,
    broken: Arc<AtomicBool>,
}

struct Far {
    io: DuplexStream,
    broken: Arc<AtomicBool>,
}

impl Far {
    /// Reads until `is_enough`, takes nothing more, and answers by these bytes after a while.
    async fn refuse(
        mut self,
        is_enough: impl Fn(&[u8]) -> bool,
        after: Duration,
        answer: &'static [u8],
    ) {
        let mut read = Vec::new();
        while !is_enough(&read) {
            self.io.read_buf(&mut read).await.unwrap();
        }
        self.broken.store(true, SeqCst);
        // A write that waits for room is woken by this, and fails.
        self.io.read_buf(&mut read).await.unwrap();
        tokio::time::sleep(after).await;
        self.io.write_all(answer).await.unwrap();
        future::pending::<()>().await;
    }
}

/// A session whose connections are served by `serve`.
fn deaf<F>(http2: bool, serve: impl Fn(Far) -> F + Clone + Send + Sync + 'static) -> BytesSession
where
    F: Future<Output = ()> + Send + 'static,
{
    let connector = service_fn(move |_: Uri| {
        let (near, io) = tokio::io::duplex(1024);
        let broken = Arc::new(AtomicBool::new(false));
        let near = Deaf {
            near: TokioIo::new(near),
            broken: broken.clone(),
        };
        tokio::spawn(serve(Far { io, broken }));
        ready(Ok::<_, Infallible>(near))
    });
    let timeouts = Timeouts::default().head(Duration::from_secs(3600));
    SessionLayer::new(PoolConfig::default(), timeouts)
        .and_then(|layer| layer.http2(Http2::default().prior_knowledge(http2)))
        .unwrap()
        .layer(connector)
}

impl Read for Deaf {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.near).poll_read(cx, buf)
    }
}

impl Write for Deaf {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.broken.load(SeqCst) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        Pin::new(&mut self.near).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Connection for Deaf {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_may_come_up_to_a_second_after_a_write_failed() {
    const ANSWER: &[u8] = b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno";
    for (after, is_given) in [(0, true), (900, true), (1100, false)] {
        let after = Duration::from_millis(after);
        let session = deaf(false, move |far| {
            far.refuse(|read| read.len() >= 500, after, ANSWER)
        });
        let began = Instant::now();
        let answer = fetch(&session, post("http://peer/", vec![b'x'; MIB])).await;
        assert_eq!(answer.is_ok(), is_given, "{after:?}: {answer:?}");
        let took = began.elapsed().as_millis();
        match answer {
            Ok((status, body)) => assert_eq!((status.as_u16(), &*body), (413, &b"no"[..])),
            Err(error) => {
                assert!((1000..1010).contains(&took), "{took} ms");
                assert!(error.is_broken() && !error.is_unsent(), "{error:?}");
                assert_eq!(io_errors(&error), [io::ErrorKind::BrokenPipe]);
            }
        }
        eventually("it is closed", || session.stats().open == 0).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_an_http2_peer_said_before_it_took_no_more_is_read() {
    // SETTINGS, a PING that must be answered, and on stream 1 a 404 that ends it.
    const ANSWER: &[u8] = b"\0\0\x08\x06\0\0\0\0\0pingpong\0\0\x01\x01\x05\0\0\0\x01\x8d";
    const SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0";
    // The preface, and frames until one of them is HEADERS.
    let has_headers = |read: &[u8]| {
        let mut rest = read.get(24..).unwrap_or_default();
        while let Some((head, payload)) = rest.split_at_checked(9) {
            let length = usize::from(head[1]) << 8 | usize::from(head[2]);
            if head[3] == 1 {
                return true;
            }
            rest = payload.get(length..).unwrap_or_default();
        }
        false
    };
    let session = deaf(true, move |mut far| async move {
        far.io.write_all(SETTINGS).await.unwrap();
        let mut read = Vec::new();
        while !has_headers(&read) {
            far.io.read_buf(&mut read).await.unwrap();
        }
        far.broken.store(true, SeqCst);
        far.io.write_all(ANSWER).await.unwrap();
        future::pending::<()>().await;
    });
    let (status, _) = fetch(&session, get("http://peer/")).await.unwrap();
    assert_eq!(status, StatusCode::NOT_FOUND);
    let began = Instant::now();
    eventually("it is closed", || session.stats().open == 0).await;
    assert!(
        began.elapsed() <= Duration::from_millis(1010),
        "{:?}",
        began.elapsed()
    );
}

// A length that is not the body's.

/// A session over HTTP/1 whose requests have such a body.
fn plain<B>(connector: &MemoryConnector) -> Session<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    Session::new(connector.clone())
}

#[tokio::test(start_paused = true)]
async fn a_body_of_another_length_than_announced_is_an_error_of_the_request() {
    for (length, frames) in [
        // The length ends where a frame does.
        ("3", &["abc", "de"][..]),
        ("3", &["abc", "", "de"]),
        ("3", &["abcde"]),
        ("9", &["abc", "de"]),
        ("9", &["abcde"]),
        ("0", &["abc"]),
        ("3", &[]),
    ] {
        let connector = MemoryConnector::new(sequence([Reply::status(200)]));
        let session = plain(&connector);
        let request = Request::post("http://peer/")
            .header(header::CONTENT_LENGTH, length)
            .body(stream(frames))
            .unwrap();
        let error = session.clone().oneshot(request).await.unwrap_err();
        assert!(
            error.is_request_body() && !error.is_unsent(),
            "{length} and {frames:?}: {error:?}"
        );
        let log = connector.wait_for(|log| log.open == 0).await;
        assert!(
            log.requests.iter().all(|request| !request.complete),
            "{length} and {frames:?}: {:?}",
            log.requests
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_of_its_announced_length_is_sent_however_it_ends() {
    for (length, frames) in [
        ("5", &["abc", "de"][..]),
        ("5", &["abcde", ""]),
        ("5", &["", "abcde"]),
        ("0", &[]),
        ("0", &[""]),
    ] {
        let connector = MemoryConnector::new(answer(|request| {
            Reply::status(200).body(request.body.clone())
        }));
        let session = plain(&connector);
        for _ in 0..2 {
            let request = Request::post("http://peer/")
                .header(header::CONTENT_LENGTH, length)
                .body(stream(frames))
                .unwrap();
            let response = session.clone().oneshot(request).await.unwrap();
            let (_, sent) = read(response).await.unwrap();
            assert_eq!(sent, frames.concat(), "{length}");
        }
        assert_eq!(connector.log().accepted, 1, "{length} and {frames:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_gave_all_it_announced_is_sent_without_its_end_after_1_s() {
    let connector = MemoryConnector::new(sequence([Reply::status(200)]));
    let session = plain(&connector);
    let (mut sender, body) = Channel::<Bytes>::new(1);
    sender.send_data(Bytes::from_static(b"abc")).await.unwrap();
    let request = Request::post("http://peer/")
        .header(header::CONTENT_LENGTH, 3)
        .body(body)
        .unwrap();
    let began = Instant::now();
    let response = session.clone().oneshot(request).await.unwrap();
    assert_eq!(read(response).await.unwrap().0, StatusCode::OK);
    assert_eq!(began.elapsed().as_secs(), 1);
    drop(sender);
}

/// A body that says how long it is, and is not.
struct Lies(u64, Option<Bytes>);

impl Body for Lies {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.1.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0)
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_of_another_length_than_it_says_is_an_error_of_the_request() {
    for length in [2, 9] {
        let connector = MemoryConnector::new(sequence([Reply::status(200)]));
        let session = plain(&connector);
        let body = Lies(length, Some(Bytes::from_static(b"abcde")));
        let request = Request::post("http://peer/").body(body).unwrap();
        let error = session.clone().oneshot(request).await.unwrap_err();
        assert!(error.is_request_body(), "{length}: {error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn any_transfer_coding_of_a_request_but_one_chunked_is_refused() {
    let connector = MemoryConnector::new(answer(|request| {
        Reply::status(200).body(request.body.clone())
    }));
    let session = plain(&connector);
    let with = |codings: &[&'static str]| {
        let mut request = Request::post("http://peer/")
            .body(stream(&["abc"]))
            .unwrap();
        for coding in codings {
            let coding = http::HeaderValue::from_static(coding);
            request
                .headers_mut()
                .append(header::TRANSFER_ENCODING, coding);
        }
        session.clone().oneshot(request)
    };
    for codings in [
        &["chunked", "chunked"][..],
        &["gzip", "chunked"],
        &["chunked, gzip"],
        &["gzip, chunked"],
        &["chunked, chunked"],
        &["gzip"],
        &["identity"],
        &[""],
    ] {
        let error = with(codings).await.unwrap_err();
        assert!(
            error.is_headers() && error.is_unsent(),
            "{codings:?}: {error:?}"
        );
    }
    for codings in [&["chunked"][..], &["Chunked"]] {
        let response = with(codings).await.unwrap();
        assert_eq!(read(response).await.unwrap().1, "abc");
    }
    assert_eq!(connector.log().requests.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_length_that_is_not_digits_alone_is_refused() {
    let connector = MemoryConnector::new(sequence([Reply::status(200)]));
    let session = in_memory(PoolConfig::default(), Timeouts::default(), &connector);
    for length in [
        "+3",
        " 3",
        "3,3",
        "3, 3",
        "-3",
        "0x3",
        "",
        "99999999999999999999",
    ] {
        let mut request = post("http://peer/", "abc");
        let value = http::HeaderValue::from_static(length);
        request.headers_mut().insert(header::CONTENT_LENGTH, value);
        let error = fetch(&session, request).await.unwrap_err();
        assert!(error.is_headers(), "{length:?}: {error:?}");
    }
    assert_eq!(connector.log().requests.len(), 0);
}
