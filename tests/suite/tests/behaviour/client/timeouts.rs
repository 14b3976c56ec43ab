//! Timeouts of one request.

use std::time::Duration;

use client::{Client, ClientBuilder, Error, Exponential, RetryPolicy, TimeoutPhase, Timeouts};
use http::StatusCode;
use test_support::{Connection, MemoryConnector, Reply, answer};
use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

fn over(connector: &MemoryConnector, builder: ClientBuilder) -> Client {
    builder
        .retry(RetryPolicy::builder().backoff(Exponential::from(MS)))
        .build_with_connector(connector.clone())
        .unwrap()
}

fn stalling() -> MemoryConnector {
    MemoryConnector::new(answer(|_| Reply::stall()))
}

/// Timers count in milliseconds, and round up.
#[track_caller]
fn assert_took(took: Duration, time: Duration) {
    assert!(
        took >= time && took < time + 3 * MS,
        "{took:?}, not {time:?}"
    );
}

async fn timed<T>(call: impl Future<Output = T>) -> (T, Duration) {
    let began = Instant::now();
    let outcome = call.await;
    (outcome, began.elapsed())
}

#[tokio::test(start_paused = true)]
async fn a_timeout_longer_than_the_default_head_timeout_lifts_it() {
    let connector = stalling();
    let client = over(&connector, Client::builder());
    let call = client.get("http://peer/").timeout(280 * SECOND).fetch();
    let (outcome, took) = timed(call).await;
    let error = outcome.unwrap_err();
    assert_eq!(
        error.timeout_phase(),
        Some(TimeoutPhase::Deadline),
        "{error}"
    );
    assert_took(took, 280 * SECOND);
    assert_eq!(connector.log().requests.len(), 1, "it was executed once");

    // The same where the request is built first.
    let request = client.get("http://peer/").timeout(280 * SECOND).build();
    let (outcome, took) = timed(client.execute(request.unwrap())).await;
    assert_eq!(
        outcome.unwrap_err().timeout_phase(),
        Some(TimeoutPhase::Deadline)
    );
    assert_took(took, 280 * SECOND);

    // And over redirects to another origin.
    let redirecting = MemoryConnector::new(answer(|request| match request.path() {
        "/" => Reply::status(302).header("location", "http://other/end"),
        _ => Reply::status(200).delay(200 * SECOND),
    }));
    let client = over(&redirecting, Client::builder());
    let call = client.get("http://peer/").timeout(280 * SECOND).fetch();
    assert_eq!(call.await.unwrap().status(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn a_head_timeout_that_was_set_by_hand_is_not_lifted() {
    let phase = |error: Error| error.timeout_phase();
    let connector = stalling();
    let chosen = Client::builder().timeouts(Timeouts::default().head(5 * SECOND));
    let client = over(&connector, chosen);
    let call = client.get("http://peer/").timeout(280 * SECOND).fetch();
    let (outcome, took) = timed(call).await;
    assert_eq!(phase(outcome.unwrap_err()), Some(TimeoutPhase::Head));
    assert!(took < 16 * SECOND, "{took:?}");

    let client = over(&connector, Client::builder());
    let request = client.get("http://peer/").head_timeout(3 * SECOND);
    let call = request.timeout(280 * SECOND).no_retry().fetch();
    let (outcome, took) = timed(call).await;
    assert_eq!(phase(outcome.unwrap_err()), Some(TimeoutPhase::Head));
    assert_took(took, 3 * SECOND);

    // A shorter timeout lifts nothing, and a call without one has three attempts.
    let (outcome, took) = timed(client.get("http://peer/").fetch()).await;
    assert_eq!(phase(outcome.unwrap_err()), Some(TimeoutPhase::Head));
    assert!(took > 89 * SECOND && took < 91 * SECOND, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_request_has_a_head_timeout_of_its_own_that_is_shorter_or_longer() {
    let connector = MemoryConnector::new(answer(|request| match request.path() {
        "/ready" => Reply::status(200),
        _ => Reply::stall(),
    }));
    let client = over(&connector, Client::builder().deadline(None));
    for own in [200 * MS, 1500 * MS, 100 * SECOND] {
        for reused in [false, true] {
            if reused {
                client.get("http://peer/ready").fetch().await.unwrap();
            }
            for body in ["", "a body"] {
                let request = client.put("http://peer/stall").body(body);
                let call = request.head_timeout(own).no_retry().fetch();
                let (outcome, took) = timed(call).await;
                let error = outcome.unwrap_err();
                assert_eq!(error.timeout_phase(), Some(TimeoutPhase::Head), "{error}");
                assert!(error.to_string().contains(&format!("{own:?}")), "{error}");
                assert!(took >= own && took <= own + SECOND, "{own:?}: {took:?}");
            }
        }
    }
    // The next request on the connection has the client's again.
    client
        .get("http://peer/ready")
        .head_timeout(MS * 50)
        .fetch()
        .await
        .unwrap();
    let (_, took) = timed(client.get("http://peer/stall").no_retry().fetch()).await;
    assert_took(took, 30 * SECOND);
    let call = client
        .get("http://peer/stall")
        .head_timeout(None)
        .no_retry();
    tokio::time::timeout(3600 * SECOND, call.fetch())
        .await
        .unwrap_err();
}

/// Answers with the beginning of a body of 5 bytes, and the rest after a time.
fn slow_body(rest_after: Duration, content_type: &'static str) -> MemoryConnector {
    MemoryConnector::new(move |mut connection: Connection| async move {
        while connection.read_request().await.is_some() {
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ncontent-length: 14\r\n\r\ndata: x\n"
            );
            connection.write(head).await;
            tokio::time::sleep(rest_after).await;
            connection.write("\n: ok\n").await;
        }
    })
}

#[tokio::test(start_paused = true)]
async fn a_request_has_an_idle_timeout_of_its_own_that_is_shorter_or_longer() {
    let connector = slow_body(60 * SECOND, "text/plain");
    let client = over(&connector, Client::builder());
    for own in [200 * MS, 45 * SECOND] {
        let request = client.get("http://peer/").idle_timeout(own);
        let (outcome, took) = timed(request.no_retry().fetch()).await;
        let error = outcome.unwrap_err();
        assert_eq!(error.timeout_phase(), Some(TimeoutPhase::Body), "{error}");
        assert_took(took, own);
    }
    for own in [Some(61 * SECOND), None] {
        let request = client.get("http://peer/").idle_timeout(own);
        assert_eq!(request.fetch().await.unwrap().body().len(), 14);
    }
    let (outcome, took) = timed(client.get("http://peer/").no_retry().fetch()).await;
    assert_eq!(
        outcome.unwrap_err().timeout_phase(),
        Some(TimeoutPhase::Body)
    );
    assert_took(took, 30 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_request_has_a_connect_timeout_of_its_own_that_is_shorter() {
    let connector = stalling();
    connector.hang();
    let client = over(&connector, Client::builder());
    for (own, counts) in [(500 * MS, 500 * MS), (60 * SECOND, 10 * SECOND)] {
        let request = client.get("http://peer/").connect_timeout(own);
        let (outcome, took) = timed(request.no_retry().fetch()).await;
        let error = outcome.unwrap_err();
        assert_eq!(
            error.timeout_phase(),
            Some(TimeoutPhase::Connect),
            "{error}"
        );
        assert_took(took, counts);
    }
}

#[tokio::test(start_paused = true)]
async fn a_quiet_stream_of_events_is_not_cut_by_the_default_idle_timeout() {
    let connector = slow_body(3600 * SECOND, "text/event-stream");
    let events = async |client: Client, idle: Option<Duration>| {
        let request = client.get("http://peer/");
        let request = match idle {
            Some(idle) => request.idle_timeout(idle),
            None => request,
        };
        let mut events = request.send().await?.events()?;
        events.next().await.transpose()
    };
    let event = events(over(&connector, Client::builder()), None).await;
    assert_eq!(event.unwrap().unwrap().data, "x");

    // What was set by hand counts.
    let chosen = Client::builder().timeouts(Timeouts::default().body_idle(5 * SECOND));
    let (outcome, took) = timed(events(over(&connector, chosen), None)).await;
    assert_eq!(
        outcome.unwrap_err().timeout_phase(),
        Some(TimeoutPhase::Body)
    );
    assert_took(took, 5 * SECOND);
    let client = over(&connector, Client::builder());
    let (outcome, took) = timed(events(client, Some(7 * SECOND))).await;
    assert_eq!(
        outcome.unwrap_err().timeout_phase(),
        Some(TimeoutPhase::Body)
    );
    assert_took(took, 7 * SECOND);
}
