use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use http::{Request, Response, StatusCode, Uri, header::ETAG};
use retry_layer::{Resumption, RetryPolicy};
use sync_wrapper::SyncWrapper;
use tower_service::Service;

use super::Resume;
use crate::{
    Body, Error, NoDecompression, Redirected, ResponseBody, ThroughputFloor, observe::SentBefore,
    setting,
};

/// Makes the calls that ask for the rest of a body. They have no deadline and no record of their
/// own, because the call that they belong to has one.
pub(crate) trait Calls:
    Service<Request<Body>, Response = Response<ResponseBody>, Error = Error, Future: Send + 'static>
    + Clone
    + Send
    + Sync
    + 'static
{
    /// The policy of their retries.
    fn policy(&self) -> &RetryPolicy;
}

/// Asks for the rest of a body by a call of the same client, without decoding.
#[derive(Clone)]
pub(super) struct Again<C> {
    calls: C,
    /// The URL that answered first, after redirects.
    answered: Uri,
    defaults: Defaults,
}

/// The floor and the timeout that a body and its rest have in place of the session's defaults. They
/// depend on who reads the body, which is known only after the body was wrapped.
#[derive(Clone, Debug, Default)]
pub(super) struct Defaults(Arc<Held>);

#[derive(Debug, Default)]
struct Held {
    floor: OnceLock<ThroughputFloor>,
    lifts_idle_timeout: AtomicBool,
}

impl Defaults {
    pub(super) fn set_floor(&self, floor: ThroughputFloor) {
        // A floor that was set before stays, as it does in the body.
        let _ = self.0.floor.set(floor);
    }

    pub(super) fn lift_idle_timeout(&self) {
        // Relaxed: the flag is read by the same task, when the rest is asked for.
        self.0.lifts_idle_timeout.store(true, Relaxed);
    }

    fn apply(&self, body: &mut ResponseBody) {
        if let Some(floor) = self.0.floor.get() {
            body.hold_to_default_floor(*floor);
        }
        if self.0.lifts_idle_timeout.load(Relaxed) {
            body.lift_default_idle_timeout();
        }
    }
}

impl<C> Again<C> {
    pub(super) fn new(calls: C, answered: Uri, defaults: Defaults) -> Self {
        Self {
            calls,
            answered,
            defaults,
        }
    }
}

impl<C: Calls> Service<Request<Body>> for Again<C> {
    type Response = Response<ResponseBody>;
    type Error = Error;
    type Future = Asking<C::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.calls.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let extensions = request.extensions_mut();
        if let Some(exchanges) = extensions.get().map(Resumption::exchanges) {
            setting::set(extensions, SentBefore(exchanges));
        }
        setting::set(extensions, NoDecompression);
        setting::set(extensions, Resume::None);
        Asking {
            asked: request.uri().clone(),
            answered: self.answered.clone(),
            defaults: self.defaults.clone(),
            call: SyncWrapper::new(Box::pin(self.calls.call(request))),
        }
    }
}

/// The URL that gave this response to a call for another.
pub(super) fn answered<'a>(asked: &'a Uri, response: &'a Response<ResponseBody>) -> &'a Uri {
    let redirected = response.extensions().get().map(Redirected::uri);
    redirected.unwrap_or(asked)
}

/// The future of a request for the rest. A body has to be `Sync`, and not every call is.
pub(super) struct Asking<F> {
    asked: Uri,
    answered: Uri,
    defaults: Defaults,
    call: SyncWrapper<Pin<Box<F>>>,
}

impl<F> Future for Asking<F>
where
    F: Future<Output = Result<Response<ResponseBody>, Error>>,
{
    type Output = Result<Response<ResponseBody>, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut response = ready!(self.call.get_mut().as_mut().poll(cx))?;
        self.defaults.apply(response.body_mut());
        // A date is a validator of one URL, and redirects may lead to another now, whose content
        // was deployed at the same time and has the same date. (An entity tag is more specific.
        // Host and query differ where URLs are signed, so only the paths are compared.)
        let is_other = answered(&self.asked, &response).path() != self.answered.path();
        let has_tag = response.headers().contains_key(ETAG);
        if is_other && !has_tag && matches!(response.status().as_u16(), 200 | 206) {
            *response.status_mut() = StatusCode::PRECONDITION_FAILED;
        }
        Poll::Ready(Ok(response))
    }
}
