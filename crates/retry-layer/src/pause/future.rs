use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep_until};
use tower_service::Service;

use super::{
    HeldBack, PauseError, Paused,
    shared::{Asking, Pass, Waiting},
};

pin_project! {
    /// The future of [`SharedPause`](super::SharedPause).
    ///
    /// # Cancel safety
    ///
    /// Dropping it while the request waits gives its turn to the next one, and nothing was sent.
    /// Afterwards it drops the attempt.
    #[must_use = "futures do nothing unless polled"]
    pub struct PauseFuture<S, B, F> {
        #[pin]
        state: State<S, B, F>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, B, F> {
        Sending { #[pin] attempt: F, pass: Option<Pass>, held: Option<Duration> },
        // Boxed, because every request would have room for it otherwise.
        Held { held: Box<Held<S, B>> },
        Refused { error: Option<Paused> },
    }
}

/// A request that waits for its turn, and then until its service is ready.
struct Held<S, B> {
    service: S,
    request: Option<Request<B>>,
    waiting: Waiting,
    sleep: Pin<Box<Sleep>>,
    /// There when its turn has come.
    pass: Option<Pass>,
}

impl<S, B, F> PauseFuture<S, B, F> {
    #[inline]
    pub(super) fn sent(attempt: F, pass: Option<Pass>) -> Self {
        Self {
            state: State::Sending {
                attempt,
                pass,
                held: None,
            },
        }
    }

    #[cold]
    pub(super) fn held(service: S, request: Request<B>, waiting: Waiting) -> Self {
        let sleep = Box::pin(sleep_until(waiting.until));
        let held = Box::new(Held {
            service,
            request: Some(request),
            waiting,
            sleep,
            pass: None,
        });
        Self {
            state: State::Held { held },
        }
    }

    #[cold]
    pub(super) fn refused(error: Paused) -> Self {
        Self {
            state: State::Refused { error: Some(error) },
        }
    }

    /// The future of the attempt, once it was sent.
    #[must_use]
    pub fn attempt(&self) -> Option<&F> {
        match &self.state {
            State::Sending { attempt, .. } => Some(attempt),
            State::Held { .. } | State::Refused { .. } => None,
        }
    }
}

/// The attempt, and what is to be told how it ends.
type Started<F, E> = Result<(F, Option<Pass>), PauseError<E>>;

impl<S, B> Held<S, B>
where
    S: Service<Request<B>>,
{
    /// Sends the request, when its turn has come and the service is ready.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Started<S::Future, S::Error>> {
        while self.pass.is_none() {
            match self.waiting.ask(cx.waker()) {
                Asking::Go(pass) => self.pass = Some(pass),
                Asking::Refuse(error) => return Poll::Ready(Err(PauseError::paused(error))),
                Asking::Wait => {
                    self.sleep.as_mut().reset(self.waiting.until);
                    ready!(self.sleep.as_mut().poll(cx));
                }
            }
        }
        if let Err(error) = ready!(self.service.poll_ready(cx)) {
            // The turn is over now, and not when this is dropped.
            self.pass = None;
            return Poll::Ready(Err(PauseError::inner(error)));
        }
        let request = self.request.take().expect("it is sent once");
        Poll::Ready(Ok((self.service.call(request), self.pass.take())))
    }
}

impl<S, B, R> Future for PauseFuture<S, B, S::Future>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Output = Result<Response<R>, PauseError<S::Error>>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            match state.as_mut().project() {
                StateProj::Sending {
                    attempt,
                    pass,
                    held,
                } => {
                    let mut result = ready!(attempt.poll(cx));
                    let pass = pass.take();
                    if let Ok(response) = &mut result {
                        if let Some(pass) = pass {
                            pass.answered(response);
                        }
                        if let Some(waited) = *held {
                            response.extensions_mut().insert(HeldBack { waited });
                        }
                    }
                    return Poll::Ready(result.map_err(PauseError::inner));
                }
                StateProj::Held { held } => {
                    let (attempt, pass) = ready!(held.poll_send(cx))?;
                    let held = Some(held.waiting.waited());
                    state.set(State::Sending {
                        attempt,
                        pass,
                        held,
                    });
                }
                StateProj::Refused { error } => {
                    let error = error.take().expect("polled after it was ready");
                    return Poll::Ready(Err(PauseError::paused(error)));
                }
            }
        }
    }
}

impl<S, B, F> fmt::Debug for PauseFuture<S, B, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Sending { .. } => "sending",
            State::Held { .. } => "held",
            State::Refused { .. } => "refused",
        };
        f.debug_struct("PauseFuture")
            .field("state", &state)
            .finish_non_exhaustive()
    }
}
