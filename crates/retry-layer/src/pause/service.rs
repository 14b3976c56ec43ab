use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use super::{Pause, PauseError, PauseFuture, shared::Admission};

/// A service that holds requests back while the server asks for a pause. See the [module docs](super).
#[derive(Clone, Debug)]
pub struct SharedPause<S> {
    inner: S,
    pause: Pause,
}

impl<S> SharedPause<S> {
    /// Wraps the service.
    pub const fn new(inner: S, pause: Pause) -> Self {
        Self { inner, pause }
    }

    /// The pauses.
    pub const fn pause(&self) -> &Pause {
        &self.pause
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

impl<S: Clone> SharedPause<S> {
    /// Drops the service that is ready, with whatever it has reserved for a request that is not sent
    /// now: the caller may keep this service for long without another call, and the clone that waits
    /// needs the same room.
    fn give_readiness_back(&mut self) {
        self.inner = self.inner.clone();
    }
}

impl<S, B, R> Service<Request<B>> for SharedPause<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
{
    type Response = Response<R>;
    type Error = PauseError<S::Error>;
    type Future = PauseFuture<S, B, S::Future>;

    /// The readiness of the service inside. Which partition a request belongs to, and so whether it is
    /// paused, is known only when it comes.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(PauseError::inner)
    }

    #[inline]
    fn call(&mut self, request: Request<B>) -> Self::Future {
        match self.pause.shared.admit(&request) {
            Admission::Pass(pass) => PauseFuture::sent(self.inner.call(request), Some(pass)),
            Admission::Unknown => PauseFuture::sent(self.inner.call(request), None),
            // A clone waits, and becomes ready when its turn has come.
            Admission::Wait(waiting) => {
                self.give_readiness_back();
                PauseFuture::held(self.inner.clone(), request, waiting)
            }
            Admission::Refuse(error) => {
                self.give_readiness_back();
                PauseFuture::refused(error)
            }
        }
    }
}
