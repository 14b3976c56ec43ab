use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tokio::time::Instant;
use tower_service::Service;

use crate::{
    future::{Owned, ResponseFuture},
    named::{BoxError, ServiceError},
    policy::RetryPolicy,
    replay::ReplayBody,
    stop::StopReason,
};

/// A service that sends a request again when its policy says so.
///
/// The service inside receives a [`ReplayBody`]; its response is returned unchanged. See the
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
        let policy = self.policy.for_request(&request);
        ResponseFuture::new(&mut self.inner, policy, request, None)
    }
}

impl<S> Retry<S> {
    /// Why this request would be sent once, whatever came of it: its policy allows one attempt and no
    /// transparent retry, or it has an extension such as [`NoRetry`](crate::NoRetry). Nothing of such a request
    /// is kept, so [`ResponseFuture::take_request`] does not give it again. `None` if it may be sent again.
    ///
    /// ```
    /// use http::Request;
    /// use retry_layer::{NoRetry, Retry, RetryPolicy, StopReason};
    ///
    /// let retry = Retry::new((), RetryPolicy::default());
    /// let mut request = Request::new(());
    /// assert_eq!(retry.refusal(&request), None);
    /// request.extensions_mut().insert(NoRetry);
    /// assert_eq!(retry.refusal(&request), Some(StopReason::Disabled));
    /// ```
    pub fn refusal<B>(&self, request: &Request<B>) -> Option<StopReason> {
        let policy = request.extensions().get().unwrap_or(&self.policy);
        policy.refusal(request)
    }

    /// As [`call`](Service::call), for a service that is used for this call alone, and a caller that
    /// knows when the call began: the policy's deadline and the times in the
    /// [report](crate::RetryReport) count from `started`. It saves a clone of the service, and a
    /// look at the clock.
    ///
    /// Like `call`, it must follow a `poll_ready` of this instance that returned `Ready(Ok(()))`.
    #[inline]
    pub fn into_call<B, R>(
        self,
        request: Request<B>,
        started: Instant,
    ) -> ResponseFuture<S, B, S::Future, R, S::Error>
    where
        S: Service<Request<ReplayBody<B>>, Response = Response<R>>,
        B: Body<Data = Bytes> + 'static,
        B::Error: Into<BoxError>,
    {
        let policy = self.policy.into_policy_for(&request);
        ResponseFuture::new(Owned(self.inner), policy, request, Some(started))
    }
}
