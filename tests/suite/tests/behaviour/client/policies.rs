//! Policies of single requests.

use std::time::Duration;

use client::{AiohttpException, Body, Client, Exponential, RetryPolicy, budget};
use http::{Request, StatusCode};
use test_support::{Connect, MemoryConnector, Reply, always, sequence};
use tokio::time::Instant;
use tower::{Service as _, util::MapRequestLayer};

use super::support::over;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn requests_may_have_a_policy_of_their_own() {
    let connector = MemoryConnector::new(sequence([Reply::status(503)]));
    let client = over(&connector);
    let once = client.get("http://peer/").no_retry().fetch().await.unwrap();
    assert_eq!(once.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(connector.log().requests.len(), 1);
    let policy = RetryPolicy::builder()
        .max_attempts(5)
        .budget(budget::Unlimited)
        .backoff(Exponential::from(SECOND));
    client
        .get("http://peer/")
        .retry(policy)
        .fetch()
        .await
        .unwrap();
    assert_eq!(connector.log().requests.len(), 6);
    client
        .post("http://peer/")
        .idempotent()
        .fetch()
        .await
        .unwrap();
    assert_eq!(connector.log().requests.len(), 9);
    client.post("http://peer/").fetch().await.unwrap();
    assert_eq!(connector.log().requests.len(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_policy_of_ones_own_for_a_request_knows_the_sessions_errors_too() {
    let connector = MemoryConnector::new(always(200, "x"));
    connector.script([Connect::Refuse, Connect::Accept]);
    let policy = RetryPolicy::aiohttp_retry_with([AiohttpException::ClientConnectorError]);
    let began = Instant::now();
    over(&connector)
        .get("http://peer/")
        .retry(policy)
        .fetch()
        .await
        .unwrap();
    assert_eq!(began.elapsed(), 2 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_policy_in_the_extensions_of_a_request_is_one_of_its_own_too() {
    let connector = MemoryConnector::new(always(200, "x"));
    connector.script([Connect::Refuse, Connect::Accept]);
    let mut client = over(&connector);
    let request = || {
        let policy = RetryPolicy::builder().build().unwrap();
        let request = client.post("http://peer/").body("x").extension(policy);
        request.build().unwrap()
    };
    let (first, second) = (request(), request());
    assert_eq!(client.call(first).await.unwrap().status(), 200);
    connector.drop_connections().await;
    connector.refuse();
    let error = client.call(second).await.unwrap_err();
    assert!(error.retry_report().is_some(), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_a_layer_brings_is_told_what_the_sessions_errors_mean() {
    let connector = MemoryConnector::new(always(200, "x"));
    connector.refuse();
    let bring = MapRequestLayer::new(|mut request: Request<Body>| {
        let policy = RetryPolicy::builder().build().expect("it is valid");
        request.extensions_mut().insert(policy);
        request
    });
    let client = Client::builder()
        .layer(bring)
        .build_with_connector(connector.clone())
        .unwrap();
    let request = client.post("http://peer/").body("x");
    let error = request.fetch().await.unwrap_err();
    let report = error.retry_report().expect("it is told");
    assert_eq!(report.attempts().len(), 3);
}
