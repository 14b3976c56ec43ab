//! Spans and figures, as an OpenTelemetry exporter and a recorder of metrics get them; and that no
//! secret is among them, nor in any other thing that the client tells.

mod calls;
mod context;
mod figures;
mod heard;
mod page;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use client::{Body, Client, ClientBuilder, Jar, Proxy, RequestBuilder, Token, multipart, token_fn};
use http::{HeaderValue, Method, Request, Uri};
use opentelemetry::trace::{SpanKind, Status, TracerProvider as _};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use test_support::{Connect, MemoryConnector, Reply, always, answer, sequence};
use tokio::time::sleep;
use tower::ServiceExt as _;
use tracing_subscriber::layer::SubscriberExt as _;

use crate::client::support::over;

/// Exports what ends while the guard lives.
fn exporting() -> (InMemorySpanExporter, tracing::subscriber::DefaultGuard) {
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder()
        .with_simple_exporter(exporter.clone())
        .build();
    let layer = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("test"))
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_target(false)
        .with_level(false);
    let subscriber = tracing_subscriber::registry().with(layer);
    (exporter, test_suite::subscribe(subscriber))
}

fn all_spans(exporter: &InMemorySpanExporter) -> Vec<SpanData> {
    exporter.get_finished_spans().expect("they are in memory")
}

/// Those of calls.
fn calls(exporter: &InMemorySpanExporter) -> Vec<SpanData> {
    let mut spans = all_spans(exporter);
    spans.retain(|span| span.name == "http.client.call");
    spans
}

/// Those of attempts, and others.
fn spans(exporter: &InMemorySpanExporter) -> Vec<SpanData> {
    let mut spans = all_spans(exporter);
    spans.retain(|span| span.name != "http.client.call");
    spans
}

fn attributes(span: &SpanData) -> BTreeMap<String, String> {
    let pairs = span.attributes.iter();
    pairs
        .map(|pair| (pair.key.to_string(), pair.value.to_string()))
        .collect()
}

fn attribute(span: &SpanData, name: &str) -> Option<String> {
    attributes(span).remove(name)
}

#[tokio::test(start_paused = true)]
async fn an_attempt_is_a_client_span_with_the_names_of_opentelemetry() {
    let (exporter, _guard) = exporting();
    let connector = MemoryConnector::new(always(200, "x"));
    let client = over(&connector);
    client
        .get("http://user:secret@peer:81/a/b?token=secret")
        .fetch()
        .await
        .unwrap();
    let spans = spans(&exporter);
    let [span] = &spans[..] else {
        panic!("one attempt is one span: {spans:?}");
    };
    assert_eq!((&*span.name, &span.span_kind), ("GET", &SpanKind::Client));
    assert_eq!(span.status, Status::Unset);
    let expected = [
        ("http.request.method", "GET"),
        ("http.response.status_code", "200"),
        ("network.protocol.name", "http"),
        ("network.protocol.version", "1.1"),
        ("server.address", "peer"),
        ("server.port", "81"),
        ("url.full", "http://peer:81/REDACTED?REDACTED"),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(attributes(span), expected.into());
    // A path is told on demand.
    let client = Client::builder().record_paths();
    let client = client.build_with_connector(connector).unwrap();
    let request = client.get("http://user:secret@peer:81/a/b?token=secret");
    request.fetch().await.unwrap();
    let told = attributes(&crate::client::observe::spans(&exporter)[1]);
    assert_eq!(told["url.full"], "http://peer:81/a/b?REDACTED");
    // Numbers are numbers.
    for name in ["http.response.status_code", "server.port"] {
        let mut all = span.attributes.iter();
        let value = all.find(|pair| pair.key.as_str() == name).unwrap();
        assert!(
            matches!(value.value, opentelemetry::Value::I64(_)),
            "{value:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn attempts_and_hops_count_on_and_failures_are_told() {
    let (exporter, _guard) = exporting();
    let connector = MemoryConnector::new(sequence([
        Reply::status(503),
        Reply::status(307).header("Location", "/there"),
        Reply::truncated_body(9, "half"),
        Reply::status(404),
    ]));
    connector.script([Connect::Refuse, Connect::Accept]);
    over(&connector).get("http://peer/").fetch().await.unwrap();
    let spans = spans(&exporter);
    let told: Vec<_> = spans
        .iter()
        .map(|span| {
            let of = |name| attribute(span, name).unwrap_or_default();
            let failed = matches!(span.status, Status::Error { .. });
            (
                of("http.request.resend_count"),
                of("http.response.status_code"),
                of("error.type"),
                failed,
            )
        })
        .collect();
    let expected = [
        ("", "", "connection_refused", true),
        ("1", "503", "503", true),
        ("2", "307", "", false),
        ("3", "200", "body", true),
        ("4", "404", "404", true),
    ];
    let owned = |(a, b, c, d): (&str, &str, &str, bool)| (a.into(), b.into(), c.into(), d);
    assert_eq!(told, expected.map(owned));
}

#[tokio::test(start_paused = true)]
async fn the_exchanges_of_a_body_that_is_continued_count_on() {
    let (exporter, _guard) = exporting();
    let head = "HTTP/1.1 200 OK\r\nETag: \"v1\"\r\nContent-Length: 6\r\n\r\nabc";
    let rest = Reply::status(206)
        .header("etag", "\"v1\"")
        .header("content-range", "bytes 3-5/6")
        .body("def");
    let connector = MemoryConnector::new(sequence([Reply::raw(head), Reply::status(503), rest]));
    let request = over(&connector).get("http://peer/").resume(true);
    let body = request.send().await.unwrap().bytes().await.unwrap();
    assert_eq!(body, "abcdef");
    let spans = spans(&exporter);
    let told: Vec<_> = spans
        .iter()
        .map(|span| {
            let of = |name| attribute(span, name).unwrap_or_default();
            (
                of("http.request.resend_count"),
                of("http.response.status_code"),
            )
        })
        .collect();
    let expected = [("", "200"), ("1", "503"), ("2", "206")];
    assert_eq!(told, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
}

#[tokio::test(start_paused = true)]
async fn a_span_lasts_until_its_body_ends_and_one_that_is_given_up_says_so() {
    let (exporter, _guard) = exporting();
    let connector = MemoryConnector::new(always(200, "body"));
    let client = over(&connector);
    let response = client.get("http://peer/").send().await.unwrap();
    assert!(spans(&exporter).is_empty());
    assert_eq!(response.text().await.unwrap(), "body");
    assert_eq!(spans(&exporter).len(), 1);

    connector.hang();
    let other = client.get("http://other/").send();
    assert!(
        tokio::time::timeout(Duration::from_secs(1), other)
            .await
            .is_err()
    );
    let last = spans(&exporter).pop().unwrap();
    assert_eq!(attribute(&last, "error.type").unwrap(), "cancelled");

    let brew = Method::from_bytes(b"BREW").unwrap();
    connector.accept();
    client.request(brew, "http://peer/").fetch().await.unwrap();
    let last = spans(&exporter).pop().unwrap();
    assert_eq!(last.name, "HTTP");
    assert_eq!(attribute(&last, "http.request.method").unwrap(), "_OTHER");
    assert_eq!(
        attribute(&last, "http.request.method_original").unwrap(),
        "BREW"
    );
}

/// All that is written to the log.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

const CANARY: &str = "c4n4ry";

/// Every place that a secret can be in.
fn with_secrets() -> ClientBuilder {
    let mut flagged = HeaderValue::from_static(CANARY);
    flagged.set_sensitive(true);
    Client::builder()
        .base_url(format!("http://me:{CANARY}@peer/?q={CANARY}"))
        .expect("it is a URL")
        .bearer(CANARY)
        .basic("me", CANARY)
        .default_header("x-api-key", CANARY)
        .default_header("cookie", format!("session={CANARY}"))
        .default_header("x-own", flagged)
        .auth(token_fn(|| async { Ok(Token::new(CANARY)) }))
        .digest("me", CANARY)
        .cookies(jar())
        .proxy(Proxy::all(&format!("http://me:{CANARY}@127.0.0.1:1")).expect("it is a URL"))
}

/// With a cookie that is sent to the peer.
fn jar() -> Jar {
    let jar = Jar::new();
    let kept = jar.insert(
        &format!("{CANARY}={CANARY}"),
        &Uri::from_static("http://peer/"),
    );
    kept.expect("it may be kept");
    jar
}

/// What a request may hold, beside its headers.
fn requests(client: &Client) -> [RequestBuilder; 5] {
    let post = || {
        client
            .post(format!("{CANARY}/x?key={CANARY}"))
            .header("authorization", CANARY)
            .header("proxy-authorization", CANARY)
            .header("cookie", CANARY)
            .header("x-own", CANARY)
            .idempotency_key()
    };
    let part = multipart::Part::text(CANARY).file_name(CANARY);
    [
        post().body(CANARY),
        post().json(&[CANARY]),
        post().query(&[(CANARY, CANARY)]).form(&[(CANARY, CANARY)]),
        post().multipart(multipart::Form::new().part(CANARY, part)),
        post()
            .body_with(|| Body::from(CANARY))
            .bearer(CANARY)
            .basic("me", CANARY),
    ]
}

#[tokio::test(start_paused = true)]
async fn no_secret_is_in_an_error_a_log_a_span_or_a_debug() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_span_events(tracing_subscriber::fmt::format::FmtSpan::FULL)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = test_suite::subscribe(subscriber);
    let mut told = String::new();
    let mut tell = |what: &dyn std::fmt::Debug| write!(told, "{what:?}\n{what:#?}\n").unwrap();

    let location = format!("http://me:{CANARY}@other/there?{CANARY}");
    let answers = [
        Reply::status(503).body(CANARY),
        Reply::reset(),
        Reply::stall(),
        Reply::raw(format!("{CANARY}\r\n\r\n")),
        Reply::status(404)
            .header("set-cookie", CANARY)
            .header(
                "www-authenticate",
                format!("Digest realm=\"{CANARY}\", nonce=\"{CANARY}\""),
            )
            .body(CANARY),
        Reply::status(302).header("location", location),
        Reply::status(302).header("location", format!("ftp://{CANARY}/{CANARY}")),
        Reply::status(302).header("location", format!("http://{CANARY}:99999/{CANARY}")),
        Reply::truncated_body(99, CANARY),
        Reply::status(200).header("x", CANARY).body(CANARY),
        Reply::status(401),
    ];
    for reply in answers {
        let connector = MemoryConnector::new(answer(move |request| {
            // Where the redirect has led to.
            if request.path() == "/there" {
                return Reply::status(200);
            }
            reply.clone()
        }));
        let builder = with_secrets();
        tell(&builder);
        let client = builder.build_with_connector(connector.clone()).unwrap();
        tell(&client);
        for request in requests(&client) {
            tell(&request);
            match request.fetch().await {
                Ok(response) => {
                    tell(&response);
                    tell(&response.retry_report());
                    tell(&response.redirected());
                    if let Err(error) = response.error_for_status() {
                        tell(&error);
                        tell(&error.to_string());
                    }
                }
                Err(error) => {
                    tell(&error);
                    let mut cause: Option<&dyn std::error::Error> = Some(&error);
                    while let Some(error) = cause {
                        tell(&error.to_string());
                        cause = error.source();
                    }
                }
            }
            assert!(!connector.log().requests.is_empty(), "it was sent");
        }
        let call = client.clone().oneshot(
            Request::get(format!("http://me:{CANARY}@peer/?{CANARY}"))
                .header("cookie", CANARY)
                .body(Body::from(CANARY))
                .unwrap(),
        );
        if let Err(error) = call.await {
            tell(&error);
        }
        connector.refuse();
        sleep(Duration::from_secs(60)).await;
        tell(&client.get(format!("?{CANARY}")).send().await);
    }
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(
        log.contains("url.full") && log.contains("not sending again"),
        "{log}"
    );
    for text in [&told, &log] {
        let leaks: Vec<_> = text.lines().filter(|line| line.contains(CANARY)).collect();
        assert!(leaks.is_empty(), "{leaks:#?}");
    }
}
