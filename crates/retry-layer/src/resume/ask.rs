use std::{
    fmt,
    future::Future,
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{Request, Response};
use tokio::time::{Sleep, sleep};
use tower_service::Service;

/// Asks a service for the rest of a body: the part of a [`ResumeBody`](super::ResumeBody) that sends
/// requests. `S` is the service, `B` the body of its requests, and `F` its future.
pub struct Ask<S, B, F> {
    service: S,
    /// The head of each request, without the headers that select the range.
    request: Request<()>,
    state: State<F>,
    body: PhantomData<fn() -> B>,
}

// Boxed, so that a body that does not break is smaller.
enum State<F> {
    Idle,
    Waiting(Pin<Box<Sleep>>),
    Readying,
    Asking(Pin<Box<F>>),
}

impl<S, B, F> Ask<S, B, F> {
    pub(super) fn new(service: S, request: Request<()>) -> Self {
        Self {
            service,
            request,
            state: State::Idle,
            body: PhantomData,
        }
    }

    /// Sends the request after this wait.
    pub(super) fn after(&mut self, wait: Duration) {
        self.state = if wait.is_zero() {
            State::Readying
        } else {
            State::Waiting(Box::pin(sleep(wait)))
        };
    }

    /// Waits, sends the request, and returns the response. `prepare` sets the headers for the rest.
    pub(super) fn poll<R, E>(
        &mut self,
        cx: &mut Context<'_>,
        prepare: impl FnOnce(&mut Request<B>),
    ) -> Poll<Result<Response<R>, E>>
    where
        S: Service<Request<B>, Response = Response<R>, Error = E, Future = F>,
        F: Future<Output = Result<Response<R>, E>>,
        B: Default,
    {
        let mut prepare = Some(prepare);
        loop {
            match &mut self.state {
                State::Waiting(sleep) => {
                    ready!(sleep.as_mut().poll(cx));
                    self.state = State::Readying;
                }
                State::Readying => {
                    if let Err(error) = ready!(self.service.poll_ready(cx)) {
                        self.state = State::Idle;
                        return Poll::Ready(Err(error));
                    }
                    let mut request = self.request.clone().map(|()| B::default());
                    if let Some(prepare) = prepare.take() {
                        prepare(&mut request);
                    }
                    self.state = State::Asking(Box::pin(self.service.call(request)));
                }
                State::Asking(answer) => {
                    let answer = ready!(answer.as_mut().poll(cx));
                    self.state = State::Idle;
                    return Poll::Ready(answer);
                }
                State::Idle => unreachable!("a body that is read asks for nothing"),
            }
        }
    }
}

impl<S, B, F> fmt::Debug for Ask<S, B, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Idle => "idle",
            State::Waiting(_) => "waiting",
            State::Readying => "readying",
            State::Asking(_) => "asking",
        };
        f.debug_struct("Ask")
            .field("state", &state)
            .finish_non_exhaustive()
    }
}
