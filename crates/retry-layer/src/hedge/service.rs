use std::{
    mem,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tokio::time::Instant;
use tower_service::Service;

use super::{
    HedgeBody, HedgeFuture,
    call::HedgedCall,
    future::Racing,
    race::{Race, RaceRules},
};
use crate::{
    attempt::{Attempt, Resumption},
    deadline::Deadline,
    extras::AttemptNumber,
    named::{BoxError, ServiceError},
    replay::{ReplayBody, ReplaySource},
};

/// A service that sends a request a second time where the answer to the first takes too long. See the
/// [module docs](super).
#[derive(Clone, Debug)]
pub struct Hedge<S> {
    inner: S,
}

impl<S> Hedge<S> {
    /// Wraps the service.
    pub const fn new(inner: S) -> Self {
        Self { inner }
    }

    /// The service inside.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The service inside.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The service inside.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, B, R> Service<Request<ReplayBody<B>>> for Hedge<S>
where
    S: Service<Request<ReplayBody<B>>, Response = Response<R>> + Clone,
    S::Error: ServiceError,
    B: Body<Data = Bytes> + 'static,
    B::Error: Into<BoxError>,
    R: Body,
{
    type Response = Response<HedgeBody<R>>;
    type Error = S::Error;
    type Future = HedgeFuture<S, B, S::Future, R, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, mut request: Request<ReplayBody<B>>) -> Self::Future {
        // A second one of these layers must not hedge the hedges.
        match HedgedCall::take(request.extensions_mut()) {
            None => HedgeFuture::passing(self.inner.call(request)),
            Some(call) => self.race(call, request),
        }
    }
}

impl<S> Hedge<S> {
    /// Sends an attempt that may be hedged.
    // Apart, so that it does not make the path of those larger that are not hedged.
    #[inline(never)]
    fn race<B, R>(
        &mut self,
        call: HedgedCall,
        request: Request<ReplayBody<B>>,
    ) -> HedgeFuture<S, B, S::Future, R, S::Error>
    where
        S: Service<Request<ReplayBody<B>>, Response = Response<R>> + Clone,
        S::Error: ServiceError,
        B: Body<Data = Bytes> + 'static,
        B::Error: Into<BoxError>,
        R: Body,
    {
        let number = number_of(&request);
        let attempts_left = call.policy().max_attempts().saturating_sub(number.attempt);
        let max_hedges = attempts_left.min(call.hedging().max_hedges());
        let source = ReplaySource::of(request.body(), request.extensions());
        let Some(source) = source.filter(|_| max_hedges > 0) else {
            return HedgeFuture::passing(self.inner.call(request));
        };
        let now = Instant::now();
        let latency = call.hedging().latency(call.uri());
        let rules = RaceRules {
            delay: call.hedging().delay_of(latency.as_ref(), now),
            hold: call.hedging().hold(),
            learns: latency.is_some(),
            deadline: call.deadline().and_then(Deadline::instant),
            max_hedges,
        };
        // The instance that said ready makes the attempt, and its hedges too.
        let spare = self.inner.clone();
        let mut service = mem::replace(&mut self.inner, spare);
        let attempt = service.call(request);
        let race = Race::new(rules, now);
        HedgeFuture::racing(
            attempt,
            Racing::new(call, service, source, race, number, now, latency),
        )
    }
}

/// The number of an attempt within its call.
fn number_of<B>(request: &Request<B>) -> AttemptNumber {
    let extensions = request.extensions();
    match extensions.get::<Attempt>() {
        Some(attempt) => AttemptNumber {
            attempt: attempt.number(),
            transparent_retries: attempt.transparent_retries(),
        },
        // The rest of a body is asked for by a call whose attempts count on.
        None => AttemptNumber {
            attempt: extensions
                .get::<Resumption>()
                .map_or(1, |earlier| earlier.attempts().saturating_add(1)),
            transparent_retries: 0,
        },
    }
}
