use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
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

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let policy = self.policy.for_request(&request);
        if !policy.is_idle_for(&request) {
            return ResponseFuture::dressed(&mut self.inner, policy, request);
        }
        match policy.refusal(&request) {
            Some(stop) => ResponseFuture::once::<false>(&mut self.inner, policy, stop, request),
            None => ResponseFuture::repeatable::<false>(&mut self.inner, policy, request, false),
        }
    }
}
