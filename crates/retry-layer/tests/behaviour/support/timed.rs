//! A strict peer that takes its time, for the tests of hedges.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Request, Response, StatusCode, Uri};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use retry_layer::{Attempt, BoxError, Class, ReplayBody};
use tokio::time::{Instant, Sleep, sleep};
use tower::Service;

use super::Failure;

/// What the peer does with one request.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    result: Result<u16, Class>,
    headers: Vec<(HeaderName, String)>,
    /// From the request to the head.
    head: Duration,
    /// From the head to the first byte; `None` for a response without a body.
    first_byte: Option<Duration>,
    breaks: bool,
    /// From the first byte to the end.
    rest: Duration,
}

/// A response with one byte, both after this time.
pub(crate) fn after(millis: u64) -> Answer {
    Answer {
        result: Ok(200),
        headers: Vec::new(),
        head: Duration::from_millis(millis),
        first_byte: Some(Duration::ZERO),
        breaks: false,
        rest: Duration::ZERO,
    }
}

impl Answer {
    pub(crate) fn status(mut self, status: u16) -> Self {
        self.result = Ok(status);
        self
    }

    pub(crate) fn error(mut self, class: Class) -> Self {
        self.result = Err(class);
        self
    }

    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        let name = HeaderName::from_static(name);
        self.headers.push((name, value.to_owned()));
        self
    }

    /// The first byte comes so long after the head.
    pub(crate) fn byte_after(mut self, millis: u64) -> Self {
        self.first_byte = Some(Duration::from_millis(millis));
        self
    }

    /// The body ends so long after its first byte.
    pub(crate) fn rest_after(mut self, millis: u64) -> Self {
        self.rest = Duration::from_millis(millis);
        self
    }

    pub(crate) fn without_body(mut self) -> Self {
        self.first_byte = None;
        self
    }

    /// The body breaks in place of its first byte.
    pub(crate) fn breaks(mut self) -> Self {
        self.breaks = true;
        self
    }
}

/// One request as the peer saw it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) at: Instant,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) attempt: Option<Attempt>,
    pub(crate) body: Bytes,
}

type Script = dyn Fn(usize) -> Answer + Send + Sync;

/// Answers each request as its number, from 0, has it. Panics when it is called unready; a clone is
/// unready.
pub(crate) struct TimedPeer {
    shared: Arc<Shared>,
    ready: bool,
}

struct Shared {
    script: Box<Script>,
    seen: Mutex<Vec<Seen>>,
    alive: AtomicUsize,
    /// How long a second request waits for readiness.
    readiness: Mutex<Option<Result<Duration, Class>>>,
    /// When it is ready for a second one, if that is known.
    ready_from: Mutex<Option<Instant>>,
}

impl TimedPeer {
    pub(crate) fn new(script: impl Fn(usize) -> Answer + Send + Sync + 'static) -> Self {
        Self {
            shared: Arc::new(Shared {
                script: Box::new(script),
                seen: Mutex::default(),
                alive: AtomicUsize::new(0),
                readiness: Mutex::default(),
                ready_from: Mutex::default(),
            }),
            ready: false,
        }
    }

    /// Answers the first requests so; there must be no more.
    pub(crate) fn playing<const N: usize>(answers: [Answer; N]) -> Self {
        Self::new(move |number| answers.get(number).expect("no answer is left").clone())
    }

    pub(crate) fn handle(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            ready: false,
        }
    }

    /// After the first request it is never ready again, or fails so.
    pub(crate) fn ready_once(&self, then: Option<Class>) {
        let then = then.map_or(Ok(Duration::MAX), Err);
        *self.shared.readiness.lock().unwrap() = Some(then);
    }

    /// After the first request it is ready again when this time from now is over.
    pub(crate) fn ready_again_after(&self, time: Duration) {
        *self.shared.ready_from.lock().unwrap() = Some(Instant::now() + time);
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// When each request came, in milliseconds after the first.
    pub(crate) fn sent_at(&self) -> Vec<u128> {
        let seen = self.seen();
        let at = |one: &Seen| (one.at - seen[0].at).as_millis();
        seen.iter().map(at).collect()
    }

    /// How many requests and response bodies are not over.
    pub(crate) fn alive(&self) -> usize {
        self.shared.alive.load(Ordering::Relaxed)
    }
}

impl Clone for TimedPeer {
    fn clone(&self) -> Self {
        self.handle()
    }
}

/// Counts as alive until it is dropped.
#[derive(Debug)]
struct Alive(Arc<Shared>);

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shared")
    }
}

impl Alive {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.alive.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(shared))
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<B> Service<Request<ReplayBody<B>>> for TimedPeer
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<TimedBody>;
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Failure>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        let is_first = self.shared.seen.lock().unwrap().is_empty();
        let ready_from = *self.shared.ready_from.lock().unwrap();
        if ready_from.is_some_and(|from| !is_first && Instant::now() < from) {
            // Polled again when any time is over.
            let waker = cx.waker().clone();
            tokio::spawn(async move {
                sleep(Duration::from_millis(10)).await;
                waker.wake();
            });
            return Poll::Pending;
        }
        match *self.shared.readiness.lock().unwrap() {
            Some(Ok(_)) if !is_first => return Poll::Pending,
            Some(Err(class)) if !is_first => return Poll::Ready(Err(Failure::of(class))),
            Some(_) | None => {}
        }
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<ReplayBody<B>>) -> Self::Future {
        assert!(
            std::mem::take(&mut self.ready),
            "called before it was ready"
        );
        let (parts, body) = request.into_parts();
        let number = {
            let mut seen = self.shared.seen.lock().unwrap();
            seen.push(Seen {
                at: Instant::now(),
                uri: parts.uri,
                headers: parts.headers,
                attempt: parts.extensions.get::<Attempt>().copied(),
                body: Bytes::new(),
            });
            seen.len() - 1
        };
        let answer = (self.shared.script)(number);
        let alive = Alive::new(&self.shared);
        Box::pin(async move {
            let body = Box::pin(body).collect().await;
            let Ok(body) = body else {
                return Err(Failure::of(Class::Permanent));
            };
            alive.0.seen.lock().unwrap()[number].body = body.to_bytes();
            sleep(answer.head).await;
            let status = answer.result.map_err(Failure::of)?;
            let mut response = Response::new(TimedBody {
                byte: answer
                    .first_byte
                    .map(|after| (Box::pin(sleep(after)), answer.breaks)),
                rest: Some(answer.rest).filter(|rest| !rest.is_zero()),
                end: None,
                _alive: alive,
            });
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            for (name, value) in answer.headers {
                response.headers_mut().append(name, value.parse().unwrap());
            }
            Ok(response)
        })
    }
}

/// One byte after a time, and the end after another.
#[derive(Debug)]
pub(crate) struct TimedBody {
    byte: Option<(Pin<Box<Sleep>>, bool)>,
    rest: Option<Duration>,
    end: Option<Pin<Box<Sleep>>>,
    _alive: Alive,
}

impl Body for TimedBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some((timer, breaks)) = &mut self.byte {
            let breaks = *breaks;
            ready!(timer.as_mut().poll(cx));
            self.byte = None;
            self.end = self.rest.take().map(|rest| Box::pin(sleep(rest)));
            return Poll::Ready(Some(if breaks {
                Err(io::ErrorKind::ConnectionReset.into())
            } else {
                Ok(Frame::data(Bytes::from_static(b".")))
            }));
        }
        if let Some(end) = &mut self.end {
            ready!(end.as_mut().poll(cx));
            self.end = None;
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.byte.is_none() && self.end.is_none()
    }
}
