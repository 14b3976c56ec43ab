//! Calls of a client that is closed.

use std::{convert::Infallible, time::Duration};

use client::{AttemptOutcome, Body, Client};
use http::{Request, StatusCode};
use test_support::{MemoryConnector, Reply, always, sequence};

use super::support::over;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_closed_client_refuses_and_says_so() {
    let connector = MemoryConnector::new(always(200, "x"));
    let client = over(&connector);
    client.get("http://peer/").fetch().await.unwrap();
    client.clone().close().await;
    let error = client.get("http://peer/").fetch().await.unwrap_err();
    assert!(error.is_closed() && !error.is_connect());
    assert_eq!(client.stats().open, 0);

    let client = Client::from_service(tower::service_fn(async |_: Request<Body>| {
        Ok::<_, Infallible>(http::Response::new(String::new()))
    }));
    client.get("http://peer/").fetch().await.unwrap();
    client.close().await;
    assert!(
        client
            .get("http://peer/")
            .fetch()
            .await
            .unwrap_err()
            .is_closed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_waiting_call_whose_client_is_closed_tells_its_last_outcome() {
    let connector = MemoryConnector::new(sequence([Reply::status(503).header("retry-after", "9")]));
    let client = over(&connector);
    let call = tokio::spawn(client.get("http://peer/").fetch());
    tokio::time::sleep(SECOND).await;
    client.close().await;
    let error = call.await.unwrap().unwrap_err();
    assert!(error.is_closed(), "{error:?}");
    let attempts = error.retry_report().unwrap().attempts();
    let busy = AttemptOutcome::Status(StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(attempts[0].outcome(), busy);
    assert_eq!(connector.log().requests.len(), 1);
}
