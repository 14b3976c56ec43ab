//! A whole call through the retry layer, whose server answers with any headers.

#![no_main]

use std::{cell::RefCell, collections::VecDeque, convert::Infallible, rc::Rc, time::Duration};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use libfuzzer_sys::fuzz_target;
use retry_layer::{
    ReplayBody, ResponseExt, RetryLayer, RetryPolicy,
    grpc::Grpc,
    hint::{Hint, Hints},
};
use tokio::{
    runtime,
    time::{Instant, timeout},
};
use tower::{Layer, ServiceExt, service_fn};

const NAMES: [&str; 8] = [
    "retry-after",
    "ratelimit",
    "x-ratelimit-reset",
    "retry-after-ms",
    "x-amz-retry-after",
    "grpc-retry-pushback-ms",
    "x-should-retry",
    "grpc-status",
];

const ATTEMPTS: u32 = 5;
const LONGEST_HINT: Duration = Duration::from_secs(120);
const LONGEST_BACKOFF: Duration = Duration::from_secs(20);

fuzz_target!(|data: (bool, u64, Vec<(u16, &[u8])>)| {
    let (grpc, seed, answers) = data;
    let runtime = runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime needs no more than memory");
    runtime.block_on(call(grpc, seed, &answers));
});

async fn call(grpc: bool, seed: u64, answers: &[(u16, &[u8])]) {
    let answers: VecDeque<_> = answers.iter().map(|answer| respond(*answer)).collect();
    let answers = Rc::new(RefCell::new((0_u32, answers)));
    let script = Rc::clone(&answers);
    let server = service_fn(move |_: Request<ReplayBody<Full<Bytes>>>| {
        let mut script = script.borrow_mut();
        script.0 += 1;
        let response = script.1.pop_front().unwrap_or_default();
        async move { Ok::<_, Infallible>(response) }
    });
    let builder = RetryPolicy::builder()
        .max_attempts(ATTEMPTS)
        .seed(seed)
        .hints(all_hints());
    let builder = if grpc {
        builder.classifier(Grpc::default())
    } else {
        builder
    };
    let retry = RetryLayer::new(builder.build().expect("the settings make sense")).layer(server);

    let begun = Instant::now();
    let request = Request::put("http://peer/").body(Full::default());
    let outcome = retry.oneshot(request.expect("all parts are valid"));
    let response = timeout(Duration::from_secs(3_600), outcome)
        .await
        .expect("it ends")
        .expect("nothing fails");

    let (sent, _) = &*answers.borrow();
    let report = response.retry_report();
    assert_eq!(report.attempts().len(), *sent as usize);
    // One free transparent retry for a 421; each wait is the hint and a tenth of it, or the backoff.
    assert!(*sent <= ATTEMPTS + 1);
    let longest = LONGEST_HINT.max(LONGEST_BACKOFF) + Duration::from_secs(6);
    assert!(begun.elapsed() <= longest * ATTEMPTS);
}

fn respond((status, data): (u16, &[u8])) -> Response<Full<Bytes>> {
    const LIKELY: [u16; 8] = [200, 408, 413, 421, 429, 500, 503, 504];
    let status = match status {
        likely if likely < 256 => LIKELY[usize::from(likely % 8)],
        any => 100 + any % 900,
    };
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::from_u16(status).expect("it is between 100 and 999");
    *response.headers_mut() = fuzz::headers(data, &NAMES);
    response
}

fn all_hints() -> Hints {
    Hints::default()
        .with(Hint::RateLimitReset)
        .with(Hint::XRateLimitReset)
        .with(Hint::RetryAfterMs)
        .with(Hint::XAmzRetryAfter)
        .with(Hint::GrpcPushback)
        .with(Hint::XShouldRetry)
}
