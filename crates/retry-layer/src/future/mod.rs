//! The futures of [`Retry`](crate::Retry) and [`NamedError`](crate::NamedError).

mod fallback;
mod plan;
mod start;

use std::{
    fmt,
    future::Future,
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Extensions, HeaderMap, Method, Request, Response, Uri};
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep, sleep_until};
use tower_service::Service;

pub(crate) use self::start::Owned;
use self::{fallback::Fallback, plan::Plan};
pub use crate::named::NamedErrorFuture;
use crate::{
    call::Pause,
    class::Class,
    details::{AttemptDetails, FailureKind},
    drain::Drain,
    named::{BoxError, ServiceError},
    replay::ReplayBody,
    report::{AttemptOutcome, AttemptRecord, AttemptTimes, RetryReport},
    stop::StopReason,
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
    pub struct ResponseFuture<S, B, F, R, E> {
        #[pin]
        state: State<F, R, E>,
        plan: Plan<S, B>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F, R, E> {
        Sending { #[pin] attempt: F },
        // Boxed, because every future of a call would have room for it otherwise.
        Draining { drain: Pin<Box<Drain<R>>>, pause: Pause },
        Waiting { #[pin] sleep: Sleep, fallback: Option<Box<Fallback<R, E>>> },
        Readying { fallback: Option<Box<Fallback<R, E>>> },
        Done,
    }
}

impl<S, B, R> Future for ResponseFuture<S, B, S::Future, R, S::Error>
where
    S: Service<Request<ReplayBody<B>>, Response = Response<R>>,
    S::Error: ServiceError,
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
    R: Body,
{
    type Output = Result<Response<R>, S::Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        // A final response is inspected in place and returned from there, so that it is not moved.
        let mut polled = match this.state.as_mut().project() {
            StateProj::Sending { attempt } => attempt.poll(cx),
            StateProj::Draining { .. } | StateProj::Waiting { .. } | StateProj::Readying { .. } => {
                Poll::Pending
            }
            StateProj::Done => panic!("`ResponseFuture` polled after it was ready"),
        };
        let passes = match &polled {
            // The call's state is dropped with this future. To drop it here, and to check for it in
            // the drop again, would cost as much as the rest of this function.
            Poll::Ready(result) => this.plan.settle_at_once(result),
            // Said here, and not by moving `polled`, which is as large as a response.
            Poll::Pending if matches!(*this.state, State::Sending { .. }) => return Poll::Pending,
            Poll::Pending => false,
        };
        if !passes {
            // The result is in `polled`.
            let _ = Self::go_on(this.state, this.plan, cx, &mut polled);
        }
        polled
    }
}

impl<S, B, R> ResponseFuture<S, B, S::Future, R, S::Error>
where
    S: Service<Request<ReplayBody<B>>, Response = Response<R>>,
    S::Error: ServiceError,
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
    R: Body,
{
    /// Judges the result of the attempt, and goes on until the call has ended or has to wait.
    #[cold]
    fn go_on(
        mut state: Pin<&mut State<S::Future, R, S::Error>>,
        plan: &mut Plan<S, B>,
        cx: &mut Context<'_>,
        polled: &mut Poll<Result<Response<R>, S::Error>>,
    ) -> Poll<()> {
        let mut has_sent = false;
        loop {
            let next = match state.as_mut().project() {
                StateProj::Sending { attempt } => {
                    if polled.is_pending() {
                        *polled = attempt.poll(cx);
                    }
                    let Poll::Ready(result) = polled else {
                        return Poll::Pending;
                    };
                    let Some(pause) = plan.judge(result) else {
                        break;
                    };
                    // The attempt, and the rest of its response, are dropped before the wait: a call
                    // that sleeps holds no connection.
                    plan.refuse(mem::replace(polled, Poll::Pending), pause)
                }
                StateProj::Draining { drain, pause } => {
                    ready!(drain.as_mut().poll(cx));
                    State::paused(*pause, None)
                }
                StateProj::Waiting { sleep, fallback } => {
                    ready!(sleep.poll(cx));
                    State::Readying {
                        fallback: fallback.take(),
                    }
                }
                // One attempt for each poll: over a service that is never pending, and without
                // waits, a call would keep its thread until all attempts are made.
                StateProj::Readying { .. } if has_sent => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                StateProj::Readying { fallback } => {
                    let ready = plan.call().service().poll_ready(cx);
                    let late = match (&ready, fallback.as_mut()) {
                        (_, None) | (Poll::Ready(Err(_)), _) => false,
                        (Poll::Ready(Ok(())), Some(fallback)) => fallback.is_due(),
                        (Poll::Pending, Some(fallback)) => fallback.poll_due(cx).is_ready(),
                    };
                    if let Some(fallback) = fallback.take_if(|_| late) {
                        *polled = Poll::Ready(plan.expire(fallback.result));
                        break;
                    }
                    if let Err(error) = ready!(ready) {
                        let mut result = Err(error);
                        plan.end(&mut result, Class::Permanent);
                        *polled = Poll::Ready(result);
                        break;
                    }
                    has_sent = true;
                    let call = plan.call();
                    let request = call.next_request();
                    State::Sending {
                        attempt: call.service().call(request),
                    }
                }
                StateProj::Done => break,
            };
            state.set(next);
        }
        state.set(State::Done);
        Poll::Ready(())
    }
}

impl<S, B, F, R, E> ResponseFuture<S, B, F, R, E> {
    /// The attempts so far, as the report of a call that ends by its deadline: for a layer above that
    /// is about to drop this future because the time is up. An attempt that is under way is recorded
    /// as [`Ambiguous`](Class::Ambiguous).
    #[must_use]
    pub fn report_so_far(&self) -> RetryReport {
        let (mut attempts, transparent_retries) = match &self.plan {
            Plan::Repeatable { call } => call.records(),
            Plan::Once { .. } => (Vec::new(), 0),
        };
        if let State::Sending { .. } = self.state {
            let times = match &self.plan {
                Plan::Repeatable { call } => call.times_so_far(),
                Plan::Once { started, .. } => AttemptTimes::new(*started, *started, Instant::now()),
            };
            let details = AttemptDetails::default()
                .kind(FailureKind::DEADLINE)
                .cause("cut off at the deadline of the call");
            let cut_off = AttemptRecord::new(AttemptOutcome::Error(Class::Ambiguous));
            attempts.push(cut_off.described(details).timed(times));
            if let Plan::Repeatable { call } = &self.plan {
                attempts.extend(call.hedges_cut_off());
            }
        }
        RetryReport::new(attempts, transparent_retries, StopReason::DeadlineExceeded)
    }

    /// The future of the attempt that is under way; `None` while the call waits for the next one, and
    /// when it is over.
    #[must_use]
    pub fn attempt(&self) -> Option<&F> {
        match &self.state {
            State::Sending { attempt } => Some(attempt),
            State::Draining { .. }
            | State::Waiting { .. }
            | State::Readying { .. }
            | State::Done => None,
        }
    }

    /// The method of the request, as it entered the layer.
    #[must_use]
    pub fn method(&self) -> &Method {
        match &self.plan {
            Plan::Once { method, .. } => method,
            Plan::Repeatable { call } => &call.method,
        }
    }

    /// The URI of the request, as it entered the layer.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        match &self.plan {
            Plan::Once { uri, .. } => uri,
            Plan::Repeatable { call } => &call.uri,
        }
    }

    /// Whether the first attempt is under way, or was the last.
    #[must_use]
    #[inline]
    pub fn is_first_attempt(&self) -> bool {
        match &self.plan {
            Plan::Once { .. } => true,
            Plan::Repeatable { call } => call.journal.is_none(),
        }
    }

    /// The request as it entered the layer, without its body: for a layer above that sends it again,
    /// such as one that follows redirects. `None` if no copy is kept: see
    /// [`Retry::keeps`](crate::Retry::keeps).
    #[must_use]
    pub fn request_again(&self) -> Option<Request<()>> {
        match &self.plan {
            Plan::Once { .. } => None,
            Plan::Repeatable { call } => Some(call.request_again()),
        }
    }
}

impl<S, B, F, R, E> ResponseFuture<S, B, F, R, E> {
    /// Moves out the headers and the extensions of the request as it entered the layer, for a layer
    /// above that asks for the rest of the response's body: see [`ResumeBody::new`]. Call it when the
    /// response is there, and once.
    ///
    /// `None` if the request had a body, or was sent only once anyway: see
    /// [`Retry::keeps`](crate::Retry::keeps).
    ///
    /// [`ResumeBody::new`]: crate::resume::ResumeBody::new
    #[must_use]
    pub fn take_head(self: Pin<&mut Self>) -> Option<(HeaderMap, Extensions)> {
        match self.project().plan {
            Plan::Once { .. } => None,
            Plan::Repeatable { call } => call.take_head(),
        }
    }
}

impl<S, B, F, R, E> ResponseFuture<S, B, F, R, E>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    /// The body of the request again, when its response is there. It is kept for a response that is a
    /// redirect, or whose status alone does not make it final. The attempt that read the body can read
    /// no more of it afterwards.
    ///
    /// `None` if the body was not read whole, or was too long to be kept.
    #[must_use]
    pub fn body_again(&self) -> Option<ReplayBody<B>> {
        match &self.plan {
            Plan::Once { .. } => None,
            Plan::Repeatable { call } => call.body_again(),
        }
    }
}

impl<F, R, E> State<F, R, E> {
    fn paused(pause: Pause, fallback: Option<Box<Fallback<R, E>>>) -> Self {
        let Pause { from, wait } = pause;
        if wait.is_zero() {
            return Self::Readying { fallback };
        }
        let until = from.checked_add(wait);
        Self::Waiting {
            // A wait beyond what the clock can express is the longest that tokio has.
            sleep: until.map_or_else(|| sleep(wait), sleep_until),
            fallback,
        }
    }
}

impl<S, B, F, R, E> fmt::Debug for ResponseFuture<S, B, F, R, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Sending { .. } => "sending",
            State::Draining { .. } => "draining",
            State::Waiting { .. } => "waiting",
            State::Readying { .. } => "readying",
            State::Done => "done",
        };
        f.debug_struct("ResponseFuture")
            .field("state", &state)
            .finish_non_exhaustive()
    }
}
