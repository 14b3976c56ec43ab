//! The profile of `aiohttp-retry`'s `ExponentialRetry(attempts=3, statuses={429, 500, 501, 503,
//! 504}, start_timeout=1)`, through the whole client on a paused clock. `tests/real-peers/aiohttp` makes
//! the package itself tell how it treats errors.

use std::time::Duration;

use client::{AiohttpException, Client, RetryPolicy, StopReason, Timeouts};
use http::StatusCode;
use test_support::{Connect, MemoryConnector, Reply, sequence};
use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);

fn client(connector: &MemoryConnector) -> Client {
    with(connector, RetryPolicy::aiohttp_retry())
}

/// `exceptions={HTTPClientError, ClientConnectorError}`
fn listing_exceptions() -> RetryPolicy {
    RetryPolicy::aiohttp_retry_with([
        AiohttpException::HttpClientError,
        AiohttpException::ClientConnectorError,
    ])
}

fn with(connector: &MemoryConnector, policy: RetryPolicy) -> Client {
    Client::builder()
        .retry(policy)
        .timeouts(Timeouts::default().head(10 * SECOND))
        .build_with_connector(connector.clone())
        .expect("the settings are valid")
}

#[tokio::test(start_paused = true)]
async fn three_requests_2_and_4_s_apart_and_the_last_answer_comes_back() {
    for status in [503, 502, 599, 500, 501, 504, 429] {
        let connector = MemoryConnector::new(sequence([
            Reply::status(status).body("one"),
            Reply::status(status)
                .body("two")
                .header("retry-after", "100"),
            Reply::status(status).body("three"),
            Reply::status(200),
        ]));
        let began = Instant::now();
        let response = client(&connector)
            .get("http://peer/")
            .fetch()
            .await
            .unwrap();
        assert_eq!(began.elapsed(), 6 * SECOND, "{status}");
        assert_eq!(connector.log().requests.len(), 3, "{status}");
        let report = response.retry_report();
        let waits: Vec<_> = report
            .attempts()
            .iter()
            .filter_map(retry_layer::AttemptRecord::wait)
            .map(|it| it.delay())
            .collect();
        assert_eq!(waits, [2 * SECOND, 4 * SECOND], "{status}");
        assert_eq!(report.stop(), StopReason::AttemptsExhausted);
        let (last, body) = response.into_status_and_body();
        assert_eq!((last.as_u16(), &*body), (status, &b"three"[..]));
    }
}

#[tokio::test(start_paused = true)]
async fn any_method_is_sent_again() {
    let connector = MemoryConnector::new(sequence([Reply::status(503), Reply::status(200)]));
    let response = client(&connector)
        .post("http://peer/")
        .body("order")
        .fetch()
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let bodies: Vec<_> = connector
        .log()
        .requests
        .iter()
        .map(|it| it.body.clone())
        .collect();
    assert_eq!(bodies, ["order", "order"]);
}

#[tokio::test(start_paused = true)]
async fn a_refused_connect_is_an_error_at_once_while_exceptions_are_not_set() {
    let connector = MemoryConnector::new(sequence([Reply::status(200)]));
    connector.script([Connect::Refuse, Connect::Accept]);
    let began = Instant::now();
    let error = client(&connector).get("http://peer/").fetch().await;
    let error = error.unwrap_err();
    assert!(error.is_connect());
    assert_eq!(began.elapsed(), Duration::ZERO);
    let report = error.retry_report().unwrap();
    assert_eq!(report.attempts().len(), 1);
    assert_eq!(report.stop(), StopReason::ErrorNotRetryable);
}

#[tokio::test(start_paused = true)]
async fn a_refused_connect_is_tried_again_where_its_exception_is_listed() {
    let connector = MemoryConnector::new(sequence([Reply::status(200)]));
    connector.script([Connect::Refuse, Connect::Refuse, Connect::Accept]);
    let began = Instant::now();
    let call = with(&connector, listing_exceptions()).post("http://peer/");
    assert_eq!(call.fetch().await.unwrap().status(), StatusCode::OK);
    assert_eq!(began.elapsed(), 6 * SECOND);

    connector.script([Connect::Refuse]);
    let other = with(&connector, listing_exceptions());
    let error = other.get("http://other/").fetch().await.unwrap_err();
    assert!(error.is_connect());
    assert_eq!(error.retry_report().unwrap().attempts().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_connect_that_runs_out_of_time_is_no_connector_error() {
    let connector = MemoryConnector::new(sequence([Reply::status(200)]));
    connector.hang();
    let call = with(&connector, listing_exceptions()).get("http://peer/");
    let error = call.fetch().await.unwrap_err();
    assert!(error.is_connect() && error.is_timeout());
    assert_eq!(error.retry_report().unwrap().attempts().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn neither_404_nor_408_nor_a_read_timeout_is_tried_again() {
    for status in [404, 408] {
        let connector = MemoryConnector::new(sequence([Reply::status(status)]));
        let response = client(&connector)
            .get("http://peer/")
            .fetch()
            .await
            .unwrap();
        assert_eq!(response.status().as_u16(), status);
        assert_eq!(connector.log().requests.len(), 1, "{status}");
    }
    let connector = MemoryConnector::new(sequence([Reply::stall()]));
    let error = client(&connector)
        .get("http://peer/")
        .fetch()
        .await
        .unwrap_err();
    assert!(error.is_timeout());
    assert_eq!(connector.log().requests.len(), 1);
}
