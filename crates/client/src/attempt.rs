//! What is done once per attempt: client-wide headers in, errors that name the request out.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, Uri, header::USER_AGENT};
use http_body::Body as HttpBody;
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::{
    Body, Error, ResponseBody,
    error::{BoxError, Kind},
};

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
            method: request.method().clone(),
            inner: self.inner.call(request),
        }
    }
}

pin_project! {
    #[must_use = "futures do nothing unless polled"]
    pub(crate) struct ResponseFuture<F> {
        #[pin]
        inner: F,
        method: Method,
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
        let this = self.project();
        Poll::Ready(match ready!(this.inner.poll(cx)) {
            Ok(response) => Ok(response.map(Into::into)),
            Err(error) => Err(error.into().of(this.method)),
        })
    }
}

/// Somebody's service in place of the session: its types become this crate's.
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
    S: Service<Request<Body>, Response = Response<R>>,
    S::Error: Into<BoxError>,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    R: HttpBody<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Response = Response<ResponseBody>;
    type Error = Error;
    type Future = Adapted<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner
            .poll_ready(cx)
            .map_err(|error| Error::new(Kind::Service).with(error))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        Adapted {
            uri: request.uri().clone(),
            inner: self.inner.call(request.map(Body::new)),
        }
    }
}

pin_project! {
    #[must_use = "futures do nothing unless polled"]
    pub(crate) struct Adapted<F> {
        #[pin]
        inner: F,
        uri: Uri,
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
        let this = self.project();
        Poll::Ready(match ready!(this.inner.poll(cx)) {
            Ok(response) => Ok(response.map(ResponseBody::new)),
            Err(error) => Err(Error::new(Kind::Service).at(origin(this.uri)).with(error)),
        })
    }
}

/// The origin of a URI, for people to read: without userinfo.
pub(crate) fn origin(uri: &Uri) -> Option<String> {
    let scheme = uri.scheme_str()?;
    let host = uri.host()?;
    Some(match uri.port() {
        Some(port) => format!("{scheme}://{host}:{port}"),
        None => format!("{scheme}://{host}"),
    })
}
