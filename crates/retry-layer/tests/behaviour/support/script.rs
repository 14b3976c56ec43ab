//! A server that plays a script of responses whose bodies may break, for the tests of resumed bodies.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use retry_layer::Resumption;
use tokio::time::Instant;
use tower::Service;

/// One answer.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    Answer(Answer),
    /// No response comes.
    Fail(io::ErrorKind),
}

#[derive(Clone, Debug)]
pub(crate) struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    frames: VecDeque<Piece>,
}

#[derive(Clone, Debug)]
enum Piece {
    Data(Bytes),
    Trailers(HeaderMap),
    Break(io::ErrorKind),
}

pub(crate) fn answer(status: u16) -> Answer {
    Answer {
        status,
        headers: Vec::new(),
        frames: VecDeque::new(),
    }
}

impl Answer {
    pub(crate) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub(crate) fn etag(self, tag: &str) -> Self {
        self.header("etag", tag)
    }

    pub(crate) fn length(self, length: u64) -> Self {
        self.header("content-length", length.to_string())
    }

    pub(crate) fn range(self, range: &str) -> Self {
        self.header("content-range", format!("bytes {range}"))
    }

    pub(crate) fn data(mut self, data: impl Into<Bytes>) -> Self {
        self.frames.push_back(Piece::Data(data.into()));
        self
    }

    pub(crate) fn trailer(mut self, name: &'static str, value: &'static str) -> Self {
        let mut trailers = HeaderMap::new();
        trailers.insert(name, value.parse().unwrap());
        self.frames.push_back(Piece::Trailers(trailers));
        self
    }

    /// The body breaks here.
    pub(crate) fn breaks(mut self) -> Self {
        let broken = Piece::Break(io::ErrorKind::ConnectionReset);
        self.frames.push_back(broken);
        self
    }
}

impl From<Answer> for Act {
    fn from(answer: Answer) -> Self {
        Self::Answer(answer)
    }
}

/// One request as the server saw it.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) at: Instant,
    pub(crate) method: Method,
    pub(crate) uri: String,
    pub(crate) headers: HeaderMap,
    pub(crate) resumption: Option<Resumption>,
    /// How many response bodies were alive.
    pub(crate) held: usize,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// Panics when it is called unready, and when there is no answer left; a clone is unready.
pub(crate) struct Server {
    shared: Arc<Shared>,
    ready: bool,
}

#[derive(Default)]
struct Shared {
    acts: Mutex<VecDeque<Act>>,
    asked: Mutex<Vec<Asked>>,
    alive: Arc<()>,
}

impl Server {
    pub(crate) fn new<A: Into<Act>>(acts: impl IntoIterator<Item = A>) -> Self {
        let shared = Shared {
            acts: Mutex::new(acts.into_iter().map(Into::into).collect()),
            ..Shared::default()
        };
        Self {
            shared: Arc::new(shared),
            ready: false,
        }
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().unwrap().clone()
    }

    pub(crate) fn ranges(&self) -> Vec<Option<String>> {
        let asked = self.asked();
        let range = |it: &Asked| it.header("range").map(ToOwned::to_owned);
        asked.iter().map(range).collect()
    }
}

impl Clone for Server {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            ready: false,
        }
    }
}

impl<B> Service<Request<B>> for Server {
    type Response = Response<Script>;
    type Error = io::Error;
    type Future = std::future::Ready<io::Result<Response<Script>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let ready = std::mem::take(&mut self.ready);
        assert!(ready, "called before it was ready");
        self.shared.asked.lock().unwrap().push(Asked {
            at: Instant::now(),
            method: request.method().clone(),
            uri: request.uri().to_string(),
            headers: request.headers().clone(),
            resumption: request.extensions().get().copied(),
            held: Arc::strong_count(&self.shared.alive) - 1,
        });
        let act = self.shared.acts.lock().unwrap().pop_front();
        std::future::ready(match act.expect("no answer is left") {
            Act::Fail(kind) => Err(kind.into()),
            Act::Answer(answer) => {
                let mut response = Response::new(Script {
                    frames: answer.frames,
                    _alive: Arc::clone(&self.shared.alive),
                });
                *response.status_mut() = StatusCode::from_u16(answer.status).unwrap();
                for (name, value) in answer.headers {
                    let name: HeaderName = name.parse().unwrap();
                    response.headers_mut().append(name, value.parse().unwrap());
                }
                Ok(response)
            }
        })
    }
}

/// The body of an answer.
#[derive(Debug)]
pub(crate) struct Script {
    frames: VecDeque<Piece>,
    _alive: Arc<()>,
}

impl Body for Script {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Poll::Ready(self.frames.pop_front().map(|piece| match piece {
            Piece::Data(data) => Ok(Frame::data(data)),
            Piece::Trailers(trailers) => Ok(Frame::trailers(trailers)),
            Piece::Break(kind) => Err(kind.into()),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.frames.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::new()
    }
}
