use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{Request, Response, StatusCode, Uri, header::ETAG};
use retry_layer::Resumption;
use sync_wrapper::SyncWrapper;
use tower_service::Service;

use super::Resume;
use crate::{
    Body, Error, NoDecompression, Redirected, ResponseBody,
    call::{self, Shared, Streaming},
    call_settings,
    observe::SentBefore,
};

/// Asks for the rest of a body by a call of the same client, whose response is given as it comes over the
/// wire.
#[derive(Clone)]
pub(crate) struct Again {
    shared: Shared,
    /// What has answered first, after redirects.
    answered: Uri,
}

impl Again {
    pub(super) fn new(shared: Shared, answered: Uri) -> Self {
        Self { shared, answered }
    }
}

impl Service<Request<Body>> for Again {
    type Response = Response<ResponseBody>;
    type Error = Error;
    type Future = Asking;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Asking {
        let extensions = request.extensions_mut();
        if let Some(exchanges) = extensions.get().map(Resumption::exchanges) {
            call_settings::set(extensions, SentBefore(exchanges));
        }
        call_settings::set(extensions, NoDecompression);
        call_settings::set(extensions, Resume::None);
        Asking {
            asked: request.uri().clone(),
            answered: self.answered.clone(),
            call: SyncWrapper::new(Box::pin(call::start_within(&self.shared, request))),
        }
    }
}

/// The URL that gave this response to a call of another.
pub(super) fn answered<'a>(asked: &'a Uri, response: &'a Response<ResponseBody>) -> &'a Uri {
    let redirected = response.extensions().get().map(Redirected::uri);
    redirected.unwrap_or(asked)
}

/// The response to a request for the rest. A body has to be `Sync`, which not every call is.
pub(crate) struct Asking {
    asked: Uri,
    answered: Uri,
    call: SyncWrapper<Pin<Box<Streaming>>>,
}

impl Future for Asking {
    type Output = Result<Response<ResponseBody>, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut response = ready!(self.call.get_mut().as_mut().poll(cx))?;
        // A date is the validator of one URL, and redirects may lead elsewhere now: what was deployed with
        // it has the same date. (An entity tag says more; host and query differ where URLs are signed.)
        let is_other = answered(&self.asked, &response).path() != self.answered.path();
        let has_tag = response.headers().contains_key(ETAG);
        if is_other && !has_tag && matches!(response.status().as_u16(), 200 | 206) {
            *response.status_mut() = StatusCode::PRECONDITION_FAILED;
        }
        Poll::Ready(Ok(response))
    }
}
