//! What is done once per attempt: client-wide headers in, one type of response and error out.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{HeaderValue, Request, Response, header::USER_AGENT};
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::{Error, ResponseBody};

/// The settings of all attempts.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    pub(crate) user_agent: Option<HeaderValue>,
}

#[derive(Clone, Debug)]
pub(crate) struct Attempt<S> {
    inner: S,
    settings: Arc<Settings>,
}

impl<S> Attempt<S> {
    pub(crate) fn new(inner: S, settings: Arc<Settings>) -> Self {
        Self { inner, settings }
    }
}

impl<S, B, R> Service<Request<B>> for Attempt<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: Into<Error>,
    R: Into<ResponseBody>,
{
    type Response = Response<ResponseBody>;
    type Error = Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        if let Some(user_agent) = &self.settings.user_agent {
            if !request.headers().contains_key(USER_AGENT) {
                let user_agent = user_agent.clone();
                request.headers_mut().insert(USER_AGENT, user_agent);
            }
        }
        ResponseFuture {
            inner: self.inner.call(request),
        }
    }
}

pin_project! {
    #[must_use = "futures do nothing unless polled"]
    pub(crate) struct ResponseFuture<F> {
        #[pin]
        inner: F,
    }
}

impl<F, R, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    R: Into<ResponseBody>,
    E: Into<Error>,
{
    type Output = Result<Response<ResponseBody>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = self.project().inner.poll(cx);
        polled
            .map_ok(|response| response.map(Into::into))
            .map_err(Into::into)
    }
}
