use std::task::{Context, Poll};

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
        self.start(request, None)
    }
}

impl<S> Retry<S> {
    /// Whether a copy of this request is kept while it is sent, and can be had of the future: see
    /// [`ResponseFuture::request_again`]. None is kept of what is sent only once, because its
    /// policy allows one attempt, or for an extension such as [`NoRetry`](crate::NoRetry).
    pub fn keeps<B>(&self, request: &Request<B>) -> bool {
        let policy = request.extensions().get().unwrap_or(&self.policy);
        policy.refusal(request).is_none()
    }

    /// Does as `call` of the service does, for a caller that has just looked at the clock: the
    /// policy's deadline counts from `now`.
    #[inline]
    pub fn call_at<B, R>(
        &mut self,
        request: Request<B>,
        now: Instant,
    ) -> ResponseFuture<S, B, S::Future, R, S::Error>
    where
        S: Service<Request<ReplayBody<B>>, Response = Response<R>> + Clone,
        B: Body<Data = Bytes> + 'static,
        B::Error: Into<BoxError>,
    {
        self.start(request, Some(now))
    }

    #[inline]
    fn start<B, R>(
        &mut self,
        request: Request<B>,
        now: Option<Instant>,
    ) -> ResponseFuture<S, B, S::Future, R, S::Error>
    where
        S: Service<Request<ReplayBody<B>>, Response = Response<R>> + Clone,
        B: Body<Data = Bytes> + 'static,
        B::Error: Into<BoxError>,
    {
        let (inner, policy) = (&mut self.inner, self.policy.for_request(&request));
        if !policy.is_idle_for(&request) {
            return ResponseFuture::dressed(inner, policy, request, now);
        }
        match policy.refusal(&request) {
            Some(stop) => ResponseFuture::once::<false>(inner, policy, stop, request, now),
            None => ResponseFuture::repeatable::<false>(inner, policy, request, false, now),
        }
    }
}
