//! What `fetch` collects, and when it judges: a response is refused at its head, and only what is
//! returned is read.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use client::{
    Class, Classifier, Client, ClientBuilder, Outcome, RetryPolicy, StopReason, TimeoutPhase,
    classifier_fn,
};
use http::StatusCode;
use test_support::{Connection, MemoryConnector, Reply, answer, sequence};
use tokio::time::Instant;
use tower::layer::util::Identity;

const SECOND: Duration = Duration::from_secs(1);

fn over(connector: &MemoryConnector) -> Client {
    with(Client::builder(), connector)
}

fn with(builder: ClientBuilder, connector: &MemoryConnector) -> Client {
    builder
        .build_with_connector(connector.clone())
        .expect("the settings are valid")
}

/// The same client as it is, with somebody's layers around each hop and each attempt, and over a
/// service in place of the session.
fn each_stack(connector: &MemoryConnector) -> [Client; 3] {
    let session = session_layer::Session::new(connector.clone());
    [
        over(connector),
        with(
            Client::builder()
                .layer(Identity::new())
                .attempt_layer(Identity::new()),
            connector,
        ),
        Client::builder()
            .build_with_service(session)
            .expect("the settings are valid"),
    ]
}

/// Writes a head that announces 100 bytes, and hands over to `rest`.
fn begins<F>(head: &'static str, rest: fn(Connection) -> F) -> MemoryConnector
where
    F: Future<Output = ()> + Send + 'static,
{
    MemoryConnector::new(move |mut connection: Connection| async move {
        let _ = connection.read_request().await;
        connection
            .write(format!("HTTP/1.1 {head}\r\ncontent-length: 100\r\n\r\n"))
            .await;
        rest(connection).await;
    })
}

/// Sends a byte of the body each second.
async fn drips(mut connection: Connection) {
    connection.drip(vec![b'x'; 100], 1, SECOND).await;
}

/// Sends some of the body, and closes the connection.
async fn breaks_off(mut connection: Connection) {
    connection.write("the beginning").await;
    connection.close().await;
}

/// Answers the first request by this head and a body that breaks off, and the second by 200.
fn breaks_off_once(head: &'static str) -> MemoryConnector {
    let asked = Arc::new(AtomicUsize::new(0));
    MemoryConnector::new(move |mut connection: Connection| {
        let asked = asked.clone();
        async move {
            let _ = connection.read_request().await;
            if asked.fetch_add(1, Relaxed) > 0 {
                connection.respond(200, "whole").await;
                return connection.close().await;
            }
            connection
                .write(format!("HTTP/1.1 {head}\r\ncontent-length: 100\r\n\r\n"))
                .await;
            breaks_off(connection).await;
        }
    })
}

#[tokio::test(start_paused = true)]
async fn a_refused_response_whose_body_drips_is_tried_again_at_once() {
    let asked = Arc::new(AtomicUsize::new(0));
    let connector = MemoryConnector::new(move |mut connection: Connection| {
        let asked = asked.clone();
        async move {
            let _ = connection.read_request().await;
            if asked.fetch_add(1, Relaxed) % 3 == 2 {
                connection.respond(200, "fine").await;
                return connection.close().await;
            }
            connection
                .write("HTTP/1.1 503 Busy\r\ncontent-length: 100\r\n\r\n")
                .await;
            drips(connection).await;
        }
    });
    for client in each_stack(&connector) {
        let began = Instant::now();
        let response = client.get("http://peer/").fetch().await.unwrap();
        assert_eq!(response.body(), "fine");
        assert_eq!(response.retry_report().attempts().len(), 3);
        assert!(began.elapsed() < SECOND, "{:?}", began.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_refused_response_is_returned_whole_and_only_its_body_is_read() {
    const SIZE: usize = 20 * 1024 * 1024;
    let written = Arc::new(AtomicUsize::new(0));
    let count = written.clone();
    let connector = MemoryConnector::new(move |mut connection: Connection| {
        let written = count.clone();
        async move {
            let _ = connection.read_request().await;
            let head = format!("HTTP/1.1 503 Busy\r\ncontent-length: {SIZE}\r\n\r\n");
            connection.write(head).await;
            let piece = vec![b'x'; 64 * 1024];
            for _ in 0..SIZE / piece.len() {
                if !connection.write(&piece).await {
                    return;
                }
                written.fetch_add(piece.len(), Relaxed);
            }
        }
    });
    for client in each_stack(&connector) {
        written.store(0, Relaxed);
        let response = client.get("http://peer/").fetch().await.unwrap();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.body().len(), SIZE);
        let report = response.retry_report();
        assert_eq!(report.attempts().len(), 3);
        assert_eq!(report.stop(), StopReason::AttemptsExhausted);
        let written = written.load(Relaxed);
        assert!(written < SIZE + SIZE / 10, "{written} bytes were written");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_response_of_200_kb_is_drained_within_bounds_only() {
    let connector = MemoryConnector::new(sequence([
        Reply::status(503).body(vec![b'x'; 200 * 1024]),
        Reply::status(200).body("fine"),
    ]));
    let client = over(&connector);
    let response = client.get("http://peer/").fetch().await.unwrap();
    assert_eq!(response.body(), "fine");
    assert_eq!(connector.log().accepted, 1, "its connection was used again");
}

#[tokio::test(start_paused = true)]
async fn hints_are_heard_though_the_body_breaks_off() {
    let connector = breaks_off_once("503 Busy\r\nretry-after: 60");
    let began = Instant::now();
    let response = over(&connector).get("http://peer/").fetch().await.unwrap();
    assert_eq!(response.body(), "whole");
    assert_eq!(connector.log().requests.len(), 2);
    assert!(began.elapsed() >= 60 * SECOND, "{:?}", began.elapsed());

    let connector = breaks_off_once("429 Slow Down\r\nretry-after: 3600");
    let began = Instant::now();
    let call = over(&connector).get("http://peer/").fetch();
    let error = call.await.unwrap_err();
    assert_eq!(connector.log().requests.len(), 1);
    assert_eq!(error.status(), Some(StatusCode::TOO_MANY_REQUESTS));
    assert_eq!(error.headers().unwrap()["retry-after"], "3600");
    let report = error.retry_report().unwrap();
    assert_eq!(report.stop(), StopReason::RetryAfterTooLong);
    assert!(began.elapsed() < SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_failed_status_is_final_and_stays_known_though_its_body_breaks_off() {
    for method in ["GET", "POST"] {
        let connector = begins("422 Unprocessable\r\nx-reason: name", breaks_off);
        for client in each_stack(&connector) {
            let before = connector.log().requests.len();
            let request = client.request(method.parse().unwrap(), "http://peer/a");
            let error = request.fetch().await.unwrap_err();
            assert_eq!(connector.log().requests.len(), before + 1);
            assert_eq!(error.status(), Some(StatusCode::UNPROCESSABLE_ENTITY));
            assert_eq!(error.headers().unwrap()["x-reason"], "name");
            assert_eq!(error.body().unwrap(), "the beginning");
            assert!(error.is_body() && !error.is_status(), "{error:?}");
            let text = error.to_string();
            let begins = format!(
                "{method} http://peer:80: the server answered 422 Unprocessable Entity, and "
            );
            assert!(text.starts_with(&begins), "{text}");
            assert!(text.ends_with("(1 attempt)"), "{text}");
            assert_eq!(error.url().unwrap(), "http://peer/a");
            assert_eq!(client.stats().in_use, 0);
        }
    }
    // So it is where the body is collected later.
    let connector = begins("422 Unprocessable", breaks_off);
    let response = over(&connector).get("http://peer/").send().await.unwrap();
    let error = response.bytes().await.unwrap_err();
    assert_eq!(error.status(), Some(StatusCode::UNPROCESSABLE_ENTITY));
    assert_eq!(error.body().unwrap(), "the beginning");
}

#[tokio::test(start_paused = true)]
async fn a_success_that_breaks_each_time_is_retried_and_its_status_known() {
    let connector = begins("200 OK", breaks_off);
    for client in each_stack(&connector) {
        let before = connector.log().requests.len();
        let error = client.get("http://peer/").fetch().await.unwrap_err();
        assert_eq!(connector.log().requests.len(), before + 3);
        assert_eq!(error.status(), Some(StatusCode::OK));
        assert_eq!(error.retry_report().unwrap().attempts().len(), 3);
        assert!(!error.to_string().contains("answered"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_deadline_ends_a_refused_body_that_drips_and_the_status_stays_known() {
    let connector = begins("503 Busy", drips);
    for client in each_stack(&connector) {
        let began = Instant::now();
        let request = client.get("http://peer/").timeout(9 * SECOND);
        let error = request.fetch().await.unwrap_err();
        assert_eq!(began.elapsed(), 9 * SECOND);
        assert_eq!(error.timeout_phase(), Some(TimeoutPhase::Deadline));
        assert_eq!(error.status(), Some(StatusCode::SERVICE_UNAVAILABLE));
        assert_eq!(error.retry_report().unwrap().attempts().len(), 3);
        assert!(error.body().is_some_and(|body| body.len() >= 7));
        assert_eq!(
            error.to_string(),
            "GET http://peer:80: the server answered 503 Service Unavailable, and the body had not \
             ended at the deadline of 9s (3 attempts)"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_success_that_a_policy_refuses_is_refused_at_its_head_too() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    // Not ready yet, twice.
    let pending = move || {
        let asked = count.clone();
        let classifier = classifier_fn(move |outcome: &Outcome<'_>| {
            asked.fetch_add(1, Relaxed);
            match outcome.status() {
                Some(StatusCode::ACCEPTED) if outcome.attempt() < 3 => Class::Ambiguous,
                _ => Class::Final,
            }
        });
        RetryPolicy::builder().classifier(classifier)
    };
    let connector = begins("202 Accepted", drips);
    let client = with(Client::builder().retry(pending()), &connector);
    let own = over(&connector);
    for request in [
        client.get("http://peer/"),
        own.get("http://peer/").retry(pending()),
    ] {
        asked.store(0, Relaxed);
        let began = Instant::now();
        let response = request.fetch().await.unwrap();
        assert_eq!(response.body().len(), 100);
        assert_eq!(response.retry_report().attempts().len(), 3);
        assert_eq!(asked.load(Relaxed), 3, "once for each head");
        // The third one is read, and neither of the first two.
        let elapsed = began.elapsed().as_secs();
        assert!((99..110).contains(&elapsed), "{elapsed}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_attempt_with_transparent_retries_is_judged_at_its_head_too() {
    let connector = begins("200 OK\r\nx-processed: no", drips);
    let classifier = classifier_fn(|outcome: &Outcome<'_>| match outcome.headers() {
        Some(headers) if headers.contains_key("x-processed") => Class::Unprocessed,
        _ => Class::Final,
    });
    let policy = RetryPolicy::builder()
        .max_attempts(1)
        .classifier(classifier);
    let client = with(Client::builder().retry(policy), &connector);
    let began = Instant::now();
    let response = client.get("http://peer/").fetch().await.unwrap();
    assert_eq!(response.body().len(), 100);
    assert_eq!(response.retry_report().transparent_retries(), 1);
    let elapsed = began.elapsed().as_secs();
    assert!((99..110).contains(&elapsed), "{elapsed}");
}

#[tokio::test(start_paused = true)]
async fn a_refused_status_beyond_the_classes_is_judged_at_its_head_too() {
    let connector = begins("999 Request denied", drips);
    let client = with(
        Client::builder().retry(RetryPolicy::aiohttp_retry()),
        &connector,
    );
    let began = Instant::now();
    let response = client.get("http://peer/").fetch().await.unwrap();
    assert_eq!(response.body().len(), 100);
    assert_eq!(response.retry_report().attempts().len(), 3);
    let elapsed = began.elapsed().as_secs();
    assert!((105..116).contains(&elapsed), "{elapsed}");
}

#[tokio::test(start_paused = true)]
async fn a_client_over_another_judges_by_its_own_policy() {
    let refuses = |refused: StatusCode, class: Class| {
        let classifier = classifier_fn(move |outcome: &Outcome<'_>| {
            if outcome.status() == Some(refused) {
                class
            } else {
                Class::Final
            }
        });
        RetryPolicy::builder().classifier(classifier)
    };
    let connector = MemoryConnector::new(sequence([
        Reply::status(202).body("not yet"),
        Reply::status(202).body("fine"),
    ]));
    let inner = Client::builder()
        .retry(refuses(StatusCode::CREATED, Class::Ambiguous))
        .layer(Identity::new());
    let outer = Client::builder()
        .retry(refuses(StatusCode::ACCEPTED, Class::Ambiguous))
        .build_with_service(with(inner, &connector))
        .expect("the settings are valid");
    let response = outer.get("http://peer/").fetch().await.unwrap();
    assert_eq!(response.body(), "fine");
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_looks_into_bodies_sees_them() {
    let connector = MemoryConnector::new(sequence([
        Reply::status(200).body("Code: 202. Too many simultaneous queries"),
        Reply::status(200).body("fine"),
    ]));
    let standard = client::Standard::default();
    let busy = classifier_fn(move |outcome: &Outcome<'_>| {
        let extensions = outcome.extensions();
        let peeked = extensions.and_then(|it| it.get::<retry_layer::peek::Peeked>());
        match peeked {
            Some(peeked) if peeked.prefix().starts_with(b"Code: 202.") => Class::Ambiguous,
            _ => standard.classify(outcome),
        }
    });
    let builder = Client::builder()
        .retry(RetryPolicy::builder().classifier(busy))
        .attempt_layer(retry_layer::peek::PeekLayer::new(256));
    let response = with(builder, &connector)
        .get("http://peer/")
        .fetch()
        .await
        .unwrap();
    assert_eq!(response.body(), "fine");
    assert_eq!(connector.log().requests.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_failed_status_is_decoded_and_one_that_cannot_be_keeps_its_status() {
    let connector = MemoryConnector::new(answer(|_| {
        Reply::status(404)
            .header("content-encoding", "gzip")
            .body("no gzip at all")
    }));
    for client in each_stack(&connector) {
        let error = client.get("http://peer/").fetch().await.unwrap_err();
        assert!(error.is_decode(), "{error:?}");
        assert_eq!(error.status(), Some(StatusCode::NOT_FOUND));
    }
}
