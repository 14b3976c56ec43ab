//! Bodies that are continued where they break, by whole calls of a client.

mod download;
mod support;

use std::{
    collections::HashSet,
    fs,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use client::{
    Client, ClientBuilder, ErrorKind, ResumeErrorKind, StopReason,
    testing::{Answer, Fake},
};
use h2::Reason;
use http_body_util::BodyExt;
use test_suite::TemporaryFolder;
use test_support::{Connection, MemoryConnector, Server, http2};
use tower_service::Service as _;

use self::support::{File, content, gzipped, settings};

/// How a connection ends within a body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Cut {
    Fin,
    Reset,
}

/// Serves a file, and cuts the first connection behind so many bytes of the body.
fn cutting(file: File, at: usize, cut: Cut) -> MemoryConnector {
    MemoryConnector::new(move |mut connection: Connection| {
        let file = file.clone();
        async move {
            while let Some(request) = connection.read_request().await {
                let (head, body) = file.answer_http1(&request);
                connection.write(head).await;
                if connection.number() > 0 || at >= body.len() {
                    connection.write(body).await;
                    connection.answered();
                    continue;
                }
                connection.write(&body[..at]).await;
                return match cut {
                    Cut::Fin => connection.close().await,
                    Cut::Reset => connection.reset(),
                };
            }
        }
    })
}

fn resuming(connector: &MemoryConnector) -> Client {
    let builder = settings().resume(true);
    builder
        .build_with_connector(connector.clone())
        .expect("the settings are valid")
}

/// Where the answer to a request is cut, by its path: the first one for it is, the next ones are not.
#[derive(Default)]
struct Cuts(Mutex<HashSet<String>>);

impl Cuts {
    fn of(&self, path: &str) -> Option<usize> {
        let is_first = self.0.lock().unwrap().insert(path.to_owned());
        let at = path.rsplit('/').next().and_then(|at| at.parse().ok());
        at.filter(|_| is_first)
    }
}

/// Downloads 2 KiB as often as it has bytes, each time cut at another one.
async fn download_cut_anywhere(client: &Client, file: &File, how: &str) {
    for at in 0..file.content.len() {
        let url = format!("http://peer/{how}/{at}");
        let response = client.get(url).send().await.unwrap();
        let body = response.collect().await;
        let body = body.unwrap_or_else(|error| panic!("{how} at {at}: {error:#}"));
        assert!(body.body() == &file.content[..], "{how} at {at}");
        let report = body.retry_report();
        assert_eq!(report.attempts().len(), 2, "{how} at {at}: {report}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_cut_at_any_byte_over_http1_is_whole() {
    let file = File::new(content(2_048));
    let cuts = Arc::new(Cuts::default());
    let served = file.clone();
    let connector = MemoryConnector::new(move |mut connection: Connection| {
        let (file, cuts) = (served.clone(), cuts.clone());
        async move {
            while let Some(request) = connection.read_request().await {
                let (head, body) = file.answer_http1(&request);
                connection.write(head).await;
                let Some(at) = cuts.of(request.path()) else {
                    connection.write(body).await;
                    connection.answered();
                    continue;
                };
                connection.write(&body[..at]).await;
                return if request.path().starts_with("/reset/") {
                    connection.reset();
                } else {
                    connection.close().await;
                };
            }
        }
    });
    let client = resuming(&connector);
    for how in ["end", "reset"] {
        download_cut_anywhere(&client, &file, how).await;
    }
    let asked = connector.log().requests;
    let of_last: Vec<_> = asked.iter().filter(|it| it.path() == "/end/2047").collect();
    assert_eq!(of_last[1].header("range"), Some("bytes=2047-2047"));
}

#[tokio::test(start_paused = true)]
async fn a_cut_at_any_byte_over_http2_is_whole() {
    let file = File::new(content(2_048));
    let cuts = Cuts::default();
    let served = file.clone();
    let peer = http2::Peer::new(h2::server::Builder::new(), move |stream: http2::Stream| {
        let header = |name| {
            let value = stream.request.headers().get(name);
            value.map(|value: &http::HeaderValue| value.to_str().unwrap().to_owned())
        };
        let (range, if_range) = (header("range"), header("if-range"));
        let (head, body) = served.answer(range.as_deref(), if_range.as_deref());
        let body = bytes::Bytes::copy_from_slice(body);
        let path = stream.request.uri().path().to_owned();
        let reason = path
            .starts_with("/reset/")
            .then_some(Reason::INTERNAL_ERROR);
        stream.answer_until(head, body, cuts.of(&path).map(|at| (at, reason)))
    });
    let client = settings()
        .resume(true)
        .http2(client::Http2::default().prior_knowledge(true))
        .build_with_connector(peer.connector())
        .unwrap();
    for how in ["end", "reset"] {
        download_cut_anywhere(&client, &file, how).await;
    }
}

/// Serves a file over sockets, and cuts each connection behind `every` bytes of a body. Counts the bytes
/// of bodies that it was asked for.
async fn serve_with_cuts(file: File, every: usize, asked: Arc<AtomicUsize>) -> Server {
    Server::start(move |mut connection: Connection| {
        let (file, asked) = (file.clone(), asked.clone());
        async move {
            while let Some(request) = connection.read_request().await {
                let (head, body) = file.answer_http1(&request);
                let sent = body.len().min(every);
                asked.fetch_add(sent, Relaxed);
                connection.write(head).await;
                connection.write(&body[..sent]).await;
                if sent < body.len() {
                    return connection.close().await;
                }
                connection.answered();
            }
        }
    })
    .await
}

async fn download_through_cuts(length: usize, every: usize) {
    let file = File::new(content(length));
    let asked = Arc::new(AtomicUsize::new(0));
    let server = serve_with_cuts(file.clone(), every, asked.clone()).await;
    let folder = TemporaryFolder::new();
    // With the default budget.
    let client = settings().build().unwrap();
    let response = client.get(server.url("/")).send().await.unwrap();
    let saved = response.save_to(folder.file("target")).await;

    let saved = saved.unwrap_or_else(|error| panic!("{error:#}, {:?}", error.retry_report()));
    assert_eq!(saved, u64::try_from(length).unwrap());
    assert!(fs::read(folder.file("target")).unwrap() == file.content[..]);
    // Of what was sent before a cut, nothing is asked for again.
    let cuts = length.div_ceil(every);
    assert_eq!(server.log().requests.len(), cuts);
    assert_eq!(asked.load(Relaxed), length);
}

#[tokio::test]
async fn a_download_through_many_cuts_asks_for_each_byte_once() {
    download_through_cuts(2 * 1024 * 1024, 192 * 1024).await;
}

#[tokio::test]
#[ignore = "100 MiB through 34 cuts: `cargo test --release`"]
async fn a_long_download_through_many_cuts_asks_for_each_byte_once() {
    download_through_cuts(100 * 1024 * 1024, 3 * 1024 * 1024).await;
}

/// The first request gets a half of the file, each later one what the other file has.
fn changing(first: File, then: File) -> MemoryConnector {
    MemoryConnector::new(move |mut connection: Connection| {
        let file = if connection.number() == 0 {
            &first
        } else {
            &then
        };
        let (file, is_first) = (file.clone(), connection.number() == 0);
        async move {
            while let Some(request) = connection.read_request().await {
                let (head, body) = file.answer_http1(&request);
                connection.write(head).await;
                if is_first {
                    connection.write(&body[..body.len() / 2]).await;
                    return connection.close().await;
                }
                connection.write(body).await;
                connection.answered();
            }
        }
    })
}

#[tokio::test(start_paused = true)]
async fn a_file_of_a_server_that_ignores_ranges_is_saved_whole() {
    let served = || {
        let answer = || {
            Answer::new(200)
                .header("etag", "\"v1\"")
                .header("content-length", "6")
        };
        let first = answer().body("abc").breaks_off();
        Fake::new([first, answer().body("abcdef")]).client()
    };
    let folder = TemporaryFolder::new();
    let [saved, loaded] = ["saved", "loaded"].map(|name| folder.file(name));
    let response = served().get("http://peer/").send().await.unwrap();
    response.save_to(&saved).await.unwrap();
    served()
        .get("http://peer/")
        .download_to(&loaded)
        .await
        .unwrap();
    for path in [saved, loaded] {
        assert_eq!(fs::read_to_string(path).unwrap(), "abcdef");
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_names_the_file_that_cannot_be_written() {
    let folder = TemporaryFolder::new();
    let missing = folder.file("missing").join("file");
    let client = Client::fake(["a", "b"]);
    let response = client.get("http://peer/").send().await.unwrap();
    let saved = response.save_to(&missing).await.unwrap_err();
    let loaded = client.get("http://peer/").download_to(&missing).await;
    for error in [saved, loaded.unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::Write);
        let text = format!("{error:#}");
        assert!(text.contains(missing.to_str().unwrap()), "{text}");
        assert!(text.contains("No such file"), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_that_changed_is_an_error_and_never_a_mix() {
    let first = File::new(content(1_000));
    let then = File {
        tag: "\"v2\"",
        ..File::new(vec![b'.'; 1_000])
    };
    let connector = changing(first, then);
    let folder = TemporaryFolder::new();
    let client = resuming(&connector);
    let response = client.get("http://peer/").send().await.unwrap();
    let error = response.save_to(folder.file("target")).await.unwrap_err();

    let resume = error.resume_error().unwrap();
    assert_eq!(resume.kind(), ResumeErrorKind::ValidatorChanged);
    assert_eq!(resume.offset(), 500);
    assert_eq!(error.kind(), ErrorKind::Resume);
    assert!(error.is_body());
    let text = error.to_string();
    assert!(
        text.starts_with("GET http://peer:80: the body cannot be continued at byte 500"),
        "{text}"
    );
    let report = error.retry_report().unwrap();
    assert_eq!(report.attempts().len(), 2);
    assert_eq!(report.attempts()[1].resumed_at(), Some(500));
    assert!(folder.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_encoded_body_is_continued_below_its_decoder() {
    let plain = content(4_000);
    let file = File {
        headers: &[("content-encoding", "gzip")],
        ..File::new(gzipped(&plain).await)
    };
    for at in [0, 1, 9, 10, 100, 2_000, file.content.len() - 1] {
        let connector = cutting(file.clone(), at, Cut::Fin);
        let response = resuming(&connector)
            .get("http://peer/")
            .send()
            .await
            .unwrap();
        assert!(response.bytes().await.unwrap() == plain, "at {at}");
        let requests = connector.log().requests;
        assert_eq!(
            requests[1].header("accept-encoding"),
            Some("gzip"),
            "at {at}"
        );

        // By a client that is not told to, for what is saved.
        let connector = cutting(file.clone(), at, Cut::Fin);
        let client = settings().build_with_connector(connector).unwrap();
        let folder = TemporaryFolder::new();
        let response = client.get("http://peer/").send().await.unwrap();
        response.save_to(folder.file("target")).await.unwrap();
        assert!(fs::read(folder.file("target")).unwrap() == plain, "at {at}");
    }
}

/// What becomes of a body that is cut in the middle.
async fn saved(client: &Client, read_before: bool, path: &Path) -> Result<u64, client::Error> {
    let mut response = client.get("http://peer/").send().await?;
    if read_before {
        response.chunk().await?;
    }
    response.save_to(path).await
}

#[tokio::test(start_paused = true)]
async fn what_is_saved_is_continued_unless_that_is_turned_off_or_some_was_read() {
    let connector = || cutting(File::new(content(1_000)), 500, Cut::Fin);
    let over = |builder: ClientBuilder| builder.build_with_connector(connector()).unwrap();
    let folder = TemporaryFolder::new();
    let target = folder.file("target");

    assert_eq!(
        saved(&over(settings()), false, &target).await.unwrap(),
        1_000
    );
    let off = over(settings().resume(false));
    assert_eq!(
        saved(&off, false, &target).await.unwrap_err().kind(),
        ErrorKind::Body
    );
    let read = saved(&over(settings()), true, &target).await;
    assert_eq!(read.unwrap_err().kind(), ErrorKind::Body);
    // It counts from the first byte, whoever reads that.
    let on = over(settings().resume(true));
    assert!(saved(&on, true, &target).await.unwrap() < 1_000);

    let client = over(settings());
    let response = client
        .get("http://peer/")
        .resume(false)
        .send()
        .await
        .unwrap();
    assert!(response.save_to(&target).await.is_err());
    let client = over(settings());
    let response = client.get("http://peer/").no_retry().send().await.unwrap();
    assert!(response.save_to(&target).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn what_is_not_saved_is_continued_only_by_choice() {
    let connector = || cutting(File::new(content(1_000)), 500, Cut::Reset);
    let client = settings().build_with_connector(connector()).unwrap();
    let response = client.get("http://peer/").send().await.unwrap();
    let error = response.bytes().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Body);
    let client = settings().build_with_connector(connector()).unwrap();
    let response = client
        .get("http://peer/")
        .resume(true)
        .send()
        .await
        .unwrap();
    let whole = response.collect().await.unwrap();
    assert_eq!(whole.body().len(), 1_000);
    let report = whole.retry_report();
    assert_eq!(report.attempts().len(), 2);
    assert_eq!(report.attempts()[1].resumed_at(), Some(500));
    assert_eq!(report.stop(), StopReason::Answered);
}

#[tokio::test(start_paused = true)]
async fn the_report_grows_while_a_body_is_read() {
    let connector = cutting(File::new(content(1_000)), 500, Cut::Reset);
    let client = resuming(&connector);
    let mut response = client.get("http://peer/").send().await.unwrap();
    assert_eq!(response.retry_report().attempts().len(), 1);
    let mut read = 0;
    while let Some(piece) = response.chunk().await.unwrap() {
        read += piece.len();
    }
    assert_eq!(read, 1_000);
    let report = response.retry_report();
    assert_eq!(report.attempts().len(), 2);
    assert_eq!(report.attempts()[1].resumed_at(), Some(500));
}

#[tokio::test(start_paused = true)]
async fn as_a_service_a_client_continues_bodies_too() {
    let connector = cutting(File::new(content(1_000)), 500, Cut::Fin);
    let mut client = resuming(&connector);
    let request = http::Request::get("http://peer/").body(client::Body::empty());
    let response = client.call(request.unwrap()).await.unwrap();
    let body = response.into_body().collect().await.unwrap();
    assert_eq!(body.to_bytes().len(), 1_000);
}

/// A link to a signed URL that holds for one request.
fn signing(file: File) -> MemoryConnector {
    let signed = Arc::new(AtomicUsize::new(0));
    let cut = Arc::new(AtomicBool::new(false));
    MemoryConnector::new(move |mut connection: Connection| {
        let (file, signed, cut) = (file.clone(), signed.clone(), cut.clone());
        async move {
            while let Some(request) = connection.read_request().await {
                if request.path() == "/file" {
                    let location = format!("/signed-{}", signed.load(Relaxed));
                    connection
                        .respond_with(302, &[("location", &location)], "")
                        .await;
                    continue;
                }
                let expected = format!("/signed-{}", signed.fetch_add(1, Relaxed));
                if request.path() != expected {
                    connection.respond(403, "expired").await;
                    continue;
                }
                let (head, body) = file.answer_http1(&request);
                connection.write(head).await;
                if !cut.swap(true, Relaxed) {
                    connection.write(&body[..500]).await;
                    return connection.close().await;
                }
                connection.write(body).await;
                connection.answered();
            }
        }
    })
}

#[tokio::test(start_paused = true)]
async fn a_redirect_is_followed_anew() {
    let file = File::new(content(1_000));
    let expected = ["/file", "/signed-0", "/file", "/signed-1"];
    for _ in 0..2 {
        let connector = signing(file.clone());
        let client = resuming(&connector);
        let request = client.get("http://peer/file").header("x-own", "1");
        let response = request.send().await.unwrap();
        assert!(response.bytes().await.unwrap() == file.content[..]);
        let log = connector.log();
        assert_eq!(log.targets(), expected);
        for request in &log.requests[2..] {
            assert_eq!(request.header("range"), Some("bytes=500-999"));
            assert_eq!(request.header("x-own"), Some("1"));
        }
    }
    // With somebody's layers, and as a service.
    let connector = signing(file.clone());
    let layered = settings()
        .resume(true)
        .layer(tower::layer::util::Identity::new());
    let mut client = layered.build_with_connector(connector.clone()).unwrap();
    let request = http::Request::get("http://peer/file").body(client::Body::empty());
    let response = client.call(request.unwrap()).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert!(body == file.content[..]);
    assert_eq!(connector.log().targets(), expected);
}

#[tokio::test(start_paused = true)]
async fn with_layers_of_ones_own_a_body_is_continued_too() {
    let file = File::new(content(1_000));
    let connector = cutting(file.clone(), 500, Cut::Fin);
    let client = settings()
        .resume(true)
        .attempt_layer(tower::layer::util::Identity::new())
        .build_with_connector(connector)
        .unwrap();
    let response = client.get("http://peer/").send().await.unwrap();
    assert!(response.bytes().await.unwrap() == file.content[..]);
}

#[tokio::test(start_paused = true)]
async fn the_request_for_the_rest_has_the_headers_of_the_call() {
    let connector = cutting(File::new(content(1_000)), 500, Cut::Fin);
    let client = settings()
        .resume(true)
        .bearer("secret")
        .request_id(http::HeaderName::from_static("x-request-id"))
        .build_with_connector(connector.clone())
        .unwrap();
    let request = client.get("http://peer/").header("x-own", "1");
    request.send().await.unwrap().bytes().await.unwrap();
    let requests = connector.log().requests;
    for name in ["authorization", "x-own", "x-request-id", "user-agent"] {
        assert!(requests[0].header(name).is_some(), "{name}");
        assert_eq!(requests[1].header(name), requests[0].header(name), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_continued_breaks_as_it_did() {
    let weak = File {
        tag: "W/\"v1\"",
        ..File::new(content(1_000))
    };
    let connector = cutting(weak, 500, Cut::Fin);
    let client = resuming(&connector);
    let response = client.get("http://peer/").send().await.unwrap();
    let error = response.bytes().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Body);
    assert_eq!(connector.log().requests.len(), 1);

    // The server goes away for good.
    let connector = cutting(File::new(content(1_000)), 500, Cut::Fin);
    let client = resuming(&connector);
    let mut response = client.get("http://peer/").send().await.unwrap();
    response.chunk().await.unwrap();
    connector.refuse();
    let error = loop {
        match response.chunk().await {
            Ok(piece) => assert!(piece.is_some()),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::Body);
    let report = error.retry_report().unwrap();
    assert_eq!(
        report.attempts()[0].kind().map(client::FailureKind::as_str),
        Some("body")
    );
    assert!(report.attempts().len() >= 2, "{report}");
}

#[tokio::test(start_paused = true)]
async fn a_request_with_a_body_is_not_continued() {
    let connector = cutting(File::new(content(1_000)), 500, Cut::Fin);
    let client = resuming(&connector);
    let response = client
        .get("http://peer/")
        .body("query")
        .send()
        .await
        .unwrap();
    assert!(response.bytes().await.is_err());
    assert_eq!(connector.log().requests.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_gateway_passes_a_broken_body_on() {
    let connector = cutting(File::new(content(1_000)), 500, Cut::Fin);
    let builder = settings().resume(true).base_url("http://peer/").unwrap();
    let client = builder.build_with_connector(connector.clone()).unwrap();
    let request = http::Request::get("/").body(String::new()).unwrap();
    let response = client.forward(request).send().await.unwrap();
    assert!(response.into_body().collect().await.is_err());
    assert_eq!(connector.log().requests.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_configuration_turns_it_on_and_off() {
    for (text, length) in [("resume = true", Some(1_000)), ("resume = false", None)] {
        let config: client::ClientConfig = toml::from_str(text).unwrap();
        let connector = cutting(File::new(content(1_000)), 500, Cut::Fin);
        let builder = settings().config(config).unwrap();
        let client = builder.build_with_connector(connector).unwrap();
        let response = client.get("http://peer/").send().await.unwrap();
        let read = response.bytes().await.ok();
        assert_eq!(read.map(|it| it.len()), length, "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_range_of_the_callers_own_is_continued_within_it() {
    let file = File::new(content(1_000));
    let connector = cutting(file.clone(), 100, Cut::Fin);
    let client = resuming(&connector);
    let request = client.get("http://peer/").header("range", "bytes=300-799");
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 206);
    assert!(response.bytes().await.unwrap() == file.content[300..800]);
    let requests = connector.log().requests;
    assert_eq!(requests[1].header("range"), Some("bytes=400-799"));
}

#[tokio::test(start_paused = true)]
async fn a_date_is_no_validator_where_a_redirect_leads_elsewhere_meanwhile() {
    use client::testing::{Answer, Fake};

    const CHANGED: &str = "Sat, 01 Jun 2024 00:00:00 GMT";
    let asked = std::sync::atomic::AtomicU32::new(0);
    let fake = Fake::from_fn(move |request| {
        let dated = |status| {
            Answer::new(status)
                .header("last-modified", CHANGED)
                .header("date", "Sat, 01 Jun 2024 12:00:00 GMT")
        };
        match (request.uri().path(), request.headers().get("range")) {
            ("/latest", _) => {
                let number = asked.fetch_add(1, Relaxed);
                Answer::new(302).header("location", format!("/v{number}"))
            }
            (_, None) => dated(200)
                .header("content-length", "6")
                .body("abc")
                .breaks_off(),
            (_, Some(_)) => dated(206)
                .header("content-range", "bytes 3-5/6")
                .body("xyz"),
        }
    });
    let request = fake.client().get("http://peer/latest").resume(true);
    let error = request.send().await.unwrap().bytes().await.unwrap_err();
    assert_eq!(
        error.resume_error().unwrap().kind(),
        ResumeErrorKind::ValidatorChanged
    );
}

#[tokio::test(start_paused = true)]
async fn events_may_be_far_apart_behind_a_break_too() {
    const EVENTS: &str = "data: 1\n\ndata: 2\n\n";
    let connector = MemoryConnector::new(|mut connection: Connection| async move {
        connection.read_request().await;
        let head = "Content-Type: text/event-stream\r\nETag: \"v1\"\r\nContent-Length";
        if connection.number() == 0 {
            connection
                .write(format!("HTTP/1.1 200 \r\n{head}: 18\r\n\r\n"))
                .await;
            connection.write(&EVENTS[..9]).await;
            return connection.close().await;
        }
        let range = "Content-Range: bytes 9-17/18";
        connection
            .write(format!("HTTP/1.1 206 \r\n{range}\r\n{head}: 9\r\n\r\n"))
            .await;
        // Longer than the default idle timeout.
        tokio::time::sleep(Duration::from_secs(100)).await;
        connection.write(&EVENTS[9..]).await;
        connection.answered();
    });
    let response = resuming(&connector).get("http://peer/").send().await;
    let mut events = response.unwrap().events().unwrap();
    for data in ["1", "2"] {
        assert_eq!(events.next().await.unwrap().unwrap().data, data);
    }
    assert!(events.next().await.is_none());
}
