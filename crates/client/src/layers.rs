//! The layers that the caller adds to the stack, and the service that they wrap.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as HttpBody;
use retry_layer::ReplayBody;
use tower::util::BoxCloneSyncService;
use tower_layer::Layer;
use tower_service::Service;

use crate::{Body, Error, ResponseBody, adapt::Adapt, error::BoxError};

/// The request body of one attempt: what an [`attempt_layer`](crate::ClientBuilder::attempt_layer)
/// sees.
pub type AttemptBody = ReplayBody<Body>;

/// The rest of the stack, below a layer of the caller's.
///
/// `B` is [`Body`] below a [`layer`](crate::ClientBuilder::layer), and [`AttemptBody`] below an
/// [`attempt_layer`](crate::ClientBuilder::attempt_layer).
pub struct InnerService<B> {
    inner: BoxCloneSyncService<Request<B>, Response<ResponseBody>, Error>,
}

impl<B> InnerService<B> {
    pub(crate) fn new<S>(service: S) -> Self
    where
        S: Service<Request<B>, Response = Response<ResponseBody>, Error = Error>,
        S: Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
    {
        Self {
            inner: BoxCloneSyncService::new(service),
        }
    }
}

impl<B> Service<Request<B>> for InnerService<B> {
    type Response = Response<ResponseBody>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.inner.call(request)
    }
}

impl<B> Clone for InnerService<B> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
        }
    }
}

impl<B> fmt::Debug for InnerService<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InnerService").finish_non_exhaustive()
    }
}

/// Layers in the order in which they were added: the first one is the outermost.
pub(crate) struct Layers<B> {
    layers: Vec<Box<Wrap<B>>>,
}

type Wrap<B> = dyn FnOnce(InnerService<B>) -> InnerService<B> + Send + Sync;

impl<B: 'static> Layers<B> {
    pub(crate) fn push<L, R>(&mut self, layer: L)
    where
        L: Layer<InnerService<B>> + Send + Sync + 'static,
        L::Service: Service<Request<B>, Response = Response<R>> + Clone + Send + Sync + 'static,
        <L::Service as Service<Request<B>>>::Error: Into<BoxError>,
        <L::Service as Service<Request<B>>>::Future: Send + 'static,
        R: HttpBody<Data = Bytes> + Send + 'static,
        R::Error: Into<BoxError>,
    {
        self.layers.push(Box::new(move |inner| {
            InnerService::new(Adapt::new(layer.layer(inner)))
        }));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.layers.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.layers.len()
    }

    pub(crate) fn wrap(self, service: InnerService<B>) -> InnerService<B> {
        let innermost_first = self.layers.into_iter().rev();
        innermost_first.fold(service, |service, wrap| wrap(service))
    }
}

impl<B> Default for Layers<B> {
    fn default() -> Self {
        Self { layers: Vec::new() }
    }
}

impl<B> fmt::Debug for Layers<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Layers({})", self.layers.len())
    }
}
