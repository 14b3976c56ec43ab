//! Opening and closing: what a session leaves behind.

use std::time::Duration;

use http::StatusCode;
use http_body_util::BodyExt;
use session_layer::{PoolConfig, Timeouts};
use test_suite::{eventually, fetch, get, in_memory, send, session};
use test_support::{Connection, MemoryConnector, Reply, Server, always, sequence};
use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn close_lets_what_is_in_flight_finish_and_refuses_the_next() {
    let connector = MemoryConnector::new(sequence([Reply::status(200)
        .body("done")
        .delay(3 * SECOND)]));
    let session = in_memory(PoolConfig::default(), Timeouts::default(), &connector);
    let in_flight = tokio::spawn({
        let session = session.clone();
        async move { fetch(&session, get("http://peer/")).await }
    });
    tokio::time::sleep(SECOND).await;
    let closing = tokio::spawn({
        let session = session.clone();
        async move { session.close(30 * SECOND).await }
    });
    tokio::task::yield_now().await;
    let refused = fetch(&session, get("http://peer/")).await.unwrap_err();
    assert!(refused.is_closed() && refused.is_unsent());
    let report = closing.await.unwrap();
    assert_eq!((report.finished, report.aborted), (1, 0));
    assert_eq!(in_flight.await.unwrap().unwrap().1, "done");
    assert_eq!(session.stats().open, 0);
    assert_eq!(connector.log().requests.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn close_waits_for_response_bodies_too() {
    let connector = MemoryConnector::new(|mut connection: Connection| async move {
        let _ = connection.read_request().await;
        connection
            .write("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n")
            .await;
        connection.drip("body", 1, SECOND).await;
    });
    let session = in_memory(PoolConfig::default(), Timeouts::default(), &connector);
    let response = send(&session, get("http://peer/")).await.unwrap();
    let body = tokio::spawn(response.into_body().collect());
    let report = session.close(30 * SECOND).await;
    assert_eq!((report.finished, report.aborted), (1, 0));
    assert_eq!(body.await.unwrap().unwrap().to_bytes(), "body");
}

#[tokio::test(start_paused = true)]
async fn close_cuts_off_what_is_left_at_its_deadline() {
    let connector = MemoryConnector::new(sequence([Reply::stall()]));
    let timeouts = Timeouts::default().head(None);
    let session = in_memory(PoolConfig::default(), timeouts, &connector);
    let in_flight = tokio::spawn({
        let session = session.clone();
        async move { fetch(&session, get("http://peer/")).await }
    });
    tokio::time::sleep(SECOND).await;
    let began = Instant::now();
    let report = session.close(5 * SECOND).await;
    assert_eq!((report.finished, report.aborted), (0, 1));
    assert_eq!(began.elapsed(), 5 * SECOND);
    let error = in_flight.await.unwrap().unwrap_err();
    assert!(error.is_closed() && !error.is_unsent(), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn close_tells_those_who_wait() {
    let connector = MemoryConnector::new(sequence([Reply::stall()]));
    let pool = PoolConfig::default().max_connections(1);
    let session = in_memory(pool, Timeouts::default(), &connector);
    let mut calls = Vec::new();
    for _ in 0..3 {
        let session = session.clone();
        calls.push(tokio::spawn(async move {
            fetch(&session, get("http://peer/")).await
        }));
        tokio::task::yield_now().await;
    }
    session.close(SECOND).await;
    for call in calls {
        assert!(call.await.unwrap().unwrap_err().is_closed());
    }
    assert_eq!(connector.log().requests.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn close_calls_off_connections_that_are_being_opened() {
    let connector = MemoryConnector::new(always(200, "x"));
    connector.hang();
    let session = in_memory(PoolConfig::default(), Timeouts::default(), &connector);
    let waiting = tokio::spawn({
        let session = session.clone();
        async move { fetch(&session, get("http://peer/")).await }
    });
    tokio::task::yield_now().await;
    let began = Instant::now();
    session.close(30 * SECOND).await;
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert!(waiting.await.unwrap().unwrap_err().is_closed());
    assert_eq!(session.stats().open, 0);
}

#[tokio::test(start_paused = true)]
async fn close_may_come_twice_and_from_any_clone() {
    let connector = MemoryConnector::new(always(200, "x"));
    let session = in_memory(PoolConfig::default(), Timeouts::default(), &connector);
    fetch(&session, get("http://peer/")).await.unwrap();
    let clone = session.clone();
    let (one, two) = tokio::join!(session.close(SECOND), clone.close(SECOND));
    assert_eq!((one.finished, one.aborted), (0, 0));
    assert_eq!((two.finished, two.aborted), (0, 0));
    assert_eq!(session.close(SECOND).await, one);
    connector.wait_for(|log| log.open == 0).await;
}

#[tokio::test(start_paused = true)]
async fn close_counts_no_idle_connection_as_cut_off() {
    let connector = MemoryConnector::new(always(200, "x"));
    let session = in_memory(PoolConfig::default(), Timeouts::default(), &connector);
    fetch(&session, get("http://peer/")).await.unwrap();
    let report = session.close(Duration::ZERO).await;
    assert_eq!((report.finished, report.aborted), (0, 0));
    assert_eq!(session.stats().connecting, 0);
}

#[tokio::test]
async fn dropping_the_last_clone_closes_idle_connections() {
    let server = Server::start(always(200, "x")).await;
    let session = session(PoolConfig::default());
    let clone = session.clone();
    fetch(&session, get(&server.url("/"))).await.unwrap();
    drop(session);
    tokio::task::yield_now().await;
    assert_eq!(server.log().open, 1);
    drop(clone);
    server.wait_for(|log| log.open == 0).await;
}

#[tokio::test]
async fn what_is_in_flight_outlives_the_last_clone() {
    let server = Server::start(sequence([Reply::status(200)
        .body(vec![b'x'; 1 << 20])
        .delay(Duration::from_millis(5))]))
    .await;
    let session = session(PoolConfig::default());
    let call = send(&session, get(&server.url("/")));
    let response = {
        let mut call = Box::pin(call);
        std::future::poll_fn(|cx| {
            let _ = call.as_mut().poll(cx);
            std::task::Poll::Ready(())
        })
        .await;
        // `send` borrows the session; its future holds a clone only until the call began.
        call.await.unwrap()
    };
    drop(session);
    assert_eq!(response.status(), StatusCode::OK);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body.len(), 1 << 20);
    server.wait_for(|log| log.open == 0).await;
}

#[tokio::test]
async fn a_session_may_be_dropped_outside_a_runtime() {
    let server = Server::start(always(200, "x")).await;
    let session = session(PoolConfig::default());
    fetch(&session, get(&server.url("/"))).await.unwrap();
    std::thread::spawn(move || drop(session)).join().unwrap();
    server.wait_for(|log| log.open == 0).await;
}

#[tokio::test]
async fn a_body_may_be_dropped_outside_a_runtime() {
    let server = Server::start(always(200, vec![b'x'; 8 << 20])).await;
    let session = session(PoolConfig::default());
    let response = send(&session, get(&server.url("/"))).await.unwrap();
    std::thread::spawn(move || drop(response)).join().unwrap();
    eventually("the connection is gone", || session.stats().open == 0).await;
}
