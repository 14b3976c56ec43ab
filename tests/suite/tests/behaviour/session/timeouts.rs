//! Timeouts on a paused clock, over in-memory streams.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt, Full, StreamBody};
use session_layer::{Connector, Phase, PoolConfig, Resolver, SessionLayer, Timeouts};
use test_suite::{fetch, get, in_memory, post, send};
use test_support::{Connection, MemoryConnector, Reply, always, sequence};
use tokio::time::Instant;
use tower::{Layer, Service, ServiceExt};

const SECOND: Duration = Duration::from_secs(1);

fn short() -> Timeouts {
    Timeouts::default()
        .connect(3 * SECOND)
        .head(5 * SECOND)
        .body_idle(7 * SECOND)
}

#[tokio::test(start_paused = true)]
async fn a_connect_that_hangs_ends_at_its_timeout_unsent() {
    let connector = MemoryConnector::new(always(200, "x"));
    connector.hang();
    let session = in_memory(PoolConfig::default(), short(), &connector);
    let began = Instant::now();
    let error = fetch(&session, get("http://peer/")).await.unwrap_err();
    assert_eq!(error.timeout_phase(), Some(Phase::Connect));
    assert!(error.is_unsent() && error.is_connect());
    assert_eq!(began.elapsed(), 3 * SECOND);
    assert_eq!(session.stats().open, 0);
}

#[tokio::test(start_paused = true)]
async fn after_a_pause_of_the_process_the_connect_tells_what_became_of_it() {
    // The times of the connect and of the request that waits for it run out together.
    let pause = async {
        tokio::time::sleep(SECOND).await;
        tokio::time::advance(60 * SECOND).await;
    };
    let resolver = Resolver::over(tower::service_fn(|_| {
        std::future::pending::<std::io::Result<Vec<SocketAddr>>>()
    }));
    let unresolved = SessionLayer::new(PoolConfig::default(), short())
        .unwrap()
        .layer(Connector::new().resolver(resolver));
    let call = send(&unresolved, get("http://peer.test/"));
    let (outcome, ()) = tokio::join!(call, pause);
    assert_eq!(outcome.unwrap_err().timeout_phase(), Some(Phase::Dns));
    // One that has been made is given.
    let connector = MemoryConnector::new(always(200, "x"));
    connector.delay(2 * SECOND);
    let session = in_memory(PoolConfig::default(), short(), &connector);
    let pause = async {
        tokio::time::sleep(SECOND).await;
        tokio::time::advance(60 * SECOND).await;
    };
    let (outcome, ()) = tokio::join!(send(&session, get("http://peer/")), pause);
    assert_eq!(outcome.unwrap().status(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn a_head_that_does_not_come_ends_at_its_timeout() {
    let connector = MemoryConnector::new(sequence([Reply::stall()]));
    let session = in_memory(PoolConfig::default(), short(), &connector);
    let began = Instant::now();
    let error = fetch(&session, get("http://peer/")).await.unwrap_err();
    assert_eq!(error.timeout_phase(), Some(Phase::Head));
    assert!(!error.is_unsent());
    assert_eq!(began.elapsed(), 5 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_head_that_trickles_in_does_not_extend_its_time() {
    let connector = MemoryConnector::new(|mut connection: Connection| async move {
        let _ = connection.read_request().await;
        let head = "HTTP/1.1 200 OK\r\nx-padding: 0123456789012345678901234567890123456789\r\n";
        connection.drip(head, 1, Duration::from_millis(200)).await;
    });
    let session = in_memory(PoolConfig::default(), short(), &connector);
    let began = Instant::now();
    let error = fetch(&session, get("http://peer/")).await.unwrap_err();
    assert_eq!(error.timeout_phase(), Some(Phase::Head));
    assert_eq!(began.elapsed(), 5 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn the_head_timeout_counts_from_each_request_on_a_reused_connection() {
    let connector = MemoryConnector::new(sequence([
        Reply::status(200).body("x"),
        Reply::status(200).body("x").delay(4 * SECOND),
        Reply::stall(),
    ]));
    let session = in_memory(PoolConfig::default(), short(), &connector);
    fetch(&session, get("http://peer/")).await.unwrap();
    tokio::time::sleep(4 * SECOND).await;
    fetch(&session, get("http://peer/")).await.unwrap();
    tokio::time::sleep(3 * SECOND).await;
    let began = Instant::now();
    let error = fetch(&session, get("http://peer/")).await.unwrap_err();
    assert_eq!(error.timeout_phase(), Some(Phase::Head));
    assert_eq!(began.elapsed(), 5 * SECOND);
    assert_eq!(connector.log().accepted, 1);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stands_still_ends_at_its_timeout() {
    let connector = MemoryConnector::new(|mut connection: Connection| async move {
        let _ = connection.read_request().await;
        connection
            .write("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n")
            .await;
        connection.drip("abc", 1, 6 * SECOND).await;
        connection.stall().await;
    });
    let session = in_memory(PoolConfig::default(), short(), &connector);
    let began = Instant::now();
    let error = fetch(&session, get("http://peer/")).await.unwrap_err();
    assert_eq!(error.timeout_phase(), Some(Phase::Body));
    assert!(error.is_response_body());
    // Three bytes, six seconds apart, then the silence.
    let elapsed = began.elapsed();
    assert!(
        elapsed >= 19 * SECOND && elapsed <= 25 * SECOND,
        "{elapsed:?}"
    );
    assert_eq!(session.stats().open, 0);
}

#[tokio::test(start_paused = true)]
async fn a_body_idle_timeout_shorter_than_the_head_timeout_is_exact() {
    let connector = MemoryConnector::new(|mut connection: Connection| async move {
        let _ = connection.read_request().await;
        connection
            .write("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc")
            .await;
        connection.stall().await;
    });
    let timeouts = Timeouts::default().head(60 * SECOND).body_idle(2 * SECOND);
    let session = in_memory(PoolConfig::default(), timeouts, &connector);
    let began = Instant::now();
    let error = fetch(&session, get("http://peer/")).await.unwrap_err();
    assert_eq!(error.timeout_phase(), Some(Phase::Body));
    // The timer counts in milliseconds, and rounds up.
    let elapsed = began.elapsed();
    assert!(
        elapsed >= 2 * SECOND && elapsed < 2 * SECOND + Duration::from_millis(3),
        "{elapsed:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_a_head_bit_by_bit_does_not_extend_its_time() {
    let connector = MemoryConnector::new(|mut connection: Connection| async move {
        while connection.read_bytes().await.is_some() {
            tokio::time::sleep(4 * SECOND).await;
        }
    });
    let session = in_memory(PoolConfig::default(), short(), &connector);
    let mut request = get("http://peer/");
    let large = "x".repeat(1 << 20).parse().unwrap();
    request.headers_mut().insert("x-large", large);
    let began = Instant::now();
    let error = fetch(&session, request).await.unwrap_err();
    assert_eq!(error.timeout_phase(), Some(Phase::Head));
    assert_eq!(began.elapsed(), 5 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_never_begins_ends_at_its_timeout_to_the_second() {
    let connector = MemoryConnector::new(|mut connection: Connection| async move {
        let _ = connection.read_request().await;
        connection.respond(200, "x").await;
        let _ = connection.read_request().await;
        connection
            .write("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n")
            .await;
        connection.stall().await;
    });
    let session = in_memory(PoolConfig::default(), short(), &connector);
    fetch(&session, get("http://peer/")).await.unwrap();
    tokio::time::sleep(3 * SECOND).await;
    let began = Instant::now();
    let error = fetch(&session, get("http://peer/")).await.unwrap_err();
    assert_eq!(error.timeout_phase(), Some(Phase::Body));
    assert_eq!(began.elapsed().as_secs(), 7);
}

#[tokio::test(start_paused = true)]
async fn bytes_that_are_no_content_do_not_keep_a_body_alive() {
    let connector = MemoryConnector::new(|mut connection: Connection| async move {
        let _ = connection.read_request().await;
        connection
            .write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n3;")
            .await;
        connection.drip("x".repeat(100), 1, 2 * SECOND).await;
    });
    let session = in_memory(PoolConfig::default(), short(), &connector);
    let began = Instant::now();
    let error = fetch(&session, get("http://peer/")).await.unwrap_err();
    assert_eq!(error.timeout_phase(), Some(Phase::Body));
    assert_eq!(began.elapsed().as_secs(), 7);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_comes_late_finds_the_body_though_it_began_to_read_before() {
    let connector = MemoryConnector::new(|mut connection: Connection| async move {
        let _ = connection.read_request().await;
        connection
            .write("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n")
            .await;
        tokio::time::sleep(SECOND).await;
        connection.drip("onetwo", 3, SECOND).await;
        connection.stall().await;
    });
    let session = in_memory(PoolConfig::default(), short(), &connector);
    let mut body = send(&session, get("http://peer/"))
        .await
        .unwrap()
        .into_body();
    assert!(
        tokio::time::timeout(SECOND / 2, body.frame())
            .await
            .is_err()
    );
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(body.collect().await.unwrap().to_bytes(), "onetwo");
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_takes_its_time_is_not_timed_out() {
    let connector = MemoryConnector::new(always(200, vec![b'x'; 1 << 20]));
    let session = in_memory(PoolConfig::default(), short(), &connector);
    let mut body = send(&session, get("http://peer/"))
        .await
        .unwrap()
        .into_body();
    let mut read = 0;
    while let Some(frame) = body.frame().await {
        read += frame.unwrap().into_data().unwrap().len();
        tokio::time::sleep(20 * SECOND).await;
    }
    assert_eq!(read, 1 << 20);
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_the_peer_does_not_take_ends_at_the_head_timeout() {
    let connector = MemoryConnector::new(sequence([Reply::stall()]));
    let connector_unread = MemoryConnector::new(|mut connection: Connection| async move {
        connection.stall().await;
    });
    for connector in [connector_unread, connector] {
        let session = in_memory(PoolConfig::default(), short(), &connector);
        let began = Instant::now();
        let request = post("http://peer/", vec![b'x'; 4 << 20]);
        let error = fetch(&session, request).await.unwrap_err();
        assert_eq!(error.timeout_phase(), Some(Phase::Head));
        assert!(!error.is_unsent());
        // The timer counts in milliseconds, and rounds up.
        assert_eq!(began.elapsed().as_secs(), 5);
    }
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_moves_is_not_timed_out_however_long_it_takes() {
    let connector = MemoryConnector::new(|mut connection: Connection| async move {
        let mut read = 0;
        while read < 1 << 20 {
            tokio::time::sleep(SECOND).await;
            let until = read + (32 << 10);
            while read < until {
                let Some(bytes) = connection.read_bytes().await else {
                    return;
                };
                read += bytes.len();
            }
        }
        connection
            .write("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            .await;
        connection.stall_until_closed().await;
    });
    let session = in_memory(PoolConfig::default(), short(), &connector);
    let began = Instant::now();
    // hyper takes it whole at once; what counts is what the peer takes.
    let request = post("http://peer/", vec![b'x'; 1 << 20]);
    assert_eq!(fetch(&session, request).await.unwrap().0, StatusCode::OK);
    assert!(began.elapsed() >= 30 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_came_in_time_is_given_to_a_caller_that_polls_late() {
    let connector = MemoryConnector::new(always(200, vec![b'x'; 1 << 20]));
    let session = in_memory(PoolConfig::default(), short(), &connector);
    fetch(&session, get("http://peer/")).await.unwrap();
    // On an open connection the call itself sends; nobody looks for longer than the timeout.
    let call = session.clone().call(get("http://peer/"));
    tokio::time::sleep(20 * SECOND).await;
    let body = call.await.unwrap().into_body().collect().await.unwrap();
    assert_eq!(body.to_bytes().len(), 1 << 20);
}

#[tokio::test(start_paused = true)]
async fn a_head_that_came_in_time_waits_for_a_caller_that_polls_late() {
    const HEAD: &str = "HTTP/1.1 200 OK\r\n";
    const SPLIT: &str = "|";
    for pieces in [
        "content-length: 5\r\n\r\n|hello",
        "content-length: 5\r\n\r|\n|hello",
        "content-length: 5\n\n|hello",
        "content-length: 5\r\n\r\nhe|llo",
        "content-length: 5\r\n\r\n|he|llo",
        "transfer-encoding: chunked\r\n\r\n|5\r\nhello\r\n0\r\n\r\n",
        "transfer-encoding: chunked\r\n\r\n5\r\nhe|llo\r\n0\r\n\r\n",
        "x: y\r\n\r\n|hello",
    ] {
        let connector = MemoryConnector::new(move |mut connection: Connection| async move {
            let _ = connection.read_request().await;
            connection.respond(200, "").await;
            let _ = connection.read_request().await;
            connection.write(HEAD).await;
            let mut pieces = pieces.split(SPLIT).peekable();
            while let Some(piece) = pieces.next() {
                connection.write(piece).await;
                let is_body = pieces.peek().is_some_and(|next| next.len() > 1);
                tokio::time::sleep(if is_body { 21 * SECOND } else { SECOND }).await;
            }
        });
        let timeouts = short().body_idle(60 * SECOND);
        let session = in_memory(PoolConfig::default(), timeouts, &connector);
        fetch(&session, get("http://peer/")).await.unwrap();
        // On an open connection the call itself sends; nobody looks for longer than the timeout.
        let call = session.clone().call(get("http://peer/"));
        tokio::time::sleep(20 * SECOND).await;
        let response = call.await.unwrap();
        let body = response.into_body().collect().await;
        assert_eq!(body.expect(pieces).to_bytes(), "hello", "{pieces:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_incomplete_head_ends_at_its_timeout_though_a_part_is_an_empty_line() {
    for part in [
        "HTTP/1.1 103 Hints\r\n\r\n",
        "HTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 200 OK\r\n",
        "\r\n\r\n",
        "\r\nHTTP/1.1 103 Hints\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx: y\r\n",
    ] {
        let connector = MemoryConnector::new(move |mut connection: Connection| async move {
            let _ = connection.read_request().await;
            connection.write(part).await;
            connection.stall_until_closed().await;
        });
        let session = in_memory(PoolConfig::default(), short(), &connector);
        let began = Instant::now();
        let error = fetch(&session, get("http://peer/")).await.expect_err(part);
        assert_eq!(error.timeout_phase(), Some(Phase::Head), "{part:?}");
        assert_eq!(began.elapsed(), 5 * SECOND, "{part:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_its_sender_is_slow_to_give_is_not_timed_out() {
    let connector = MemoryConnector::new(always(200, "x"));
    let session: session_layer::Session<_> = SessionLayer::new(PoolConfig::default(), short())
        .unwrap()
        .layer(connector.clone());
    let (sender, receiver) = tokio::sync::mpsc::channel::<Bytes>(1);
    tokio::spawn(async move {
        for _ in 0..4 {
            tokio::time::sleep(20 * SECOND).await;
            sender.send(Bytes::from_static(b"slow")).await.unwrap();
        }
    });
    let body = StreamBody::new(Receiver(receiver));
    let request = http::Request::post("http://peer/").body(body).unwrap();
    let response = session.oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(connector.log().requests[0].body, "slowslowslowslow");
}

/// A channel as a stream of frames.
struct Receiver(tokio::sync::mpsc::Receiver<Bytes>);

impl futures_core::Stream for Receiver {
    type Item = Result<http_body::Frame<Bytes>, std::convert::Infallible>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.0
            .poll_recv(cx)
            .map(|bytes| bytes.map(|bytes| Ok(http_body::Frame::data(bytes))))
    }
}

#[tokio::test(start_paused = true)]
async fn waiting_for_a_place_has_a_time_of_its_own() {
    let connector = MemoryConnector::new(sequence([Reply::stall()]));
    let pool = PoolConfig::default()
        .max_connections(1)
        .queue_timeout(2 * SECOND);
    let session = in_memory(pool, short().head(None), &connector);
    let busy = tokio::spawn({
        let session = session.clone();
        async move { fetch(&session, get("http://peer/")).await }
    });
    tokio::task::yield_now().await;
    let began = Instant::now();
    let error = fetch(&session, get("http://other/")).await.unwrap_err();
    assert!(error.is_pool_timeout() && error.is_unsent() && !error.is_connect());
    assert_eq!(error.timeout_phase(), Some(Phase::Queue));
    assert_eq!(began.elapsed(), 2 * SECOND);
    assert_eq!(session.stats().waiting, 0);
    busy.abort();
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses_at_once() {
    let connector = MemoryConnector::new(sequence([Reply::stall()]));
    let pool = PoolConfig::default().max_connections(1).max_waiting(0);
    let session = in_memory(pool, short(), &connector);
    let busy = tokio::spawn({
        let session = session.clone();
        async move { fetch(&session, get("http://peer/")).await }
    });
    tokio::task::yield_now().await;
    let began = Instant::now();
    let error = fetch(&session, get("http://peer/")).await.unwrap_err();
    assert!(error.is_queue_full() && error.is_unsent());
    assert_eq!(began.elapsed(), Duration::ZERO);
    busy.abort();
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_closes_at_its_timeout_without_traffic() {
    let connector = MemoryConnector::new(always(200, "x"));
    for seconds in [1, 20, 100] {
        let idle = seconds * SECOND;
        let pool = PoolConfig::default().idle_timeout(idle);
        let session = in_memory(pool, Timeouts::default(), &connector);
        fetch(&session, get("http://peer/")).await.unwrap();
        tokio::time::sleep(idle.mul_f64(0.99)).await;
        assert_eq!(session.stats().idle, 1, "{idle:?}");
        tokio::time::sleep(idle.mul_f64(0.02)).await;
        assert_eq!(session.stats().open, 0, "{idle:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn use_renews_the_idle_time() {
    let connector = MemoryConnector::new(always(200, "x"));
    let pool = PoolConfig::default().idle_timeout(10 * SECOND);
    let session = in_memory(pool, Timeouts::default(), &connector);
    for _ in 0..5 {
        fetch(&session, get("http://peer/")).await.unwrap();
        tokio::time::sleep(9 * SECOND).await;
    }
    assert_eq!(connector.log().accepted, 1);
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(session.stats().open, 0);
}

#[tokio::test(start_paused = true)]
async fn a_connection_past_its_lifetime_gets_no_more_requests() {
    let connector = MemoryConnector::new(always(200, "x"));
    let pool = PoolConfig::default()
        .max_lifetime(100 * SECOND)
        .idle_timeout(None);
    let session = in_memory(pool, Timeouts::default(), &connector);
    for _ in 0..8 {
        fetch(&session, get("http://peer/")).await.unwrap();
        tokio::time::sleep(11 * SECOND).await;
    }
    assert_eq!(
        connector.log().accepted,
        1,
        "88 s are within 90 % of the lifetime"
    );
    tokio::time::sleep(30 * SECOND).await;
    assert_eq!(
        session.stats().open,
        0,
        "it closes when it is too old, and not when it is used"
    );
    fetch(&session, get("http://peer/")).await.unwrap();
    assert_eq!(connector.log().accepted, 2);
}

#[tokio::test(start_paused = true)]
async fn without_timeouts_nothing_is_timed_out() {
    let connector = MemoryConnector::new(sequence([
        Reply::status(200).body("x").delay(86_400 * SECOND),
        Reply::status(200).body("x"),
    ]));
    let pool = PoolConfig::default().idle_timeout(None).max_lifetime(None);
    let timeouts = Timeouts::default().connect(None).head(None).body_idle(None);
    let session = in_memory(pool, timeouts, &connector);
    fetch(&session, get("http://peer/")).await.unwrap();
    tokio::time::sleep(86_400 * SECOND).await;
    let empty: Full<Bytes> = Full::default();
    fetch(&session, get("http://peer/").map(|_| empty))
        .await
        .unwrap();
    assert_eq!(connector.log().accepted, 1);
}
