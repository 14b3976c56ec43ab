//! The deadline of a call.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use client::{
    AttemptOutcome, AttemptRecord, Backoff, Body, Class, Client, Deadline, DeadlinePhase, Error,
    Exponential, InnerService, Jitter, PoolConfig, RetryPolicy, StopReason, TimeoutPhase, Timeouts,
    budget,
    session_layer::SessionLayer,
    testing::{Answer, Fake},
};
use http::{Request, Response, StatusCode};
use test_suite::eventually;
use test_support::{Connection, MemoryConnector, Reply, always, sequence};
use tokio::time::Instant;
use tower::{Layer as _, Service as _, layer::layer_fn, limit::ConcurrencyLimitLayer, service_fn};

use super::support::{Order, over};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn the_total_deadline_ends_a_call_and_no_wait_outlives_it() {
    let connector = MemoryConnector::new(sequence([Reply::stall()]));
    let client = Client::builder()
        .deadline(3 * SECOND)
        .build_with_connector(connector.clone())
        .unwrap();
    let began = Instant::now();
    let error = client.get("http://peer/").fetch().await.unwrap_err();
    assert_eq!(error.timeout_phase(), Some(TimeoutPhase::Deadline));
    assert_eq!(began.elapsed(), 3 * SECOND);
    let text = error.to_string();
    assert_eq!(
        text,
        "GET http://peer:80: no answer within the deadline of 3s, while waiting for the head (1 attempt; \
         deadline_exceeded)"
    );

    let connector = MemoryConnector::new(sequence([Reply::status(503).header("retry-after", "5")]));
    let client = over(&connector);
    let began = Instant::now();
    let response = client
        .get("http://peer/")
        .timeout(4 * SECOND)
        .fetch()
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.retry_report().stop(), StopReason::DeadlineTooClose);
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_ends_a_call_tells_what_was_tried_before() {
    let connector = MemoryConnector::new(sequence([Reply::status(503), Reply::stall()]));
    let error = over(&connector)
        .get("http://peer/")
        .timeout(3 * SECOND)
        .fetch()
        .await
        .unwrap_err();
    assert_eq!(error.timeout_phase(), Some(TimeoutPhase::Deadline));
    let report = error.retry_report().unwrap();
    assert_eq!(report.stop(), StopReason::DeadlineExceeded);
    let outcomes: Vec<_> = report
        .attempts()
        .iter()
        .map(AttemptRecord::outcome)
        .collect();
    let cut_off = AttemptOutcome::Error(Class::Ambiguous);
    let busy = AttemptOutcome::Status(StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(outcomes, [busy, cut_off]);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_has_passed_sends_nothing() {
    let connector = MemoryConnector::new(always(200, "x"));
    let over_session = over(&connector);
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&calls);
    let over_service = Client::from_service(service_fn(move |_: Request<Body>| {
        counter.fetch_add(1, Relaxed);
        std::future::ready(Ok::<_, Infallible>(Response::new(String::new())))
    }));
    let passed = Deadline::within(SECOND);
    tokio::time::sleep(2 * SECOND).await;
    for mut client in [over_session, over_service] {
        let mut request = client.get("http://peer/").build().unwrap();
        request.extensions_mut().insert(passed);
        let by_extension = client.call(request).await.unwrap_err();
        let get = || client.get("http://peer/").timeout(Duration::ZERO);
        let sent = get().send().await.unwrap_err();
        let fetched = get().fetch().await.unwrap_err();
        for error in [by_extension, sent, fetched] {
            assert_eq!(error.timeout_phase(), Some(TimeoutPhase::Deadline));
            assert_eq!(
                error.to_string(),
                "GET http://peer:80: the deadline had passed before the call began"
            );
        }
    }
    tokio::time::sleep(SECOND).await;
    assert!(connector.log().dialled.is_empty());
    assert_eq!(calls.load(Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn a_policy_of_its_own_leaves_a_request_the_deadline_of_the_client() {
    let connector = MemoryConnector::new(sequence([Reply::status(503).body("busy")]));
    let client = Client::builder()
        .deadline(5 * SECOND)
        .build_with_connector(connector.clone())
        .unwrap();
    let policy = RetryPolicy::builder()
        .backoff(Exponential::from(10 * SECOND))
        .jitter(Jitter::None);
    let longer = policy.clone().deadline(60 * SECOND);
    let get = || client.get("http://peer/");
    let patient = get().timeout(15 * SECOND).retry(policy.clone());
    let began = Instant::now();
    for request in [
        get().retry(policy.clone()),
        get().retry(longer.clone()),
        get().timeout(4 * SECOND).retry(longer),
    ] {
        let response = request.fetch().await.unwrap();
        assert_eq!(response.body(), "busy");
        assert_eq!(response.retry_report().stop(), StopReason::DeadlineTooClose);
    }
    assert_eq!(began.elapsed(), Duration::ZERO, "no wait is begun in vain");
    patient.fetch().await.unwrap();
    assert_eq!(began.elapsed(), 10 * SECOND, "its own deadline comes first");
}

/// Sends the head at once, and a byte of the body each second.
fn dripping() -> MemoryConnector {
    dripping_each(SECOND)
}

fn dripping_each(time: Duration) -> MemoryConnector {
    MemoryConnector::new(move |mut connection: Connection| async move {
        let _ = connection.read_request().await;
        connection
            .write("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n")
            .await;
        connection.drip(vec![b'x'; 100], 1, time).await;
    })
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_collected_after_its_head_is_under_the_deadline_too() {
    let connector = dripping();
    let client = Client::builder()
        .deadline(9 * SECOND)
        .build_with_connector(connector.clone())
        .unwrap();
    let send = async || client.get("http://peer/").send().await.unwrap();
    for ask in [0, 1, 2, 3] {
        let began = Instant::now();
        let response = send().await;
        let error = match ask {
            0 => response.bytes().await.unwrap_err(),
            1 => response.text().await.unwrap_err(),
            2 => response.json::<Order>().await.unwrap_err(),
            _ => response.collect().await.unwrap_err(),
        };
        assert_eq!(error.timeout_phase(), Some(TimeoutPhase::Deadline));
        assert_eq!(began.elapsed(), 9 * SECOND);
        assert!(error.to_string().starts_with("GET http://peer:80: "));
        assert_eq!(error.retry_report().unwrap().attempts().len(), 1);
    }
    // A `timeout` of the request takes its place, and a stream is read for as long as it moves.
    let began = Instant::now();
    let request = client.get("http://peer/").timeout(4 * SECOND);
    assert!(request.send().await.unwrap().bytes().await.is_err());
    assert_eq!(began.elapsed(), 4 * SECOND);
    let mut response = send().await;
    let mut size = 0;
    while let Some(chunk) = response.chunk().await.unwrap() {
        size += chunk.len();
    }
    assert_eq!(size, 100);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_came_in_time_is_given_after_the_deadline() {
    let connector = MemoryConnector::new(always(200, "x"));
    let client = over(&connector);
    let request = client.get("http://peer/").timeout(SECOND);
    let response = request.send().await.unwrap();
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(response.bytes().await.unwrap(), "x");
}

#[tokio::test(start_paused = true)]
async fn the_deadline_of_fetch_is_over_the_body_too() {
    let client = over(&dripping());
    let began = Instant::now();
    let error = client
        .get("http://peer/")
        .timeout(9 * SECOND)
        .fetch()
        .await
        .unwrap_err();
    assert_eq!(error.timeout_phase(), Some(TimeoutPhase::Deadline));
    assert_eq!(began.elapsed(), 9 * SECOND);
    eventually("its connection is closed", || client.stats().open == 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_body_that_trickles_is_ended_at_the_default_deadline_to_the_second() {
    let client = over(&dripping_each(20 * SECOND));
    let began = Instant::now();
    let error = client.get("http://peer/").fetch().await.unwrap_err();
    assert_eq!(error.timeout_phase(), Some(TimeoutPhase::Deadline));
    assert_eq!(began.elapsed(), 300 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn bytes_that_are_no_content_do_not_outlive_the_deadline() {
    let connector = MemoryConnector::new(|mut connection: Connection| async move {
        let _ = connection.read_request().await;
        connection.respond(200, "x").await;
        let _ = connection.read_request().await;
        connection
            .write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3;")
            .await;
        connection.drip("x".repeat(1_000), 1, 20 * SECOND).await;
    });
    let client = over(&connector);
    client.get("http://peer/").fetch().await.unwrap();
    let began = Instant::now();
    let call = client.get("http://peer/").no_retry().fetch();
    let error = call.await.unwrap_err();
    assert_eq!(error.timeout_phase(), Some(TimeoutPhase::Body));
    assert_eq!(began.elapsed().as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn heads_that_come_late_each_time_do_not_outlive_the_deadline() {
    let late = Reply::status(503).delay(29 * SECOND);
    let connector = MemoryConnector::new(sequence([late]));
    let short = Duration::from_millis(1);
    let policy = RetryPolicy::builder()
        .max_attempts(100)
        .backoff(Exponential::new(short).cap(short).throttled_base(short))
        .budget(budget::Unlimited);
    let client = Client::builder()
        .retry(policy)
        .build_with_connector(connector.clone())
        .unwrap();
    let began = Instant::now();
    let error = client.get("http://peer/").send().await.unwrap_err();
    assert_eq!(error.timeout_phase(), Some(TimeoutPhase::Deadline));
    assert_eq!(began.elapsed(), 300 * SECOND);
}

/// The errors of a call of each mode whose deadline passes.
async fn late(client: &Client) -> [Error; 2] {
    let call = || client.get("http://peer/").timeout(20 * SECOND);
    let sent = call().send().await;
    [
        sent.expect_err("nothing answers in time"),
        call().fetch().await.unwrap_err(),
    ]
}

#[tokio::test(start_paused = true)]
async fn a_deadline_over_a_fake_is_told_as_over_a_connection() {
    for statuses in [&[][..], &[503], &[429], &[503, 503]] {
        let answers = || {
            let busy = statuses.iter().copied().map(Answer::new);
            busy.chain([Answer::never()])
        };
        let fake = Client::fake(answers().chain(answers()).collect::<Vec<_>>());
        let replies = || {
            let busy = statuses.iter().copied().map(Reply::status);
            over(&MemoryConnector::new(sequence(
                busy.chain([Reply::stall()]),
            )))
        };
        let [sent, _] = late(&replies()).await;
        let fetched = replies().get("http://peer/").timeout(20 * SECOND);
        let fetched = fetched.fetch().await.unwrap_err();
        for (error, real) in late(&fake).await.iter().zip([sent, fetched]) {
            assert_eq!(error.to_string(), real.to_string());
            assert_eq!(error.deadline_phase(), Some(DeadlinePhase::Head));
            let report = error.retry_report().expect("the fake is below the retries");
            assert_eq!(report.attempts().len(), statuses.len() + 1);
            assert_eq!(report.stop(), StopReason::DeadlineExceeded);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_in_the_body_of_a_fake_tells_what_was_tried() {
    let client = Client::fake([Answer::new(503), Answer::from("half").stalls()]);
    let call = client.get("http://peer/").timeout(20 * SECOND);
    let error = call.fetch().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "GET http://peer:80: the body had not ended at the deadline of 20s (2 attempts; \
         deadline_exceeded)"
    );
    assert_eq!(error.deadline_phase(), Some(DeadlinePhase::Body));
    assert_eq!(error.retry_report().unwrap().attempts().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_over_another_service_tells_what_is_known() {
    let requests = Arc::new(AtomicUsize::new(0));
    let service = service_fn(move |_: Request<Body>| {
        let is_first = requests.fetch_add(1, Relaxed) % 2 == 0;
        async move {
            if !is_first {
                std::future::pending::<()>().await;
            }
            let busy = Response::builder().status(503).body(String::new());
            Ok::<_, Infallible>(busy.unwrap())
        }
    });
    let client = Client::builder().build_with_service(service).unwrap();
    for error in late(&client).await {
        assert_eq!(
            error.to_string(),
            "GET http://peer:80: no answer within the deadline of 20s, while waiting for the answer \
             of attempt 2 (2 attempts; deadline_exceeded)"
        );
        assert_eq!(error.deadline_phase(), Some(DeadlinePhase::Attempt));
        assert_eq!(error.retry_report().unwrap().attempts().len(), 2);
    }
    // Without retries there is no report.
    let pending = service_fn(|_: Request<Body>| {
        std::future::pending::<Result<Response<String>, Infallible>>()
    });
    for error in late(&Client::from_service(pending)).await {
        assert_eq!(
            error.to_string(),
            "GET http://peer:80: no answer within the deadline of 20s, while waiting for the answer"
        );
        assert!(error.retry_report().is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_above_layers_of_the_callers_tells_what_the_session_did() {
    let layered = || {
        Client::builder()
            .timeouts(Timeouts::default().connect(None))
            .layer(ConcurrencyLimitLayer::new(9))
            .attempt_layer(ConcurrencyLimitLayer::new(9))
    };
    let connector = MemoryConnector::new(sequence([Reply::stall()]));
    connector.hang();
    let timeouts = Timeouts::default().connect(None);
    let session = SessionLayer::new(PoolConfig::default(), timeouts).unwrap();
    let session = session.layer(connector.clone());
    let clients = [
        layered().build_with_connector(connector).unwrap(),
        Client::builder().build_with_service(session).unwrap(),
    ];
    for client in clients {
        for error in late(&client).await {
            assert_eq!(
                error.to_string(),
                "GET http://peer:80: no answer within the deadline of 20s, while waiting for a \
                 connection to be set up (1 attempt; deadline_exceeded)"
            );
            assert_eq!(error.deadline_phase(), Some(DeadlinePhase::Connect));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_over_a_fake_says_what_the_call_waits_for_before_it_sends() {
    let waiting = Client::builder()
        .base_url("http://peer/")
        .unwrap()
        .auth(client::token_fn(std::future::pending))
        .build_with_fake(&Fake::new([200]))
        .unwrap();
    let call = waiting.get("http://peer/").timeout(SECOND);
    let error = call.fetch().await.unwrap_err();
    assert_eq!(
        error.deadline_phase(),
        Some(DeadlinePhase::Token),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_deadline_after_a_redirect_of_a_fake_tells_of_all_hops() {
    let moved = || Answer::new(302).header("location", "/next");
    let client = Client::fake([moved(), Answer::never(), moved(), Answer::never()]);
    for error in late(&client).await {
        assert_eq!(error.deadline_phase(), Some(DeadlinePhase::Head), "{error}");
        assert_eq!(error.retry_report().unwrap().attempts().len(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_below_another_does_not_report_in_its_place() {
    let inner = Client::fake([Answer::new(503), Answer::never()]);
    let outer = Client::builder().build_with_service(inner).unwrap();
    let call = outer.get("http://peer/").timeout(20 * SECOND);
    let error = call.fetch().await.unwrap_err();
    assert_eq!(error.retry_report().unwrap().attempts().len(), 1, "{error}");
    assert_eq!(error.deadline_phase(), Some(DeadlinePhase::Head), "{error}");
}

#[tokio::test(start_paused = true)]
async fn another_call_that_a_layer_makes_does_not_tell_in_its_place() {
    let other = Client::fake([Answer::never(), Answer::never()]);
    let waits_for_other = layer_fn(move |inner: InnerService<Body>| {
        let other = other.clone();
        service_fn(move |request: Request<Body>| {
            let other = other.clone();
            let mut inner = inner.clone();
            async move {
                other.get("http://tokens/").send().await?;
                inner.call(request).await
            }
        })
    });
    let client = Client::builder().layer(waits_for_other);
    let client = client.build_with_fake(&Fake::new([200])).unwrap();
    for error in late(&client).await {
        assert!(error.retry_report().is_none(), "{error}");
        assert_eq!(error.deadline_phase(), None, "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_deadline_finds_out_sends_nothing() {
    let fake = Fake::from_fn(|_| Answer::new(503));
    let at_once = Backoff::fixed(Duration::ZERO);
    let policy = RetryPolicy::builder().max_attempts(9).backoff(at_once);
    let client = Client::builder().retry(policy).deadline(SECOND);
    let client = client.build_with_fake(&fake).unwrap();
    let request = Request::get("http://peer/").body(Body::empty()).unwrap();
    let call = client.clone().call(request);
    // Polled first when the deadline has passed; the retries yield between two attempts.
    tokio::time::sleep(2 * SECOND).await;
    let error = call.await.unwrap_err();
    let sent = fake.requests().len();
    assert_eq!(error.retry_report().unwrap().attempts().len(), sent);
    assert!(sent <= 2, "{sent} were sent after the deadline");
}
