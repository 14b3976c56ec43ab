//! Clients over fakes, errors that tests make, and what classifiers and errors see of causes.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use client::{
    AttemptPhase, AttemptRecord, Class, Client, Error, ErrorKind, FailureKind, Outcome,
    RetryPolicy, TimeoutPhase, Timeouts, classifier_fn,
    http::{Method, Request, Response, StatusCode},
    testing::{Answer, Failure, Fake},
};
use test_support::{MemoryConnector, always};
use tokio::time::Instant;
use tower::{BoxError, ServiceExt as _, buffer::BufferLayer, service_fn};

const URL: &str = "http://any/path?query";

/// What a gateway's handler makes of an error.
fn status_of(error: &Error) -> StatusCode {
    if error.is_timeout() {
        StatusCode::GATEWAY_TIMEOUT
    } else if error.is_connect() {
        StatusCode::BAD_GATEWAY
    } else {
        StatusCode::INTERNAL_SERVER_ERROR
    }
}

#[tokio::test(start_paused = true)]
async fn a_fake_answers_attempt_by_attempt_with_the_retries_in_force() {
    let client = Client::fake([503, 429, 200]);
    let response = client.get(URL).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.retry_report().attempts().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_of_a_fake_is_waited_for() {
    let busy = Answer::new(503).header("retry-after", "60");
    let client = Client::fake([busy, "there".into()]);
    let begun = Instant::now();
    assert_eq!(
        client.get(URL).fetch().await.unwrap().text().unwrap(),
        "there"
    );
    assert!(begun.elapsed() >= Duration::from_secs(60));
}

#[tokio::test(start_paused = true)]
async fn what_was_asked_is_remembered_attempt_by_attempt() {
    let fake = Fake::new([503, 200]);
    let client = Client::builder()
        .default_header("x-default", "1")
        .build_with_fake(&fake)
        .unwrap();
    let request = client.put(URL).header("x-own", "2").body("content");
    request.fetch().await.unwrap();
    let requests = fake.requests();
    assert_eq!(requests.len(), 2);
    for request in requests {
        assert_eq!(request.method(), Method::PUT);
        assert_eq!(request.uri(), URL);
        assert_eq!(request.headers()["x-default"], "1");
        assert_eq!(request.headers()["x-own"], "2");
        assert!(request.headers().contains_key("user-agent"));
        assert_eq!(request.body(), "content");
    }
}

#[tokio::test(start_paused = true)]
async fn redirects_and_decoding_are_the_clients() {
    let mut encoder = async_compression::tokio::write::GzipEncoder::new(Vec::new());
    tokio::io::AsyncWriteExt::write_all(&mut encoder, b"plain")
        .await
        .unwrap();
    tokio::io::AsyncWriteExt::shutdown(&mut encoder)
        .await
        .unwrap();
    let zipped = Bytes::from(encoder.into_inner());
    let fake = Fake::from_fn(move |request: &Request<Bytes>| match request.uri().path() {
        "/old" => Answer::new(302).header("location", "/new"),
        _ => Answer::new(200)
            .header("content-encoding", "gzip")
            .body(zipped.clone()),
    });
    let response = fake.client().get("http://any/old").fetch().await.unwrap();
    assert_eq!(response.url(), "http://any/new");
    assert_eq!(response.body(), "plain");
}

#[tokio::test(start_paused = true)]
async fn one_that_never_answers_ends_by_the_head_timeout_and_by_the_deadline() {
    let fake = Fake::from_fn(|_| Answer::never());
    let limits = Timeouts::default().head(Duration::from_secs(7));
    let client = Client::builder()
        .timeouts(limits)
        .build_with_fake(&fake)
        .unwrap();
    let error = client.get(URL).no_retry().fetch().await.unwrap_err();
    assert_eq!(error.timeout_phase(), Some(TimeoutPhase::Head));
    assert!(error.to_string().contains("7s"), "{error}");

    let limits = Timeouts::default().head(None);
    let client = Client::builder()
        .timeouts(limits)
        .build_with_fake(&fake)
        .unwrap();
    let error = client.get(URL).fetch().await.unwrap_err();
    assert_eq!(error.timeout_phase(), Some(TimeoutPhase::Deadline));
}

#[tokio::test(start_paused = true)]
async fn a_fake_keeps_the_timeouts_that_a_request_has_of_its_own() {
    let second = Duration::from_secs(1);
    let late = || Client::fake([Answer::from("there").after(60 * second)]);
    let call = late().get(URL).timeout(280 * second).fetch();
    assert_eq!(call.await.unwrap().text().unwrap(), "there");
    let call = late().get(URL).head_timeout(61 * second).fetch();
    assert_eq!(call.await.unwrap().text().unwrap(), "there");

    let short = late().get(URL).head_timeout(2 * second).no_retry().fetch();
    let error = short.await.unwrap_err();
    assert_eq!(error.timeout_phase(), Some(TimeoutPhase::Head));
    assert!(error.to_string().contains("within 2s"), "{error}");

    let stalling = Client::fake([Answer::from("half").stalls()]);
    let short = stalling.get(URL).idle_timeout(3 * second).no_retry();
    let error = short.fetch().await.unwrap_err();
    assert!(error.to_string().contains("stood still for 3s"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_cause_that_an_io_error_wraps_is_told_once() {
    let client = Client::from_service(service_fn(async |_: Request<client::Body>| {
        Err::<Response<client::Body>, _>(io::Error::other("the cable is cut"))
    }));
    let error = client.get("http://any/").fetch().await.unwrap_err();
    let told = |text: String| text.matches("the cable is cut").count();
    assert_eq!(told(format!("{error:#}")), 1, "{error:#}");
    assert_eq!(told(format!("{error:?}")), 1, "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_off_or_stands_still_is_a_failed_attempt() {
    let broken = Answer::from("half").breaks_off();
    let silent = Answer::from("half").stalls();
    let fake = Fake::new([broken, silent, "whole".into()]);
    let response = fake.client().get(URL).fetch().await.unwrap();
    assert_eq!(response.body(), "whole");
    assert_eq!(fake.requests().len(), 3);

    let client = Client::fake([Answer::from("half").stalls()]);
    let error = client.get(URL).no_retry().fetch().await.unwrap_err();
    assert_eq!(error.timeout_phase(), Some(TimeoutPhase::Body));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_without_an_answer_fails_in_words_and_is_not_retried() {
    let fake = Fake::new([503]);
    let error = fake.client().get(URL).fetch().await.unwrap_err();
    assert!(error.to_string().contains("no answer left"), "{error}");
    assert_eq!(fake.requests().len(), 2);
    let client = Client::fake(std::iter::repeat(204));
    for _ in 0..5 {
        assert_eq!(client.get(URL).fetch().await.unwrap().status(), 204);
    }
    let error = Client::fake([99]).get(URL).fetch().await.unwrap_err();
    assert!(error.to_string().contains("99"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_closed_client_over_a_fake_is_closed() {
    let client = Client::fake([200]);
    client.close().await;
    assert!(client.get(URL).fetch().await.unwrap_err().is_closed());
}

#[tokio::test(start_paused = true)]
async fn a_report_tells_of_each_attempt_what_failed_where_and_why() {
    let client = Client::fake([
        Failure::Timeout(TimeoutPhase::Head),
        Failure::Broken,
        Failure::Connect,
    ]);
    let error = client.get(URL).fetch().await.unwrap_err();
    let records = error.retry_report().unwrap().attempts();

    let kinds: Vec<_> = records.iter().filter_map(AttemptRecord::kind).collect();
    let expected = [
        ErrorKind::HeadTimeout,
        ErrorKind::Broken,
        ErrorKind::ConnectionRefused,
    ];
    assert_eq!(kinds, expected.map(FailureKind::from));
    let phases: Vec<_> = records.iter().filter_map(AttemptRecord::phase).collect();
    let expected = [
        AttemptPhase::Head,
        AttemptPhase::Head,
        AttemptPhase::Connect,
    ];
    assert_eq!(phases, expected);
    let causes: Vec<_> = records.iter().filter_map(AttemptRecord::cause).collect();
    assert_eq!(causes[0], "no response within 30s");
    assert!(causes[1].starts_with("the connection broke before the response came: "));
    assert!(causes[2].starts_with("cannot connect: "));
    for record in records {
        assert_eq!(record.peer(), Some("http://any:80"));
        assert_eq!(record.took(), Some(Duration::ZERO));
    }
    assert_eq!(records[0].began(), Some(Duration::ZERO));
    assert!(records[0].began() < records[1].began());
}

type Question = fn(&Error) -> bool;

/// Every failure, and the question that it answers with yes.
fn failures() -> Vec<(Failure, Question)> {
    vec![
        (Failure::Dns, Error::is_dns),
        (Failure::Connect, Error::is_connect),
        (Failure::Proxy, Error::is_proxy),
        (Failure::Tls, Error::is_tls),
        (Failure::Timeout(TimeoutPhase::Queue), Error::is_timeout),
        (Failure::Timeout(TimeoutPhase::Dns), Error::is_dns),
        (Failure::Timeout(TimeoutPhase::Connect), Error::is_connect),
        (Failure::Timeout(TimeoutPhase::Head), Error::is_timeout),
        (Failure::Timeout(TimeoutPhase::Body), Error::is_body),
        (Failure::Timeout(TimeoutPhase::Deadline), Error::is_timeout),
        (Failure::Unprocessed, Error::is_unprocessed),
        (Failure::Reset, Error::is_reset),
        (Failure::Body, Error::is_body),
        (Failure::TooLarge, Error::is_body),
        (Failure::Decode, Error::is_decode),
        (Failure::Redirect, Error::is_redirect),
        (Failure::Status(StatusCode::NOT_FOUND), Error::is_status),
        (Failure::Builder, Error::is_builder),
        (Failure::Closed, Error::is_closed),
        (Failure::QueueFull, Error::is_queue),
        (Failure::Broken, Error::is_broken),
        (Failure::Protocol, Error::is_protocol),
        (Failure::Token, Error::is_token),
    ]
}

#[tokio::test(start_paused = true)]
async fn errors_of_each_kind_can_be_made_and_come_through_a_client_as_they_are() {
    for (failure, question) in failures() {
        assert!(question(&failure.into()), "{failure:?}");
        if let Failure::Timeout(phase) = failure {
            assert_eq!(Error::from(failure).timeout_phase(), Some(phase));
        }
        let client = Client::fake([failure]);
        let error = client.get(URL).no_retry().fetch().await.unwrap_err();
        assert!(question(&error), "{failure:?}: {error}");
        assert_eq!(error.method(), Some(&Method::GET), "{failure:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_gateways_mapping_of_errors_is_tested_over_fakes() {
    for (answer, status) in [
        (Answer::from(Failure::Connect), StatusCode::BAD_GATEWAY),
        (Answer::never(), StatusCode::GATEWAY_TIMEOUT),
        (
            Answer::from(io::Error::from(io::ErrorKind::ConnectionRefused)),
            StatusCode::BAD_GATEWAY,
        ),
        (
            Answer::from(io::Error::from(io::ErrorKind::TimedOut)),
            StatusCode::GATEWAY_TIMEOUT,
        ),
    ] {
        let client = Client::fake([answer]);
        let error = client.get(URL).no_retry().fetch().await.unwrap_err();
        assert_eq!(status_of(&error), status, "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_of_a_fake_is_retried_as_the_sessions_is() {
    // What was proven unprocessed is sent again once more, at once.
    for (failure, get, post) in [
        (Failure::Connect, 3, 3),
        (Failure::Broken, 3, 1),
        (Failure::Unprocessed, 4, 4),
        (Failure::Tls, 1, 1),
        (Failure::Protocol, 1, 1),
        (Failure::QueueFull, 1, 1),
    ] {
        for (method, attempts) in [(Method::GET, get), (Method::POST, post)] {
            let fake = Fake::from_fn(move |_| failure);
            let error = fake.client().request(method.clone(), URL).fetch().await;
            error.unwrap_err();
            assert_eq!(fake.requests().len(), attempts, "{method} {failure:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_classifier_finds_the_clients_error_and_the_sessions_and_their_causes() {
    let seen = Arc::new(AtomicUsize::new(0));
    let noted = seen.clone();
    let looks = classifier_fn(move |outcome: &Outcome<'_>| {
        let session = outcome.find_error::<session_layer::Error>();
        assert!(session.is_some_and(session_layer::Error::is_connect));
        assert!(outcome.find_error::<Error>().is_some_and(Error::is_connect));
        let io = outcome.find_error::<io::Error>();
        assert!(io.is_some_and(|io| io.kind() == io::ErrorKind::ConnectionRefused));
        noted.fetch_add(1, Relaxed);
        Class::Final
    });
    let policy = || RetryPolicy::builder().classifier(looks.clone());
    let connector = MemoryConnector::new(always(200, ""));
    connector.refuse();
    let over_the_session = Client::builder().retry(policy());
    let layered = Client::builder()
        .retry(policy())
        .layer(BufferLayer::new(4))
        .attempt_layer(BufferLayer::new(4));
    let clients = [
        over_the_session
            .build_with_connector(connector.clone())
            .unwrap(),
        layered.build_with_connector(connector.clone()).unwrap(),
        Client::builder()
            .retry(policy())
            .build_with_fake(&Fake::from_fn(|_| Failure::Connect))
            .unwrap(),
    ];
    for client in clients {
        client.get(URL).fetch().await.unwrap_err();
        let by_request = Client::builder().build_with_connector(connector.clone());
        let request = by_request.unwrap().get(URL).retry(policy());
        request.fetch().await.unwrap_err();
    }
    assert_eq!(seen.load(Relaxed), 6);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_a_mock_refuses_is_a_connect_error() {
    for kind in [
        io::ErrorKind::ConnectionRefused,
        io::ErrorKind::HostUnreachable,
    ] {
        let mock = service_fn(move |_: Request<client::Body>| async move {
            Err::<Response<String>, BoxError>(Box::new(io::Error::from(kind)))
        });
        let error = Client::from_service(mock).get(URL).fetch().await;
        assert!(error.unwrap_err().is_connect(), "{kind:?}");
        let client = Client::builder().build_with_service(mock).unwrap();
        let error = client.get(URL).fetch().await.unwrap_err();
        assert!(error.is_connect() && !error.is_timeout(), "{kind:?}");
        assert_eq!(error.retry_report().unwrap().attempts().len(), 3);
    }
    // A connection that stood and broke is none.
    let mock = service_fn(|_: Request<client::Body>| async {
        let reset = io::Error::from(io::ErrorKind::ConnectionReset);
        Err::<Response<String>, BoxError>(reset.into())
    });
    let error = Client::from_service(mock).get(URL).fetch().await;
    assert!(!error.unwrap_err().is_connect());
}

#[tokio::test(start_paused = true)]
async fn a_sessions_error_is_known_where_a_service_has_wrapped_it() {
    #[derive(Debug)]
    struct Wrapped(BoxError);
    impl std::fmt::Display for Wrapped {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("wrapped")
        }
    }
    impl std::error::Error for Wrapped {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&*self.0)
        }
    }
    let inner = Fake::from_fn(|_| Failure::Connect).client();
    let wrapping = service_fn(move |request: Request<client::Body>| {
        let inner = inner.clone();
        async move {
            inner
                .oneshot(request)
                .await
                .map_err(|error| Wrapped(error.into()))
        }
    });
    let error = Client::from_service(wrapping)
        .get(URL)
        .no_retry()
        .fetch()
        .await;
    let error = error.unwrap_err();
    assert!(error.is_connect());
    assert!(error.session_error().unwrap().is_unsent());
}
