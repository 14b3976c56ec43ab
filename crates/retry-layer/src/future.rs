//! The future of [`Retry`](crate::Retry).

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep, sleep_until};
use tower_service::Service;

use crate::{
    call::{Call, Next, Pause},
    drain::Drain,
    named::{BoxError, ServiceError},
    policy::RetryPolicy,
    predicate::Class,
    replay::ReplayBody,
    report::{AttemptOutcome, RetryReport},
    verdict::{StopReason, Verdict},
};

pin_project! {
    /// The response to come, after as many attempts as it takes.
    ///
    /// # Cancel safety
    ///
    /// Dropping it ends the call: a running attempt is dropped, a wait is not finished, nothing
    /// more is sent, and a retry that was not sent yet gives its token back to the budget. What a
    /// dropped attempt had sent so far may have been processed.
    ///
    /// # Panics
    ///
    /// If it is polled again after it was ready.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<S, B, F, R> {
        #[pin]
        state: State<F, R>,
        course: Course<S, B>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F, R> {
        Sending { #[pin] attempt: F },
        Draining { #[pin] drain: Drain<R>, pause: Pause },
        Waiting { #[pin] sleep: Sleep },
        Readying,
        Done,
    }
}

#[expect(
    clippy::large_enum_variant,
    reason = "a box would cost every request an allocation"
)]
enum Course<S, B> {
    /// Sent once, for this reason.
    Once {
        policy: RetryPolicy,
        stop: StopReason,
    },
    Repeatable {
        call: Call<S, B>,
    },
    Over,
}

impl<S, B, F, R> ResponseFuture<S, B, F, R> {
    pub(crate) fn once(attempt: F, policy: RetryPolicy, stop: StopReason) -> Self {
        Self {
            state: State::Sending { attempt },
            course: Course::Once { policy, stop },
        }
    }

    #[inline]
    pub(crate) fn repeatable(attempt: F, call: Call<S, B>) -> Self {
        Self {
            state: State::Sending { attempt },
            course: Course::Repeatable { call },
        }
    }
}

impl<S, B, R> Future for ResponseFuture<S, B, S::Future, R>
where
    S: Service<Request<ReplayBody<B>>, Response = Response<R>>,
    S::Error: ServiceError,
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
    R: Body,
{
    type Output = Result<Response<R>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let next = match this.state.as_mut().project() {
                StateProj::Sending { attempt } => {
                    let mut result = ready!(attempt.poll(cx));
                    match this.course.judge(&mut result) {
                        None => {
                            this.state.set(State::Done);
                            return Poll::Ready(result);
                        }
                        // The attempt goes before the wait, and so does what is left of its
                        // response: a call that sleeps holds no connection.
                        Some(pause) => this.course.refuse(result, pause),
                    }
                }
                StateProj::Draining { drain, pause } => {
                    ready!(drain.poll(cx));
                    State::paused(*pause)
                }
                StateProj::Waiting { sleep } => {
                    ready!(sleep.poll(cx));
                    State::Readying
                }
                StateProj::Readying => match ready!(this.course.call().service.poll_ready(cx)) {
                    Ok(()) => {
                        let call = this.course.call();
                        let request = call.next_request();
                        State::Sending {
                            attempt: call.service.call(request),
                        }
                    }
                    Err(error) => {
                        let mut result = Err(error);
                        this.course.end(&mut result, Class::Permanent);
                        this.state.set(State::Done);
                        return Poll::Ready(result);
                    }
                },
                StateProj::Done => panic!("`ResponseFuture` polled after it was ready"),
            };
            this.state.set(next);
        }
    }
}

impl<F, R> State<F, R> {
    fn paused(pause: Pause) -> Self {
        match pause {
            Pause::Nothing => Self::Readying,
            Pause::Until(instant) => Self::Waiting {
                sleep: sleep_until(instant),
            },
            Pause::For(wait) => Self::Waiting { sleep: sleep(wait) },
        }
    }
}

impl<S, B> Course<S, B> {
    /// Ends the call with this result, or says how long to wait for the next attempt.
    fn judge<R, E>(&mut self, result: &mut Result<Response<R>, E>) -> Option<Pause>
    where
        E: ServiceError,
    {
        let Self::Repeatable { call } = self else {
            self.end(result, Class::Final);
            return None;
        };
        let (outcome, class, verdict) = call.judge(result);
        let next = match verdict {
            Verdict::Return(stop) => {
                call.finish(result, outcome, class, stop);
                // The spare service and the copy of the request are not needed any more.
                *self = Self::Over;
                return None;
            }
            Verdict::Resend(cause) => Next::Resend(cause),
            Verdict::Retry { wait, reason } => Next::Retry { wait, reason },
        };
        Some(call.go_on(outcome, next))
    }

    /// What comes before the next attempt, beginning with the rest of the refused response.
    fn refuse<F, R: Body, E>(
        &mut self,
        result: Result<Response<R>, E>,
        pause: Pause,
    ) -> State<F, R> {
        let limits = self.call().policy().settings().drain;
        result
            .ok()
            .and_then(|response| Drain::new(response.into_body(), limits))
            .map_or_else(
                || State::paused(pause),
                |drain| State::Draining { drain, pause },
            )
    }

    /// Ends the call with a result that is not judged.
    fn end<R, E>(&mut self, result: &mut Result<Response<R>, E>, class: Class)
    where
        E: ServiceError,
    {
        let outcome = match result {
            Ok(response) => AttemptOutcome::Status(response.status()),
            Err(_) => AttemptOutcome::Error(class),
        };
        match self {
            Self::Repeatable { call } => {
                call.finish(result, outcome, class, StopReason::ErrorNotRetryable);
            }
            Self::Once { policy, stop } => {
                if let Err(error) = result {
                    let report = RetryReport::single(outcome, *stop);
                    policy.predicate().annotate(error.as_dyn_mut(), report);
                }
            }
            Self::Over => {}
        }
        *self = Self::Over;
    }

    fn call(&mut self) -> &mut Call<S, B> {
        match self {
            Self::Repeatable { call } => call,
            Self::Once { .. } | Self::Over => {
                unreachable!("only a repeatable call leaves the first attempt")
            }
        }
    }
}

impl<S, B, F, R> fmt::Debug for ResponseFuture<S, B, F, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Sending { .. } => "sending",
            State::Draining { .. } => "draining",
            State::Waiting { .. } => "waiting",
            State::Readying => "readying",
            State::Done => "done",
        };
        f.debug_struct("ResponseFuture")
            .field("state", &state)
            .finish_non_exhaustive()
    }
}
