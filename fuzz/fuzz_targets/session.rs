//! Any bytes in place of an HTTP/1 response: the call ends, and the next one is answered rightly.
//!
//! The first byte of the input chooses the method and how the stream ends, the second one how many bytes a read
//! gives; the rest is what the server sends.

#![no_main]

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Uri};
use http_body_util::{BodyExt, Full};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use libfuzzer_sys::fuzz_target;
use session_layer::{PoolConfig, Session, SessionLayer, Timeouts};
use tokio::{runtime, time};
use tower::{Layer, Service, ServiceExt};

const RIGHT: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nright";

/// Longer than all timeouts of a session together.
const AN_HOUR: Duration = Duration::from_secs(3_600);

type Body = Full<Bytes>;

fuzz_target!(|data: &[u8]| {
    let [choice, step, response @ ..] = data else {
        return;
    };
    let plan = Plan {
        method: match choice & 3 {
            0 | 1 => Method::GET,
            2 => Method::HEAD,
            _ => Method::POST,
        },
        ending: if choice & 4 == 0 {
            Ending::Closed
        } else {
            Ending::Open
        },
        step: match step {
            0 => usize::MAX,
            step => usize::from(*step),
        },
        pauses: choice & 8 != 0,
        response: Bytes::copy_from_slice(response),
    };
    let runtime = runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime needs no more than memory");
    runtime.block_on(two_calls(plan));
});

#[derive(Clone)]
struct Plan {
    method: Method,
    ending: Ending,
    step: usize,
    pauses: bool,
    response: Bytes,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Ending {
    Closed,
    Open,
}

async fn two_calls(plan: Plan) {
    let length = plan.response.len();
    let body = if plan.method == Method::POST {
        "a body"
    } else {
        ""
    };
    let first = Request::builder()
        .method(plan.method.clone())
        .uri("http://peer/");
    let first = first.body(Body::from(body)).expect("all parts are valid");
    let connector = Connector::new(plan);
    let later = Arc::clone(&connector.later);
    let session: Session<Body> = SessionLayer::new(PoolConfig::default(), Timeouts::default())
        .expect("the defaults make sense")
        .layer(connector);

    let answer = time::timeout(AN_HOUR, fetch(session.clone(), first)).await;
    if let Ok((status, body)) = answer.expect("the first call ends") {
        assert!((100..1_000).contains(&status));
        assert!(body.len() <= length, "no byte comes from nowhere");
    }

    // Time for what lies in the stream to arrive: it belongs to no later request.
    time::sleep(Duration::from_millis(1)).await;
    later.store(true, Ordering::Relaxed);
    let second = Request::get("http://peer/").body(Body::default());
    let second = fetch(session.clone(), second.expect("all parts are valid"));
    let answer = time::timeout(AN_HOUR, second).await;
    let answer = answer.expect("the second call ends");
    assert_eq!(answer, Ok((200, Bytes::from("right"))));

    time::timeout(AN_HOUR, session.close(Duration::from_secs(10)))
        .await
        .expect("the session ends");
}

async fn fetch(session: Session<Body>, request: Request<Body>) -> Result<(u16, Bytes), String> {
    let text = |error: session_layer::Error| error.to_string();
    let response = session.oneshot(request).await.map_err(text)?;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.map_err(text)?;
    Ok((status, body.to_bytes()))
}

/// Connects first to the planned stream, then to ones that are right.
#[derive(Clone)]
struct Connector {
    plan: Plan,
    connects: Arc<AtomicUsize>,
    later: Arc<AtomicBool>,
}

impl Connector {
    fn new(plan: Plan) -> Self {
        Self {
            plan,
            connects: Arc::default(),
            later: Arc::default(),
        }
    }
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = io::Error;
    type Future = std::future::Ready<io::Result<Stream>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let right = self.connects.fetch_add(1, Ordering::Relaxed) > 0;
        let mut plan = self.plan.clone();
        if right {
            plan.response = Bytes::new();
            plan.ending = Ending::Open;
        }
        std::future::ready(Ok(Stream {
            plan,
            later: Arc::clone(&self.later),
            right,
            paused: false,
            waker: None,
        }))
    }
}

/// Gives the planned bytes, whatever is asked; once the first call is over, it answers rightly.
struct Stream {
    plan: Plan,
    later: Arc<AtomicBool>,
    right: bool,
    paused: bool,
    waker: Option<std::task::Waker>,
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.plan.response.is_empty() {
            return match this.plan.ending {
                Ending::Closed => Poll::Ready(Ok(())),
                Ending::Open => {
                    this.waker = Some(cx.waker().clone());
                    Poll::Pending
                }
            };
        }
        if this.plan.pauses {
            this.paused = !this.paused;
            if this.paused {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        let step = this.plan.step.min(buffer.remaining());
        let step = step.min(this.plan.response.len());
        buffer.put_slice(&this.plan.response.split_to(step));
        Poll::Ready(Ok(()))
    }
}

impl Write for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let later = self.later.load(Ordering::Relaxed);
        // The head of the second request ends in an empty line; it has no body.
        if (self.right || later) && bytes.ends_with(b"\r\n\r\n") {
            self.plan.ending = Ending::Open;
            self.plan.response = Bytes::from_static(RIGHT);
            if let Some(waker) = self.waker.take() {
                waker.wake();
            }
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
