use std::{
    mem,
    task::{Context, Poll, ready},
};

use tower_layer::Layer;
use tower_service::Service;

/// A service that insists on the contract: it panics when it is called without having said ready.
///
/// Readiness belongs to one instance and one call. A clone starts unready, whatever its original had said, as a
/// clone of a limiting or a buffering service does.
#[derive(Debug, Default)]
pub struct StrictService<S> {
    inner: S,
    ready: bool,
}

impl<S> StrictService<S> {
    /// Wraps a service.
    pub const fn new(inner: S) -> Self {
        Self {
            inner,
            ready: false,
        }
    }

    /// Returns a reference to the wrapped service.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// Returns a mutable reference to the wrapped service.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Returns the wrapped service.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, Request> Service<Request> for StrictService<S>
where
    S: Service<Request>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        // An instance that had said ready and is asked again is ready only if it says so again.
        self.ready = false;
        let outcome = ready!(self.inner.poll_ready(cx));
        self.ready = outcome.is_ok();
        Poll::Ready(outcome)
    }

    #[track_caller]
    fn call(&mut self, request: Request) -> S::Future {
        assert!(
            mem::take(&mut self.ready),
            "called without having said ready"
        );
        self.inner.call(request)
    }
}

impl<S: Clone> Clone for StrictService<S> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone())
    }
}

/// Makes a [`StrictService`] of each service.
#[derive(Clone, Copy, Debug, Default)]
pub struct StrictLayer;

impl<S> Layer<S> for StrictLayer {
    type Service = StrictService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        StrictService::new(inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, task::Waker};

    use tower::service_fn;

    use super::*;

    fn readied() -> StrictService<impl Service<u8, Response = u8, Error = Infallible> + Clone> {
        let mut service = StrictService::new(service_fn(|number: u8| async move { Ok(number) }));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(service.poll_ready(&mut cx).is_ready());
        service
    }

    #[tokio::test]
    async fn is_called_once_it_said_ready() {
        assert_eq!(readied().call(7).await, Ok(7));
    }

    #[test]
    #[should_panic(expected = "without having said ready")]
    fn panics_at_a_second_call() {
        let mut service = readied();
        drop(service.call(7));

        drop(service.call(7));
    }

    #[test]
    #[should_panic(expected = "without having said ready")]
    fn does_not_pass_readiness_to_a_clone() {
        drop(readied().clone().call(7));
    }
}
