//! Floors of throughput, over both protocols, on a paused clock.

mod client;
mod download;
mod exempt;
mod runtimes;
mod stood_still;
mod upload;

use std::{convert::Infallible, future::Future, time::Duration};

use bytes::Bytes;
use h2::server::Builder;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use session_layer::{
    Error, Http2, PoolConfig, RequestOptions, Session, SessionBody, SessionLayer, ThroughputFloor,
    Timeouts,
};
use test_support::{
    Connection, MemoryConnector,
    http2::{Peer, Stream},
};
use tokio::time::Instant;
use tower::{Layer, ServiceExt};

const SECOND: Duration = Duration::from_secs(1);
/// How long a verdict is confirmed, at most, with the rounding of timers.
const A_MOMENT: Duration = Duration::from_millis(20);

type Body = UnsyncBoxBody<Bytes, Infallible>;
type AnySession = Session<Body>;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Protocol {
    Http1,
    Http2,
}

const BOTH: [Protocol; 2] = [Protocol::Http1, Protocol::Http2];

/// What a server does after the head of a response.
#[derive(Clone, Debug)]
struct Script {
    content_type: &'static str,
    /// Each after a pause, so many bytes.
    pieces: Vec<(Duration, usize)>,
    /// Whether the body ends with them, or else stands still.
    ends: bool,
}

impl Script {
    /// A body of pieces at equal distances, the first of them at once.
    fn steady(pause: Duration, bytes: usize, times: usize) -> Self {
        let mut pieces = vec![(pause, bytes); times];
        if let Some(first) = pieces.first_mut() {
            first.0 = Duration::ZERO;
        }
        Self {
            content_type: "application/octet-stream",
            pieces,
            ends: true,
        }
    }

    fn of(pieces: &[(Duration, usize)]) -> Self {
        Self {
            pieces: pieces.to_vec(),
            ..Self::steady(SECOND, 0, 0)
        }
    }

    /// The same, and after that nothing more although more is to come.
    fn then_stall(mut self) -> Self {
        self.ends = false;
        self
    }

    fn len(&self) -> usize {
        self.pieces.iter().map(|(_, bytes)| bytes).sum()
    }
}

/// A session whose server answers each request by this script.
fn serving(protocol: Protocol, timeouts: Timeouts, script: Script) -> AnySession {
    match protocol {
        Protocol::Http1 => over_http1(timeouts, move |mut connection| {
            let script = script.clone();
            async move {
                while connection.read_request().await.is_some() {
                    let length = script.len() + usize::from(!script.ends);
                    let kind = script.content_type;
                    let head = format!(
                        "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n"
                    );
                    connection.write(head).await;
                    for &(pause, bytes) in &script.pieces {
                        tokio::time::sleep(pause).await;
                        if !connection.write(vec![b'x'; bytes]).await {
                            return;
                        }
                    }
                    if !script.ends {
                        connection.stall().await;
                    }
                    connection.answered();
                }
            }
        }),
        Protocol::Http2 => {
            let http2 = Http2::default().prior_knowledge(true);
            with_http2(timeouts, http2, &scripted(script))
        }
    }
}

/// A peer that answers each request by this script.
fn scripted(script: Script) -> Peer {
    Peer::new(Builder::new(), move |stream| {
        let script = script.clone();
        async move {
            let head = Response::builder().header("content-type", script.content_type);
            let (mut send, _request) = stream.begin(head.body(()).unwrap());
            for &(pause, bytes) in &script.pieces {
                tokio::time::sleep(pause).await;
                let _ = send.send_data(vec![b'x'; bytes].into(), false);
            }
            if script.ends {
                let _ = send.send_data(Bytes::new(), true);
            }
            let _ = std::future::poll_fn(|cx| send.poll_reset(cx)).await;
        }
    })
}

/// A session whose server takes `bytes` of a request after each pause, and answers `ok` when it has the
/// whole, after `think`.
fn taking(
    protocol: Protocol,
    timeouts: Timeouts,
    pause: Duration,
    bytes: usize,
    think: Duration,
) -> AnySession {
    match protocol {
        Protocol::Http1 => over_http1(timeouts, move |mut connection| async move {
            while let Some(head) = connection.read_head().await {
                let mut left: usize = head.header("content-length").unwrap().parse().unwrap();
                while left > 0 {
                    tokio::time::sleep(pause).await;
                    let Some(taken) = connection.read_piece(bytes).await else {
                        return;
                    };
                    left -= taken.len();
                }
                tokio::time::sleep(think).await;
                connection.respond(200, "ok").await;
            }
        }),
        Protocol::Http2 => over_http2(timeouts, move |mut stream| async move {
            let request = stream.request.body_mut();
            let mut allowed = 0;
            while let Some(Ok(data)) = request.data().await {
                let mut left = data.len();
                while left > 0 {
                    if allowed == 0 {
                        tokio::time::sleep(pause).await;
                        allowed = bytes;
                    }
                    let released = allowed.min(left);
                    let _ = request.flow_control().release_capacity(released);
                    left -= released;
                    allowed -= released;
                }
            }
            tokio::time::sleep(think).await;
            stream.answer(200, "ok");
        }),
    }
}

fn over_http1<F>(
    timeouts: Timeouts,
    serve: impl Fn(Connection) -> F + Send + Sync + 'static,
) -> AnySession
where
    F: Future<Output = ()> + Send + 'static,
{
    // Little room: what the peer does not read is soon seen.
    let connector = MemoryConnector::with_buffer(serve, 1024);
    SessionLayer::new(PoolConfig::default(), timeouts)
        .unwrap()
        .layer(connector)
}

fn over_http2<F>(
    timeouts: Timeouts,
    serve: impl Fn(Stream) -> F + Send + Sync + 'static,
) -> AnySession
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut builder = Builder::new();
    builder.initial_window_size(1024);
    let http2 = Http2::default().prior_knowledge(true);
    with_http2(timeouts, http2, &Peer::new(builder, serve))
}

fn with_http2(timeouts: Timeouts, http2: Http2, peer: &Peer) -> AnySession {
    SessionLayer::new(PoolConfig::default(), timeouts)
        .and_then(|layer| layer.http2(http2))
        .unwrap()
        .layer(peer.connector())
}

/// Timeouts that let everything take its time but what a floor forbids.
fn patient() -> Timeouts {
    Timeouts::default().head(None).body_idle(None)
}

fn floor(bytes_per_second: u64, seconds: u32) -> ThroughputFloor {
    ThroughputFloor::new(bytes_per_second, seconds * SECOND)
}

fn get() -> Request<Body> {
    request("GET", Bytes::new())
}

fn request(method: &str, body: impl Into<Bytes>) -> Request<Body> {
    let body = Full::new(body.into()).boxed_unsync();
    let request = Request::builder().method(method).uri("http://peer/");
    request.body(body).unwrap()
}

fn with(mut request: Request<Body>, options: RequestOptions) -> Request<Body> {
    request.extensions_mut().insert(options);
    request
}

async fn send(
    session: &AnySession,
    request: Request<Body>,
) -> Result<Response<SessionBody>, Error> {
    session.clone().oneshot(request).await
}

/// Sends a request and reads the whole response; returns its length, or the error, and how long that
/// took.
async fn read(session: &AnySession, request: Request<Body>) -> (Result<usize, Error>, Duration) {
    let began = Instant::now();
    let read = async {
        let body = send(session, request).await?.into_body();
        Ok(body.collect().await?.to_bytes().len())
    };
    (read.await, began.elapsed())
}

/// Checks that something took so long, as exactly as a verdict and the timers are.
#[track_caller]
fn assert_took(took: Duration, expected: Duration, what: impl std::fmt::Debug) {
    assert!(
        took >= expected && took <= expected + A_MOMENT,
        "{what:?}: {took:?} and not {expected:?}"
    );
}
