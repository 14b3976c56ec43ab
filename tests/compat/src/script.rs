use std::{
    collections::VecDeque,
    future, io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use tower::Service;

/// What a [`Script`] does with one request, once it has read it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Answer {
    /// Answers with this status, and with the body of the request.
    Status(StatusCode),
    /// Fails with this kind of error.
    Error(io::ErrorKind),
    /// Never answers.
    Hang,
}

/// A service that does with one request after the other as it was told, and answers 200 from then on.
///
/// Clones share the script and what was seen.
#[derive(Clone, Debug, Default)]
pub struct Script {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    answers: VecDeque<Answer>,
    bodies: Vec<Bytes>,
}

impl Script {
    /// Makes a service that gives these answers first.
    pub fn new(answers: impl IntoIterator<Item = Answer>) -> Self {
        let script = Self::default();
        script.lock().answers = answers.into_iter().collect();
        script
    }

    /// Answers 503 this many times.
    #[must_use]
    pub fn unavailable(times: usize) -> Self {
        Self::new(vec![Answer::Status(StatusCode::SERVICE_UNAVAILABLE); times])
    }

    /// The bodies of the requests that came so far.
    #[must_use]
    pub fn bodies(&self) -> Vec<Bytes> {
        self.lock().bodies.clone()
    }

    /// How many requests came so far.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.lock().bodies.len()
    }

    fn take(&self, body: Bytes) -> Answer {
        let mut shared = self.lock();
        shared.bodies.push(body);
        let answer = shared.answers.pop_front();
        answer.unwrap_or(Answer::Status(StatusCode::OK))
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B> Service<Request<B>> for Script
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    type Response = Response<Full<Bytes>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let script = self.clone();
        Box::pin(async move {
            let body = request.into_body().collect().await;
            let body = body.map_err(io::Error::other)?.to_bytes();
            match script.take(body.clone()) {
                Answer::Status(status) => {
                    let mut response = Response::new(Full::new(body));
                    *response.status_mut() = status;
                    Ok(response)
                }
                Answer::Error(kind) => Err(kind.into()),
                Answer::Hang => future::pending().await,
            }
        })
    }
}
