//! Response bodies as people read them: text, JSON, lines, events, downloads.

use std::{convert::Infallible, error::Error as _, io, pin::Pin, task, time::Duration};

use bytes::Bytes;
use client::{Client, ClientBuilder, Error, Event, Progress, Response};
use futures_core::Stream;
use http::{HeaderMap, HeaderValue, Request, header};
use http_body_util::StreamBody;
use proptest::prelude::*;
use serde::Deserialize;
use test_support::{Connection, MemoryConnector, Reply, answer, sequence};
use tokio::{io::AsyncWrite, time::Instant};
use tower::service_fn;

fn over(connector: &MemoryConnector) -> Client {
    with(Client::builder(), connector)
}

fn with(builder: ClientBuilder, connector: &MemoryConnector) -> Client {
    builder
        .build_with_connector(connector.clone())
        .expect("the settings are valid")
}

/// A list as a stream.
struct Listed<I>(I);

impl<I: Iterator + Unpin> Stream for Listed<I> {
    type Item = I::Item;

    fn poll_next(
        mut self: Pin<&mut Self>,
        _: &mut task::Context<'_>,
    ) -> task::Poll<Option<I::Item>> {
        task::Poll::Ready(self.0.next())
    }
}

/// The response of a peer whose body comes in these pieces, with a trailer after them.
async fn answered(content_type: &'static str, pieces: &[&[u8]]) -> Response {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static("7"));
    let frames: Vec<_> = pieces
        .iter()
        .map(|piece| http_body::Frame::data(Bytes::copy_from_slice(piece)))
        .chain([http_body::Frame::trailers(trailers)])
        .map(Ok::<_, Infallible>)
        .collect();
    let mut body = Some(StreamBody::new(Listed(frames.into_iter())));
    let client = Client::from_service(service_fn({
        let body = std::sync::Arc::new(std::sync::Mutex::new(body.take()));
        move |_: Request<client::Body>| {
            let body = body.lock().expect("nobody panics").take();
            let response = http::Response::builder()
                .header(header::CONTENT_TYPE, content_type)
                .body(body.expect("one request is sent"));
            async { response }
        }
    }));
    client.get("http://peer/").send().await.expect("it answers")
}

#[derive(Debug, Deserialize, PartialEq)]
struct Order {
    id: u32,
    items: Vec<Item>,
}

#[derive(Debug, Deserialize, PartialEq)]
struct Item {
    price: f64,
}

const ORDER: &str = r#"{"id":7,"items":[{"price":1.5},{"price":2}]}"#;

#[tokio::test(start_paused = true)]
async fn json_cut_anywhere_is_fetched_again_and_never_short_when_it_streams() {
    for end in 0..ORDER.len() {
        let cut = Reply::truncated_body(ORDER.len(), &ORDER[..end]);
        let connector =
            MemoryConnector::new(sequence([cut.clone(), Reply::status(200).body(ORDER)]));
        let response = over(&connector).get("http://peer/").fetch().await.unwrap();
        assert_eq!(
            response.retry_report().attempts().len(),
            2,
            "cut after {end}"
        );
        assert_eq!(response.json::<Order>().unwrap().items.len(), 2);

        let connector = MemoryConnector::new(sequence([cut]));
        let response = over(&connector).get("http://peer/").send().await.unwrap();
        let error = response.json::<Order>().await.unwrap_err();
        assert!(
            error.is_body() && !error.is_decode(),
            "cut after {end}: {error:?}"
        );
        assert_eq!(connector.log().requests.len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn json_of_another_shape_tells_where_it_is_and_not_what() {
    let fetched = async |body: &'static str| {
        let connector = MemoryConnector::new(answer(move |_| Reply::status(200).body(body)));
        let response = over(&connector).get("http://peer/").fetch().await.unwrap();
        response.json::<Order>().unwrap_err()
    };
    for (body, said) in [
        (
            r#"{"id":7,"items":[{"price":1},{"price":"canary"}]}"#,
            "the JSON does not fit the type, at `items[1].price` (line 1, column 46)",
        ),
        (
            r#"{"id":"canary","items":[]}"#,
            "the JSON does not fit the type, at `id` (line 1, column 14)",
        ),
        (
            r#"{"items":[]}"#,
            "the JSON does not fit the type: the field `id` is missing (line 1, column 12)",
        ),
        (
            "canary",
            "the body is not JSON; it has no content type (line 1, column 1)",
        ),
        ("", "the body is not JSON: it is empty"),
        (
            r#"{"id":7,"items":["#,
            "the body is not JSON: it breaks off (line 1, column 17)",
        ),
        (
            r#"{"id":7,"items":[]} canary"#,
            "the body is not JSON; it has no content type (line 1, column 21)",
        ),
    ] {
        let error = fetched(body).await;
        assert!(error.is_decode());
        let said = format!("GET http://peer:80: {said} (1 attempt)");
        assert_eq!(error.to_string(), said);
        assert!(error.source().is_some());
        for told in [
            format!("{error:?}"),
            format!("{error:#?}"),
            format!("{error:#}"),
        ] {
            assert!(!told.contains("canary"), "{told}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_in_place_of_json_is_told_by_its_type_and_kept() {
    let page = format!("<html>canary{}</html>", "x".repeat(20_000));
    let connector = MemoryConnector::new(answer(move |request| {
        let status = if request.path() == "/login" { 200 } else { 502 };
        Reply::status(status)
            .header("content-type", "text/html; charset=utf-8")
            .header("x-id", "7")
            .body(page.clone())
    }));
    let client = over(&connector);
    let collected = client.get("http://peer/login").fetch().await.unwrap();
    let streamed = client.get("http://peer/login").send().await.unwrap();
    for error in [
        collected.json::<Order>().unwrap_err(),
        streamed.json::<Order>().await.unwrap_err(),
    ] {
        assert_eq!(
            error.to_string(),
            "GET http://peer:80: the body is not JSON; its content type is text/html; \
             charset=utf-8 (line 1, column 1) (1 attempt)"
        );
        assert_eq!(error.status().unwrap(), 200);
        assert_eq!(error.headers().unwrap()["x-id"], "7");
        assert_eq!(error.url().unwrap(), "http://peer/login");
        assert_eq!(error.retry_report().unwrap().attempts().len(), 1);
        let body = error.body().unwrap();
        assert!(body.starts_with(b"<html>canary") && body.len() == 8 * 1024);
        for told in [
            format!("{error:?}"),
            format!("{error:#?}"),
            format!("{error:#}"),
        ] {
            assert!(!told.contains("canary"), "{told}");
        }
    }
    let request = client.get("http://peer/").no_retry().fetch();
    let error = request.await.unwrap().json::<Order>().unwrap_err();
    assert!(
        error
            .to_string()
            .contains("the server answered 502 Bad Gateway, and the body is not JSON"),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_error_is_printed_with_its_causes_for_logs_and_for_people() {
    let connector = MemoryConnector::new(answer(|_| Reply::status(200)));
    connector.refuse();
    let error = over(&connector).get("http://peer/").no_retry().send().await;
    let error = error.unwrap_err();
    let causes: Vec<_> = std::iter::successors(error.source(), |cause| (*cause).source())
        .map(ToString::to_string)
        .collect();
    assert!(!causes.is_empty());
    assert_eq!(
        format!("{error:#}"),
        format!("{error}: {}", causes.join(": "))
    );
    assert_eq!(
        format!("{error:?}"),
        format!("{error}\n\nCaused by:\n    {}", causes.join("\n    "))
    );
    assert!(format!("{error:#?}").starts_with("Error {"), "{error:#?}");
}

#[tokio::test(start_paused = true)]
async fn json_may_begin_with_a_byte_order_mark() {
    let response = answered("application/json", &["\u{feff}[1]".as_bytes()]).await;
    assert_eq!(response.json::<[u8; 1]>().await.unwrap(), [1]);
    let response = answered("application/json", &["\u{feff}\u{feff}[1]".as_bytes()]).await;
    assert!(response.json::<[u8; 1]>().await.unwrap_err().is_decode());
}

#[tokio::test(start_paused = true)]
async fn text_is_read_in_its_charset() {
    for (content_type, body, text) in [
        ("text/plain", &b"caf\xc3\xa9"[..], "café"),
        ("text/plain; charset=utf-8", b"caf\xc3\xa9", "café"),
        ("text/plain;charset=\"ISO-8859-1\"", b"caf\xe9", "café"),
        (
            "text/plain; format=flowed; CharSet=windows-1252",
            b"\x80",
            "€",
        ),
        ("text/html; charset=koi8-r", b"\xf0\xd2\xc9", "При"),
        ("text/html; charset=shift_jis", b"\x93\xfa\x96\x7b", "日本"),
        ("text/html; charset=gb18030", b"\xd6\xd0\xce\xc4", "中文"),
        ("text/plain; charset=utf-16le", b"a\0\xe9\0", "aé"),
        // Other parameters may hold any bytes, and semicolons where they are quoted.
        (
            "text/plain; name=\"é\"; charset=iso-8859-1",
            b"caf\xe9",
            "café",
        ),
        (
            "text/plain; name=\"a; charset=koi8-r\"; charset=latin1",
            b"caf\xe9",
            "café",
        ),
        (
            "text/plain; name=\"a\\\"; charset=koi8-r\"; charset=latin1",
            b"caf\xe9",
            "café",
        ),
        ("text/plain; charset=\"iso\\-8859\\-1\"", b"caf\xe9", "café"),
        ("text/plain; charset = latin1 ;", b"caf\xe9", "café"),
        ("text/plain; charset=\"latin1", b"caf\xe9", "café"),
        // A byte order mark says more than the header.
        (
            "text/plain; charset=iso-8859-1",
            b"\xef\xbb\xbfcaf\xc3\xa9",
            "café",
        ),
        ("text/plain", b"\xfe\xff\0a", "a"),
        // A charset that nobody knows is none, and bytes that are none of it are replaced.
        ("text/plain; charset=nonsense", b"caf\xc3\xa9", "café"),
        ("text/plain", b"caf\xe9!", "caf\u{fffd}!"),
        ("", b"a", "a"),
    ] {
        let response = answered(content_type, &[body]).await;
        assert_eq!(response.text().await.unwrap(), text, "{content_type}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_response_tells_its_length_and_url() {
    let connector = MemoryConnector::new(answer(|_| Reply::status(200).body("12345")));
    let client = over(&connector);
    let response = client
        .get("http://user:password@peer/a?b")
        .send()
        .await
        .unwrap();
    assert_eq!(response.content_length(), Some(5));
    assert_eq!(response.url(), "http://peer/a?b");
    assert_eq!(answered("", &[b"a"]).await.content_length(), None);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_announced_as_too_large_is_not_read() {
    let connector = MemoryConnector::new(|mut connection: Connection| async move {
        connection.read_request().await;
        connection
            .write("HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n")
            .await;
        connection.stall_until_closed().await;
    });
    let client = with(Client::builder().max_body(1000), &connector);
    let began = Instant::now();
    let error = client.get("http://peer/").fetch().await.unwrap_err();
    assert!(error.is_body(), "{error:?}");
    let response = client.get("http://peer/").send().await.unwrap();
    assert!(response.bytes().await.unwrap_err().is_body());
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_stream_gives_what_comes_and_then_the_trailers() {
    let mut stream = answered("", &[b"a", b"", b"bc"]).await.stream();
    assert_eq!(stream.next().await.unwrap().unwrap(), "a");
    assert!(stream.trailers().is_none());
    assert_eq!(stream.next().await.unwrap().unwrap(), "bc");
    assert!(stream.next().await.is_none());
    assert_eq!(stream.trailers().unwrap()["x-sum"], "7");
    assert!(stream.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_breaks_off_ends_with_one_error() {
    let connector = MemoryConnector::new(sequence([Reply::truncated_body(9, "a\nb")]));
    let client = over(&connector);
    let mut stream = client.get("http://peer/").send().await.unwrap().stream();
    let mut pieces = Vec::new();
    while let Some(piece) = stream.next().await {
        pieces.push(piece);
    }
    let error = pieces.pop().unwrap().unwrap_err();
    assert!(error.is_body(), "{error:?}");
    assert!(
        error.to_string().starts_with("GET http://peer:80: "),
        "{error}"
    );
    assert!(pieces.iter().all(Result::is_ok));

    let mut lines = client.get("http://peer/").send().await.unwrap().lines();
    assert_eq!(lines.next().await.unwrap().unwrap(), "a");
    // The beginning of a line is none.
    assert!(lines.next().await.unwrap().unwrap_err().is_body());
    assert!(lines.next().await.is_none());
}

async fn lines(pieces: &[&[u8]], limit: usize) -> (Vec<String>, Option<Error>) {
    let mut lines = answered("", pieces).await.lines().max_length(limit);
    let mut read = Vec::new();
    while let Some(line) = lines.next().await {
        match line {
            Ok(line) => read.push(line),
            Err(error) => {
                assert!(lines.next().await.is_none(), "it goes on after an error");
                return (read, Some(error));
            }
        }
    }
    (read, None)
}

#[tokio::test(start_paused = true)]
async fn lines_come_without_their_ends() {
    for (text, expected) in [
        (&b""[..], &[][..]),
        (b"one", &["one"]),
        (b"one\ntwo\r\n\nthree", &["one", "two", "", "three"]),
        (b"\xef\xbb\xbf{}\n\xef\xbb\xbf", &["{}", "\u{feff}"]),
        (b"a\rb\n", &["a\rb"]),
        ("grüße\n".as_bytes(), &["grüße"]),
    ] {
        let split: Vec<_> = text.chunks(1).collect();
        for pieces in [&[text][..], &split] {
            let (read, error) = lines(pieces, 100).await;
            assert_eq!(read, expected, "{text:?}");
            assert!(error.is_none());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_line_that_is_too_long_or_no_text_is_an_error() {
    let (read, error) = lines(&[b"abc\nab", b"cd\nabc\n"], 3).await;
    assert_eq!(read, ["abc"]);
    assert_eq!(
        error.unwrap().to_string(),
        "GET http://peer:80: a line of the body is longer than 3 bytes; see `max_length`"
    );
    let (read, error) = lines(&[b"abc\n", b"canary\xff\nabc\n"], 100).await;
    assert_eq!(read, ["abc"]);
    let error = error.unwrap();
    assert!(error.is_decode());
    assert!(!format!("{error:?}").contains("canary"), "{error:?}");
}

async fn events(pieces: &[&[u8]]) -> Vec<(String, String, String)> {
    let mut events = answered("text/event-stream; charset=utf-8", pieces)
        .await
        .events()
        .expect("the type is that of events");
    let mut read = Vec::new();
    while let Some(event) = events
        .next()
        .await
        .transpose()
        .expect("the events can be read")
    {
        let Event {
            event, data, id, ..
        } = event;
        read.push((event, data, id));
    }
    read
}

#[tokio::test(start_paused = true)]
async fn events_are_read_as_the_standard_says() {
    // The first four are the standard's own examples.
    for (text, expected) in [
        (
            "data: YHOO\ndata: +2\ndata: 10\n\n",
            &[("message", "YHOO\n+2\n10", "")][..],
        ),
        (
            ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n",
            &[
                ("message", "first event", "1"),
                ("message", "second event", ""),
            ],
        ),
        (
            "data\n\ndata\ndata\n\ndata:",
            &[("message", "", ""), ("message", "\n", "")],
        ),
        (
            "data:test\n\ndata: test\n\n",
            &[("message", "test", ""), ("message", "test", "")],
        ),
        (
            "event: add\rdata: 1\r\rdata: 2\r\n\r\n",
            &[("add", "1", ""), ("message", "2", "")],
        ),
        // The id stays until there is another, and one with a NUL is none.
        (
            "id: 1\ndata: a\n\ndata: b\nid: x\0y\n\nid: 2\n\ndata: c\n\n",
            &[
                ("message", "a", "1"),
                ("message", "b", "1"),
                ("message", "c", "2"),
            ],
        ),
        // Without data there is no event, and its name is gone.
        ("event: x\n\ndata: a\n\n", &[("message", "a", "")]),
        ("\u{feff}data: a\n\n", &[("message", "a", "")]),
        (
            "unknown: a\nDATA: b\n:data: c\ndata:: d\n\n",
            &[("message", ": d", "")],
        ),
        ("data: not ended\n", &[]),
        ("", &[]),
    ] {
        let split: Vec<_> = text.as_bytes().chunks(1).collect();
        for pieces in [&[text.as_bytes()][..], &split] {
            let read = events(pieces).await;
            let read: Vec<_> = read
                .iter()
                .map(|(event, data, id)| (&**event, &**data, &**id))
                .collect();
            assert_eq!(read, expected, "{text:?}");
        }
    }
    assert_eq!(events(&[b"data: \xff\n\n"]).await[0].1, "\u{fffd}");
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_events_tells_how_to_go_on_after_it() {
    let body = b"retry: 1500\nid: 7\n\nretry: soon\n\nretry: 99999999999999999999999\n\nid: 8\n";
    let mut events = answered("text/event-stream", &[body])
        .await
        .events()
        .unwrap();
    assert_eq!((events.last_event_id(), events.retry()), ("", None));
    assert!(events.next().await.is_none());
    // The last id was not followed by the end of its event.
    assert_eq!(events.last_event_id(), "7");
    assert_eq!(events.retry(), Some(Duration::from_millis(1500)));
}

#[tokio::test(start_paused = true)]
async fn what_are_no_events_or_too_large_ones_is_an_error() {
    let error = answered("application/json", &[b"{}"])
        .await
        .events()
        .unwrap_err();
    assert!(error.is_decode());
    assert_eq!(
        error.to_string(),
        "GET http://peer:80: the body is not valid text/event-stream"
    );
    for pieces in [
        &[&b"data: 1234567890"[..], b"\n\n"][..],
        &[&b"data: 12\n"[..]; 9],
    ] {
        let response = answered("text/event-stream", pieces).await;
        let mut events = response.events().unwrap().max_length(10);
        let error = events.next().await.unwrap().unwrap_err();
        assert!(error.is_body(), "{error:?}");
        assert!(events.next().await.is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_status_is_an_error_with_headers_and_the_beginning_of_the_body() {
    let connector = MemoryConnector::new(answer(|request| {
        let reply = Reply::status(404).header("x-reason", "canary");
        match request.path() {
            "/large" => reply.body(vec![b'x'; 100_000]),
            _ => reply.body("canary"),
        }
    }));
    let client = over(&connector);
    let response = client.get("http://peer/").send().await.unwrap();
    let streamed = response.error_for_status_with_body().await.unwrap_err();
    let response = client.get("http://peer/").fetch().await.unwrap();
    let fetched = response.error_for_status().unwrap_err();
    for error in [streamed, fetched] {
        assert!(error.is_status());
        assert_eq!(error.status().unwrap(), 404);
        assert_eq!(error.headers().unwrap()["x-reason"], "canary");
        assert_eq!(error.body().unwrap(), "canary");
        assert!(!format!("{error} {error:?}").contains("canary"));
    }
    let response = client.get("http://peer/large").send().await.unwrap();
    let error = response.error_for_status_with_body().await.unwrap_err();
    assert_eq!(error.body().unwrap().len(), 8 * 1024);
    let response = answered("", &[b"well"]).await;
    let response = response.error_for_status_with_body().await.unwrap();
    assert_eq!(response.bytes().await.unwrap(), "well");
}

#[tokio::test(start_paused = true)]
async fn the_body_of_a_failed_status_is_not_waited_for_beyond_the_deadline() {
    let connector = MemoryConnector::new(|mut connection: Connection| async move {
        connection.read_request().await;
        connection
            .write("HTTP/1.1 500 Oh\r\nContent-Length: 9\r\n\r\nbegun")
            .await;
        connection.stall_until_closed().await;
    });
    let client = over(&connector);
    let began = Instant::now();
    let request = client
        .get("http://peer/")
        .no_retry()
        .timeout(Duration::from_secs(3));
    let response = request.send().await.unwrap();
    let error = response.error_for_status_with_body().await.unwrap_err();
    assert_eq!(began.elapsed(), Duration::from_secs(3));
    assert!(error.is_status());
    assert_eq!(error.body().unwrap(), "begun");
}

#[tokio::test(start_paused = true)]
async fn a_body_is_written_where_it_should_go_and_tells_how_far_it_is() {
    let body = vec![b'x'; 300_000];
    let length = body.len() as u64;
    let connector = MemoryConnector::new(answer(move |_| Reply::status(200).body(body.clone())));
    let client = over(&connector);
    let mut copy = Vec::new();
    let response = client.get("http://peer/").send().await.unwrap();
    assert_eq!(response.copy_to(&mut copy).await.unwrap(), length);
    assert!(copy == vec![b'x'; 300_000]);

    let mut told: Vec<Progress> = Vec::new();
    let response = client.get("http://peer/").send().await.unwrap();
    let mut nowhere = tokio::io::sink();
    let copied = response.copy_with_progress(&mut nowhere, |progress| told.push(progress));
    assert_eq!(copied.await.unwrap(), length);
    assert!(told.iter().all(|it| it.total == Some(length)));
    assert!(told.is_sorted_by(|one, other| one.written < other.written));
    assert_eq!(told.last().unwrap().written, length);
}

/// A disk without space.
struct Full;

impl AsyncWrite for Full {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut task::Context<'_>,
        _: &[u8],
    ) -> task::Poll<io::Result<usize>> {
        task::Poll::Ready(Err(io::ErrorKind::StorageFull.into()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut task::Context<'_>) -> task::Poll<io::Result<()>> {
        task::Poll::Ready(Ok(()))
    }

    fn poll_shutdown(
        self: Pin<&mut Self>,
        _: &mut task::Context<'_>,
    ) -> task::Poll<io::Result<()>> {
        task::Poll::Ready(Ok(()))
    }
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_fails_is_told_as_that() {
    let response = answered("", &[b"a"]).await;
    let error = response.copy_to(&mut Full).await.unwrap_err();
    assert!(error.is_body() && !error.is_timeout());
    let cause = error.source().unwrap().downcast_ref::<io::Error>().unwrap();
    assert_eq!(cause.kind(), io::ErrorKind::StorageFull);
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime can be made")
}

/// What streams of events are made of.
const WORDS: &[&[u8]] = &[
    b"data: a",
    b"data",
    b"event:b",
    b"id: c\0",
    b":",
    b"\n",
    b"\r\n",
    b"\r",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
];

proptest! {
    #[test]
    fn events_are_the_same_however_they_are_split(
        text in proptest::collection::vec(proptest::sample::select(WORDS), 0..40),
        pieces in 1_usize..9,
    ) {
        let text = text.concat();
        let split: Vec<_> = text.chunks(pieces).collect();
        runtime().block_on(async {
            assert_eq!(events(&split).await, events(&[&text]).await);
        });
    }

    #[test]
    fn any_bytes_are_lines_or_an_error(
        text in proptest::collection::vec(any::<u8>(), 0..200),
        pieces in 1_usize..9,
        limit in 0_usize..50,
    ) {
        let split: Vec<_> = text.chunks(pieces).collect();
        runtime().block_on(async {
            let (whole, wrong) = lines(&[&text], limit).await;
            let (parts, also) = lines(&split, limit).await;
            assert_eq!(whole, parts);
            assert_eq!(wrong.map(|it| it.to_string()), also.map(|it| it.to_string()));
        });
    }
}
