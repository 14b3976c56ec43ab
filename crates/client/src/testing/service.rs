use std::{
    future::{self, Future},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Response};
use http_body_util::BodyExt as _;
use session_layer::{Phase, RequestOptions, Timeouts, testing::Failure};
use tokio::time::{sleep, timeout};
use tower_service::Service;

use super::{
    Fake,
    answer::{Answer, Delay},
    body::FakeBody,
};
use crate::{Body, Error};

/// A fake in the place of the session.
#[derive(Clone)]
pub(super) struct FakeService {
    fake: Fake,
    timeouts: Timeouts,
}

impl FakeService {
    pub(super) fn new(fake: Fake, timeouts: &Timeouts) -> Self {
        Self {
            fake,
            timeouts: timeouts.clone(),
        }
    }

    async fn exchange(self, request: Request<Body>) -> Result<Response<FakeBody>, Error> {
        let (head, body) = request.into_parts();
        let options = head.extensions.get().copied().unwrap_or_default();
        let body = body
            .collect()
            .await
            .map_err(|error| Error::from(Failure::RequestBody.with_source(error)))?;
        let request = Request::from_parts(head, body.to_bytes());
        let Answer {
            outcome,
            delay,
            ending,
        } = self.fake.answer(request);
        self.wait(delay, options).await?;
        let idle_timeout = options.body_idle_timeout_with(&self.timeouts);
        Ok(outcome?.map(|bytes| FakeBody::new(bytes, ending, idle_timeout)))
    }

    /// Waits for as long as the answer does, but no longer than the head timeout.
    async fn wait(&self, delay: Delay, options: RequestOptions) -> Result<(), Error> {
        let waiting = async {
            match delay {
                Delay::After(Duration::ZERO) => {}
                Delay::After(delay) => sleep(delay).await,
                Delay::Never => future::pending().await,
            }
        };
        match options.head_timeout_with(&self.timeouts) {
            None => {
                waiting.await;
                Ok(())
            }
            Some(limit) => timeout(limit, waiting).await.map_err(|_| {
                session_layer::Error::from(Failure::Timeout(Phase::Head, limit)).into()
            }),
        }
    }
}

impl Service<Request<Body>> for FakeService {
    type Response = Response<FakeBody>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.clone().exchange(request))
    }
}
