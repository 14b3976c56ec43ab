//! The client as people use it, over in-memory streams on a paused clock.

use std::{
    convert::Infallible,
    error::Error as _,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use client::{
    AiohttpException, AttemptOutcome, AttemptRecord, Body, Class, Client, Deadline, Exponential,
    Jitter, PoolConfig, RetryPolicy, StopReason, TimeoutPhase, Timeouts, TlsOptions, budget,
};
use http::{Method, Request, StatusCode};
use serde::{Deserialize, Serialize};
use test_suite::eventually;
use test_support::{
    Connect, Connection, MemoryConnector, Reply, Server, always, answer, sequence, tls,
};
use tokio::time::Instant;
use tower::{Service as _, util::MapRequestLayer};

const SECOND: Duration = Duration::from_secs(1);

fn over(connector: &MemoryConnector) -> Client {
    Client::builder()
        .build_with_connector(connector.clone())
        .expect("the settings are valid")
}

#[tokio::test(start_paused = true)]
async fn get_gives_status_and_body() {
    let connector = MemoryConnector::new(always(200, "pong"));
    let client = over(&connector);
    let (status, body) = client
        .get("http://peer/ping")
        .header("x-key", "value")
        .fetch()
        .await
        .unwrap()
        .into_status_and_body();
    assert_eq!((status, &*body), (StatusCode::OK, &b"pong"[..]));
    let request = &connector.log().requests[0];
    assert_eq!(
        (request.method.as_str(), &*request.target),
        ("GET", "/ping")
    );
    assert_eq!(request.header("host"), Some("peer"));
    assert_eq!(request.header("x-key"), Some("value"));
    assert!(
        request
            .header("user-agent")
            .unwrap()
            .starts_with("hardy-http/")
    );
}

#[derive(Debug, Deserialize, PartialEq, Serialize)]
struct Order {
    id: u32,
    name: String,
}

#[tokio::test(start_paused = true)]
async fn json_goes_out_and_comes_back_and_a_query_is_added() {
    let connector = MemoryConnector::new(answer(|request| {
        Reply::status(200).body(request.body.clone())
    }));
    let client = over(&connector);
    let order = Order {
        id: 7,
        name: "é".into(),
    };
    let response = client
        .post("http://peer/orders?a=1")
        .query(&[("b", "2 3"), ("c", "&")])
        .json(&order)
        .send()
        .await
        .unwrap();
    assert_eq!(response.json::<Order>().await.unwrap(), order);
    let request = &connector.log().requests[0];
    assert_eq!(request.target, "/orders?a=1&b=2+3&c=%26");
    assert_eq!(request.header("content-type"), Some("application/json"));

    let error = client
        .get("http://peer/")
        .fetch()
        .await
        .unwrap()
        .json::<Order>()
        .unwrap_err();
    assert!(error.is_decode() && error.source().is_some(), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn text_is_read_in_the_charset_of_its_type() {
    let connector = MemoryConnector::new(sequence([
        Reply::status(200)
            .header("content-type", "text/plain; charset=\"ISO-8859-1\"")
            .body(&b"caf\xe9"[..]),
        Reply::status(200).body("café"),
    ]));
    let client = over(&connector);
    for _ in 0..2 {
        let response = client.get("http://peer/").fetch().await.unwrap();
        assert_eq!(response.text().unwrap(), "café");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_tried_again_by_the_default_policy() {
    let connector = MemoryConnector::new(sequence([
        Reply::status(503).body("one"),
        Reply::reset(),
        Reply::status(200).body("three"),
    ]));
    let began = Instant::now();
    let response = over(&connector).get("http://peer/").fetch().await.unwrap();
    assert_eq!(response.body(), "three");
    let report = response.retry_report();
    // The reset met the connection that the 503 had left: that one is sent again for free.
    assert_eq!(
        (report.attempts().len(), report.transparent_retries()),
        (3, 1)
    );
    assert!(began.elapsed() <= Duration::from_millis(300));
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_waited_for() {
    let connector = MemoryConnector::new(sequence([
        Reply::status(429).header("retry-after", "7"),
        Reply::status(200),
    ]));
    let began = Instant::now();
    over(&connector).get("http://peer/").fetch().await.unwrap();
    let elapsed = began.elapsed();
    assert!(
        elapsed >= 7 * SECOND && elapsed <= 8 * SECOND,
        "{elapsed:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_post_is_not_sent_twice_when_its_connection_breaks_once_written() {
    // On a fresh connection, on a reused one, and before any byte of the answer or in its midst.
    for raw in ["", "HTTP/1.1 200 O"] {
        for reused in [false, true] {
            let connector = MemoryConnector::new(move |mut connection: Connection| async move {
                if reused {
                    let _ = connection.read_request().await;
                    connection.respond(200, "").await;
                }
                let _ = connection.read_request().await;
                connection.write(raw).await;
                connection.reset();
            });
            let client = over(&connector);
            if reused {
                client.get("http://peer/first").fetch().await.unwrap();
            }
            let error = client
                .post("http://peer/")
                .body("once")
                .fetch()
                .await
                .unwrap_err();
            let stop = error.retry_report().unwrap().stop();
            assert_eq!(stop, StopReason::NotIdempotent);
            let posts = connector
                .log()
                .requests
                .iter()
                .filter(|it| it.method == Method::POST)
                .count();
            assert_eq!(posts, 1, "{raw:?}, reused: {reused}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_post_that_was_never_written_is_sent_again() {
    let connector = MemoryConnector::new(always(200, "done"));
    connector.script([Connect::Refuse, Connect::Accept]);
    let response = over(&connector)
        .post("http://peer/")
        .body("once")
        .fetch()
        .await
        .unwrap();
    assert_eq!(response.body(), "done");
    assert_eq!(connector.log().requests.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_get_on_a_stale_connection_is_retried_transparently_at_once() {
    let connector = MemoryConnector::new(|mut connection: Connection| async move {
        let _ = connection.read_request().await;
        connection.respond(200, "first").await;
        let _ = connection.read_request().await;
        connection.reset();
    });
    let client = over(&connector);
    client.get("http://peer/").fetch().await.unwrap();
    let began = Instant::now();
    let response = client.get("http://peer/").fetch().await.unwrap();
    assert_eq!(response.body(), "first");
    assert_eq!(response.retry_report().transparent_retries(), 1);
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_is_fetched_again_but_a_streamed_one_is_an_error() {
    let replies = || {
        MemoryConnector::new(sequence([
            Reply::truncated_body(20, "{\"id\": 7, "),
            Reply::status(200).body("{\"id\": 7, \"name\": \"x\"}"),
        ]))
    };
    let connector = replies();
    let order: Order = over(&connector)
        .get("http://peer/")
        .fetch()
        .await
        .unwrap()
        .json()
        .unwrap();
    assert_eq!(order.id, 7);
    assert_eq!(connector.log().requests.len(), 2);

    let connector = replies();
    let response = over(&connector).get("http://peer/").send().await.unwrap();
    let error = response.bytes().await.unwrap_err();
    assert!(error.is_body(), "{error:?}");
    assert_eq!(connector.log().requests.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_body_larger_than_the_limit_is_refused_before_it_is_read() {
    let connector = MemoryConnector::new(always(200, vec![b'x'; 1000]));
    let client = Client::builder()
        .max_body(999)
        .build_with_connector(connector.clone())
        .unwrap();
    let fetched = client.get("http://peer/").fetch().await.unwrap_err();
    let sent = client
        .get("http://peer/")
        .send()
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap_err();
    for error in [fetched, sent] {
        assert!(error.is_body() && !error.is_timeout(), "{error:?}");
        assert!(
            error.to_string().contains("larger than 999 bytes"),
            "{error}"
        );
    }
    assert_eq!(
        connector.log().requests.len(),
        2,
        "to ask again would bring the same"
    );
}

#[tokio::test(start_paused = true)]
async fn an_error_page_larger_than_the_limit_is_tried_again_as_its_status_says() {
    let page = || vec![b'x'; 5000];
    let chunked = || {
        let mut raw =
            b"HTTP/1.1 503 Service Unavailable\r\ntransfer-encoding: chunked\r\n\r\n1388\r\n"
                .to_vec();
        raw.extend(page());
        raw.extend(b"\r\n0\r\n\r\n");
        Reply::raw(raw)
    };
    let connector = MemoryConnector::new(sequence([
        Reply::status(503).header("retry-after", "7").body(page()),
        chunked(),
        Reply::status(200).body("fine"),
    ]));
    let client = |connector: &MemoryConnector| {
        Client::builder()
            .max_body(1024)
            .build_with_connector(connector.clone())
            .unwrap()
    };
    let began = Instant::now();
    let get = client(&connector).get("http://peer/");
    assert_eq!(get.fetch().await.unwrap().body(), "fine");
    assert_eq!(connector.log().requests.len(), 3);
    assert!(began.elapsed() >= 7 * SECOND, "`Retry-After` is heard too");

    let connector = MemoryConnector::new(always(503, page()));
    let client = client(&connector);
    let error = client.get("http://peer/").fetch().await.unwrap_err();
    assert_eq!(connector.log().requests.len(), 3);
    assert_eq!(error.status(), Some(StatusCode::SERVICE_UNAVAILABLE));
    assert!(error.is_body() && !error.is_status(), "{error:?}");
    assert_eq!(
        error.to_string(),
        "GET http://peer:80: the server answered 503 Service Unavailable, and the body is larger \
         than 1024 bytes; see `max_body` (3 attempts)"
    );
    let report = error.retry_report().unwrap();
    assert_eq!(report.stop(), StopReason::AttemptsExhausted);
    let sent = client.get("http://peer/").send().await.unwrap();
    let error = sent.bytes().await.unwrap_err();
    assert_eq!(error.status(), Some(StatusCode::SERVICE_UNAVAILABLE));
    assert_eq!(client.stats().in_use, 0);
}

#[tokio::test(start_paused = true)]
async fn a_status_is_an_error_only_when_asked_for() {
    let connector = MemoryConnector::new(always(404, "no such order"));
    let client = over(&connector);
    let response = client.get("http://peer/orders/1").fetch().await.unwrap();
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    let error = response.error_for_status().unwrap_err();
    assert!(error.is_status());
    assert_eq!(error.status(), Some(StatusCode::NOT_FOUND));
    assert_eq!(error.body().unwrap(), "no such order");
    let sent = client.get("http://peer/").send().await.unwrap();
    assert!(sent.error_for_status().is_err());
    assert_eq!(connector.log().requests.len(), 2);
}

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
    let over_service = Client::from_service(tower::service_fn(move |_: Request<Body>| {
        counter.fetch_add(1, Relaxed);
        std::future::ready(Ok::<_, Infallible>(http::Response::new(String::new())))
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

#[tokio::test(start_paused = true)]
async fn a_call_dropped_during_its_wait_sends_nothing_more() {
    let connector = MemoryConnector::new(sequence([Reply::status(503).header("retry-after", "9")]));
    let client = over(&connector);
    let call = tokio::time::timeout(SECOND, client.get("http://peer/").fetch());
    assert!(call.await.is_err());
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(connector.log().requests.len(), 1);
    assert_eq!(client.stats().in_use, 0);
}

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

#[tokio::test(start_paused = true)]
async fn a_request_body_is_replayed_whole() {
    let connector = MemoryConnector::new(sequence([Reply::status(503), Reply::status(200)]));
    let parts = ["one ", "two ", "three"].map(|part| Ok::<_, std::io::Error>(part.into()));
    let stream = Body::stream(Iter(parts.into_iter()));
    let client = over(&connector);
    client
        .put("http://peer/")
        .body(stream)
        .fetch()
        .await
        .unwrap();
    client
        .put("http://peer/")
        .body(vec![b'x'; 1 << 20])
        .fetch()
        .await
        .unwrap();
    let sizes: Vec<_> = connector
        .log()
        .requests
        .iter()
        .map(|it| it.body.len())
        .collect();
    assert_eq!(sizes, [13, 13, 1 << 20]);
    assert_eq!(connector.log().requests[1].body, "one two three");
}

#[tokio::test(start_paused = true)]
async fn a_request_with_an_idempotency_key_is_tried_again_with_the_same_one() {
    let connector = MemoryConnector::new(sequence([
        Reply::status(503),
        Reply::reset(),
        Reply::status(200),
        Reply::status(200),
    ]));
    let client = over(&connector);
    let post = || client.post("http://peer/").body("order").idempotency_key();
    post().fetch().await.unwrap();
    post().fetch().await.unwrap();
    let log = connector.log();
    let keys: Vec<_> = log
        .requests
        .iter()
        .map(|it| it.header("idempotency-key").unwrap())
        .collect();
    let [first, second, third, other] = keys[..] else {
        panic!("{keys:?}");
    };
    assert!(first.len() > 16, "{first}");
    assert_eq!((first, first), (second, third));
    assert_ne!(first, other, "each call has one of its own");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_can_be_made_is_made_anew_for_each_attempt() {
    let connector = MemoryConnector::new(sequence([Reply::status(503), Reply::status(200)]));
    let made = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&made);
    let request = over(&connector).put("http://peer/").body_with(move || {
        counter.fetch_add(1, Relaxed);
        let frames = (0..8).map(|it| Ok::<_, Infallible>(vec![b'a' + it; 64 * 1024].into()));
        Body::stream(Iter(frames))
    });
    assert_eq!(made.load(Relaxed), 1);
    let response = request.fetch().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(made.load(Relaxed), 2);
    let log = connector.log();
    let [first, second] = &log.requests[..] else {
        panic!("{} requests", log.requests.len());
    };
    assert_eq!(first.body.len(), 512 * 1024);
    assert!(first.body == second.body);
}

struct Iter<I>(I);

impl<I: Iterator + Unpin> futures_core::Stream for Iter<I> {
    type Item = I::Item;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<I::Item>> {
        std::task::Poll::Ready(self.0.next())
    }
}

#[tokio::test(start_paused = true)]
async fn limit_one_with_large_error_bodies_and_three_attempts_finishes() {
    let connector = MemoryConnector::new(always(503, vec![b'x'; 4 << 20]));
    let client = Client::builder()
        .pool(PoolConfig::default().max_connections(1))
        .build_with_connector(connector.clone())
        .unwrap();
    let fetched = client.get("http://peer/").fetch().await.unwrap();
    assert_eq!(fetched.body().len(), 4 << 20);
    let sent = client.get("http://peer/").send().await.unwrap();
    assert_eq!(sent.bytes().await.unwrap().len(), 4 << 20);
    assert_eq!(connector.log().requests.len(), 6);
    assert_eq!(connector.log().peak_open, 1);
}

#[tokio::test]
async fn a_refused_response_of_200_kb_keeps_its_connection() {
    let refused = Reply::status(503).body(vec![b'x'; 200_000]);
    let server = Server::start(sequence([refused, Reply::status(200).body("fine")])).await;
    let client = Client::new();
    let response = client.get(server.url("/")).send().await.unwrap();
    assert_eq!(response.bytes().await.unwrap(), "fine");
    assert_eq!(server.log().accepted, 1);
}

#[tokio::test]
async fn limit_one_with_large_error_bodies_finishes_over_real_sockets() {
    let server = Server::start(always(503, vec![b'x'; 4 << 20])).await;
    let client = Client::builder()
        .pool(PoolConfig::default().max_connections_per_origin(1))
        .build()
        .unwrap();
    let response = client.get(server.url("/")).send().await.unwrap();
    assert_eq!(response.retry_report().attempts().len(), 3);
    assert_eq!(response.bytes().await.unwrap().len(), 4 << 20);
    assert_eq!(server.log().requests.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_sent_is_refused_at_once_and_nothing_is_opened() {
    let connector = MemoryConnector::new(always(200, "x"));
    let client = over(&connector);
    for (request, words) in [
        (client.get("http://"), "not valid"),
        (client.get("ftp://peer/"), "not ftp"),
        (client.get("peer/path"), "relative"),
        (
            client.get("http://peer/").header("x-key", "a\r\nx-evil: b"),
            "x-key",
        ),
        (
            client.get("http://peer/").header("x key", "a"),
            "name is not valid",
        ),
        (client.get("http://peer/").query(&1), "query"),
    ] {
        let error = request.fetch().await.unwrap_err();
        assert!(error.is_builder(), "{error:?}");
        assert!(error.to_string().contains(words), "{error}");
        assert!(error.to_string().starts_with("GET: "), "{error}");
        assert!(!error.to_string().contains("evil"), "{error}");
    }
    assert_eq!(client.stats().opened, 0);
}

#[test]
fn settings_that_cannot_be_are_refused_by_name() {
    let builder = Client::builder;
    for (built, words) in [
        (
            builder()
                .pool(PoolConfig::default().max_connections(0))
                .build(),
            "max_connections",
        ),
        (
            builder()
                .timeouts(Timeouts::default().head(Duration::ZERO))
                .build(),
            "head",
        ),
        (builder().deadline(Duration::ZERO).build(), "deadline"),
        (
            builder()
                .retry(RetryPolicy::builder().max_attempts(0))
                .build(),
            "attempts",
        ),
        (
            builder()
                .retry(RetryPolicy::builder().backoff(Exponential::from(SECOND).cap(SECOND / 2)))
                .build(),
            "cap",
        ),
    ] {
        let error = built.unwrap_err();
        assert!(
            error.is_builder() && error.to_string().contains(words),
            "{error}"
        );
    }
    assert!(builder().base_url("peer").unwrap_err().is_builder());
    assert!(builder().base_url("file:///x").unwrap_err().is_builder());
}

#[test]
fn no_error_of_a_builder_says_twice_what_its_causes_say() {
    let client = Client::new();
    let policy = || RetryPolicy::builder().max_attempts(0);
    let built = |builder: client::ClientBuilder| builder.build().unwrap_err();
    let asked = |request: client::RequestBuilder| request.build().unwrap_err();
    let get = || client.get("http://a/");
    let long = "x".repeat(70_000);
    let unequal = [("a", vec![vec![1]])];
    let mut errors = vec![
        built(Client::builder().retry(policy())),
        built(Client::builder().retry(RetryPolicy::builder().statuses([99]))),
        built(Client::builder().retry(RetryPolicy::builder().jitter(Jitter::Proportional(101)))),
        built(Client::builder().pool(PoolConfig::default().max_connections(0))),
        built(Client::builder().timeouts(Timeouts::default().head(Duration::ZERO))),
        built(Client::builder().http2(client::Http2::default().max_concurrent_streams(0))),
        built(Client::builder().deadline(Duration::ZERO)),
        built(Client::builder().user_agent("a\nb")),
        built(Client::builder().default_header("a", "a\nb")),
        Client::builder().base_url("peer").unwrap_err(),
        Client::builder()
            .tls(TlsOptions::new().only_added_roots())
            .unwrap_err(),
        client::Error::from(client::Proxy::all("ftp://a/").unwrap_err()),
        client::Error::from(TlsOptions::new().add_roots_pem("no PEM").unwrap_err()),
        client::Error::from(budget::FixedBudget::new(10, 0).unwrap_err()),
        asked(get().retry(policy())),
        asked(get().query(&unequal)),
        asked(get().query(&[("a", &long)])),
        asked(get().form(&unequal)),
        asked(get().json(&std::collections::HashMap::from([(vec![1], 2)]))),
        asked(get().header("a b", "x")),
        asked(get().header("a", "a\nb")),
        asked(client.get("http://a:99999/")),
        asked(client.get(format!("http://a/{long}"))),
    ];
    for (text, build) in [
        ("[retry]\nbudget_percent = 0", false),
        ("[retry]\nmax_attempts = 0", true),
        ("[proxy]\nall = \"ftp://a/\"", false),
        ("[tls]\nroots_pem = \"none\"", false),
        ("base_url = \"peer\"", false),
    ] {
        let config: client::ClientConfig = toml::from_str(text).unwrap();
        let builder = client::ClientBuilder::from_config(config);
        errors.push(match builder {
            Ok(builder) if build => built(builder),
            builder => builder.unwrap_err(),
        });
    }
    for error in errors {
        assert!(error.is_builder(), "{error:?}");
        let mut said = vec![error.to_string()];
        let mut cause = error.source();
        while let Some(error) = cause {
            let text = error.to_string();
            for before in &said {
                assert!(
                    !before.contains(&text) && !text.contains(before),
                    "{said:?}: {text}"
                );
            }
            said.push(text);
            cause = error.source();
        }
    }
}

#[test]
fn settings_of_the_layers_that_cannot_be_are_errors_of_a_builder() {
    fn retrying() -> Result<Client, client::Error> {
        let budget = budget::FixedBudget::new(10, 0)?;
        Client::builder()
            .retry(RetryPolicy::builder().budget(budget).build()?)
            .build()
    }
    fn pooled() -> Result<session_layer::SessionLayer<()>, client::Error> {
        let pool = PoolConfig::default().max_connections(0);
        Ok(session_layer::SessionLayer::new(pool, Timeouts::default())?)
    }
    for error in [retrying().unwrap_err(), pooled().unwrap_err()] {
        assert!(error.is_builder());
        assert!(error.source().is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_names_method_origin_cause_and_attempts_in_one_line() {
    let connector = MemoryConnector::new(always(200, "x"));
    connector.refuse();
    let client = over(&connector);
    let error = client
        .get("http://user:secret@peer:81/path?token=secret")
        .fetch()
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "GET http://peer:81: cannot connect (3 attempts)"
    );
    assert!(error.source().is_some());
    let everything = format!("{error:?} {client:?}");
    assert!(
        !everything.contains("secret") && !everything.contains("user:"),
        "{everything}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_error_says_why_it_was_not_tried_again_and_what_was_free() {
    let connector = MemoryConnector::new(sequence([Reply::reset()]));
    let error = over(&connector)
        .post("http://peer/")
        .fetch()
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "POST http://peer:80: the connection broke before the response came \
         (1 attempt; not_idempotent)"
    );
    let connector = MemoryConnector::new(sequence([
        Reply::status(200),
        Reply::reset(),
        Reply::reset(),
    ]));
    let client = over(&connector);
    client.get("http://peer/").fetch().await.unwrap();
    let error = client.get("http://peer/").fetch().await.unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("(3 attempts, 1 transparent retry)"),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_was_cut_here_is_not_blamed_on_something_else() {
    let connector = MemoryConnector::new(sequence([Reply::stall()]));
    let error = over(&connector)
        .post("http://peer/")
        .fetch()
        .await
        .unwrap_err();
    assert_eq!(error.timeout_phase(), Some(TimeoutPhase::Head));
    let cause = error
        .source()
        .and_then(|cause| cause.downcast_ref::<std::io::Error>());
    assert_eq!(
        cause.map(std::io::Error::kind),
        Some(std::io::ErrorKind::TimedOut)
    );
}

#[tokio::test(start_paused = true)]
async fn every_error_of_a_request_names_it() {
    let connector = MemoryConnector::new(always(404, "no"));
    let client = Client::builder()
        .max_body(2)
        .build_with_connector(connector.clone())
        .unwrap();
    let get = || client.get("http://peer/secret-path");
    let mut errors = vec![
        get().fetch().await.unwrap().error_for_status().unwrap_err(),
        get().send().await.unwrap().error_for_status().unwrap_err(),
        get().fetch().await.unwrap().json::<Order>().unwrap_err(),
        get()
            .send()
            .await
            .unwrap()
            .json::<Order>()
            .await
            .unwrap_err(),
    ];
    let connector = MemoryConnector::new(sequence([Reply::truncated_body(9, "x")]));
    let client = over(&connector);
    let get = || client.get("http://peer/secret-path");
    let mut response = get().send().await.unwrap();
    response.chunk().await.unwrap();
    errors.push(response.chunk().await.unwrap_err());
    errors.push(get().fetch().await.unwrap_err());
    errors.push(
        get()
            .timeout(Duration::from_nanos(1))
            .fetch()
            .await
            .unwrap_err(),
    );
    client.close().await;
    errors.push(get().fetch().await.unwrap_err());
    for error in errors {
        assert!(
            error.to_string().starts_with("GET http://peer:80: "),
            "{error}"
        );
        assert!(
            !format!("{error} {error:?}").contains("secret"),
            "{error:?}"
        );
        assert_eq!(error.url().unwrap(), "http://peer/secret-path");
    }
}

#[tokio::test(start_paused = true)]
async fn the_url_of_an_error_is_the_last_one_asked_and_has_no_userinfo() {
    let connector = MemoryConnector::new(answer(|request| match request.path() {
        "/start" => Reply::status(302).header("Location", "http://me:pw@other/there?q"),
        _ => Reply::close(),
    }));
    let client = over(&connector);
    let error = client.get("http://me:pw@peer/start").send().await;
    assert_eq!(error.unwrap_err().url().unwrap(), "http://other/there?q");
    let error = client.get("relative").send().await.unwrap_err();
    assert_eq!(error.url(), None);
}

#[tokio::test(start_paused = true)]
async fn a_header_that_is_set_replaces_what_was_there() {
    let connector = MemoryConnector::new(always(200, "x"));
    let client = over(&connector);
    client
        .post("http://user:password@peer/")
        .json(&1)
        .header("content-type", "application/vnd.api+json")
        .header("authorization", "Bearer token")
        .header("x-list", "a")
        .append_header("x-list", "b")
        .fetch()
        .await
        .unwrap();
    let request = &connector.log().requests[0];
    let all = |name| request.headers.get_all(name).iter().collect::<Vec<_>>();
    assert_eq!(all("content-type"), ["application/vnd.api+json"]);
    assert_eq!(all("authorization"), ["Bearer token"]);
    assert_eq!(all("x-list"), ["a", "b"]);
}

#[tokio::test]
async fn a_client_over_a_service_of_ones_own_may_have_a_base_url() {
    let service = tower::service_fn(async |request: Request<Body>| {
        Ok::<_, Infallible>(http::Response::new(request.uri().to_string()))
    });
    let client = Client::builder()
        .base_url("http://peer/v2/")
        .unwrap()
        .build_from_service(service)
        .unwrap();
    let response = client.get("orders").fetch().await.unwrap();
    assert_eq!(response.body(), "http://peer/v2/orders");
}

#[test]
fn a_mock_that_answers_at_once_needs_no_clock() {
    let service = tower::service_fn(async |_: Request<Body>| {
        Ok::<_, Infallible>(http::Response::new("pong".to_owned()))
    });
    let client = Client::from_service(service);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let text = runtime.block_on(async {
        let response = client.get("http://peer/").send().await?;
        response.text().await
    });
    assert_eq!(text.unwrap(), "pong");
}

#[tokio::test(start_paused = true)]
async fn credentials_in_a_url_are_sent_as_basic_and_leave_the_url() {
    let connector = MemoryConnector::new(always(200, "x"));
    let client = over(&connector);
    client
        .get("http://Aladdin:open%20sesame@peer/")
        .fetch()
        .await
        .unwrap();
    let request = &connector.log().requests[0];
    assert_eq!(
        request.header("authorization"),
        Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")
    );
    assert_eq!(request.header("host"), Some("peer"));
}

#[tokio::test(start_paused = true)]
async fn a_base_url_makes_relative_ones_whole() {
    let connector = MemoryConnector::new(always(200, "x"));
    let client = Client::builder()
        .base_url("http://peer/v2/")
        .unwrap()
        .user_agent("mine/1")
        .build_with_connector(connector.clone())
        .unwrap();
    client.get("orders").fetch().await.unwrap();
    client.get("/root").fetch().await.unwrap();
    assert_eq!(connector.log().targets(), ["/v2/orders", "/root"]);
    assert_eq!(
        connector.log().requests[0].header("user-agent"),
        Some("mine/1")
    );
}

#[tokio::test(start_paused = true)]
async fn a_user_agent_is_left_out_on_demand_and_a_bad_one_is_refused() {
    let connector = MemoryConnector::new(always(200, "x"));
    let client = Client::builder()
        .no_user_agent()
        .build_with_connector(connector.clone())
        .unwrap();
    client.get("http://peer/").fetch().await.unwrap();
    assert_eq!(connector.log().requests[0].header("user-agent"), None);

    let error = Client::builder().user_agent("a\nb").build().unwrap_err();
    assert!(error.is_builder());
    assert!(error.to_string().contains("`user_agent`"), "{error}");
}

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

#[tokio::test]
async fn a_tls_handshake_that_breaks_is_tried_again_unless_trust_is_what_fails() {
    const INTERNAL_ERROR: u8 = 80;
    const HANDSHAKE_FAILURE: u8 = 40;
    const UNKNOWN_CA: u8 = 48;
    let end_of_file = Vec::new();
    let alert = |description| vec![0x15, 3, 3, 0, 2, 2, description];
    for (bytes, expected) in [
        (end_of_file, 3),
        (alert(INTERNAL_ERROR), 3),
        (alert(HANDSHAKE_FAILURE), 3),
        (alert(UNKNOWN_CA), 1),
    ] {
        let answer = bytes.clone();
        let server = Server::start(move |mut connection: Connection| {
            let answer = answer.clone();
            async move {
                let _ = connection.read_bytes().await;
                connection.write(answer).await;
                connection.close().await;
            }
        })
        .await;
        let client = trusting(&tls::Authority::new());
        let url = format!("https://localhost:{}/", server.addr().port());
        // Nothing of it was sent, so even a POST may be sent again.
        let error = client.post(url).fetch().await.unwrap_err();
        assert!(error.is_connect(), "{error:?}");
        let attempts = error.retry_report().unwrap().attempts().len();
        assert_eq!(attempts, expected, "{bytes:?}: {error:?}");
    }
}

#[tokio::test]
async fn a_certificate_that_does_not_hold_is_asked_for_once() {
    let (authority, other) = (tls::Authority::new(), tls::Authority::new());
    for config in [
        authority.expired_server_config(tls::LOOPBACK),
        authority.server_config(&["example.com"]),
        other.server_config(tls::LOOPBACK),
    ] {
        let server = Server::start_tls(always(200, "x"), config).await;
        let url = format!("https://localhost:{}/", server.addr().port());
        let error = trusting(&authority).get(url).fetch().await.unwrap_err();
        assert!(error.is_connect(), "{error:?}");
        assert_eq!(error.retry_report().unwrap().attempts().len(), 1);
    }
}

#[tokio::test]
async fn tls_options_say_whom_a_client_trusts_and_what_it_shows() {
    let chain = tls::Chain::new(tls::LOOPBACK);
    let server = Server::start_tls(always(200, "x"), chain.mutual_server_config()).await;
    let url = format!("https://localhost:{}/", server.addr().port());
    let options = TlsOptions::new().add_roots_pem(chain.root_pem()).unwrap();
    let known = options
        .clone()
        .client_certificate_pem(chain.chain_pem(), chain.key_pem())
        .unwrap();
    let client = Client::builder().tls(known).unwrap().build().unwrap();
    assert_eq!(client.get(&url).fetch().await.unwrap().status(), 200);

    let nobody = Client::builder().tls(options).unwrap().build().unwrap();
    assert!(nobody.get(&url).fetch().await.unwrap_err().is_tls());

    let untrusting = Client::builder().tls(TlsOptions::new().only_added_roots());
    assert!(untrusting.unwrap_err().is_builder());
}

fn trusting(authority: &tls::Authority) -> Client {
    Client::builder()
        .tls_config(authority.client_config())
        .build()
        .expect("the settings are valid")
}

#[tokio::test(start_paused = true)]
async fn a_pool_timeout_is_final() {
    let connector = MemoryConnector::new(sequence([Reply::stall()]));
    let client = Client::builder()
        .pool(
            PoolConfig::default()
                .max_connections(1)
                .queue_timeout(SECOND),
        )
        .build_with_connector(connector.clone())
        .unwrap();
    let busy = tokio::spawn(client.get("http://peer/").send());
    tokio::task::yield_now().await;
    let began = Instant::now();
    let error = client.get("http://peer/").fetch().await.unwrap_err();
    assert_eq!(error.timeout_phase(), Some(TimeoutPhase::Queue));
    assert_eq!(began.elapsed(), SECOND);
    busy.abort();
}
