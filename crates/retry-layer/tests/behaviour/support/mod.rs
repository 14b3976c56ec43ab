//! A strict peer that plays a script, for the tests of the layer.

pub(crate) mod script;
pub(crate) mod timed;

use std::{
    collections::VecDeque,
    convert::Infallible,
    error::Error,
    fmt,
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Request, Response, StatusCode, Uri};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use retry_layer::{
    Attempt, AttemptDetails, BoxError, Class, Classifier, EarlyData, Outcome, ReplayBody, Retry,
    RetryPolicy, RetryReport, Standard,
};
use tokio::time::Instant;
use tower::{Service, ServiceExt};

/// Answers as scripted, notes what it saw, panics when it is called unready; a clone is unready.
pub(crate) struct Peer {
    shared: Arc<Shared>,
    ready: bool,
}

#[derive(Default)]
struct Shared {
    replies: Mutex<VecDeque<Reply>>,
    seen: Mutex<Vec<Seen>>,
    readiness: Mutex<VecDeque<Failure>>,
    clones: Mutex<usize>,
    refused: Arc<Mutex<Vec<Instant>>>,
}

/// One request as the peer saw it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) at: Instant,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) attempt: Option<Attempt>,
    pub(crate) length: Option<u64>,
    pub(crate) body: Bytes,
}

/// What the peer does with one request.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) result: Result<u16, Failure>,
    pub(crate) headers: Vec<(HeaderName, String)>,
    /// Whether the response says that the request was sent as early data.
    pub(crate) early_data: bool,
    pub(crate) body: Refused,
    /// How many frames of the request body are read before the answer.
    pub(crate) frames: usize,
    pub(crate) takes: Duration,
}

pub(crate) fn status(status: u16) -> Reply {
    let body = Refused::default();
    Reply {
        result: Ok(status),
        headers: Vec::new(),
        early_data: false,
        body,
        frames: usize::MAX,
        takes: Duration::ZERO,
    }
}

pub(crate) fn error(class: Class) -> Reply {
    Reply {
        result: Err(Failure::of(class)),
        ..status(200)
    }
}

pub(crate) fn io_error(kind: io::ErrorKind) -> Reply {
    Reply {
        result: Err(Failure {
            kind: FailureKind::Io(kind),
            report: None,
        }),
        ..status(200)
    }
}

impl Reply {
    pub(crate) fn header<N>(mut self, name: N, value: impl Into<String>) -> Self
    where
        N: TryInto<HeaderName, Error: fmt::Debug>,
    {
        self.headers.push((name.try_into().unwrap(), value.into()));
        self
    }

    pub(crate) fn body(mut self, body: Refused) -> Self {
        self.body = body;
        self
    }

    pub(crate) fn reading(mut self, frames: usize) -> Self {
        self.frames = frames;
        self
    }

    pub(crate) fn taking(mut self, takes: Duration) -> Self {
        self.takes = takes;
        self
    }
}

impl Peer {
    pub(crate) fn new(replies: impl IntoIterator<Item = Reply>) -> Self {
        let shared = Shared {
            replies: Mutex::new(replies.into_iter().collect()),
            ..Shared::default()
        };
        Self {
            shared: Arc::new(shared),
            ready: false,
        }
    }

    /// Another handle on the same peer, to look at what it saw.
    pub(crate) fn handle(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            ready: false,
        }
    }

    pub(crate) fn fail_readiness_after_the_first(&self) {
        self.shared
            .readiness
            .lock()
            .unwrap()
            .push_back(Failure::of(Class::Final));
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    pub(crate) fn clones(&self) -> usize {
        *self.shared.clones.lock().unwrap()
    }

    /// When each response body was dropped.
    pub(crate) fn dropped_bodies(&self) -> Vec<Instant> {
        self.shared.refused.lock().unwrap().clone()
    }

    /// The time between the requests.
    pub(crate) fn waits(&self) -> Vec<Duration> {
        self.seen()
            .windows(2)
            .map(|pair| pair[1].at - pair[0].at)
            .collect()
    }
}

impl Clone for Peer {
    fn clone(&self) -> Self {
        *self.shared.clones.lock().unwrap() += 1;
        self.handle()
    }
}

impl<B> Service<Request<ReplayBody<B>>> for Peer
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<RefusedBody>;
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Failure>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        let calls = self.shared.seen.lock().unwrap().len();
        if calls > 0 {
            if let Some(failure) = self.shared.readiness.lock().unwrap().pop_front() {
                return Poll::Ready(Err(failure));
            }
        }
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<ReplayBody<B>>) -> Self::Future {
        assert!(
            std::mem::take(&mut self.ready),
            "called before it was ready"
        );
        let reply = self
            .shared
            .replies
            .lock()
            .unwrap()
            .pop_front()
            .expect("no reply is left");
        let (parts, body) = request.into_parts();
        let index = {
            let mut seen = self.shared.seen.lock().unwrap();
            seen.push(Seen {
                at: Instant::now(),
                uri: parts.uri,
                headers: parts.headers,
                attempt: parts.extensions.get::<Attempt>().copied(),
                length: body.size_hint().exact(),
                body: Bytes::new(),
            });
            seen.len() - 1
        };
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            let mut body = Box::pin(body);
            let mut data = Vec::new();
            for _ in 0..reply.frames {
                match body.frame().await {
                    Some(Ok(frame)) => {
                        data.extend_from_slice(frame.data_ref().unwrap_or(&Bytes::new()));
                    }
                    Some(Err(_)) => return Err(Failure::of(Class::Permanent)),
                    None => break,
                }
            }
            shared.seen.lock().unwrap()[index].body = Bytes::from(data);
            if !reply.takes.is_zero() {
                tokio::time::sleep(reply.takes).await;
            }
            let mut response = Response::new(RefusedBody {
                script: reply.body,
                dropped: Arc::clone(&shared.refused),
            });
            *response.status_mut() = StatusCode::from_u16(reply.result?).unwrap();
            for (name, value) in reply.headers {
                response.headers_mut().append(name, value.parse().unwrap());
            }
            if reply.early_data {
                response.extensions_mut().insert(EarlyData);
            }
            Ok(response)
        })
    }
}

/// What a response body does.
#[derive(Clone, Debug, Default)]
pub(crate) struct Refused {
    pub(crate) frames: VecDeque<usize>,
    pub(crate) never_ends: bool,
    pub(crate) announced: Option<u64>,
    pub(crate) read: Arc<Mutex<usize>>,
}

impl Refused {
    pub(crate) fn frames(frames: impl IntoIterator<Item = usize>) -> Self {
        Self {
            frames: frames.into_iter().collect(),
            ..Self::default()
        }
    }

    pub(crate) fn hanging() -> Self {
        Self {
            never_ends: true,
            ..Self::default()
        }
    }
}

#[derive(Debug)]
pub(crate) struct RefusedBody {
    script: Refused,
    dropped: Arc<Mutex<Vec<Instant>>>,
}

impl Body for RefusedBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.script.frames.pop_front() {
            Some(len) => {
                *self.script.read.lock().unwrap() += len;
                Poll::Ready(Some(Ok(Frame::data(Bytes::from(vec![b'.'; len])))))
            }
            None if self.script.never_ends => Poll::Pending,
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.script.frames.is_empty() && !self.script.never_ends
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = SizeHint::new();
        hint.set_lower(self.script.announced.unwrap_or_default());
        hint
    }
}

impl Drop for RefusedBody {
    fn drop(&mut self) {
        self.dropped.lock().unwrap().push(Instant::now());
    }
}

/// An error with room for a report.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) kind: FailureKind,
    pub(crate) report: Option<RetryReport>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum FailureKind {
    Class(Class),
    Io(io::ErrorKind),
}

impl Failure {
    pub(crate) fn of(class: Class) -> Self {
        Self {
            kind: FailureKind::Class(class),
            report: None,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the peer failed: {:?}", self.kind)
    }
}

impl Error for Failure {}

/// Knows [`Failure`], and leaves the rest to another classifier.
#[derive(Clone, Debug, Default)]
pub(crate) struct Knowing<P>(pub P);

impl Knowing<Standard> {
    pub(crate) fn standard() -> Self {
        Self(Standard::default())
    }
}

impl<P: Classifier> Classifier for Knowing<P> {
    fn classify(&self, outcome: &Outcome<'_>) -> Class {
        match outcome.find_error::<Failure>().map(|failure| failure.kind) {
            Some(FailureKind::Class(class)) => class,
            Some(FailureKind::Io(kind)) => {
                let error = io::Error::from(kind);
                let (method, uri) = (outcome.method(), outcome.uri());
                self.0.classify(&Outcome::from_error(method, uri, &error))
            }
            None => self.0.classify(outcome),
        }
    }

    fn describe(&self, outcome: &Outcome<'_>) -> Option<AttemptDetails> {
        let FailureKind::Io(kind) = outcome.find_error::<Failure>()?.kind else {
            return self.0.describe(outcome);
        };
        let error = io::Error::from(kind);
        let outcome = Outcome::from_error(outcome.method(), outcome.uri(), &error);
        Some(AttemptDetails::of(&outcome))
    }

    fn annotate(&self, error: &mut (dyn Error + 'static), report: RetryReport) {
        if let Some(failure) = error.downcast_mut::<Failure>() {
            failure.report = Some(report);
        }
    }
}

/// Sends a request to the peer through a layer of this policy.
pub(crate) async fn send<B>(
    peer: &Peer,
    policy: RetryPolicy,
    request: Request<B>,
) -> Result<Response<RefusedBody>, Failure>
where
    B: Body<Data = Bytes, Error = Infallible> + Send + 'static,
{
    Retry::new(peer.handle(), policy).oneshot(request).await
}

/// A request body that yields these frames.
pub(crate) struct Frames(pub VecDeque<&'static str>);

impl Frames {
    pub(crate) fn new(frames: impl IntoIterator<Item = &'static str>) -> Self {
        Self(frames.into_iter().collect())
    }
}

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let frame = self.0.pop_front();
        Poll::Ready(frame.map(|text| Ok(Frame::data(Bytes::from_static(text.as_bytes())))))
    }
}
