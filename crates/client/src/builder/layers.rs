//! Layers of the caller's.

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as HttpBody;
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    Body, ClientBuilder,
    error::BoxError,
    layers::{AttemptBody, InnerService},
};

impl ClientBuilder {
    /// Adds a layer around each call, above the retries and below the redirects, so that it sees
    /// each hop: any tower layer whose service is `Clone`, such as tower's `TimeoutLayer`,
    /// `ConcurrencyLimitLayer` or `BufferLayer`, or a `ServiceBuilder` of several. Default: none;
    /// the stack is boxed only if there is one.
    ///
    /// The layer that was added first is the outermost. Each layer is built once, so that all calls
    /// share its limits. Its error may be anything that converts to a `BoxError`, and becomes the
    /// [`source`](std::error::Error::source) of an [`Error`](crate::Error); an
    /// [`Error`](crate::Error) from below that the layer has boxed is unwrapped and returned as it
    /// was.
    ///
    /// ```
    /// use std::time::Duration;
    /// use client::Client;
    /// use tower::{ServiceBuilder, limit::ConcurrencyLimitLayer, timeout::TimeoutLayer};
    ///
    /// let client = Client::builder()
    ///     .layer(
    ///         ServiceBuilder::new()
    ///             .layer(TimeoutLayer::new(Duration::from_secs(20)))
    ///             .layer(ConcurrencyLimitLayer::new(100)),
    ///     )
    ///     .build()?;
    /// # Ok::<(), client::Error>(())
    /// ```
    pub fn layer<L, R>(mut self, layer: L) -> Self
    where
        L: Layer<InnerService<Body>> + Send + Sync + 'static,
        L::Service: Service<Request<Body>, Response = Response<R>> + Clone + Send + Sync + 'static,
        <L::Service as Service<Request<Body>>>::Error: Into<BoxError>,
        <L::Service as Service<Request<Body>>>::Future: Send + 'static,
        R: HttpBody<Data = Bytes> + Send + 'static,
        R::Error: Into<BoxError>,
    {
        self.call_layers.push(layer);
        self
    }

    /// Adds a layer around each attempt, below the retries and above what the client itself does
    /// for each attempt, such as adding its `User-Agent`. Default: none.
    ///
    /// The rules of [`layer`](Self::layer) hold here too. The request's body is an [`AttemptBody`],
    /// so a layer for both places must be generic over the body. Whether an error of the layer is
    /// retried depends on its causes: a timeout is retried if the request is idempotent.
    pub fn attempt_layer<L, R>(mut self, layer: L) -> Self
    where
        L: Layer<InnerService<AttemptBody>> + Send + Sync + 'static,
        L::Service:
            Service<Request<AttemptBody>, Response = Response<R>> + Clone + Send + Sync + 'static,
        <L::Service as Service<Request<AttemptBody>>>::Error: Into<BoxError>,
        <L::Service as Service<Request<AttemptBody>>>::Future: Send + 'static,
        R: HttpBody<Data = Bytes> + Send + 'static,
        R::Error: Into<BoxError>,
    {
        self.attempt_layers.push(layer);
        self
    }
}
