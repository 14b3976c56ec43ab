//! Among the layers of tower, over a service that panics when it is called unready.
#![allow(clippy::unwrap_used, reason = "a test fails by its panic")]

use std::{io, time::Duration};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use retry_layer::{
    BoxError, Class, Classifier, NamedError, NamedErrorLayer, Outcome, ReplayBody, ResponseExt,
    Retry, RetryLayer, RetryPolicy, Standard, classifier_fn,
};
use test_compat::{Answer, Script};
use test_support::{StrictLayer, StrictService};
use tokio::time::{Instant, advance, sleep};
use tower::{
    Service, ServiceBuilder, ServiceExt,
    buffer::Buffer,
    limit::{ConcurrencyLimit, RateLimit},
    load_shed::{LoadShed, error::Overloaded},
    timeout::{Timeout, error::Elapsed},
};

type Answered = Response<Full<Bytes>>;
type Strict = StrictService<Script>;
type StrictFuture = <Strict as Service<Request<ReplayBody<Full<Bytes>>>>>::Future;

/// What stands in a user's struct, with every type written out.
#[expect(
    clippy::type_complexity,
    reason = "that they can be written out is the point"
)]
struct Gateway {
    limited: ConcurrencyLimit<Retry<Strict>>,
    buffered: Retry<NamedError<Buffer<Request<ReplayBody<Full<Bytes>>>, StrictFuture>>>,
    shed: LoadShed<Timeout<Retry<NamedError<Timeout<ConcurrencyLimit<Strict>>>>>>,
    paced: RateLimit<Retry<Strict>>,
}

/// What a user's function returns.
fn gateway(
    script: Script,
) -> impl Service<
    Request<Full<Bytes>>,
    Response = Answered,
    Error = BoxError,
    Future = impl Future<Output = Result<Answered, BoxError>> + Send,
> + Clone {
    ServiceBuilder::new()
        .layer(StrictLayer)
        .buffer(8)
        .load_shed()
        .concurrency_limit(4)
        .timeout(Duration::from_secs(60))
        .layer(RetryLayer::new(policy()))
        .layer(NamedErrorLayer::new())
        .buffer(8)
        .rate_limit(100, Duration::from_secs(1))
        .concurrency_limit(4)
        .timeout(Duration::from_secs(2))
        .layer(StrictLayer)
        .service(script)
}

fn policy() -> RetryPolicy {
    RetryPolicy::builder().seed(1).build().unwrap()
}

fn put(body: &'static str) -> Request<Full<Bytes>> {
    Request::put("http://peer/").body(Full::from(body)).unwrap()
}

fn strict(script: &Script) -> Strict {
    StrictService::new(script.clone())
}

/// What `ready` cannot infer over a service that takes any body is said here.
async fn call<S>(service: &mut S, request: Request<Full<Bytes>>) -> Result<Answered, S::Error>
where
    S: Service<Request<Full<Bytes>>, Response = Answered>,
{
    service.ready().await?.call(request).await
}

async fn text(response: Answered) -> Bytes {
    response.into_body().collect().await.unwrap().to_bytes()
}

#[tokio::test(start_paused = true)]
async fn all_layers_go_together_in_one_task_of_its_own() {
    let script = Script::new([
        Answer::Status(StatusCode::SERVICE_UNAVAILABLE),
        Answer::Hang,
    ]);
    let service = gateway(script.clone());

    let call = tokio::spawn(async move { service.oneshot(put("all")).await });

    assert_eq!(text(call.await.unwrap().unwrap()).await, "all");
    assert_eq!(script.bodies(), ["all"; 3]);
}

#[tokio::test(start_paused = true)]
async fn every_type_can_be_a_field() {
    let script = Script::unavailable(0);
    let named = NamedErrorLayer::new();
    let mut gateway = Gateway {
        limited: ConcurrencyLimit::new(Retry::new(strict(&script), policy()), 1),
        buffered: ServiceBuilder::new()
            .layer(RetryLayer::new(policy()))
            .layer(named)
            .buffer(1)
            .service(strict(&script)),
        shed: ServiceBuilder::new()
            .load_shed()
            .timeout(Duration::from_secs(9))
            .layer(RetryLayer::new(policy()))
            .layer(named)
            .timeout(Duration::from_secs(1))
            .concurrency_limit(1)
            .service(strict(&script)),
        paced: ServiceBuilder::new()
            .rate_limit(1, Duration::from_secs(1))
            .layer(RetryLayer::new(policy()))
            .service(strict(&script)),
    };

    let limited = call(&mut gateway.limited, put("a")).await;
    let buffered = gateway.buffered.clone().oneshot(put("b")).await;
    let shed = call(&mut gateway.shed, put("c")).await;
    let paced = call(&mut gateway.paced, put("d")).await;

    let answers = [
        limited.unwrap(),
        buffered.unwrap(),
        shed.unwrap(),
        paced.unwrap(),
    ];
    assert!(answers.iter().all(|answer| answer.status() == 200));
}

#[tokio::test(start_paused = true)]
async fn retries_through_a_buffer() {
    let script = Script::unavailable(2);
    let service = ServiceBuilder::new()
        .layer(RetryLayer::new(policy()))
        .layer(NamedErrorLayer::new())
        .buffer(1)
        .service(strict(&script));

    let response = service.oneshot(put("buffered")).await.unwrap();

    assert_eq!(response.retry_report().attempts().len(), 3);
    assert_eq!(text(response).await, "buffered");
    assert_eq!(script.bodies(), ["buffered"; 3]);
}

#[tokio::test(start_paused = true)]
async fn finds_the_cause_that_a_buffer_has_boxed() {
    let script = Script::new([Answer::Error(io::ErrorKind::ConnectionRefused); 2]);
    let service = ServiceBuilder::new()
        .layer(RetryLayer::new(policy()))
        .layer(NamedErrorLayer::new())
        .buffer(1)
        .service(strict(&script));
    let post = Request::post("http://peer/").body(Full::from("1")).unwrap();

    let response = service.oneshot(post).await.unwrap();

    assert_eq!(response.status(), 200);
    assert_eq!(script.requests(), 3);
}

#[tokio::test(start_paused = true)]
async fn retries_inside_a_buffer() {
    let script = Script::unavailable(2);
    let service = ServiceBuilder::new()
        .buffer(1)
        .layer(RetryLayer::new(policy()))
        .service(strict(&script));

    let calls = ["a", "b", "c"].map(|body| tokio::spawn(service.clone().oneshot(put(body))));

    for call in calls {
        assert_eq!(call.await.unwrap().unwrap().status(), 200);
    }
    assert_eq!(script.requests(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_takes_up_no_place_of_a_limit_below() {
    let script = Script::new([Answer::Status(StatusCode::TOO_MANY_REQUESTS)]);
    let service = ServiceBuilder::new()
        .layer(RetryLayer::new(policy()))
        .concurrency_limit(1)
        .service(strict(&script));

    let refused = tokio::spawn(service.clone().oneshot(put("refused")));
    while script.requests() == 0 {
        tokio::task::yield_now().await;
    }
    let begun = Instant::now();
    let other = service.oneshot(put("other")).await.unwrap();

    assert_eq!(other.status(), 200);
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert_eq!(refused.await.unwrap().unwrap().status(), 200);
    assert_eq!(script.bodies(), ["refused", "other", "refused"]);
}

#[tokio::test(start_paused = true)]
async fn a_call_keeps_its_place_of_a_limit_above_while_it_waits() {
    let script = Script::new([Answer::Status(StatusCode::TOO_MANY_REQUESTS)]);
    let service = ServiceBuilder::new()
        .concurrency_limit(1)
        .layer(RetryLayer::new(policy()))
        .service(strict(&script));

    let first = tokio::spawn(service.clone().oneshot(put("first")));
    while script.requests() == 0 {
        tokio::task::yield_now().await;
    }
    let second = service.oneshot(put("second")).await.unwrap();

    assert_eq!(second.status(), 200);
    assert_eq!(first.await.unwrap().unwrap().status(), 200);
    assert_eq!(script.bodies(), ["first", "first", "second"]);
}

#[tokio::test(start_paused = true)]
async fn every_attempt_is_paced_by_a_rate_limit_below() {
    let script = Script::unavailable(2);
    let service = ServiceBuilder::new()
        .layer(RetryLayer::new(policy()))
        .layer(NamedErrorLayer::new())
        // tower's `RateLimit` cannot be cloned, so a buffer stands before it.
        .buffer(1)
        .rate_limit(1, Duration::from_secs(30))
        .service(strict(&script));
    let begun = Instant::now();

    let response = service.oneshot(put("paced")).await.unwrap();

    assert_eq!(response.status(), 200);
    assert!(begun.elapsed() >= Duration::from_secs(60));
}

#[tokio::test(start_paused = true)]
async fn only_the_call_is_paced_by_a_rate_limit_above() {
    let script = Script::unavailable(2);
    let mut service = ServiceBuilder::new()
        .rate_limit(1, Duration::from_secs(600))
        .layer(RetryLayer::new(policy()))
        .service(strict(&script));
    let begun = Instant::now();

    let response = call(&mut service, put("once")).await.unwrap();

    assert_eq!(response.status(), 200);
    assert_eq!(script.requests(), 3);
    assert!(begun.elapsed() < Duration::from_secs(600));
    call(&mut service, put("twice")).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(600));
}

#[tokio::test(start_paused = true)]
async fn what_was_shed_below_is_retried_by_a_classifier_that_knows_it() {
    let script = Script::new([Answer::Hang]);
    let standard = Standard::default();
    let knows = classifier_fn(move |outcome: &Outcome<'_>| {
        if outcome.find_error::<Overloaded>().is_some() {
            return Class::NotSent;
        }
        standard.classify(outcome)
    });
    let service = ServiceBuilder::new()
        .layer(RetryLayer::new(
            policy().to_builder().classifier(knows).build().unwrap(),
        ))
        .layer(NamedErrorLayer::new())
        .load_shed()
        .concurrency_limit(1)
        .service(strict(&script));
    let hanging = tokio::spawn(service.clone().oneshot(put("hanging")));
    while script.requests() == 0 {
        tokio::task::yield_now().await;
    }

    let post = Request::post("http://peer/").body(Full::from("1")).unwrap();
    let shed = tokio::spawn(service.oneshot(post));
    tokio::task::yield_now().await;
    hanging.abort();

    let response = shed.await.unwrap().unwrap();
    assert_eq!(response.status(), 200);
    assert!(response.retry_report().attempts().len() > 1);
    assert_eq!(script.requests(), 2);
}

#[tokio::test(start_paused = true)]
async fn load_is_shed_above_while_a_call_waits() {
    let script = Script::new([Answer::Status(StatusCode::TOO_MANY_REQUESTS)]);
    let service = ServiceBuilder::new()
        .load_shed()
        .concurrency_limit(1)
        .layer(RetryLayer::new(policy()))
        .service(strict(&script));

    let first = tokio::spawn(service.clone().oneshot(put("first")));
    while script.requests() == 0 {
        tokio::task::yield_now().await;
    }
    let second = service.oneshot(put("second")).await;

    assert!(second.unwrap_err().is::<Overloaded>());
    assert_eq!(first.await.unwrap().unwrap().status(), 200);
    assert_eq!(script.bodies(), ["first", "first"]);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_took_too_long_is_retried() {
    let script = Script::new([Answer::Hang; 2]);
    let service = ServiceBuilder::new()
        .layer(RetryLayer::new(policy()))
        .layer(NamedErrorLayer::new())
        .timeout(Duration::from_secs(1))
        .service(strict(&script));

    let response = service.clone().oneshot(put("slow")).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(script.bodies(), ["slow"; 3]);

    let post = Request::post("http://peer/").body(Full::from("1")).unwrap();
    let hanging = Script::new([Answer::Hang]);
    let service = ServiceBuilder::new()
        .layer(RetryLayer::new(policy()))
        .layer(NamedErrorLayer::new())
        .timeout(Duration::from_secs(1))
        .service(strict(&hanging));
    let error = service.oneshot(post).await.unwrap_err();
    assert!(error.into_inner().is::<Elapsed>());
    assert_eq!(hanging.requests(), 1, "a POST may have been processed");
}

#[tokio::test(start_paused = true)]
async fn a_timeout_above_bounds_the_call_and_its_waits() {
    let script = Script::unavailable(1_000);
    let patient = policy().to_builder().max_attempts(1_000).build().unwrap();
    let service = ServiceBuilder::new()
        .timeout(Duration::from_secs(1))
        .layer(RetryLayer::new(patient))
        .service(strict(&script));
    let begun = Instant::now();

    let error = service.oneshot(put("bound")).await.unwrap_err();

    assert!(error.is::<Elapsed>());
    assert_eq!(begun.elapsed(), Duration::from_secs(1));
    let seen = script.requests();
    advance(Duration::from_secs(600)).await;
    sleep(Duration::from_millis(1)).await;
    assert_eq!(script.requests(), seen, "what was dropped goes on no more");
}
