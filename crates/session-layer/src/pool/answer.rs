use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use http::{Request, Response};
use hyper::{body::Incoming, client::conn::TrySendError};
use pin_project_lite::pin_project;
use tokio_util::sync::ReusableBoxFuture;

use crate::exchange::RequestBody;

/// The outcome of one request on its connection.
pub(crate) type Answer<B> = Result<Response<Incoming>, Unanswered<B>>;

/// Why there is no response. Boxed: an answer is moved several times, and a request is larger than a
/// response.
pub(crate) enum Unanswered<B> {
    /// hyper's error, perhaps with the request that it did not send.
    Failed(Box<TrySendError<Request<RequestBody<B>>>>),
    /// hyper was not given the request.
    Unsent(Unsent<B>),
}

pin_project! {
    /// Wraps a future of hyper, and boxes its error.
    pub(super) struct Exchanged<F> {
        #[pin]
        inner: F,
    }
}

impl<F> Exchanged<F> {
    #[inline]
    pub(super) fn new(inner: F) -> Self {
        Self { inner }
    }
}

impl<F, B> Future for Exchanged<F>
where
    F: Future<Output = Result<Response<Incoming>, TrySendError<Request<RequestBody<B>>>>>,
{
    type Output = Answer<B>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = self.project().inner.poll(cx);
        polled.map_err(|error| Unanswered::Failed(Box::new(error)))
    }
}

/// A request that hyper was not given.
pub(crate) type Unsent<B> = Box<Request<RequestBody<B>>>;

/// The box in which a connection's futures of hyper are kept, one after the other: so a request on
/// an open connection allocates nothing for them.
pub(super) type AnswerBox<B> = ReusableBoxFuture<'static, Answer<B>>;
