use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use http::{Request, Response};
use retry_layer::Resumption;
use sync_wrapper::SyncWrapper;
use tower_service::Service;

use super::Resume;
use crate::{
    Body, Error, NoDecompression, ResponseBody,
    call::{self, Shared, Streaming},
    call_settings,
    observe::SentBefore,
};

/// Asks for the rest of a body by a call of the same client, whose response is given as it comes over the
/// wire.
#[derive(Clone)]
pub(crate) struct Again {
    shared: Shared,
}

impl Again {
    pub(super) fn new(shared: Shared) -> Self {
        Self { shared }
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
            call: SyncWrapper::new(Box::pin(call::start(&self.shared, request, None))),
        }
    }
}

/// The response to a request for the rest. A body has to be `Sync`, which not every call is.
pub(crate) struct Asking {
    call: SyncWrapper<Pin<Box<Streaming>>>,
}

impl Future for Asking {
    type Output = Result<Response<ResponseBody>, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.call.get_mut().as_mut().poll(cx)
    }
}
