use std::task::{Context, Poll};

use http::{Method, Request, Response, header::COOKIE};
use tower_service::Service;

use super::{Jar, future::ResponseFuture};

/// A service that sends the cookies of a [`Jar`], and keeps those of responses. See the [module
/// docs](super).
#[derive(Clone, Debug)]
pub struct Cookies<S> {
    inner: S,
    jar: Jar,
}

impl<S> Cookies<S> {
    /// Wraps the service.
    pub fn new(inner: S, jar: Jar) -> Self {
        Self { inner, jar }
    }

    /// Returns the jar, which the clones of this service share.
    pub fn jar(&self) -> &Jar {
        &self.jar
    }

    /// Returns the inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// Returns the inner service.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Returns the inner service.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

/// A request extension: no cookie of the jar is sent with the request, and none of its response is
/// kept. For requests that a gateway passes on.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct NoCookies;

impl<S, B, R> Service<Request<B>> for Cookies<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        if request.extensions().get::<NoCookies>().is_some() {
            return ResponseFuture::without(self.inner.call(request));
        }
        let uri = request.uri().clone();
        // The response to TRACE has the headers of the request in it (RFC 9110, section 9.3.8).
        if request.method() != Method::TRACE {
            if let Some(header) = self.jar.merged(request.headers(), &uri) {
                request.headers_mut().insert(COOKIE, header);
            }
        }
        ResponseFuture::new(self.inner.call(request), self.jar.clone(), uri)
    }
}
