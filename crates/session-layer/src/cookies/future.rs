//! The future of [`Cookies`](super::Cookies).

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{Response, Uri};
use pin_project_lite::pin_project;

use super::Jar;

pin_project! {
    /// The future of [`Cookies`](super::Cookies): keeps the cookies of the response when its head is
    /// there.
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the request. No cookie of its response is kept then.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F> {
        #[pin]
        inner: F,
        // `None` if no cookie is to be kept.
        jar: Option<Jar>,
        uri: Uri,
    }
}

impl<F> ResponseFuture<F> {
    pub(super) fn new(inner: F, jar: Jar, uri: Uri) -> Self {
        Self {
            inner,
            jar: Some(jar),
            uri,
        }
    }

    pub(super) fn without(inner: F) -> Self {
        Self {
            inner,
            jar: None,
            uri: Uri::default(),
        }
    }
}

impl<F> ResponseFuture<F> {
    /// Returns the future of the inner service.
    pub fn get_ref(&self) -> &F {
        &self.inner
    }
}

impl<F, R, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = Result<Response<R>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.inner.poll(cx))?;
        if let Some(jar) = this.jar {
            jar.store(response.headers(), this.uri);
        }
        Poll::Ready(Ok(response))
    }
}

/// Leaves out the URI, which may have credentials.
impl<F> fmt::Debug for ResponseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture")
            .field("jar", &self.jar)
            .finish_non_exhaustive()
    }
}
