use std::{
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::Response;
use http_body::Body;
use tower_service::Service;

use super::{
    body::PeekBody,
    future::PeekFuture,
    layer::{PeekLayer, Settings},
};

/// A service that reads the beginning of a response's body before it gives the response out.
///
/// See the [module docs](super).
#[derive(Clone, Debug)]
pub struct Peek<S> {
    inner: S,
    settings: Arc<Settings>,
}

impl<S> Peek<S> {
    /// Wraps the service.
    pub fn new(inner: S, layer: &PeekLayer) -> Self {
        Self {
            inner,
            settings: Arc::clone(&layer.settings),
        }
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
