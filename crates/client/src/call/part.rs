use std::task::{Context, Poll};

use http::{Request, Response};
use retry_layer::RetryPolicy;
use tokio::time::Instant;
use tower_service::Service;

use super::{Shared, Streaming, enter, prepare};
use crate::{Body, Error, ResponseBody, resume::Calls};

/// Makes further exchanges of a call that has been answered. They have no record of their own: that of the call
/// lasts until the body of its response has ended.
#[derive(Clone)]
pub(crate) struct Parts(Shared);

impl Parts {
    pub(super) fn of(shared: &Shared) -> Self {
        Self(shared.clone())
    }
}

impl Calls for Parts {
    fn policy(&self) -> &RetryPolicy {
        &self.0.settings.policy
    }
}

impl Service<Request<Body>> for Parts {
    type Response = Response<ResponseBody>;
    type Error = Error;
    type Future = Streaming;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Streaming {
        enter(&self.0, request, None, Instant::now(), prepare)
    }
}
