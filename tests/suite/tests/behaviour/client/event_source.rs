//! Server-sent events over several connections.

use std::time::Duration;

use client::{
    Backoff, Client, Error, EventSource, Http2, Reconnecting, RetryPolicy, SourceUpdate,
    testing::{Answer, Fake},
};
use h2::{Reason, server::Builder};
use http::{HeaderMap, StatusCode};
use proptest::prelude::*;
use test_support::{
    Connection, MemoryConnector, Server,
    http2::{Peer, Stream},
};
use tokio::time::{Instant, timeout};

const SECOND: Duration = Duration::from_secs(1);

/// The standard's wait between two connections, with the least that the backoff adds.
const WAIT: Duration = Duration::from_secs(3);

fn stream(text: &'static str) -> Answer {
    Answer::new(200)
        .header("content-type", "text/event-stream; charset=utf-8")
        .body(text)
}

fn no_more() -> Answer {
    Answer::new(204)
}

/// A source that waits without jitter: 3 s, and a second more.
fn source(fake: &Fake) -> EventSource {
    let source = fake
        .client()
        .get("http://peer/news")
        .retry(RetryPolicy::builder().max_attempts(1))
        .event_source();
    source.backoff(Backoff::fixed(SECOND))
}

/// What a source tells, in words, until it ends; and the error that it ended with.
async fn told(mut source: EventSource) -> (Vec<String>, Option<Error>) {
    let mut told = Vec::new();
    while let Some(update) = source.next().await {
        told.push(match update {
            Ok(SourceUpdate::Open(head)) => format!("open {}", head.status().as_u16()),
            Ok(SourceUpdate::Event(event)) => format!("event {}", event.data),
            Ok(SourceUpdate::Reconnecting(Reconnecting {
                wait,
                failures,
                error,
                ..
            })) => {
                let why = error.map_or("ended", |error| error.kind().as_str());
                format!("{why}, {failures}, {}s", wait.as_secs())
            }
            Ok(other) => format!("{other:?}"),
            Err(error) => return (told, Some(error)),
        });
    }
    (told, None)
}

fn last_ids(fake: &Fake) -> Vec<Option<String>> {
    let id = |headers: &HeaderMap| {
        let id = headers.get("last-event-id")?;
        Some(String::from_utf8_lossy(id.as_bytes()).into_owned())
    };
    let requests = fake.requests();
    requests
        .iter()
        .map(|request| id(request.headers()))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_ends_or_breaks_goes_on_after_the_last_whole_event() {
    let fake = Fake::new([
        stream("id: 1\ndata: a\n\nid: 2\ndata: b\n\n"),
        stream("id: 3\ndata: c\n\nid: 4\ndata: not whole\n").breaks_off(),
        no_more(),
    ]);
    let (told, error) = told(source(&fake)).await;
    assert!(error.is_none());
    assert_eq!(
        told,
        [
            "open 200",
            "event a",
            "event b",
            "ended, 0, 4s",
            "open 200",
            "event c",
            "body, 0, 4s",
        ]
    );
    let ids = last_ids(&fake);
    assert_eq!(ids, [None, Some("2".to_owned()), Some("3".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn it_asks_for_events_and_no_cached_ones_unless_told_otherwise() {
    let fake = Fake::new([no_more(), no_more()]);
    assert!(source(&fake).next().await.is_none());
    let request = fake.client().get("http://peer/").header("accept", "text/*");
    assert!(request.event_source().next().await.is_none());
    let requests = fake.requests();
    assert_eq!(requests[0].headers()["accept"], "text/event-stream");
    assert_eq!(requests[0].headers()["cache-control"], "no-cache");
    assert_eq!(requests[1].headers()["accept"], "text/*");
}

#[tokio::test(start_paused = true)]
async fn the_server_sets_the_time_between_connections() {
    let fake = Fake::new([
        stream("retry: 250\n\n"),
        stream("data: a\n\n"),
        Answer::new(503).header("retry-after", "30"),
        Answer::new(429),
        no_more(),
    ]);
    let began = Instant::now();
    let (told, error) = told(source(&fake)).await;
    assert!(error.is_none(), "{error:?}");
    assert_eq!(
        told,
        [
            "open 200",
            "ended, 1, 1s",
            "open 200",
            "event a",
            "ended, 0, 1s",
            "status, 1, 30s",
            "status, 2, 1s",
        ]
    );
    let waited = 3 * Duration::from_millis(1_250) + 30 * SECOND;
    assert!(began.elapsed() >= waited && began.elapsed() < waited + SECOND);
}

#[tokio::test(start_paused = true)]
async fn connections_without_events_are_made_ever_more_seldom() {
    let mut answers = Vec::from([503; 6].map(Answer::new));
    answers.push(stream("data: a\n\n"));
    answers.push(Answer::new(503));
    let fake = Fake::new(answers);
    let request = fake
        .client()
        .get("http://peer/")
        .retry(RetryPolicy::builder().max_attempts(1));
    let mut source = request.event_source().reconnection_time(Duration::ZERO);
    let mut waits = Vec::new();
    while waits.len() < 8 {
        if let SourceUpdate::Reconnecting(again) = source.next().await.unwrap().unwrap() {
            waits.push((again.failures, again.wait));
        }
    }
    let failures: Vec<_> = waits.iter().map(|(failures, _)| *failures).collect();
    assert_eq!(failures, [1, 2, 3, 4, 5, 6, 0, 1]);
    for (number, (_, wait)) in (0..6).zip(&waits) {
        assert!(*wait <= SECOND * 2_u32.pow(number), "{waits:?}");
    }
    assert!(waits[6].1 <= SECOND, "it starts anew: {waits:?}");
}

#[tokio::test(start_paused = true)]
async fn what_no_other_connection_would_change_ends_it() {
    let html = Answer::new(200)
        .header("content-type", "text/html")
        .body("<p>");
    for (answer, kind) in [
        (html, "decode"),
        (Answer::new(404), "status"),
        (Answer::new(401), "status"),
        (Answer::new(206), "status"),
        (Answer::new(304), "status"),
        (stream("data: 12345678901234567890\n\n"), "too_large"),
    ] {
        let fake = Fake::new([answer]);
        let (_, error) = told(source(&fake).max_length(10)).await;
        assert_eq!(error.unwrap().kind().as_str(), kind);
        assert_eq!(fake.requests().len(), 1);
    }
    let fake = Fake::new([200]);
    let client = fake.client();
    client.close().await;
    let (_, error) = told(client.get("http://peer/").event_source()).await;
    assert!(error.unwrap().is_closed());
    let (_, error) = told(client.get("no url").event_source()).await;
    assert!(error.unwrap().is_builder());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_makes_statuses_errors_reconnects_all_the_same() {
    let fake = Fake::new([Answer::new(503), stream("data: a\n\n"), no_more()]);
    let client = Client::builder()
        .error_for_status(true)
        .build_with_fake(&fake)
        .unwrap();
    let mut source = client
        .get("http://peer/")
        .retry(RetryPolicy::builder().max_attempts(1))
        .event_source();
    assert_eq!(source.next_event().await.unwrap().unwrap().data, "a");
    assert!(source.next_event().await.is_none());
    assert!(source.next_event().await.is_none(), "it stays ended");
}

#[tokio::test(start_paused = true)]
async fn so_many_failures_in_a_row_end_it_with_the_last_error() {
    let fake = Fake::new([
        Answer::new(503),
        stream("data: a\n\n"),
        Answer::new(503),
        Answer::new(500),
    ]);
    let (told, error) = told(source(&fake).max_failures(2)).await;
    assert_eq!(told.iter().filter(|it| it.starts_with("status")).count(), 2);
    assert_eq!(
        error.unwrap().status(),
        Some(StatusCode::INTERNAL_SERVER_ERROR)
    );
}

#[tokio::test(start_paused = true)]
async fn a_post_is_repeated_until_the_first_event_only_unless_it_is_marked() {
    let answers = || {
        [
            stream(": working\n\n").breaks_off(),
            stream("data: a\n\n"),
            stream("data: b\n\n"),
            no_more(),
        ]
    };
    let post = |fake: &Fake| {
        let post = fake.client().post("http://peer/v1/chat").body("question");
        post.header("content-type", "text/plain")
    };
    let fake = Fake::new(answers());
    let (read, error) = told(post(&fake).event_source()).await;
    assert!(error.is_none());
    assert_eq!(read.last().unwrap(), "event a");
    assert_eq!(fake.requests().len(), 2);
    assert_eq!(fake.requests()[1].body(), "question");

    let fake = Fake::new(answers());
    told(post(&fake).idempotent().event_source()).await;
    assert_eq!(fake.requests().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_cannot_be_sent_again_is_sent_once() {
    let fake = Fake::new([stream("data: a\n\n"), no_more()]);
    let once = tokio_stream::once(Ok::<_, std::io::Error>("part".into()));
    let request = fake
        .client()
        .put("http://peer/")
        .body(client::Body::stream(once));
    let (told, error) = told(request.event_source()).await;
    assert!(error.is_none());
    assert_eq!(told, ["open 200", "event a"]);
    assert_eq!(fake.requests().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_is_asked_again_and_a_quiet_one_is_waited_for() {
    // Without a limit of its own, the default idle timeout of bodies does not count.
    let connector = MemoryConnector::new(|mut connection: Connection| async move {
        connection.read_request().await;
        connection.write("HTTP/1.1 200 OK\r\n\r\ndata: a\n\n").await;
        connection.stall_until_closed().await;
    });
    let client = Client::builder().build_with_connector(connector).unwrap();
    let mut quiet = client.get("http://peer/").event_source();
    quiet.next_event().await.unwrap().unwrap();
    timeout(3_600 * SECOND, quiet.next_event())
        .await
        .unwrap_err();

    let fake = Fake::new([
        stream("data: a\n\n").stalls(),
        stream(": no event\n\n").stalls(),
        no_more(),
    ]);
    let limited = source(&fake)
        .first_event_timeout(20 * SECOND)
        .silence_timeout(25 * SECOND);
    let began = Instant::now();
    let (told, error) = told(limited).await;
    assert!(error.is_none());
    assert_eq!(
        told,
        [
            "open 200",
            "event a",
            "body_timeout, 0, 4s",
            "open 200",
            "body_timeout, 1, 4s"
        ]
    );
    let waited = 25 * SECOND + 20 * SECOND + 2 * (WAIT + SECOND);
    assert!(began.elapsed() >= waited && began.elapsed() < waited + SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_source_goes_on_where_an_earlier_one_has_ended() {
    let fake = Fake::new([
        stream("data: a\n\n"),
        stream("id: x\u{1}y\ndata: b\n\n"),
        no_more(),
    ]);
    let mut source = source(&fake).last_event_id_is("ä7");
    assert_eq!(source.last_event_id(), "ä7");
    assert_eq!(source.next_event().await.unwrap().unwrap().id, "ä7");
    assert_eq!(source.last_event_id(), "ä7");
    assert_eq!(source.next_event().await.unwrap().unwrap().id, "x\u{1}y");
    assert!(source.next_event().await.is_none());
    let known = Some("ä7".to_owned());
    assert_eq!(
        last_ids(&fake),
        [known.clone(), known, None],
        "what no header can hold is left out"
    );
    assert!(!format!("{source:?}").contains("ä7"), "{source:?}");
}

/// All events of a source that connects again at once.
async fn events(client: &Client, url: &str) -> Vec<(String, String)> {
    let source = client.get(url).event_source();
    let mut source = source
        .reconnection_time(Duration::ZERO)
        .backoff(Backoff::fixed(Duration::from_millis(1)));
    let mut read = Vec::new();
    while let Some(event) = source.next_event().await.transpose().unwrap() {
        read.push((event.id, event.data));
    }
    read
}

/// The next events after the one with this id, and the beginning of another.
fn five_after(last: Option<&str>) -> Option<String> {
    let after: u32 = last.map_or(0, |id| id.parse().unwrap());
    let next = (after + 1..=ALL).take(5);
    let mut events: Vec<_> = next
        .map(|id| format!("id: {id}\ndata: {}\n\n", id * 7))
        .collect();
    events.first()?;
    events.push("id: 999\ndata: cut off".to_owned());
    Some(events.concat())
}

const ALL: u32 = 103;

fn all() -> Vec<(String, String)> {
    (1..=ALL)
        .map(|id| (id.to_string(), (id * 7).to_string()))
        .collect()
}

#[tokio::test]
async fn no_event_is_lost_or_comes_twice_however_connections_end_over_http1() {
    let server = Server::start(|mut connection: Connection| async move {
        while let Some(request) = connection.read_request().await {
            let Some(text) = five_after(request.header("last-event-id")) else {
                connection.respond(204, "").await;
                continue;
            };
            let chunk = format!("{:x}\r\n{text}\r\n", text.len());
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
                        transfer-encoding: chunked\r\n\r\n";
            connection.write(format!("{head}{chunk}")).await;
            match connection.number() % 3 {
                0 => {
                    connection.write("0\r\n\r\n").await;
                }
                1 => return connection.close().await,
                _ => {
                    // What was written has to arrive before the reset that takes it along.
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    return connection.reset();
                }
            }
            connection.answered();
        }
    })
    .await;
    assert_eq!(events(&Client::new(), &server.url("/")).await, all());
}

#[tokio::test]
async fn no_event_is_lost_or_comes_twice_however_streams_end_over_http2() {
    let peer = Peer::new(Builder::new(), |stream: Stream| async move {
        let last = stream.request.headers().get("last-event-id");
        let Some(text) = five_after(last.map(|id| id.to_str().unwrap())) else {
            return stream.answer(204, "");
        };
        match stream.number % 3 {
            0 => stream.answer(200, text),
            1 => {
                stream
                    .break_off(None, text.leak(), Reason::INTERNAL_ERROR)
                    .await;
            }
            _ => {
                stream.go_away();
                stream.answer(200, text);
            }
        }
    });
    let address = peer.listen().await;
    let client = Client::builder()
        .http2(Http2::default().prior_knowledge(true))
        .build()
        .unwrap();
    assert_eq!(events(&client, &format!("http://{address}/")).await, all());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Wherever the bytes of a connection end, the next goes on behind the last whole event.
    #[test]
    fn a_cut_at_any_byte_loses_and_repeats_nothing(cuts in prop::collection::vec(1..200_usize, 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        let cuts = std::sync::Mutex::new(cuts);
        let fake = Fake::from_fn(move |request| {
            let last = request.headers().get("last-event-id");
            let Some(text) = five_after(last.map(|id| id.to_str().unwrap())) else {
                return no_more();
            };
            let cut = cuts.lock().unwrap().pop().unwrap_or(text.len());
            let part = text.get(..cut).unwrap_or(&text).to_owned();
            Answer::new(200).body(part).breaks_off()
        });
        let read = runtime.block_on(events(&fake.client(), "http://peer/"));
        prop_assert_eq!(read, all());
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_to_be_sent_once_is_sent_once() {
    let fake = Fake::new([stream("data: a\n\n"), stream("data: b\n\n")]);
    let source = fake.client().get("http://peer/").no_retry().event_source();
    let (told, error) = told(source).await;
    assert!(error.is_none());
    assert_eq!(told, ["open 200", "event a"]);
    assert_eq!(fake.requests().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn connections_that_end_without_an_event_are_failures_with_an_error() {
    let fake = Fake::new([stream(""), stream(": nothing new\n\n")]);
    let (_, error) = told(source(&fake).max_failures(2)).await;
    let error = error.unwrap();
    assert!(error.is_body());
    assert_eq!(
        error.to_string(),
        "2 connections in a row have brought no event"
    );
}
