//! Requests that are sent a second time where the first takes long.

mod below;
mod given_up;
mod load;
mod race;
mod request;
mod told;

use std::{num::NonZeroU32, pin::Pin, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use retry_layer::{
    Exponential, Retry, RetryPolicy, RetryPolicyBuilder, Standard,
    hedge::{Hedge, HedgeBody, HedgeLayer, Hedging, HedgingBuilder},
};
use tokio::time::Instant;
use tower::{Layer, Service, ServiceExt};

use crate::support::{
    Failure, Knowing,
    timed::{TimedBody, TimedPeer},
};

pub(crate) type Stack = Retry<Hedge<TimedPeer>>;

pub(crate) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A hedge after 100 ms.
pub(crate) fn hedging() -> HedgingBuilder {
    Hedging::after(ms(100))
}

pub(crate) fn up_to(hedges: u32) -> HedgingBuilder {
    hedging().max_hedges(NonZeroU32::new(hedges).unwrap())
}

/// The defaults, with waits of exactly 1 s, 2 s and so on between retries.
pub(crate) fn policy(hedging: HedgingBuilder) -> RetryPolicyBuilder {
    let waits = Exponential::from(Duration::from_secs(1)).throttled_base(Duration::from_secs(1));
    RetryPolicy::builder()
        .classifier(Knowing(Standard::default()))
        .backoff(waits)
        .jitter(retry_layer::Jitter::None)
        .hedging(hedging.build().unwrap())
}

pub(crate) fn stack(peer: &TimedPeer, policy: RetryPolicyBuilder) -> Stack {
    let hedge = HedgeLayer::new().layer(peer.handle());
    Retry::new(hedge, policy.build().unwrap())
}

pub(crate) fn get() -> Request<Full<Bytes>> {
    Request::get("http://peer/").body(Full::default()).unwrap()
}

/// Begins a call on this instance.
pub(crate) async fn begin(
    stack: &mut Stack,
    request: Request<Full<Bytes>>,
) -> Pin<Box<<Stack as Service<Request<Full<Bytes>>>>::Future>> {
    let ready = ServiceExt::<Request<Full<Bytes>>>::ready(stack).await;
    Box::pin(ready.unwrap().call(request))
}

/// The outcome of one call, when its head and its first byte are there.
pub(crate) struct Outcome {
    pub(crate) result: Result<Response<()>, Failure>,
    pub(crate) took: Duration,
    pub(crate) body: usize,
}

impl Outcome {
    pub(crate) fn status(&self) -> u16 {
        self.result.as_ref().unwrap().status().as_u16()
    }
}

pub(crate) async fn send(stack: &Stack, request: Request<Full<Bytes>>) -> Outcome {
    let start = Instant::now();
    let result = stack.clone().oneshot(request).await;
    let took = start.elapsed();
    match result {
        Ok(response) => {
            let (head, body): (_, HedgeBody<TimedBody>) = response.into_parts();
            let body = body.collect().await.map_or(0, |body| body.to_bytes().len());
            Outcome {
                result: Ok(Response::from_parts(head, ())),
                took,
                body,
            }
        }
        Err(error) => Outcome {
            result: Err(error),
            took,
            body: 0,
        },
    }
}
