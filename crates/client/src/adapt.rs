//! Makes a service of the caller's a part of the stack: converts its body and its error to this
//! crate's types.

use std::{
    any::Any,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as HttpBody;
use pin_project_lite::pin_project;
use session_layer::ResponseFuture;
use tower_service::Service;

use crate::{
    Body, DeadlinePhase, Error, ResponseBody, error::BoxError, phase::ReportsPhase, so_far,
};

/// Gives a service this crate's response body and error. An [`Error`] that comes through in a box,
/// because tower's own layers box errors, is unwrapped and returned as it was.
#[derive(Clone, Debug)]
pub(crate) struct Adapt<S> {
    inner: S,
}

impl<S> Adapt<S> {
    pub(crate) fn new(inner: S) -> Self {
        Self { inner }
    }
}

impl<S, B, R> Service<Request<B>> for Adapt<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: Into<BoxError>,
    R: HttpBody<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Response = Response<ResponseBody>;
    type Error = Error;
    type Future = Adapted<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx).map_err(Error::from_below)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        Adapted {
            inner: self.inner.call(request),
        }
    }
}

pin_project! {
    #[must_use = "futures do nothing unless polled"]
    pub(crate) struct Adapted<F> {
        #[pin]
        inner: F,
    }
}

impl<F: 'static> ReportsPhase for Adapted<F> {
    /// A session reports its phase, and so does what tells it when it is [asked](so_far::ask).
    fn phase(&self) -> DeadlinePhase {
        let inner: &dyn Any = &self.inner;
        let of_session = inner.downcast_ref::<ResponseFuture<Body>>();
        of_session
            .map(ReportsPhase::phase)
            .or_else(so_far::reported_phase)
            .unwrap_or(DeadlinePhase::Attempt)
    }
}

impl<F, R, E> Future for Adapted<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    R: HttpBody<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
    E: Into<BoxError>,
{
    type Output = Result<Response<ResponseBody>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = self.project().inner.poll(cx);
        polled
            .map_ok(|response| response.map(ResponseBody::new))
            .map_err(Error::from_below)
    }
}
