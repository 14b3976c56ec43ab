use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use super::{Breaker, BreakerError, BreakerFuture, shared::Sent};
use crate::named::ServiceError;

/// A service that does not send requests to an origin that fails. See the [module docs](super).
#[derive(Clone, Debug)]
pub struct CircuitBreaker<S> {
    inner: S,
    breaker: Breaker,
}

impl<S> CircuitBreaker<S> {
    /// Wraps the service.
    pub const fn new(inner: S, breaker: Breaker) -> Self {
        Self { inner, breaker }
    }

    /// The circuits.
    pub const fn breaker(&self) -> &Breaker {
        &self.breaker
    }

    /// The service inside.
    pub const fn get_ref(&self) -> &S {
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

impl<S, B, R> Service<Request<B>> for CircuitBreaker<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: ServiceError,
{
    type Response = Response<R>;
    type Error = BreakerError<S::Error>;
    type Future = BreakerFuture<S::Future>;

    /// The readiness of the service inside. Which origin a request is for, and so whether its circuit
    /// is open, is known only when it comes.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(BreakerError::inner)
    }

    #[inline]
    fn call(&mut self, request: Request<B>) -> Self::Future {
        let shared = &self.breaker.shared;
        match shared.admit(&request) {
            Ok(permit) => {
                let sent = permit.map(|permit| Sent::new(shared, permit, &request));
                BreakerFuture::sent(self.inner.call(request), sent)
            }
            Err(error) => BreakerFuture::refused(error),
        }
    }
}
