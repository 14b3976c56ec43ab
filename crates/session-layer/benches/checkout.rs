//! What it takes to check a connection out of the pool and back in: a GET over connections whose
//! peer is in memory and answers at once, beside the same through bare hyper.
//!
//! ```text
//! cargo bench -p session-layer --bench checkout
//! ```
#![allow(clippy::unwrap_used, reason = "a benchmark fails by its panic")]
#![allow(missing_docs, reason = "criterion's macros make functions without")]

use std::{
    future::ready,
    io,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use http::{Request, Response, Uri, header::HOST};
use http_body_util::{BodyExt, Empty};
use hyper::{
    body::Body,
    client::conn::http1::{self, SendRequest},
    rt::{Read, ReadBufCursor, Write},
};
use hyper_util::client::legacy::connect::{Connected, Connection};
use session_layer::{PoolConfig, Session, SessionLayer, Timeouts};
use tokio::runtime::{Builder, Runtime};
use tower::{Layer, Service, service_fn};

type NoBody = Empty<Bytes>;

criterion_group!(benches, checkout);
criterion_main!(benches);

fn checkout(criterion: &mut Criterion) {
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();

    let mut sender = runtime.block_on(connect());
    criterion.bench_function("checkout/bare hyper", |bench| {
        bench.iter(|| runtime.block_on(get_bare(&mut sender)));
    });
    for origins in [1, 1_000] {
        let uris = uris(origins);
        let mut session = session(&runtime, &uris);
        let mut next = uris.iter().cycle();
        criterion.bench_function(&format!("checkout/{origins} origins"), |bench| {
            bench.iter(|| runtime.block_on(get(&mut session, next.next().unwrap())));
        });
    }
}

/// A session with a connection to each of them.
fn session(runtime: &Runtime, uris: &[Uri]) -> Session<NoBody> {
    let connector = service_fn(|_: Uri| ready(io::Result::Ok(Peer::default())));
    let limits = PoolConfig::default().max_connections(uris.len());
    let mut session = SessionLayer::new(limits, Timeouts::default())
        .unwrap()
        .layer(connector);
    runtime.block_on(async {
        for uri in uris {
            get(&mut session, uri).await;
        }
    });
    session
}

fn uris(origins: usize) -> Vec<Uri> {
    let uri = |number| format!("http://host-{number}.example/").parse().unwrap();
    (0..origins).map(uri).collect()
}

async fn get(session: &mut Session<NoBody>, uri: &Uri) {
    let mut request = Request::new(Empty::new());
    *request.uri_mut() = uri.clone();
    read(session.call(request).await.unwrap()).await;
}

async fn connect() -> SendRequest<NoBody> {
    let (sender, connection) = http1::handshake(Peer::default()).await.unwrap();
    tokio::spawn(connection);
    sender
}

async fn get_bare(sender: &mut SendRequest<NoBody>) {
    let mut request = Request::new(Empty::new());
    let host = http::HeaderValue::from_static("host-0.example");
    request.headers_mut().insert(HOST, host);
    sender.ready().await.unwrap();
    read(sender.send_request(request).await.unwrap()).await;
}

async fn read<B: Body>(response: Response<B>) {
    let body = response.into_body().collect().await;
    assert_eq!(body.map_err(drop).unwrap().to_bytes(), "hello");
}

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";

/// A transport that answers each request as soon as its head is written.
#[derive(Default)]
struct Peer {
    /// How many answers are due.
    due: usize,
    reader: Option<Waker>,
}

impl Connection for Peer {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Peer {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(left) = self.due.checked_sub(1) else {
            self.reader = Some(cx.waker().clone());
            return Poll::Pending;
        };
        self.due = left;
        buf.put_slice(ANSWER);
        Poll::Ready(Ok(()))
    }
}

impl Write for Peer {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if buf.ends_with(b"\r\n\r\n") {
            self.due += 1;
            if let Some(reader) = self.reader.take() {
                reader.wake();
            }
        }
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
