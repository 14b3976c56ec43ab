use std::{
    mem,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tokio::time::Instant;
use tower_service::Service;

use crate::{
    future::ResponseFuture,
    named::{BoxError, ServiceError},
    policy::RetryPolicy,
    replay::ReplayBody,
    stop::StopReason,
};

/// A service that sends a request again when its policy says so.
///
/// The service inside sees a [`ReplayBody`]; what it answers is passed on as it is. See the
/// [crate docs](crate).
#[derive(Clone, Debug)]
pub struct Retry<S> {
    inner: S,
    policy: RetryPolicy,
}

impl<S> Retry<S> {
    /// Wraps the service.
    pub fn new(inner: S, policy: RetryPolicy) -> Self {
        Self { inner, policy }
    }

    /// The policy.
    pub fn policy(&self) -> &RetryPolicy {
        &self.policy
    }

    /// The service inside.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The service inside.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The service inside.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, B, R> Service<Request<B>> for Retry<S>
where
    S: Service<Request<ReplayBody<B>>, Response = Response<R>> + Clone,
    S::Error: ServiceError,
    B: Body<Data = Bytes> + 'static,
    B::Error: Into<BoxError>,
    R: Body,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S, B, S::Future, R, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (inner, policy) = (&mut self.inner, self.policy.for_request(&request));
        match Start::of(&policy, &request) {
            Start::Once(stop) => ResponseFuture::once::<false>(inner, policy, stop, request, None),
            Start::Repeatable => {
                // The instance that said ready makes the attempts of this call.
                let spare = inner.clone();
                let ready = mem::replace(inner, spare);
                ResponseFuture::repeatable::<false>(ready, policy, request, false, None)
            }
            Start::Decorated => ResponseFuture::decorated(inner, policy, request, None),
        }
    }
}

/// How a call begins.
enum Start {
    /// It is sent once, for this reason.
    Once(StopReason),
    Repeatable,
    /// It may ask for any of the [extras](crate::extras).
    Decorated,
}

impl Start {
    #[inline]
    fn of<B>(policy: &RetryPolicy, request: &Request<B>) -> Self {
        if !policy.is_plain_for(request) {
            return Self::Decorated;
        }
        policy.refusal(request).map_or(Self::Repeatable, Self::Once)
    }
}

impl<S> Retry<S> {
    /// Whether a copy of this request is kept while it is sent, and can be had of the future: see
    /// [`ResponseFuture::request_again`]. None is kept of what is sent only once, because its
    /// policy allows one attempt and no resend, or for an extension such as
    /// [`NoRetry`](crate::NoRetry).
    pub fn keeps<B>(&self, request: &Request<B>) -> bool {
        let policy = request.extensions().get().unwrap_or(&self.policy);
        policy.refusal(request).is_none()
    }

    /// Calls a clone of the service inside, whose first attempt begins at once, without asking
    /// whether it is ready: for a service that always is, and a caller that has just looked at the
    /// clock. The policy's deadline counts from `now`.
    #[inline]
    pub fn call_at<B, R>(
        &self,
        request: Request<B>,
        now: Instant,
    ) -> ResponseFuture<S, B, S::Future, R, S::Error>
    where
        S: Service<Request<ReplayBody<B>>, Response = Response<R>> + Clone,
        B: Body<Data = Bytes> + 'static,
        B::Error: Into<BoxError>,
    {
        let (mut inner, policy) = (self.inner.clone(), self.policy.for_request(&request));
        let now = Some(now);
        match Start::of(&policy, &request) {
            Start::Once(stop) => {
                ResponseFuture::once::<false>(&mut inner, policy, stop, request, now)
            }
            Start::Repeatable => {
                ResponseFuture::repeatable::<false>(inner, policy, request, false, now)
            }
            Start::Decorated => ResponseFuture::decorated(&mut inner, policy, request, now),
        }
    }
}
