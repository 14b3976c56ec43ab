use std::{
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::Response;
use http_body::Body;
use tower_service::Service;

use super::{body::PeekBody, future::PeekFuture, settings::PeekSettings};

/// A service that reads the beginning of a response's body before it returns the response.
///
/// See the [module docs](super).
#[derive(Clone, Debug)]
pub struct Peek<S> {
    inner: S,
    settings: Arc<PeekSettings>,
}

impl<S> Peek<S> {
    /// Peeks at this many bytes of every response that has a body, and waits one second at most. A
    /// [`PeekLayer`](super::PeekLayer) has more settings.
    pub fn new(inner: S, bytes: usize) -> Self {
        Self::with_settings(inner, Arc::new(PeekSettings::new(bytes)))
    }

    pub(super) fn with_settings(inner: S, settings: Arc<PeekSettings>) -> Self {
        Self { inner, settings }
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
}

impl<S, Request, B> Service<Request> for Peek<S>
where
    S: Service<Request, Response = Response<B>>,
    B: Body<Data = Bytes>,
{
    type Response = Response<PeekBody<B>>;
    type Error = S::Error;
    type Future = PeekFuture<S::Future, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        PeekFuture::new(self.inner.call(request), Arc::clone(&self.settings))
    }
}
