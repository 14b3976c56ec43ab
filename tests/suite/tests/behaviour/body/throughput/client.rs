//! What the client makes of floors: requests, files, events, retries and errors.

use std::time::Duration;

use client::{
    AttemptRecord, Client, ClientBuilder, ErrorKind, FailureKind, RequestBuilder, Response,
    SAVED_FLOOR, TimeoutPhase, TransferDirection,
};
use http::StatusCode;
use test_suite::TemporaryFolder;
use test_support::{Connection, MemoryConnector};
use tokio::time::Instant;

use super::{SECOND, Timeouts, assert_took, floor};

/// A body whose bytes tell their place.
fn file(length: usize) -> Vec<u8> {
    (b'a'..=b'w').cycle().take(length).collect()
}

/// A server of one file. Of a request for it, or for the rest of it, it sends the first `slow` answers at
/// ten bytes per second, and the others at once.
fn serving(length: usize, slow: usize) -> MemoryConnector {
    let asked = std::sync::atomic::AtomicUsize::new(0);
    let asked = std::sync::Arc::new(asked);
    MemoryConnector::with_buffer(
        move |mut connection: Connection| {
            let asked = asked.clone();
            async move {
                while let Some(request) = connection.read_request().await {
                    let number = asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    let whole = file(length);
                    let from = request.header("range").map(|range| {
                        let (from, _) = range.trim_start_matches("bytes=").split_once('-').unwrap();
                        from.parse::<usize>().unwrap()
                    });
                    let rest = whole.get(from.unwrap_or_default()..).unwrap();
                    let status = match from {
                        Some(from) => format!(
                            "206 Partial Content\r\ncontent-range: bytes {from}-{}/{length}",
                            length - 1
                        ),
                        None => "200 OK".to_owned(),
                    };
                    let left = rest.len();
                    let head = format!(
                        "HTTP/1.1 {status}\r\netag: \"1\"\r\ncontent-length: {left}\r\n\r\n"
                    );
                    connection.write(head).await;
                    let sent = if number < slow {
                        connection.drip(rest, 10, SECOND).await
                    } else {
                        connection.write(rest).await
                    };
                    if !sent {
                        return;
                    }
                    connection.answered();
                }
            }
        },
        1024,
    )
}

fn over(connector: &MemoryConnector, builder: ClientBuilder) -> Client {
    builder.build_with_connector(connector.clone()).unwrap()
}

async fn ask(request: RequestBuilder) -> Response {
    request.send().await.unwrap().error_for_status().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_saved_download_that_trickles_is_continued_over_another_connection() {
    let folder = TemporaryFolder::new();
    let target = folder.file("file");
    for resumed_all in [false, true] {
        // The rest of it is held to the floor too.
        let connector = serving(10_000, 2);
        let client = over(&connector, Client::builder());
        let mut request = client.get("http://peer/file");
        if resumed_all {
            request = request.resume(true);
        }
        let began = Instant::now();
        let written = ask(request).await.save_to(&target).await.unwrap();
        assert_eq!(written, 10_000);
        assert_eq!(std::fs::read(&target).unwrap(), file(10_000));
        let took = began.elapsed();
        let log = connector.log();
        assert_eq!(log.requests.len(), 3);
        let windows = 2 * SAVED_FLOOR.window();
        assert!(took >= windows && took < windows + 10 * SECOND, "{took:?}");
        assert_eq!(log.accepted, 3, "one that was too slow is not used again");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_saved_has_no_floor_where_that_was_set_by_hand() {
    let folder = TemporaryFolder::new();
    let target = folder.file("file");
    let of_client = || Client::builder().timeouts(Timeouts::default().download_floor(None));
    for (builder, of_request) in [(of_client(), false), (Client::builder(), true)] {
        let connector = serving(2000, 1);
        let client = over(&connector, builder);
        let mut request = client.get("http://peer/file");
        if of_request {
            request = request.download_floor(None);
        }
        let began = Instant::now();
        assert_eq!(ask(request).await.save_to(&target).await.unwrap(), 2000);
        assert_eq!(connector.log().requests.len(), 1);
        assert_took(began.elapsed(), 199 * SECOND, of_request);
    }
}

#[tokio::test(start_paused = true)]
async fn a_saved_download_that_cannot_be_continued_tells_that_it_was_too_slow() {
    let folder = TemporaryFolder::new();
    let target = folder.file("file");
    let connector = serving(10_000, 9);
    let client = over(&connector, Client::builder().resume(false));
    let response = ask(client.get("http://peer/file")).await;
    let error = response.save_to(&target).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooSlow);
    assert!(error.is_too_slow() && error.is_body() && error.is_timeout());
    assert_eq!(error.timeout_phase(), Some(TimeoutPhase::Body));
    let slow = error.too_slow().unwrap();
    assert_eq!(slow.floor(), SAVED_FLOOR);
    assert_eq!(slow.direction(), TransferDirection::Download);
    assert_eq!(
        error.to_string(),
        "GET http://peer:80: the response body came at 10 B/s over 60s, less than the floor of 100 B/s"
    );
    assert!(!target.exists());
}

#[tokio::test(start_paused = true)]
async fn what_is_not_saved_may_trickle_by_default() {
    let connector = serving(2000, 9);
    let client = over(&connector, Client::builder());
    let fetched = client.get("http://peer/").fetch().await.unwrap();
    assert_eq!(fetched.body().len(), 2000);
    let sent = ask(client.get("http://peer/")).await;
    assert_eq!(sent.bytes().await.unwrap().len(), 2000);
}

#[tokio::test(start_paused = true)]
async fn a_collected_body_that_trickles_is_an_attempt_that_failed() {
    let connector = serving(2000, 2);
    let client = over(&connector, Client::builder());
    let request = client.get("http://peer/").download_floor(floor(100, 10));
    let fetched = request.fetch().await.unwrap();
    assert_eq!(fetched.body().len(), 2000);
    let report = fetched.retry_report();
    let kinds: Vec<_> = report.attempts().iter().map(AttemptRecord::kind).collect();
    let kinds: Vec<_> = kinds
        .into_iter()
        .map(|it| it.map(FailureKind::as_str))
        .collect();
    assert_eq!(kinds, [Some("too_slow"), Some("too_slow"), None]);
}

/// A server that takes little of each request, and never answers.
fn deaf() -> MemoryConnector {
    MemoryConnector::with_buffer(
        |mut connection: Connection| async move {
            let _ = connection.read_head().await;
            connection.stall().await;
        },
        1024,
    )
}

#[tokio::test(start_paused = true)]
async fn a_request_taken_too_slowly_is_sent_again_only_where_that_is_safe() {
    for (method, attempts) in [("POST", 1), ("PUT", 3)] {
        let timeouts = Timeouts::default().upload_floor(floor(100, 10));
        for of_request in [false, true] {
            let connector = deaf();
            let builder = Client::builder();
            let builder = if of_request {
                builder
            } else {
                builder.timeouts(timeouts.clone())
            };
            let client = over(&connector, builder);
            let mut request = client.request(method.parse().unwrap(), "http://peer/");
            if of_request {
                request = request.upload_floor(floor(100, 10));
            }
            let error = request.body(vec![b'x'; 1 << 20]).fetch().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TooSlow, "{error}");
            assert!(!error.is_body(), "{error}");
            assert_eq!(error.timeout_phase(), Some(TimeoutPhase::Head));
            assert_eq!(error.gateway_status(), StatusCode::GATEWAY_TIMEOUT);
            assert_eq!(connector.log().accepted, attempts, "{error}");
        }
    }
}

/// A stream of events with an hour between each two.
fn quiet(content_type: &'static str) -> MemoryConnector {
    MemoryConnector::new(move |mut connection: Connection| async move {
        while connection.read_request().await.is_some() {
            let head =
                format!("HTTP/1.1 200 OK\r\n{content_type}transfer-encoding: chunked\r\n\r\n");
            connection.write(head).await;
            for _ in 0..3 {
                tokio::time::sleep(3600 * SECOND).await;
                connection.write("9\r\ndata: x\n\n\r\n").await;
            }
            connection.write("0\r\n\r\n").await;
            connection.answered();
        }
    })
}

#[tokio::test(start_paused = true)]
async fn the_floor_of_a_client_does_not_cut_a_quiet_stream_of_events() {
    let strict = || Timeouts::default().download_floor(floor(1 << 20, 5));
    for content_type in ["content-type: text/event-stream\r\n", ""] {
        let connector = quiet(content_type);
        let client = over(&connector, Client::builder().timeouts(strict()));
        let mut events = ask(client.get("http://peer/")).await.events().unwrap();
        for _ in 0..3 {
            let event = events.next().await.unwrap();
            assert_eq!(event.unwrap().data, "x", "{content_type:?}");
        }
        // A request that asks for it gets it.
        let request = client.get("http://peer/").download_floor(floor(100, 5));
        let mut events = ask(request).await.events().unwrap();
        let error = events.next().await.unwrap().unwrap_err();
        assert!(error.is_too_slow(), "{error}");
    }
    let connector = quiet("content-type: text/event-stream\r\n");
    let client = over(&connector, Client::builder().timeouts(strict()));
    let mut source = client.get("http://peer/").event_source();
    for _ in 0..3 {
        let event = source.next_event().await.unwrap();
        assert_eq!(event.unwrap().data, "x");
    }
    assert_eq!(connector.log().requests.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_requests_timeouts_hold_after_a_redirect_to_another_origin() {
    let connector = MemoryConnector::new(|mut connection: Connection| async move {
        while let Some(request) = connection.read_request().await {
            if request.path() == "/go" {
                let to = [("location", "http://other/")];
                connection.respond_with(302, &to, "").await;
            } else {
                connection
                    .write("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
                    .await;
                connection.drip(vec![b'x'; 1000], 10, 2 * SECOND).await;
            }
        }
    });
    let client = over(&connector, Client::builder());
    let go = || client.get("http://peer/go").no_retry();
    let slow = go().download_floor(floor(100, 10)).fetch().await;
    let error = slow.unwrap_err();
    assert!(error.is_too_slow(), "{error}");
    let idle = go().idle_timeout(Duration::from_millis(1500)).fetch().await;
    assert_eq!(idle.unwrap_err().kind(), ErrorKind::BodyTimeout);
}

#[tokio::test(start_paused = true)]
async fn a_quiet_stream_of_events_may_be_saved() {
    let folder = TemporaryFolder::new();
    let target = folder.file("file");
    let connector = MemoryConnector::new(move |mut connection: Connection| async move {
        while connection.read_request().await.is_some() {
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
                        content-length: 40\r\n\r\n";
            connection.write(head).await;
            connection.drip([b':'; 40], 2, 20 * SECOND).await;
            connection.answered();
        }
    });
    let client = over(&connector, Client::builder().resume(false));
    let saved = ask(client.get("http://peer/")).await.save_to(&target).await;
    assert_eq!(saved.unwrap_or_else(|error| panic!("{error}")), 40);
    // Unless its request asks for something of its own.
    let request = client.get("http://peer/").download_floor(SAVED_FLOOR);
    let saved = ask(request).await.save_to(&target).await;
    assert!(saved.unwrap_err().is_too_slow());
}
