use std::{
    task::{Context, Poll},
    time::Duration,
};

use tower_service::Service;

use super::{error::AttemptError, future::AttemptTimeoutFuture};

/// A service that gives up an attempt which takes too long. See the [module docs](super).
#[derive(Clone, Copy, Debug)]
pub struct AttemptTimeout<S> {
    inner: S,
    timeout: Duration,
}

impl<S> AttemptTimeout<S> {
    /// Wraps the service.
    pub const fn new(inner: S, timeout: Duration) -> Self {
        Self { inner, timeout }
    }

    /// The inner service.
    pub const fn get_ref(&self) -> &S {
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
}

impl<S, Request> Service<Request> for AttemptTimeout<S>
where
    S: Service<Request>,
{
    type Response = S::Response;
    type Error = AttemptError<S::Error>;
    type Future = AttemptTimeoutFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(AttemptError::inner)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        AttemptTimeoutFuture::new(self.inner.call(request), self.timeout)
    }
}
