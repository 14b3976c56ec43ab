//! Hedges in the stack: they stand between the retries and what is done per attempt.

use std::{
    future::Future,
    mem,
    num::NonZeroU8,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use pin_project_lite::pin_project;
use retry_layer::{
    Attempt as Exchange, RetryPolicy,
    hedge::{Hedge, HedgeBody, HedgeFuture},
};
use session_layer::{ConnectionInfo, RequestOptions};
use tower::util::MapRequest;
use tower_service::Service;

use crate::{
    Body, DeadlinePhase, Error, ResponseBody,
    attempt::{Attempt, ResponseFuture},
    body::{Place, Wrapper},
    layers::{AttemptBody, InnerService},
    phase::ReportsPhase,
    setting,
};

/// The attempts of a stack with layers of the caller's, with hedges where the policy asks for them.
#[derive(Clone, Debug)]
pub(crate) struct BoxedAttempts {
    inner: InnerService<AttemptBody>,
    hedges: Hedges,
}

impl BoxedAttempts {
    pub(crate) fn new(inner: InnerService<AttemptBody>, hedges: Hedges) -> Self {
        Self { inner, hedges }
    }
}

impl Service<Request<AttemptBody>> for BoxedAttempts {
    type Response = Response<ResponseBody>;
    type Error = Error;
    type Future = <InnerService<AttemptBody> as Service<Request<AttemptBody>>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<AttemptBody>) -> Self::Future {
        if self.hedges.may_hedge(&request) {
            Box::pin(hedged(&mut self.inner, request))
        } else {
            self.inner.call(request)
        }
    }
}

/// The attempts of the default stack, with hedges where the policy asks for them. Without them it costs one
/// branch, and a look at the extensions of the request.
#[derive(Clone, Debug)]
pub(crate) struct Attempts<S> {
    inner: Attempt<S>,
    hedges: Hedges,
}

/// Whether attempts may be hedged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Hedges {
    /// The client's policy says no: only those of requests that bring a policy of their own.
    IfAsked,
    AsThePolicySays,
}

impl Hedges {
    /// Those of a client with this policy.
    pub(crate) fn of(policy: &RetryPolicy) -> Self {
        match policy.hedging() {
            None => Self::IfAsked,
            Some(_) => Self::AsThePolicySays,
        }
    }

    #[inline]
    fn may_hedge<B>(self, request: &Request<B>) -> bool {
        self == Self::AsThePolicySays
            || request
                .extensions()
                .get::<RetryPolicy>()
                .is_some_and(|own| own.hedging().is_some())
    }
}

impl<S> Attempts<S> {
    pub(crate) fn new(inner: Attempt<S>, hedges: Hedges) -> Self {
        Self { inner, hedges }
    }
}

impl<S, R> Service<Request<AttemptBody>> for Attempts<S>
where
    S: Service<Request<AttemptBody>, Response = Response<R>> + Clone + Send + 'static,
    S::Error: Into<Error>,
    S::Future: ReportsPhase + Send + 'static,
    R: Into<ResponseBody> + 'static,
{
    type Response = Response<ResponseBody>;
    type Error = Error;
    // That of the attempt, in which a hedged one is boxed.
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Request<AttemptBody>) -> Self::Future {
        if self.hedges.may_hedge(&request) {
            self.call_hedged(request)
        } else {
            self.inner.call(request)
        }
    }
}

impl<S, R> Attempts<S>
where
    S: Service<Request<AttemptBody>, Response = Response<R>> + Clone + Send + 'static,
    S::Error: Into<Error>,
    S::Future: ReportsPhase + Send + 'static,
    R: Into<ResponseBody> + 'static,
{
    #[cold]
    fn call_hedged(&mut self, request: Request<AttemptBody>) -> ResponseFuture<S::Future> {
        ResponseFuture::Boxed {
            inner: Box::pin(hedged(&mut self.inner, request)),
        }
    }
}

/// Sends an attempt that may be hedged.
fn hedged<S>(
    attempts: &mut S,
    request: Request<AttemptBody>,
) -> Hedged<Apart<S>, <Apart<S> as Service<Request<AttemptBody>>>::Future>
where
    S: Service<Request<AttemptBody>, Response = Response<ResponseBody>, Error = Error> + Clone,
{
    let spare = attempts.clone();
    // The instance that said ready.
    let attempt = mem::replace(attempts, spare);
    let attempt: Apart<S> = MapRequest::new(attempt, apart);
    let inner = Hedge::new(attempt).call(request);
    Hedged { inner }
}

type Apart<S> = MapRequest<S, fn(Request<AttemptBody>) -> Request<AttemptBody>>;

pin_project! {
    /// An attempt with its hedges.
    struct Hedged<S, F> {
        #[pin]
        inner: HedgeFuture<S, Body, F, ResponseBody, Error>,
    }
}

impl<S> Future for Hedged<S, S::Future>
where
    S: Service<Request<AttemptBody>, Response = Response<ResponseBody>, Error = Error>,
{
    type Output = Result<Response<ResponseBody>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = self.project().inner.poll(cx);
        polled.map_ok(|response| response.map(unwrapped))
    }
}

impl<S, F: ReportsPhase> ReportsPhase for Hedged<S, F> {
    fn phase(&self) -> DeadlinePhase {
        // Without its future the attempt has failed, or its head has come without a byte.
        let attempt = self.inner.attempt();
        attempt.map_or(DeadlinePhase::Attempt, ReportsPhase::phase)
    }
}

/// Keeps a hedge off the HTTP/2 connection of the attempt that it is sent beside: what holds that one up
/// would hold both up.
fn apart(mut request: Request<AttemptBody>) -> Request<AttemptBody> {
    let extensions = request.extensions_mut();
    if let Some(hedge) = extensions.get::<Exchange>().and_then(Exchange::hedge) {
        let number = NonZeroU8::try_from(hedge).unwrap_or(NonZeroU8::MAX);
        let options = extensions
            .get()
            .copied()
            .unwrap_or_else(RequestOptions::new);
        setting::set(extensions, options.beside(number));
    }
    request
}

/// The body itself, if nothing was read of it.
fn unwrapped(body: HedgeBody<ResponseBody>) -> ResponseBody {
    body.try_into_inner()
        .unwrap_or_else(|begun| ResponseBody::wrapped(Begun(begun)))
}

/// A body whose first frame was read to know that it is the answer.
struct Begun(HedgeBody<ResponseBody>);

impl HttpBody for Begun {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

impl Wrapper for Begun {
    fn place(&self) -> Place {
        Place::Attempt
    }

    fn inner(&mut self) -> Option<&mut ResponseBody> {
        Some(self.0.get_mut())
    }

    fn connection(&self) -> Option<&ConnectionInfo> {
        self.0.get_ref().connection()
    }
}
