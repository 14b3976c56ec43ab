//! What a closed circuit takes in time: it is on the path of every successful attempt.
//!
//! ```text
//! cargo bench -p retry-layer --bench breaker
//! ```
#![allow(clippy::unwrap_used, reason = "a benchmark fails by its panic")]
#![allow(missing_docs, reason = "criterion's macros make functions without")]

use std::{
    convert::Infallible,
    future::{Future, Ready, ready},
    hint::black_box,
    num::NonZeroU32,
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use criterion::{Criterion, criterion_group, criterion_main};
use http::{Request, Response, StatusCode, Uri};
use retry_layer::{
    breaker::{Breaker, BreakerLayer, SuccessRate},
    health::PartitionKey,
};
use tower::{Layer, Service};

criterion_group!(benches, attempts);
criterion_main!(benches);

/// Answers at once.
#[derive(Clone)]
struct Echo(StatusCode);

impl Service<Request<()>> for Echo {
    type Response = Response<()>;
    type Error = Infallible;
    type Future = Ready<Result<Response<()>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        black_box(request.uri());
        let mut response = Response::new(());
        *response.status_mut() = self.0;
        ready(Ok(response))
    }
}

const URI: &str = "http://example.com:8080/path";

fn measure<S>(criterion: &mut Criterion, name: &str, mut service: S)
where
    S: Service<Request<()>>,
{
    let uri = Uri::from_static(URI);
    criterion.bench_function(name, |bench| {
        bench.iter(|| {
            // A copy of a static URI takes no reference count: what is left is the layer's.
            let mut request = Request::new(());
            *request.uri_mut() = uri.clone();
            let mut answer = pin!(service.call(request));
            let mut cx = Context::from_waker(Waker::noop());
            black_box(answer.as_mut().poll(&mut cx).is_ready())
        });
    });
}

fn attempts(criterion: &mut Criterion) {
    let ok = Echo(StatusCode::OK);
    measure(criterion, "breaker/none", ok.clone());

    let layer = BreakerLayer::default();
    measure(criterion, "breaker/closed", layer.layer(ok.clone()));

    let rate = SuccessRate::new(80, Duration::from_secs(10));
    let breaker = Breaker::builder().success_rate(rate).build().unwrap();
    let service = BreakerLayer::new(breaker).layer(ok.clone());
    measure(criterion, "breaker/closed, with a success rate", service);

    let breaker = Breaker::default();
    breaker.open(&PartitionKey::of(&Uri::from_static(URI)));
    let service = BreakerLayer::new(breaker).layer(ok);
    measure(criterion, "breaker/open", service);

    let never = Breaker::builder().consecutive_failures(NonZeroU32::MAX);
    let failing = BreakerLayer::new(never.build().unwrap());
    let service = failing.layer(Echo(StatusCode::BAD_GATEWAY));
    measure(criterion, "breaker/closed, each attempt fails", service);
}
