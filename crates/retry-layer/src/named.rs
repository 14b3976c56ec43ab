use std::{
    error::Error,
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

/// Any error, as tower's own middleware has it.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// An error that can be looked into: any [`Error`] that is `'static`.
///
/// A boxed error is not one, since `Box<dyn Error>` does not implement `Error`. A service with
/// such an error goes below a [`NamedErrorLayer`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an error type that `Retry` can look into",
    label = "this does not implement `std::error::Error`",
    note = "if the service below `RetryLayer` has a boxed error, such as `tower::BoxError`, put a \
            `retry_layer::NamedErrorLayer` between them"
)]
pub trait ServiceError: sealed::Sealed {
    #[doc(hidden)]
    fn as_dyn(&self) -> &(dyn Error + 'static);

    #[doc(hidden)]
    fn as_dyn_mut(&mut self) -> &mut (dyn Error + 'static);
}

// Otherwise the compiler would report that a box is no `Error`, in place of the hint above.
#[diagnostic::do_not_recommend]
impl<E: Error + 'static> ServiceError for E {
    fn as_dyn(&self) -> &(dyn Error + 'static) {
        self
    }

    fn as_dyn_mut(&mut self) -> &mut (dyn Error + 'static) {
        self
    }
}

mod sealed {
    pub trait Sealed {}
    impl<E: std::error::Error + 'static> Sealed for E {}
}

/// Gives a service with a boxed error one that has a name: a [`NamedServiceError`].
///
/// tower's `Buffer`, `Timeout`, `LoadShed` and others answer with `BoxError`. That type is no
/// `Error` itself, and a future that mentions it may not be accepted by `tokio::spawn`.
///
/// ```
/// use retry_layer::{NamedErrorLayer, RetryLayer, RetryPolicy};
/// use tower::{ServiceBuilder, ServiceExt, BoxError, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// # type Body = http_body_util::Empty<bytes::Bytes>;
/// let boxed = service_fn(|_request: http::Request<retry_layer::ReplayBody<Body>>| async {
///     Ok::<_, BoxError>(http::Response::new(Body::new()))
/// });
/// let service = ServiceBuilder::new()
///     .layer(RetryLayer::new(RetryPolicy::default()))
///     .layer(NamedErrorLayer::new())
///     .service(boxed);
/// let response = service.oneshot(http::Request::new(Body::new())).await?;
/// # assert_eq!(response.status(), 200);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct NamedErrorLayer(());

impl NamedErrorLayer {
    /// Makes the layer.
    #[must_use]
    pub const fn new() -> Self {
        Self(())
    }
}

impl<S> Layer<S> for NamedErrorLayer {
    type Service = NamedError<S>;

    fn layer(&self, inner: S) -> NamedError<S> {
        NamedError::new(inner)
    }
}

/// The service that [`NamedErrorLayer`] makes.
#[derive(Clone, Copy, Debug)]
pub struct NamedError<S> {
    inner: S,
}

impl<S> NamedError<S> {
    /// Wraps the service.
    pub const fn new(inner: S) -> Self {
        Self { inner }
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

impl<S, Request> Service<Request> for NamedError<S>
where
    S: Service<Request>,
    S::Error: Into<BoxError>,
{
    type Response = S::Response;
    type Error = NamedServiceError;
    type Future = NamedErrorFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), NamedServiceError>> {
        self.inner.poll_ready(cx).map_err(NamedServiceError::new)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        NamedErrorFuture {
            inner: self.inner.call(request),
        }
    }
}

pin_project! {
    /// The future of [`NamedError`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct NamedErrorFuture<F> {
        #[pin]
        inner: F,
    }
}

impl<F, T, E> Future for NamedErrorFuture<F>
where
    F: Future<Output = Result<T, E>>,
    E: Into<BoxError>,
{
    type Output = Result<T, NamedServiceError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project()
            .inner
            .poll(cx)
            .map_err(NamedServiceError::new)
    }
}

/// The error of a service below a [`NamedErrorLayer`]: what it was is its
/// [`source`](Error::source).
#[derive(Debug)]
pub struct NamedServiceError(BoxError);

impl NamedServiceError {
    fn new(error: impl Into<BoxError>) -> Self {
        Self(error.into())
    }

    /// The boxed error inside.
    #[must_use]
    pub fn into_inner(self) -> BoxError {
        self.0
    }
}

impl fmt::Display for NamedServiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the service failed")
    }
}

impl Error for NamedServiceError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}
