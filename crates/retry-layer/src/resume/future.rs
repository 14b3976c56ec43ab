use std::{
    fmt,
    future::Future,
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;

use super::{ask::Ask, body::ResumeBody};
use crate::policy::RetryPolicy;

pin_project! {
    /// The future of [`Resume`](super::Resume): the response, whose body is continued where it breaks.
    ///
    /// # Cancel safety
    ///
    /// That of the inner future.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResumeFuture<S, B, F> {
        #[pin]
        inner: F,
        // `None` if the body will not be continued. Boxed, since it is rarely needed.
        start: Option<Box<Start<S>>>,
        body: PhantomData<fn() -> B>,
    }
}

/// What a request for the rest needs.
pub(super) struct Start<S> {
    pub(super) service: S,
    pub(super) policy: RetryPolicy,
    pub(super) request: Request<()>,
}

impl<S, B, F> ResumeFuture<S, B, F> {
    pub(super) fn new(inner: F, start: Option<Box<Start<S>>>) -> Self {
        Self {
            inner,
            start,
            body: PhantomData,
        }
    }

    /// The inner future.
    #[must_use]
    pub fn get_ref(&self) -> &F {
        &self.inner
    }
}

impl<S, B, F, R, E> Future for ResumeFuture<S, B, F>
where
    F: Future<Output = Result<Response<R>, E>>,
    R: Body,
{
    type Output = Result<Response<ResumeBody<R, R::Error, Ask<S, B, F>>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.inner.poll(cx))?;
        let Some(start) = this.start.take() else {
            return Poll::Ready(Ok(response.map(ResumeBody::passing)));
        };
        let Start {
            service,
            policy,
            request,
        } = *start;
        let (head, body) = response.into_parts();
        let body = ResumeBody::new(service, &policy, request, &head, body);
        Poll::Ready(Ok(Response::from_parts(head, body)))
    }
}

impl<S, B, F> fmt::Debug for ResumeFuture<S, B, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResumeFuture").finish_non_exhaustive()
    }
}
