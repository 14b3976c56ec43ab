//! What a call through the retry layer takes in time, over a service that is ready and answers at
//! once.
//!
//! ```text
//! cargo bench -p retry-layer --bench call
//! ```
//!
//! Time is only roughly the same from run to run; the bench `overhead` counts instructions.
#![allow(clippy::unwrap_used, reason = "a benchmark fails by its panic")]
#![allow(missing_docs, reason = "criterion's macros make functions without")]

use std::{
    convert::Infallible,
    future::{Ready, ready},
    hint::black_box,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderMap, Request, Response, header::ACCEPT};
use http_body_util::{Empty, Full};
use retry_layer::{Retry, RetryPolicy};
use tower::{Service, service_fn};

type Answer = Ready<Result<Response<Empty<Bytes>>, Infallible>>;

criterion_group!(benches, calls);
criterion_main!(benches);

fn calls(criterion: &mut Criterion) {
    let plain = || Request::new(Empty::<Bytes>::new());
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, "*/*".parse().unwrap());
    let with_headers = || {
        let mut request = plain();
        *request.headers_mut() = headers.clone();
        request
    };
    let bytes = Bytes::from_static(b"body");
    let with_body = || Request::put("/").body(Full::new(bytes.clone())).unwrap();

    let mut bare = service_fn(answer);
    criterion.bench_function("call/without the layer", |bench| {
        bench.iter(|| send(&mut bare, plain()));
    });
    let mut retry = Retry::new(service_fn(answer), RetryPolicy::default());
    criterion.bench_function("call/no headers, no body", |bench| {
        bench.iter(|| send(&mut retry, plain()));
    });
    let mut retry = Retry::new(service_fn(answer), RetryPolicy::default());
    criterion.bench_function("call/headers", |bench| {
        bench.iter(|| send(&mut retry, with_headers()));
    });
    let mut retry = Retry::new(service_fn(answer), RetryPolicy::default());
    criterion.bench_function("call/a body of bytes", |bench| {
        bench.iter(|| send(&mut retry, with_body()));
    });
}

fn answer<B>(request: Request<B>) -> Answer {
    drop(black_box(request));
    ready(Ok(Response::new(Empty::new())))
}

fn send<S, B>(service: &mut S, request: Request<B>)
where
    S: Service<Request<B>, Response = Response<Empty<Bytes>>, Error = Infallible>,
{
    let mut cx = Context::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut cx).is_ready());
    let response = std::pin::pin!(service.call(request));
    let Poll::Ready(response) = response.poll(&mut cx) else {
        panic!("the service answers at once");
    };
    drop(black_box(response));
}
