//! What a client sets of the session below it, and what it tells of it.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_compression::tokio::write::GzipEncoder;
use bytes::Bytes;
use client::{
    AttemptOutcome, AttemptRecord, Class, Client, ClientBuilder, ClientConfig, Connector, Error,
    Exponential, Http2, Processed, Proxy, Redirects, Resolver, RetryPolicy, TimeoutPhase, Timeouts,
    session_layer::{Event, Observer, Session},
};
use h2::{Reason, server::Builder};
use http::{Method, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt as _, Full};
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use test_support::{
    MemoryConnector, Reply, Server, always, answer,
    http2::{Peer, Stream},
    proxy, sequence,
    tls::{Authority, Chain, LOOPBACK},
};
use tokio::io::AsyncWriteExt as _;
use tower::{Service as _, layer::util::Identity};
use tower_http::trace::TraceLayer;

const CANARY: &str = "c4n4ry";

fn over(connector: &MemoryConnector, builder: ClientBuilder) -> Client {
    builder
        .build_with_connector(connector.clone())
        .expect("the settings are valid")
}

/// Waits that take no time worth speaking of.
fn at_once() -> client::RetryPolicyBuilder {
    RetryPolicy::builder().backoff(Exponential::from(Duration::from_millis(1)))
}

/// What each attempt of a call that failed was.
fn classes(error: &Error) -> Vec<Class> {
    let report = error.retry_report().expect("it reached the retries");
    let outcomes = report.attempts().iter().map(AttemptRecord::outcome);
    let classes = outcomes.filter_map(|outcome| match outcome {
        AttemptOutcome::Error(class) => Some(class),
        _ => None,
    });
    classes.collect()
}

#[tokio::test]
async fn the_connector_of_a_client_can_be_set() {
    let server = Server::start(always(200, "there")).await;
    let resolver = Resolver::new().override_host("peer.test", [server.addr()]);
    let client = Client::builder()
        .connector(Connector::new().resolver(resolver))
        .build()
        .unwrap();
    let response = client.get("http://peer.test/").fetch().await.unwrap();
    assert_eq!(response.body(), "there");
    let connection = response.connection().unwrap();
    assert_eq!(connection.peer_addr(), Some(server.addr()));

    let error = client.get("http://other.invalid/").fetch().await;
    let error = error.unwrap_err();
    assert!(error.is_dns() && error.is_connect(), "{error:?}");
}

#[tokio::test]
async fn a_guard_of_addresses_holds_where_a_redirect_leads_too() {
    let server = Server::start(answer(|request| match request.path() {
        // An address that needs no resolving, in both its forms, and a name that leads there.
        "/v4" => Reply::status(307).header("Location", "http://127.0.0.2/latest/meta-data"),
        "/v6" => Reply::status(307).header("Location", "http://[::ffff:127.0.0.2]/"),
        "/octal" => Reply::status(307).header("Location", "http://0177.0.0.2/"),
        _ => Reply::status(307).header("Location", "http://metadata.test/"),
    }))
    .await;
    let home = server.addr();
    let resolver = Resolver::new()
        .override_host("metadata.test", [SocketAddr::from(([127, 0, 0, 2], 80))])
        .guard(move |_, address| address == home.ip());
    let client = Client::builder()
        .connector(Connector::new().resolver(resolver))
        .build()
        .unwrap();
    for path in ["/v4", "/v6", "/octal", "/name"] {
        let error = client.get(server.url(path)).send().await.unwrap_err();
        let session = error.session_error().unwrap();
        assert!(session.is_address_refused(), "{path}: {error:?}");
        // Once on each hop: it would be refused again.
        let report = error.retry_report().unwrap();
        assert_eq!(report.attempts().len(), 2, "{path}: {report}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_connect_timeout_is_the_one_of_the_timeouts() {
    // Nobody answers there; a paused clock waits for nothing else.
    let resolver = Resolver::over(tower::service_fn(|_| {
        std::future::pending::<std::io::Result<Vec<SocketAddr>>>()
    }));
    let connector = Connector::new()
        .resolver(resolver)
        .connect_timeout(Duration::from_secs(99));
    let client = Client::builder()
        .connector(connector)
        .timeouts(Timeouts::default().connect(Duration::from_secs(3)))
        .build()
        .unwrap();
    let began = tokio::time::Instant::now();
    let error = client.get("http://peer.test/").no_retry().send().await;
    let error = error.unwrap_err();
    assert_eq!(error.timeout_phase(), Some(TimeoutPhase::Dns));
    assert!(error.is_dns() && error.is_connect(), "{error:?}");
    assert_eq!(began.elapsed(), Duration::from_secs(3));
    assert_eq!(
        error.to_string(),
        "GET http://peer.test:80: no address within 3s (1 attempt)"
    );
}

#[tokio::test]
async fn what_connecting_waited_for_is_told_in_real_time_too() {
    let silent = Resolver::over(tower::service_fn(|_| {
        std::future::pending::<std::io::Result<Vec<SocketAddr>>>()
    }));
    let slow = Resolver::over(tower::service_fn(|_| async {
        Err::<Vec<SocketAddr>, _>(std::io::Error::from(std::io::ErrorKind::TimedOut))
    }));
    for (resolver, told) in [
        (silent, "no address within 3ms"),
        (slow, "the name servers did not answer in time"),
    ] {
        let client = Client::builder()
            .connector(Connector::new().resolver(resolver))
            .timeouts(Timeouts::default().connect(Duration::from_millis(3)))
            .retry(RetryPolicy::builder().max_attempts(1))
            .build()
            .unwrap();
        for _ in 0..50 {
            let error = client.get("http://peer.test/").send().await.unwrap_err();
            assert_eq!(error.timeout_phase(), Some(TimeoutPhase::Dns));
            assert!(error.to_string().contains(told), "{error}");
        }
    }
    // A peer whose TLS handshake never comes.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let client = Client::builder()
        .timeouts(Timeouts::default().connect(Duration::from_millis(30)))
        .retry(RetryPolicy::builder().max_attempts(1))
        .build()
        .unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    let error = client.get(url).send().await.unwrap_err();
    assert_eq!(error.timeout_phase(), Some(TimeoutPhase::Connect));
    assert!(!error.is_dns());
}

#[tokio::test(start_paused = true)]
async fn no_answer_is_kept_or_shared_between_calls() {
    // All that could lead a cache to keep it, and nothing that tells one user from another.
    let connector = MemoryConnector::new(answer(|request| {
        Reply::status(200)
            .header("cache-control", "public, max-age=3600, immutable")
            .header("etag", "\"same\"")
            .header("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT")
            .body(request.header("x-user").unwrap_or("nobody").to_owned())
            .delay(Duration::from_secs(1))
    }));
    let client = over(&connector, Client::builder());
    for _ in 0..2 {
        let calls = ["alice", "bob", "alice"].map(|user| {
            let client = client.clone();
            tokio::spawn(async move {
                let request = client.get("http://peer/").header("x-user", user);
                let response = request.fetch().await.unwrap();
                assert_eq!(
                    (response.status(), &**response.body()),
                    (StatusCode::OK, user.as_bytes())
                );
            })
        });
        for call in calls {
            call.await.unwrap();
        }
    }
    let log = connector.log();
    assert_eq!(log.requests.len(), 6);
    for request in &log.requests {
        assert_eq!(request.header("if-none-match"), None);
        assert_eq!(request.header("if-modified-since"), None);
    }
}

#[tokio::test]
async fn requests_go_through_the_proxy_of_the_client_or_not_at_all() {
    let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
    let server = Server::start(proxy::http(nobody, None)).await;
    let proxy = Proxy::all(&server.origin())
        .unwrap()
        .no_proxy("direct.test");
    let direct = Server::start(always(200, "direct")).await;
    let resolver = Resolver::new().override_host("direct.test", [direct.addr()]);
    let client = Client::builder()
        .connector(Connector::new().resolver(resolver))
        .proxy(proxy)
        .build()
        .unwrap();
    let response = client.get("http://peer.test/x").fetch().await.unwrap();
    assert_eq!(response.body(), "http://peer.test/x");
    let response = client.get("http://direct.test/x").fetch().await.unwrap();
    assert_eq!(response.body(), "direct");
}

/// Fails to get a tunnel from a proxy that gives this answer.
async fn refused_by(head: &'static str) -> (Error, usize) {
    let server = Server::start(proxy::answering(head)).await;
    let url = server.origin().replace("://", &format!("://me:{CANARY}@"));
    let client = Client::builder()
        .retry(at_once())
        .proxy(Proxy::all(&url).expect("it is a URL"))
        .tls_config(Authority::new().client_config())
        .build()
        .expect("the settings are valid");
    // A POST: nothing of it was sent, whatever the proxy answers.
    let error = client.post("https://peer.test/").body("x").send().await;
    (error.expect_err("no tunnel opens"), server.log().accepted)
}

#[tokio::test]
async fn a_proxy_that_will_refuse_again_is_asked_once() {
    for (head, status, asked, class) in [
        ("HTTP/1.1 407 Who\r\n\r\n", Some(407), 1, Class::Permanent),
        ("HTTP/1.1 403 No\r\n\r\n", Some(403), 1, Class::Permanent),
        ("HTTP/1.1 429 Busy\r\n\r\n", Some(429), 3, Class::NotSent),
        ("HTTP/1.1 502 Gone\r\n\r\n", Some(502), 3, Class::NotSent),
        ("nothing of the kind", None, 1, Class::Permanent),
    ] {
        let (error, accepted) = refused_by(head).await;
        assert!(error.is_proxy() && error.is_connect(), "{head}: {error:?}");
        assert_eq!(error.proxy_status().map(|it| it.as_u16()), status);
        assert_eq!(accepted, asked, "{head}");
        assert_eq!(classes(&error), vec![class; asked], "{head}");
        let told = format!("{error} {error:?}");
        assert!(!told.contains(CANARY), "{told}");
    }
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_is_told_and_not_tried_again() {
    let config = Authority::new().server_config(LOOPBACK);
    let server = Server::start_tls(always(200, ""), config).await;
    let client = Client::builder()
        .tls_config(Authority::new().client_config())
        .build()
        .unwrap();
    let error = client.get(server.url("/")).send().await.unwrap_err();
    assert!(error.is_tls() && error.is_connect(), "{error:?}");
    assert_eq!(classes(&error), [Class::Permanent]);
}

/// A client that speaks HTTP/2 with a peer that ends each stream in this way.
async fn over_http2(handler: fn(Stream)) -> (Client, String, Peer) {
    let peer = Peer::new(Builder::new(), move |stream: Stream| async move {
        handler(stream);
    });
    let address = peer.listen().await;
    let client = Client::builder()
        .retry(at_once())
        .http2(Http2::default().prior_knowledge(true))
        .build()
        .expect("the settings are valid");
    (client, format!("http://{address}/"), peer)
}

#[tokio::test]
async fn http2_is_spoken_where_the_client_says_so() {
    let (client, url, _peer) = over_http2(|stream| stream.answer(200, "there")).await;
    let response = client.get(&url).fetch().await.unwrap();
    assert_eq!(response.version(), Version::HTTP_2);
    assert_eq!(response.body(), "there");
    assert_eq!(response.connection().unwrap().version(), Version::HTTP_2);
}

/// Answers as if the body were a large file, encoded.
fn head_only(stream: Stream, status: u16, ends: bool) {
    let head = Response::builder()
        .status(status)
        .header("content-length", 1_u64 << 40)
        .header("content-encoding", "gzip");
    stream.answer_head(head.body(()).expect("the head is valid"), ends);
}

#[tokio::test]
async fn a_response_without_a_body_has_no_length_over_http2_either() {
    let cases: [(fn(Stream), Method); 3] = [
        (|stream| head_only(stream, 200, true), Method::HEAD),
        (|stream| head_only(stream, 200, false), Method::HEAD),
        (|stream| head_only(stream, 304, true), Method::GET),
    ];
    for (handler, method) in cases {
        let (client, url, _peer) = over_http2(handler).await;
        let request = || client.request(method.clone(), &url);
        let response = request().fetch().await.unwrap();
        assert_eq!(response.body(), "");
        assert_eq!(response.headers()["content-length"], "1099511627776");
        assert_eq!(response.headers()["content-encoding"], "gzip");
        let response = request().send().await.unwrap();
        assert_eq!(response.content_length(), Some(0));
        assert_eq!(response.bytes().await.unwrap(), "");
    }
}

#[test]
fn settings_of_http2_that_cannot_be_are_refused_by_name() {
    let http2 = Http2::default().max_concurrent_streams(0);
    let error = Client::builder().http2(http2).build().unwrap_err();
    assert!(error.is_builder());
    assert!(error.to_string().contains("max_concurrent_streams"));
}

#[tokio::test]
async fn what_ended_a_stream_decides_whether_a_post_is_sent_again() {
    type Case = (fn(Stream), &'static [Class], bool, bool);
    let throttled = &[Class::Throttled(Processed::Possibly)];
    let cases: [Case; 4] = [
        // At once and for free, and then as often as the policy has it.
        (Stream::refuse, &[Class::Unprocessed; 4], true, false),
        (
            |stream| stream.reset(Reason::INTERNAL_ERROR),
            &[Class::Ambiguous],
            false,
            true,
        ),
        (
            |stream| stream.reset(Reason::ENHANCE_YOUR_CALM),
            throttled,
            false,
            true,
        ),
        (
            |stream| stream.reset(Reason::PROTOCOL_ERROR),
            &[Class::Permanent],
            false,
            true,
        ),
    ];
    for (handler, expected, refused, reset) in cases {
        let (client, url, _peer) = over_http2(handler).await;
        let error = client.post(&url).body("x").send().await.unwrap_err();
        assert_eq!(classes(&error), expected, "{error:?}");
        assert_eq!((error.is_unprocessed(), error.is_reset()), (refused, reset));
        assert!(!error.is_connect() && !error.is_timeout());
    }
}

#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<String>>>);

impl Heard {
    fn lines(&self) -> Vec<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Observer for Heard {
    fn observe(&self, event: &Event<'_>) {
        let line = match event {
            Event::Opened { origin, .. } => format!("opened {origin}"),
            Event::Closed { origin, .. } => format!("closed {origin}"),
            Event::Acquired { .. } => return,
            other => format!("{other:?}"),
        };
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(line);
    }
}

#[tokio::test(start_paused = true)]
async fn all_observers_of_a_client_hear_its_pool() {
    let connector = MemoryConnector::new(always(200, "x"));
    let (one, other) = (Heard::default(), Heard::default());
    let builder = Client::builder()
        .observer(one.clone())
        .observer(other.clone());
    let client = over(&connector, builder);
    client.get("http://peer/").fetch().await.unwrap();
    client.close().await;
    assert_eq!(
        one.lines(),
        ["opened http://peer:80", "closed http://peer:80"]
    );
    assert_eq!(one.lines(), other.lines());
}

/// How the gauge of open connections of each server has changed since the last look.
fn open_connections(snapshotter: &Snapshotter) -> Vec<(String, f64)> {
    let snapshot = snapshotter.snapshot().into_vec().into_iter();
    let gauges = snapshot.filter_map(|(key, _, _, value)| {
        let (_, key) = key.into_parts();
        match value {
            DebugValue::Gauge(value) if key.name() == "http.client.open_connections" => {
                let labels = key
                    .labels()
                    .map(|it| format!("{}={}", it.key(), it.value()));
                Some((labels.collect::<Vec<_>>().join(" "), value.into_inner()))
            }
            _ => None,
        }
    });
    gauges.collect()
}

#[tokio::test(start_paused = true)]
async fn a_gauge_counts_open_connections_until_they_have_ended() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let connector = MemoryConnector::new(always(200, "x"));
    let client = over(&connector, Client::builder().record_metrics());
    let (a, b) = tokio::join!(
        client.get("http://[::1]:81/").fetch(),
        client.get("http://[::1]:81/").fetch()
    );
    assert!(a.is_ok() && b.is_ok());
    let at = "server.address=::1 server.port=81".to_owned();
    assert_eq!(open_connections(&snapshotter), [(at.clone(), 2.0)]);
    client.close().await;
    assert_eq!(open_connections(&snapshotter), [(at, -2.0)]);
}

async fn gzip(plain: &str) -> Bytes {
    let mut encoder = GzipEncoder::new(Vec::new());
    let written = encoder.write_all(plain.as_bytes()).await;
    written.expect("memory takes everything");
    encoder.shutdown().await.expect("memory takes everything");
    encoder.into_inner().into()
}

/// Each stack in which something wraps what the session gives.
fn stacks() -> Vec<(&'static str, ClientBuilder)> {
    let builder = Client::builder;
    vec![
        ("plain", builder()),
        ("figures", builder().record_metrics()),
        (
            "endpoints",
            builder().endpoints(["http://peer/"]).expect("it is a URL"),
        ),
        (
            "layers",
            builder()
                .layer(Identity::new())
                .attempt_layer(Identity::new()),
        ),
        (
            "wrapped below",
            builder().attempt_layer(TraceLayer::new_for_http()),
        ),
        ("wrapped above", builder().layer(TraceLayer::new_for_http())),
    ]
}

#[tokio::test(start_paused = true)]
async fn a_response_tells_its_connection_however_its_body_is_read() {
    let encoded = gzip("plain").await;
    for (stack, builder) in stacks() {
        let encoded = encoded.clone();
        let connector = MemoryConnector::new(answer(move |_| {
            Reply::status(200)
                .header("Content-Encoding", "gzip")
                .body(encoded.clone())
        }));
        let client = over(&connector, builder);
        let fetched = client.get("http://peer/").fetch().await.unwrap();
        assert_eq!(fetched.body(), "plain");
        let first = fetched.connection().expect(stack);
        assert!(!first.is_reused(), "{stack}");

        let sent = client.get("http://peer/").send().await.unwrap();
        let second = sent.connection().expect(stack).clone();
        assert!(second.is_reused() && second.id() == first.id(), "{stack}");
        let collected = sent.collect().await.unwrap();
        assert_eq!(collected.body(), "plain");
        assert_eq!(collected.connection().expect(stack).id(), first.id());
    }
}

#[tokio::test(start_paused = true)]
async fn the_body_of_a_service_call_tells_its_connection_until_it_is_dropped() {
    let connector = MemoryConnector::new(always(200, "x"));
    let mut client = over(&connector, Client::builder());
    let request = Request::get("http://peer/").body(Full::<Bytes>::default());
    let mut body = client.call(request.unwrap()).await.unwrap().into_body();
    assert!(body.connection().is_some());
    while body.frame().await.is_some() {}
    assert!(body.connection().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_response_of_any_service_has_no_connection_without_a_session_below() {
    let mock = tower::service_fn(|_: Request<client::Body>| async {
        Ok::<_, std::io::Error>(Response::new(client::ResponseBody::default()))
    });
    let response = Client::from_service(mock).get("http://peer/").fetch().await;
    assert!(response.unwrap().connection().is_none());

    let session = Session::new(MemoryConnector::new(always(200, "x")));
    let client = Client::builder().build_with_service(session).unwrap();
    let response = client.get("http://peer/").fetch().await.unwrap();
    assert!(response.connection().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_redirect_that_is_not_followed_is_decoded_too() {
    let encoded = gzip("moved").await;
    for (stack, builder) in stacks() {
        let encoded = encoded.clone();
        let connector = MemoryConnector::new(answer(move |_| {
            Reply::status(302)
                .header("Location", "/there")
                .header("Content-Encoding", "gzip")
                .body(encoded.clone())
        }));
        let client = over(&connector, builder.redirects(Redirects::none()));
        // Its body is collected above the retries.
        let fetched = client.get("http://peer/").fetch().await.unwrap();
        assert_eq!(fetched.status(), StatusCode::FOUND);
        assert_eq!(fetched.text().unwrap(), "moved", "{stack}");
        assert!(!fetched.headers().contains_key("content-encoding"));
        assert!(fetched.connection().is_some(), "{stack}");
        let sent = client.get("http://peer/").send().await.unwrap();
        assert_eq!(sent.bytes().await.unwrap(), "moved", "{stack}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_redirect_whose_body_is_corrupt_is_an_error() {
    let connector = MemoryConnector::new(sequence([Reply::status(302)
        .header("Location", "/there")
        .header("Content-Encoding", "gzip")
        .body("no gzip")]));
    let client = over(&connector, Client::builder().redirects(Redirects::none()));
    let error = client.get("http://peer/").fetch().await.unwrap_err();
    assert!(error.is_decode(), "{error}");
}

fn from_toml(text: &str) -> Result<ClientBuilder, Error> {
    let config: ClientConfig = toml::from_str(text).expect("the configuration is valid");
    ClientBuilder::from_config(config)
}

#[test]
fn a_configuration_with_an_exemption_that_matches_nothing_is_refused() {
    let proxied = |no_proxy: &str| {
        from_toml(&format!(
            "[proxy]\nall = \"http://proxy.test\"\nno_proxy = \"{no_proxy}\""
        ))
    };
    assert!(proxied("*.inside.test 10.0.0.0/8,localhost:8080").is_ok());
    let error = proxied("inside.test, 10.0.0.0/33").unwrap_err();
    assert!(error.to_string().contains("proxy.no_proxy"), "{error}");
}

#[tokio::test]
async fn a_configuration_sets_http2_and_proxies() {
    let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
    // Of `me:c4n4ry`.
    let server = Server::start(proxy::http(nobody, Some("Basic bWU6YzRuNHJ5"))).await;
    let config = format!(
        r#"
        [proxy]
        http = "http://me:{CANARY}@{address}"
        all = "http://127.0.0.1:1"
        no_proxy = "direct.test"
        "#,
        address = server.addr()
    );
    let builder = from_toml(&config).unwrap();
    let told = format!("{builder:?}");
    assert!(!told.contains(CANARY), "{told}");
    let client = builder.retry(at_once()).build().unwrap();
    let response = client.get("http://peer.test/x").fetch().await.unwrap();
    assert_eq!(response.body(), "http://peer.test/x");
    let error = client.get("https://peer.test/").fetch().await.unwrap_err();
    assert!(error.is_proxy(), "{error:?}");

    let peer = Peer::new(Builder::new(), |stream: Stream| async {
        stream.answer(200, "there");
    });
    let address = peer.listen().await;
    let config = "
        [http2]
        prior_knowledge = true
        max_concurrent_streams = 10
        keep_alive_interval = \"none\"
        keep_alive_timeout = \"5s\"
        stream_window = 65535
        connection_window = 65535
        adaptive_window = true
    ";
    let client = from_toml(config).unwrap().build().unwrap();
    let response = client.get(format!("http://{address}/")).fetch().await;
    assert_eq!(response.unwrap().version(), Version::HTTP_2);
}

#[tokio::test]
async fn a_configuration_sets_trust_an_identity_and_how_to_connect() {
    let chain = Chain::new(LOOPBACK);
    let server = Server::start_tls(always(200, "there"), chain.mutual_server_config()).await;
    let text = format!(
        "metrics = true
        cookies = true
        [connector]
        local_address = \"127.0.0.1\"
        tcp_keepalive = \"none\"
        tcp_nodelay = true
        happy_eyeballs_delay = \"100ms\"
        [tls]
        only_added_roots = true
        min_version = \"1.2\"
        roots_pem = '''{root}'''
        certificate_pem = '''{chain}'''
        key_pem = '''{key}'''",
        root = chain.root_pem(),
        chain = chain.chain_pem(),
        key = chain.key_pem(),
    );
    let builder = from_toml(&text).unwrap();
    assert!(format!("{builder:?}").contains("jar: Some"), "{builder:?}");
    let client = builder.build().unwrap();
    let response = client.get(server.url("/")).fetch().await.unwrap();
    assert_eq!(response.body(), "there");
    let other = from_toml("[tls]\nmin_version = \"1.3\"").unwrap();
    let error = other.build().unwrap().get(server.url("/")).send().await;
    assert!(error.unwrap_err().is_tls());
}

#[cfg(unix)]
#[tokio::test]
async fn a_configuration_may_lead_to_a_unix_socket() {
    let path = std::env::temp_dir().join(format!("client-config-{}.sock", std::process::id()));
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let app = axum::Router::new().fallback(|| async { "over a socket" });
    let serving = tokio::spawn(axum::serve(listener, app).into_future());
    let text = format!("[connector]\nunix_socket = '{}'", path.display());
    let client = from_toml(&text).unwrap().build().unwrap();
    let response = client.get("http://any/").fetch().await.unwrap();
    assert_eq!(response.body(), "over a socket");
    serving.abort();
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn a_configuration_that_cannot_be_is_refused_by_name_without_its_secrets() {
    for (text, words) in [
        (format!("[tls]\nkey_pem = \"{CANARY}\""), "tls.key_pem"),
        (format!("[tls]\nroots_pem = \"{CANARY}\""), "tls.roots_pem"),
        (
            format!("[tls]\ncertificate_pem = \"{CANARY}\"\nkey_pem = \"{CANARY}\""),
            "tls.certificate_pem",
        ),
        ("[tls]\nonly_added_roots = true".to_owned(), "tls"),
    ] {
        let error = from_toml(&text).unwrap_err();
        assert!(error.is_builder());
        let told = format!("{error} {error:?}");
        assert!(told.contains(words), "{told}");
        assert!(!told.contains(CANARY), "{told}");
    }
    for text in [
        "[tls]\ndanger_accept_invalid_certs = true",
        "[tls]\nmin_version = \"1.1\"",
    ] {
        toml::from_str::<ClientConfig>(text).unwrap_err();
    }

    let error = from_toml("[http2]\nstream_window = 0").unwrap().build();
    assert!(error.unwrap_err().to_string().contains("stream_window"));
    let error = from_toml(&format!("[proxy]\nhttps = \"ftp://me:{CANARY}@peer\"")).unwrap_err();
    assert!(error.is_builder());
    let told = format!("{error} {error:?}");
    assert!(told.contains("proxy.https"), "{told}");
    assert!(!told.contains(CANARY), "{told}");
}
