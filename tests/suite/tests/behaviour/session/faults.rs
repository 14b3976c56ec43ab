//! Foreign code that fails, and callers that go away, at every point.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Uri};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use session_layer::{PoolConfig, Session, SessionLayer, Timeouts};
use test_suite::{fetch, get, in_memory, post, send, test_path};
use test_support::{Connection, MemoryConnector, Reply, Server, answer};
use tower::{Layer, Service, ServiceExt};

/// Polls a future this many times, then drops it; `None` if it ended before.
async fn drop_after(polls: usize, future: impl Future<Output = ()>) -> Option<()> {
    let mut future = Box::pin(future);
    for _ in 0..polls {
        let polled = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await;
        if polled.is_ready() {
            return None;
        }
        // Lets connection tasks and the server get on, without waiting for them.
        tokio::task::yield_now().await;
    }
    Some(())
}

#[tokio::test(start_paused = true)]
async fn a_call_dropped_at_any_poll_leaves_nothing_and_spoils_nothing() {
    // Slow to connect, slow to answer, and the body in pieces: many points to be dropped at.
    let handler = |mut connection: Connection| async move {
        while let Some(request) = connection.read_request().await {
            let body = request.target.clone();
            tokio::task::yield_now().await;
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
            if !connection.write(head).await || !connection.drip(body, 1, Duration::ZERO).await {
                return;
            }
            connection.answered();
        }
    };
    let mut completed = false;
    for polls in 0..200 {
        let connector = MemoryConnector::new(handler);
        let pool = PoolConfig::default().max_connections(1);
        let session = in_memory(pool, Timeouts::default(), &connector);
        let dropped = drop_after(polls, async {
            // The second waits in the queue behind the first.
            let (one, two) = tokio::join!(
                fetch(&session, get("http://peer/first")),
                fetch(&session, post("http://peer/second", "body")),
            );
            assert_eq!(one.unwrap().1, "/first");
            assert_eq!(two.unwrap().1, "/second");
        });
        completed = dropped.await.is_none();

        let (_, body) = fetch(&session, get("http://peer/third")).await.unwrap();
        assert_eq!(body, "/third", "after a drop at poll {polls}");
        tokio::time::sleep(Duration::from_secs(1)).await;
        let stats = session.stats();
        assert_eq!(
            (stats.in_use, stats.waiting, stats.connecting),
            (0, 0, 0),
            "after a drop at poll {polls}"
        );
        assert!(
            connector.log().peak_open <= 1,
            "after a drop at poll {polls}"
        );
        if completed {
            break;
        }
    }
    assert!(completed, "the call was too long for this test");
}

/// A connector that panics the first few times.
#[derive(Clone)]
struct Panicking {
    inner: MemoryConnector,
}

impl Service<Uri> for Panicking {
    type Response = <MemoryConnector as Service<Uri>>::Response;
    type Error = <MemoryConnector as Service<Uri>>::Error;
    type Future = <MemoryConnector as Service<Uri>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        assert!(uri.host() != Some("panic"), "this connector panics");
        self.inner.call(uri)
    }
}

#[tokio::test(start_paused = true)]
async fn a_connector_that_panics_fails_its_request_only() {
    let connector = Panicking {
        inner: MemoryConnector::new(answer(|_| Reply::status(200).body("fine"))),
    };
    let pool = PoolConfig::default().max_connections(1);
    let session: test_suite::BytesSession = SessionLayer::new(pool, Timeouts::default())
        .unwrap()
        .layer(connector);
    for _ in 0..3 {
        let error = fetch(&session, get("http://panic/")).await.unwrap_err();
        assert!(error.is_connect() && error.is_unsent());
        assert_eq!(
            fetch(&session, get("http://peer/")).await.unwrap().1,
            "fine"
        );
    }
}

/// A request body that ends badly after its first frame.
struct Bad {
    sent: bool,
    panics: bool,
}

impl Body for Bad {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        assert!(!(self.sent && self.panics), "this body panics");
        if self.sent {
            return Poll::Ready(Some(Err(std::io::Error::other("the file went away"))));
        }
        self.sent = true;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"first")))))
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_body_that_fails_or_panics_fails_its_request_only() {
    let connector = MemoryConnector::new(answer(|_| Reply::status(200).body("fine")));
    let session: Session<Bad> = Session::new(connector.clone());
    for panics in [false, true] {
        let request = Request::post("http://peer/")
            .body(Bad {
                sent: false,
                panics,
            })
            .unwrap();
        let error = session.clone().oneshot(request).await.unwrap_err();
        assert!(error.is_request_body(), "{error:?}");
        assert!(!error.is_unsent());
        tokio::task::yield_now().await;
        assert_eq!(session.stats().open, 0);
    }
}

#[tokio::test]
#[expect(
    clippy::async_yields_async,
    reason = "the call goes on on another runtime"
)]
async fn a_connection_whose_runtime_ends_is_broken_and_no_error_of_the_body() {
    let server = Server::start(|mut connection: Connection| async move {
        let _ = connection.read_request().await;
        connection.respond(200, "x").await;
        let _ = connection.read_request().await;
        connection.stall_until_closed().await;
    })
    .await;
    let session = test_suite::session(PoolConfig::default());
    let other = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let (first, url) = (session.clone(), server.url("/"));
    let opened = other.spawn(async move { fetch(&first, get(&url)).await });
    opened.await.unwrap().unwrap();
    // Begun on that runtime, whose connection it goes over, and awaited on this one.
    let (second, url) = (session.clone(), server.url("/"));
    let begun = other.spawn(async move {
        let mut call = Box::pin(async move { fetch(&second, get(&url)).await });
        assert!(poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx).is_pending())).await);
        call
    });
    let call = begun.await.unwrap();
    server.wait_for(|log| log.requests.len() == 2).await;
    other.shutdown_background();
    let error = call.await.unwrap_err();
    assert!(error.is_stale() && !error.is_unsent(), "{error:?}");
    assert!(!error.is_request_body());
}

/// A stream that sends a part of what it is given, and then fails.
#[derive(Clone)]
struct Torn;

impl Service<Uri> for Torn {
    type Response = Self;
    type Error = std::convert::Infallible;
    type Future = std::future::Ready<Result<Self, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        std::future::ready(Ok(Self))
    }
}

impl hyper_util::client::legacy::connect::Connection for Torn {
    fn connected(&self) -> hyper_util::client::legacy::connect::Connected {
        hyper_util::client::legacy::connect::Connected::new()
    }
}

impl hyper::rt::Read for Torn {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        Poll::Pending
    }
}

impl hyper::rt::Write for Torn {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Poll::Ready(Err(std::io::ErrorKind::ConnectionReset.into()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_that_fails_is_not_called_unsent_where_a_part_may_have_left() {
    let session: test_suite::BytesSession = Session::new(Torn);
    let error = fetch(&session, post("http://peer/", "once"))
        .await
        .unwrap_err();
    assert!(!error.is_unsent() && error.is_broken(), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_response_dropped_before_its_body_closes_only_its_own_connection() {
    let connector = MemoryConnector::new(answer(|_| Reply::status(200).body(vec![b'x'; 1 << 20])));
    let session = in_memory(PoolConfig::default(), Timeouts::default(), &connector);
    let (kept, dropped) = tokio::join!(
        send(&session, get("http://peer/")),
        send(&session, get("http://peer/")),
    );
    drop(dropped.unwrap());
    let body = kept
        .unwrap()
        .into_body()
        .collect()
        .await
        .unwrap()
        .to_bytes();
    assert_eq!(body.len(), 1 << 20);
    assert_eq!(session.stats().open, 1);
}

#[tokio::test(start_paused = true)]
async fn a_relative_or_foreign_uri_is_refused_before_anything_is_opened() {
    let connector = MemoryConnector::new(answer(|_| Reply::status(200)));
    let session = in_memory(PoolConfig::default(), Timeouts::default(), &connector);
    for uri in ["/relative", "ftp://peer/", "http://peer:99999/"] {
        let error = fetch(&session, get(uri)).await.unwrap_err();
        assert!(error.is_uri() && error.is_unsent(), "{uri}: {error:?}");
    }
    assert_eq!(session.stats().opened, 0);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_asks_for_an_upgrade_gets_it_and_leaves_the_pool() {
    let connector = MemoryConnector::new(|mut connection: Connection| async move {
        let _ = connection.read_request().await;
        connection
            .write("HTTP/1.1 101 Switching Protocols\r\nupgrade: echo\r\nconnection: upgrade\r\n\r\nhi")
            .await;
        while let Some(bytes) = connection.read_bytes().await {
            connection.write(bytes).await;
        }
    });
    let session = in_memory(PoolConfig::default(), Timeouts::default(), &connector);
    let mut request = get("http://peer/");
    let headers = request.headers_mut();
    headers.insert("upgrade", "echo".parse().unwrap());
    headers.insert("connection", "upgrade".parse().unwrap());
    let response = send(&session, request).await.unwrap();
    assert_eq!(response.status(), 101);
    let upgraded = hyper::upgrade::on(response).await.unwrap();
    // Neither the head nor the idle timeout is for it.
    tokio::time::sleep(Duration::from_secs(600)).await;
    let mut io = hyper_util::rt::TokioIo::new(upgraded);
    let mut buffer = [0; 6];
    tokio::io::AsyncWriteExt::write_all(&mut io, b"echo")
        .await
        .unwrap();
    tokio::io::AsyncReadExt::read_exact(&mut io, &mut buffer)
        .await
        .unwrap();
    assert_eq!(&buffer, b"hiecho");
    assert_eq!(
        session.stats().open,
        1,
        "its slot is taken as long as its socket is open"
    );
    drop(io);
    tokio::task::yield_now().await;
    assert_eq!(session.stats().open, 0);
}

/// Limits of a process cannot be changed here, so the test runs itself in another, from a shell that lowers one.
#[tokio::test]
async fn a_process_without_descriptors_fails_unsent_and_recovers() {
    const CHILD: &str = "FAULTS_CHILD";
    const NAME: &str = "a_process_without_descriptors_fails_unsent_and_recovers";
    if let Ok(urls) = std::env::var(CHILD) {
        let (warm, cold) = urls.split_once(' ').unwrap();
        return without_descriptors(warm, cold).await;
    }
    let warm = Server::start(answer(|_| Reply::status(200).body("warm"))).await;
    let cold = Server::start(answer(|_| Reply::status(200).body("cold"))).await;
    let child = tokio::process::Command::new("sh")
        .args(["-c", "ulimit -n 64 && exec \"$0\" \"$1\" --exact"])
        .arg(std::env::current_exe().unwrap())
        .arg(test_path(module_path!(), NAME))
        .env(CHILD, format!("{} {}", warm.url("/"), cold.url("/")))
        .output()
        .await
        .unwrap();
    let output = String::from_utf8_lossy(&child.stdout).into_owned();
    assert!(child.status.success(), "{output}");
    assert!(
        output.contains("1 passed"),
        "the child ran nothing: {output}"
    );
    assert_eq!((warm.log().accepted, cold.log().accepted), (1, 2));
}

/// The system's error code at the end of the causes.
fn os_code(error: &(dyn std::error::Error + 'static)) -> Option<i32> {
    let mut code = None;
    let mut next = Some(error);
    while let Some(error) = next {
        let system = error.downcast_ref::<std::io::Error>();
        code = system.and_then(std::io::Error::raw_os_error).or(code);
        next = error.source();
    }
    code
}

#[expect(clippy::unwrap_used, reason = "the test fails by its panic")]
async fn without_descriptors(warm: &str, cold: &str) {
    let session = test_suite::session(PoolConfig::default());
    let client = client::Client::new();
    fetch(&session, get(warm)).await.unwrap();
    let mut taken = Vec::new();
    let full = loop {
        match std::fs::File::open("/dev/null") {
            Ok(file) => taken.push(file),
            Err(error) => break error,
        }
        assert!(taken.len() < 64, "the limit does not hold");
    };
    // What is open goes on; what is not fails at once, with the system's own error, and is known to be unsent.
    assert_eq!(fetch(&session, get(warm)).await.unwrap().1, "warm");
    for _ in 0..100 {
        let error = fetch(&session, get(cold)).await.unwrap_err();
        assert!(error.is_connect() && error.is_unsent(), "{error:?}");
        assert_eq!(os_code(&error), full.raw_os_error(), "{error:?}");
    }
    let stats = session.stats();
    assert_eq!((stats.open, stats.connecting), (1, 0), "{stats:?}");
    // A retry finds them free.
    let (fetched, ()) = tokio::join!(client.get(cold).fetch(), async {
        tokio::task::yield_now().await;
        drop(taken);
    });
    assert_eq!(fetched.unwrap().body(), "cold");
    assert_eq!(fetch(&session, get(cold)).await.unwrap().1, "cold");
}
