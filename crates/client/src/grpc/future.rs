use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::Response;
use pin_project_lite::pin_project;
use tonic::Status;

use super::{body::ResponseBody, status};
use crate::{call::Streaming, deadline::Limit};

pin_project! {
    /// The future of a [`GrpcChannel`](super::GrpcChannel): the head of the answer, or a status.
    ///
    /// # Cancel safety
    ///
    /// Dropping it ends the call at once: no further attempt is made, and the present one is cut
    /// off. What was sent by then may have been processed.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture {
        #[pin]
        inner: Streaming,
        // The deadline for the body too, if the call has set one.
        limit: Option<Limit>,
    }
}

impl ResponseFuture {
    pub(super) fn new(inner: Streaming, limit: Option<Limit>) -> Self {
        Self { inner, limit }
    }
}

impl Future for ResponseFuture {
    type Output = Result<Response<ResponseBody>, Status>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        Poll::Ready(match ready!(this.inner.poll(cx)) {
            Ok(response) => {
                let limit = *this.limit;
                Ok(response.map(|body| ResponseBody::new(body, limit)))
            }
            Err(error) => Err(status::of(error)),
        })
    }
}

impl fmt::Debug for ResponseFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}
