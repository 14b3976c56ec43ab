//! With the circuit breaker of tower-resilience, below and above.
#![allow(clippy::unwrap_used, reason = "a test fails by its panic")]

use std::{io, time::Duration};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use retry_layer::{
    Backoff, Class, Classifier, Exponential, Jitter, Outcome, ResponseExt, Retry, RetryLayer,
    RetryPolicy, Standard, classifier_fn, transport,
};
use test_compat::{Answer, Script};
use test_support::StrictService;
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_resilience_circuitbreaker::{
    CircuitBreaker, CircuitBreakerError, CircuitBreakerLayer, DefaultClassifier,
};

type Answered = Response<Full<Bytes>>;
type Strict = StrictService<Script>;
type Tripped = CircuitBreakerError<io::Error>;

const OPEN: Duration = Duration::from_secs(30);

/// What stands in a user's struct, with every type written out.
struct Gateway {
    below: Retry<CircuitBreaker<Strict, DefaultClassifier>>,
    above: CircuitBreaker<Retry<Strict>, DefaultClassifier>,
}

fn breaker() -> CircuitBreakerLayer {
    CircuitBreakerLayer::builder()
        .consecutive_failures(2)
        .wait_duration_in_open(OPEN)
        .permitted_calls_in_half_open(1)
        .build()
        .unwrap()
}

fn policy() -> RetryPolicy {
    RetryPolicy::builder().seed(1).build().unwrap()
}

/// `CircuitBreakerError` does not name its inner error as its source, so nothing is found behind
/// it until somebody opens it. An open circuit lets no request through.
fn knows_the_breaker() -> impl Classifier {
    let standard = Standard::default();
    classifier_fn(
        move |outcome: &Outcome<'_>| match outcome.find_error::<Tripped>() {
            Some(CircuitBreakerError::OpenCircuit) => Class::NotSent,
            Some(CircuitBreakerError::Inner(error)) => {
                standard.classify(&outcome.with_error_class(transport::classify(error)))
            }
            None => standard.classify(outcome),
        },
    )
}

/// What a user's function returns.
fn gateway(
    script: Script,
    policy: RetryPolicy,
) -> impl Service<
    Request<Full<Bytes>>,
    Response = Answered,
    Error = Tripped,
    Future = impl Future<Output = Result<Answered, Tripped>> + Send,
> + Clone {
    ServiceBuilder::new()
        .layer(RetryLayer::new(policy))
        .layer(breaker())
        .service(StrictService::new(script))
}

fn get() -> Request<Full<Bytes>> {
    Request::get("http://peer/").body(Full::default()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn every_type_can_be_a_field() {
    let script = Script::unavailable(1);
    let strict = StrictService::new(script.clone());
    let gateway = Gateway {
        below: ServiceBuilder::new()
            .layer(RetryLayer::new(policy()))
            .layer(breaker())
            .service(strict.clone()),
        above: ServiceBuilder::new()
            .layer(breaker())
            .layer(RetryLayer::new(policy()))
            .service(strict),
    };

    assert_eq!(gateway.below.oneshot(get()).await.unwrap().status(), 200);
    assert_eq!(gateway.above.oneshot(get()).await.unwrap().status(), 200);
    assert_eq!(script.requests(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_breaker_below_counts_attempts() {
    let script = Script::new([Answer::Error(io::ErrorKind::ConnectionRefused); 4]);
    let four = policy()
        .to_builder()
        .classifier(knows_the_breaker())
        .max_attempts(4)
        .build()
        .unwrap();
    let service = gateway(script.clone(), four);

    let error = tokio::spawn(service.oneshot(get())).await.unwrap();

    assert!(error.unwrap_err().is_circuit_open());
    assert_eq!(script.requests(), 2, "the open circuit let nothing through");
}

/// The breaker reads the machine's own clock, so the time here is real.
#[tokio::test]
async fn a_call_outlives_an_open_circuit() {
    let script = Script::new([Answer::Error(io::ErrorKind::ConnectionRefused)]);
    let breaker = CircuitBreakerLayer::builder()
        .consecutive_failures(1)
        .wait_duration_in_open(Duration::from_millis(50))
        .build()
        .unwrap();
    let waits = Backoff::from(Exponential::from(Duration::from_millis(20)));
    let six = RetryPolicy::builder()
        .classifier(knows_the_breaker())
        .backoff(waits.jitter(Jitter::None))
        .max_attempts(6)
        .build()
        .unwrap();
    let service = ServiceBuilder::new()
        .layer(RetryLayer::new(six))
        .layer(breaker)
        .service(StrictService::new(script.clone()));

    let response = service.oneshot(get()).await.unwrap();

    assert_eq!(response.status(), 200);
    assert!(response.retry_report().attempts().len() > 2);
    assert_eq!(script.requests(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_breaker_below_hides_the_cause_from_the_standard_classifier() {
    let script = Script::new([Answer::Error(io::ErrorKind::ConnectionRefused)]);
    let service = gateway(script.clone(), policy());

    let error = service.oneshot(get()).await.unwrap_err();

    assert!(matches!(error, CircuitBreakerError::Inner(_)));
    assert_eq!(script.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_status_is_retried_through_a_breaker() {
    let script = Script::unavailable(2);
    let post = Request::put("http://peer/").body(Full::from("7")).unwrap();

    let response = gateway(script.clone(), policy())
        .oneshot(post)
        .await
        .unwrap();

    assert_eq!(response.status(), 200);
    assert_eq!(script.bodies(), ["7"; 3]);
}

#[tokio::test(start_paused = true)]
async fn a_breaker_above_counts_calls() {
    let reset = Answer::Error(io::ErrorKind::ConnectionReset);
    let script = Script::new([reset; 6]);
    let service = ServiceBuilder::new()
        .layer(breaker())
        .layer(RetryLayer::new(policy()))
        .service(StrictService::new(script.clone()));

    for call in 1..=2 {
        let error = service.clone().oneshot(get()).await.unwrap_err();
        assert!(!error.is_circuit_open());
        assert_eq!(script.requests(), 3 * call);
    }
    let error = service.oneshot(get()).await.unwrap_err();
    assert!(error.is_circuit_open());
    assert_eq!(script.requests(), 6);
}

#[tokio::test(start_paused = true)]
async fn a_breaker_can_count_statuses_of_calls_that_ended() {
    let script = Script::unavailable(6);
    let breaker = CircuitBreakerLayer::builder()
        .consecutive_failures(2)
        .failure_classifier(|outcome: &Result<Answered, io::Error>| {
            !matches!(outcome, Ok(response) if !response.status().is_server_error())
        })
        .build()
        .unwrap();
    let service = ServiceBuilder::new()
        .layer(breaker)
        .layer(RetryLayer::new(policy()))
        .service(StrictService::new(script.clone()));

    for _ in 0..2 {
        let response = service.clone().oneshot(get()).await.unwrap();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    }
    let error = service.oneshot(get()).await.unwrap_err();
    assert!(error.is_circuit_open());
}
