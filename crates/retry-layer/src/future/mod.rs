//! The futures of [`Retry`](crate::Retry) and [`NamedError`](crate::NamedError).
//!
//! # What a layer above asks
//!
//! A layer above the retries that has to know more of a call than its outcome keeps its [`ResponseFuture`].
//! That tells what is [asked](ResponseFuture::method) of [whom](ResponseFuture::uri), what was tried
//! [so far](ResponseFuture::report_so_far), and what the [attempt](ResponseFuture::attempt) under way is doing.
//! So one that ends calls at a deadline can say what it has cut off:
//!
//! ```
//! use std::{convert::Infallible, future::pending, pin::pin, time::Duration};
//!
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use retry_layer::{ReplayBody, Retry, RetryPolicy};
//! use tokio::time::Instant;
//! use tower::{ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! let server = service_fn(|_: Request<ReplayBody<Full<Bytes>>>| {
//!     pending::<Result<Response<Full<Bytes>>, Infallible>>()
//! });
//! let mut retry = Retry::new(server, RetryPolicy::default());
//! let request = Request::get("http://example.com/").body(Full::<Bytes>::default()).unwrap();
//! ServiceExt::<Request<Full<Bytes>>>::ready(&mut retry).await.unwrap();
//! // The times in the report count from now.
//! let mut call = pin!(retry.into_call(request, Instant::now()));
//! let late = tokio::time::timeout(Duration::from_secs(3), call.as_mut()).await;
//! assert!(late.is_err());
//! assert!(call.attempt().is_some(), "the attempt under way did not end");
//! assert_eq!(
//!     format!("{} {}: {}", call.method(), call.uri(), call.report_so_far()),
//!     "GET http://example.com/: deadline after 3s; stopped: deadline_exceeded",
//! );
//! # }
//! ```
//!
//! One that sends the request elsewhere, such as one that follows redirects, gets it from the future
//! [again](ResponseFuture::take_request): it was kept for the attempts anyway, so that layer needs no copy of
//! its own. The [report](crate::RetryReport) of a call that goes on [has all of it](crate::RetryReport::followed_by),
//! its [transparent retries](crate::EarlierTransparentRetries) count on, and what is not read of the response
//! is [drained](crate::Drain), so that its connection can be used again.
//!
//! ```
//! use std::{convert::Infallible, pin::pin};
//!
//! use bytes::Bytes;
//! use http::{Request, Response, Uri, header::LOCATION};
//! use http_body_util::Full;
//! use retry_layer::{
//!     Drain, EarlierTransparentRetries, ReplayBody, ResponseExt, Retry, RetryPolicy, RetryReport,
//! };
//! use tower::{Service, ServiceExt, service_fn};
//!
//! type Answer = Response<Full<Bytes>>;
//!
//! /// Follows the redirects of a request that has no body.
//! async fn follow<S>(mut retry: Retry<S>, mut request: Request<Full<Bytes>>) -> Result<Answer, S::Error>
//! where
//!     S: Service<Request<ReplayBody<Full<Bytes>>>, Response = Answer, Error = Infallible> + Clone,
//! {
//!     let mut before: Option<RetryReport> = None;
//!     loop {
//!         let ready = ServiceExt::<Request<Full<Bytes>>>::ready(&mut retry).await?;
//!         let mut call = pin!(ready.call(request));
//!         let mut response = call.as_mut().await?;
//!         let report = response.retry_report();
//!         let report = match before.take() {
//!             Some(before) => before.followed_by(report),
//!             None => report,
//!         };
//!         let location = response.headers().get(LOCATION).filter(|_| response.status().is_redirection());
//!         // A layer for others resolves it as a reference, counts hops, and drops credentials.
//!         let location = location.and_then(|it| it.to_str().ok()?.parse::<Uri>().ok());
//!         let kept = location.and_then(|it| Some((it, call.take_request()?)));
//!         let Some((location, kept)) = kept.filter(|(_, kept)| kept.body().is_empty()) else {
//!             response.extensions_mut().insert(report);
//!             return Ok(response);
//!         };
//!         if let Some(drain) = Drain::of(response.into_body()) {
//!             drain.await;
//!         }
//!         request = kept.map(|_| Full::default());
//!         *request.uri_mut() = location;
//!         request.extensions_mut().insert(EarlierTransparentRetries::of(&report));
//!         before = Some(report);
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = service_fn(async |request: Request<ReplayBody<Full<Bytes>>>| {
//!     let mut response = Answer::default();
//!     if request.uri().path() == "/old" {
//!         *response.status_mut() = http::StatusCode::FOUND;
//!         response.headers_mut().insert(LOCATION, "http://example.com/new".parse().unwrap());
//!     }
//!     assert_eq!(request.headers()["x-own"], "1");
//!     Ok::<_, Infallible>(response)
//! });
//! let request = Request::get("http://example.com/old").header("x-own", "1").body(Full::default())?;
//! let response = follow(Retry::new(server, RetryPolicy::default()), request).await?;
//! assert_eq!(response.retry_report().to_string(), "302, then 200; stopped: answered");
//! # Ok(())
//! # }
//! ```

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
use http::{Method, Request, Response, Uri};
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
    replay::{KeptBody, ReplayBody},
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
    /// is about to drop this future because the time is up, as [above](self#what-a-layer-above-asks). An attempt
    /// that is under way is recorded as [`Ambiguous`](Class::Ambiguous).
    #[must_use]
    pub fn report_so_far(&self) -> RetryReport {
        let (mut attempts, transparent_retries) = match &self.plan {
            Plan::Repeatable { call } => call.records(),
            Plan::Once { .. } => (Vec::new(), 0),
        };
        if let State::Sending { .. } = self.state {
            let details = AttemptDetails::default()
                .kind(FailureKind::DEADLINE)
                .cause("cut off at the deadline of the call");
            match &self.plan {
                Plan::Repeatable { call } => attempts.extend(call.cut_off(details)),
                Plan::Once { started, .. } => {
                    let times = AttemptTimes::new(*started, *started, Instant::now());
                    let cut_off = AttemptRecord::new(AttemptOutcome::Error(Class::Ambiguous));
                    attempts.push(cut_off.described(details).timed(times));
                }
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

    /// The method of the request that entered the layer, also when it was taken.
    #[must_use]
    #[inline]
    pub fn method(&self) -> &Method {
        match &self.plan {
            Plan::Once { method, .. } => method,
            Plan::Repeatable { call } => &call.method,
        }
    }

    /// The URI of the request that entered the layer, also when it was taken.
    #[must_use]
    #[inline]
    pub fn uri(&self) -> &Uri {
        match &self.plan {
            Plan::Once { uri, .. } => uri,
            Plan::Repeatable { call } => &call.uri,
        }
    }

    /// Moves out the request as it entered the layer, for a layer above that sends it again, such as one that
    /// [follows redirects](self#what-a-layer-above-asks), or that asks for the rest of a response's body.
    /// The call is over then: what is still under way is dropped.
    ///
    /// `None` if nothing of the request was kept, since it was sent once whatever came of it: see
    /// [`Retry::refusal`](crate::Retry::refusal). `None` also when it is asked for once more.
    ///
    /// # Panics
    ///
    /// Not here, but the future must not be polled any more.
    #[must_use]
    pub fn take_request(self: Pin<&mut Self>) -> Option<Request<KeptBody<B>>> {
        let mut this = self.project();
        this.state.set(State::Done);
        match this.plan {
            Plan::Once { .. } => None,
            Plan::Repeatable { call } => call.take_request(),
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
