use std::{
    mem,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response, response};
use http_body::Body;
use tower_service::Service;

use super::{
    ask::Ask,
    body::ResumeBody,
    future::{ResumeFuture, Start},
    resumable::{NotResumable, Resumable, check_method},
};
use crate::{named::ServiceError, policy::RetryPolicy};

/// A service that continues the body of a response where it breaks. See the [module docs](super).
#[derive(Clone, Debug)]
pub struct Resume<S> {
    inner: S,
    policy: RetryPolicy,
}

/// A request extension: the body of the response is not continued where it breaks.
///
/// ```
/// let mut request = http::Request::new(());
/// request.extensions_mut().insert(retry_layer::resume::NoResume);
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct NoResume;

impl<S> Resume<S> {
    /// Wraps the service.
    pub fn new(inner: S, policy: RetryPolicy) -> Self {
        Self { inner, policy }
    }

    /// The policy.
    pub fn policy(&self) -> &RetryPolicy {
        &self.policy
    }

    /// The inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The inner service.
    pub fn into_inner(self) -> S {
        self.inner
    }

    /// Checks whether the body of a response with this head, to this request, would be continued
    /// where it breaks.
    ///
    /// # Errors
    ///
    /// The first reason why it would not.
    pub fn check_head<B: Body>(
        &self,
        request: &Request<B>,
        head: &response::Parts,
    ) -> Result<(), NotResumable> {
        self.check(request)?;
        Resumable::of(head.status, &head.headers, None).map(|_| ())
    }

    /// As [`check_head`](Self::check_head), by the request alone.
    fn check<B: Body>(&self, request: &Request<B>) -> Result<(), NotResumable> {
        check_method(request.method())?;
        if !request.body().is_end_stream() {
            return Err(NotResumable::RequestBody);
        }
        let extensions = request.extensions();
        let policy = extensions.get().unwrap_or(&self.policy);
        if extensions.get::<NoResume>().is_some() || policy.refusal(request).is_some() {
            return Err(NotResumable::Policy);
        }
        Ok(())
    }
}

impl<S, B, R> Service<Request<B>> for Resume<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    S::Error: ServiceError,
    B: Body + Default,
    R: Body<Data = Bytes>,
    R::Error: ServiceError,
{
    type Response = Response<ResumeBody<R, R::Error, Ask<S, B, S::Future>>>;
    type Error = S::Error;
    type Future = ResumeFuture<S, B, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if self.check(&request).is_err() {
            return ResumeFuture::new(self.inner.call(request), None);
        }
        let mut again = Request::new(());
        again.method_mut().clone_from(request.method());
        again.uri_mut().clone_from(request.uri());
        *again.version_mut() = request.version();
        again.headers_mut().clone_from(request.headers());
        again.extensions_mut().clone_from(request.extensions());
        // The instance that said ready makes all requests of this call.
        let spare = self.inner.clone();
        let mut service = mem::replace(&mut self.inner, spare);
        let inner = service.call(request);
        let start = Start {
            service,
            policy: self.policy.clone(),
            request: again,
        };
        ResumeFuture::new(inner, Some(Box::new(start)))
    }
}
