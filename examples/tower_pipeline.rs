//! `RetryLayer` in your own pipelines, among layers of tower and tower-http: over the client
//! of hyper-util, and over a session of this project.
//!
//! `cargo run --example tower_pipeline`

use std::{error::Error, io, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header::USER_AGENT};
use http_body_util::Full;
use hyper_util::{client::legacy, rt::TokioExecutor};
use retry_layer::{
    Attempt, Class, Classifier, Outcome, Processed, ResponseExt, RetryLayer, RetryPolicy, Standard,
    classifier_fn,
};
use session_layer::{Connector, PoolConfig, SessionLayer, Timeouts};
use tokio::task::JoinSet;
use tower::{Service, ServiceBuilder, ServiceExt, limit::ConcurrencyLimitLayer};
use tower_http::{
    classify::ServerErrorsFailureClass, set_header::SetRequestHeaderLayer, trace::TraceLayer,
};
use tracing::{Level, Span};
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::any};

type Failure = Box<dyn Error + Send + Sync>;

const AGENT: HeaderValue = HeaderValue::from_static("tower-pipeline/1.0");

#[tokio::main]
async fn main() -> Result<(), Failure> {
    tracing_subscriber::fmt()
        .with_max_level(Level::INFO)
        .with_target(false)
        .without_time()
        .init();
    println!("over hyper-util's client:");
    over_hyper_util(&flaky_server().await.uri()).await?;
    println!("\nover a session:");
    over_a_session(&flaky_server().await.uri()).await
}

async fn over_hyper_util(server: &str) -> Result<(), Failure> {
    let client = legacy::Client::builder(TokioExecutor::new())
        // `RetryLayer` is the only one to send anything again.
        .retry_canceled_requests(false)
        .build_http();
    let service = ServiceBuilder::new()
        // Once per call.
        .layer(SetRequestHeaderLayer::if_not_present(USER_AGENT, AGENT))
        .layer(RetryLayer::new(
            RetryPolicy::builder().max_attempts(5).build()?,
        ))
        // Once per attempt: a call that waits for its next one takes up no place here.
        .layer(ConcurrencyLimitLayer::new(2))
        .layer(
            TraceLayer::new_for_http()
                .make_span_with(attempt_span)
                .on_response(note_answer)
                .on_failure(note_error),
        )
        .service(client);
    ask(service, server).await
}

async fn over_a_session(server: &str) -> Result<(), Failure> {
    let session = ServiceBuilder::new()
        .layer(SessionLayer::new(
            PoolConfig::default(),
            Timeouts::default(),
        )?)
        .service(Connector::new());
    let policy = RetryPolicy::builder()
        .max_attempts(5)
        .classifier(classifier_fn(classify))
        .build()?;
    let service = ServiceBuilder::new()
        .layer(SetRequestHeaderLayer::if_not_present(USER_AGENT, AGENT))
        .layer(RetryLayer::new(policy))
        .layer(ConcurrencyLimitLayer::new(2))
        .layer(
            TraceLayer::new_for_http()
                .make_span_with(attempt_span)
                .on_response(note_answer)
                .on_failure(note_error),
        )
        .service(session.clone());
    ask(service, server).await?;
    session.close(Duration::from_secs(10)).await;
    Ok(())
}

/// The layers do not know each other. A session's error tells what was sent, which is all that
/// matters to a caller who wants to retry a POST; the standard classifier judges the rest.
fn classify(outcome: &Outcome<'_>) -> Class {
    match outcome.find_error::<session_layer::Error>() {
        Some(error) if error.is_stale() => Class::Stale(if error.is_unsent() {
            Processed::Never
        } else {
            Processed::Possibly
        }),
        Some(error) if error.is_unsent() => Class::NotSent,
        _ => Standard::default().classify(outcome),
    }
}

fn attempt_span<B>(request: &Request<B>) -> Span {
    let attempt = request.extensions().get::<Attempt>();
    let number = attempt.map_or(1, |it| it.number() + it.transparent_retries());
    tracing::info_span!("attempt", number, path = request.uri().path())
}

fn note_answer<B>(response: &Response<B>, after: Duration, _: &Span) {
    tracing::info!("{} after {after:.1?}", response.status());
}

fn note_error(failure: ServerErrorsFailureClass, after: Duration, _: &Span) {
    match failure {
        // Has been noted as an answer.
        ServerErrorsFailureClass::StatusCode(_) => {}
        ServerErrorsFailureClass::Error(error) => tracing::warn!("{error} after {after:.1?}"),
    }
}

/// Asks for four things at once, and prints what became of each.
async fn ask<S, B>(service: S, server: &str) -> Result<(), Failure>
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<Failure> + Send,
    S::Future: Send,
    B: Send + 'static,
{
    let mut calls = JoinSet::new();
    for path in ["/a", "/b", "/c", "/d"] {
        let request = Request::get(format!("{server}{path}")).body(Full::default())?;
        let answer = service.clone().oneshot(request);
        calls.spawn(async move { (path, answer.await) });
    }
    let mut answers = calls.join_all().await;
    answers.sort_by_key(|(path, _)| *path);
    println!();
    for (path, answer) in answers {
        let response = answer.map_err(Into::into)?;
        println!("{path}: {}", response.retry_report());
    }
    Ok(())
}

/// Answers the first two requests with 503, hangs up at the third, and is well from then on.
async fn flaky_server() -> MockServer {
    let server = MockServer::start().await;
    Mock::given(any())
        .respond_with(ResponseTemplate::new(503))
        .up_to_n_times(2)
        .mount(&server)
        .await;
    Mock::given(any())
        .respond_with_err(|_: &wiremock::Request| io::Error::from(io::ErrorKind::ConnectionReset))
        .up_to_n_times(1)
        .mount(&server)
        .await;
    Mock::given(any())
        .respond_with(ResponseTemplate::new(200))
        .mount(&server)
        .await;
    server
}
