//! The cases: each gives the error that it provokes.

use std::{
    future::{Future, pending, ready},
    io,
    net::SocketAddr,
    pin::Pin,
    time::Duration,
};

use bytes::Bytes;
use client::{
    Body, Client, ClientBuilder, Error, Http2, PoolConfig, Proxy, Redirects, RequestBuilder,
    Resolver, RetryPolicy, ThroughputFloor, Timeouts, Token,
    retry_layer::{breaker::Breaker, pause::Pause},
    testing::{Answer, Fake},
    token_fn,
};
use futures_util::stream;
use http::Request;
use hyper_util::rt::TokioIo;
use session_layer::{DnsError, dns::Name};
use tokio::{io::AsyncWriteExt as _, net::TcpSocket};
use tower::{service_fn, timeout::TimeoutLayer};

use crate::peers::{self, HALF, OK};

pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) error: Pin<Box<dyn Future<Output = Error>>>,
}

const SOON: Duration = Duration::from_millis(100);

fn case(name: &'static str, error: impl Future<Output = Error> + 'static) -> Case {
    let error = Box::pin(error);
    Case { name, error }
}

/// The cases, roughly in the order of a request's way.
pub(crate) fn all() -> Vec<Case> {
    let mut cases = vec![
        case("a relative URL without a base", async {
            fails(default().get("/path")).await
        }),
        case("a client that was closed", closed()),
        case("a source of tokens that fails", token()),
        case("a circuit that is open", circuit_open()),
        case("a pause that is too long", paused()),
        case("no connection becomes free", queue_timeout()),
        case("no room in the queue", queue_full()),
        case("an unknown name", dns()),
        case("name servers that are silent", dns_timeout()),
        case("no listener", refused()),
        case("a TLS handshake without an answer", connect_timeout()),
        case("no such socket", connect()),
        case("a proxy that wants credentials", proxy()),
        case("a server without TLS", tls()),
        case("a connection that ended before the request", unsent()),
        case("a reused connection that was closed", stale()),
        case("a connection that breaks within a head", async {
            fails(get(peers::closing(0, "HTTP/1.1 200 O").await)).await
        }),
        case("a stream that is reset", reset(8)),
        case("a stream that is refused", reset(7)),
        case("no head in time", async {
            fails(get(peers::silent().await).head_timeout(SOON)).await
        }),
        case("a server of another protocol", async {
            fails(get(peers::answering("220 mail.test ESMTP\r\n\r\n").await)).await
        }),
        case("a body larger than `max_body`", too_large()),
        case("a request body that fails", request_body()),
        case("a body that is cut off", async {
            fails(get(peers::closing(0, HALF).await)).await
        }),
        case("a body that stands still", async {
            fails(get(peers::stalling(HALF).await).idle_timeout(SOON)).await
        }),
        case("a body that comes too slowly", async {
            let floor = ThroughputFloor::new(1_000, SOON);
            fails(get(peers::stalling(HALF).await).download_floor(floor)).await
        }),
        case("a file that changes while it is loaded", changed()),
        case("a download with another digest", digest()),
        case("a writer that fails", write()),
        case("HTML in place of JSON", json("<html>sign in</html>")),
        case("JSON of another type", json("{\"price\": \"low\"}")),
        case("too many redirects", redirect()),
        case("a failed status", status()),
        case("a layer with a timeout of its own", layer_timeout()),
        case("a service in the session's place", service()),
        case("three attempts that fail in different ways", attempts()),
    ];
    cases.extend(deadlines());
    cases
}

/// The deadline, passing at each step of a call.
fn deadlines() -> Vec<Case> {
    async fn late(request: RequestBuilder) -> Error {
        fails(request.timeout(SOON)).await
    }
    vec![
        case("the deadline, before the call", async {
            fails(get(peers::silent().await).timeout(Duration::ZERO)).await
        }),
        case("the deadline, for a token", async {
            let source = token_fn(pending);
            late(based(Client::builder().auth(source)).get("/")).await
        }),
        case("the deadline, in the queue", async {
            let client = build(one_connection());
            let url = url(peers::silent().await);
            let first = tokio::spawn(client.get(&url).send());
            tokio::task::yield_now().await;
            let error = late(client.get(&url)).await;
            first.abort();
            error
        }),
        case("the deadline, for a name", async {
            let resolver = Resolver::over(service_fn(|_: Name| {
                pending::<Result<Vec<SocketAddr>, DnsError>>()
            }));
            late(resolving(resolver, Client::builder()).get("http://name.test/")).await
        }),
        case("the deadline, at a proxy", async {
            let proxy = Proxy::all(&url(peers::silent().await)).expect("a URL");
            late(build(Client::builder().proxy(proxy)).get("https://origin.test/")).await
        }),
        case("the deadline, in the TLS handshake", async {
            late(default().get(format!("https://{}/", peers::silent().await))).await
        }),
        case("the deadline, for a head", async {
            late(get(peers::silent().await)).await
        }),
        case("the deadline, in a body", async {
            late(get(peers::stalling(HALF).await)).await
        }),
    ]
}

async fn closed() -> Error {
    let client = default();
    client.close().await;
    fails(client.get("http://localhost/")).await
}

async fn token() -> Error {
    let source = token_fn(|| ready(Err::<Token, _>("the secret has expired".into())));
    fails(based(Client::builder().auth(source)).get("/")).await
}

async fn circuit_open() -> Error {
    let builder = Client::builder().breaker(Breaker::builder());
    let client = faked(builder, &Fake::new([503; 7]));
    for _ in 0..7 {
        let response = client.post("http://localhost/").fetch().await;
        assert!(response.is_ok_and(|it| it.status() == 503));
    }
    fails(client.post("http://localhost/")).await
}

async fn paused() -> Error {
    let throttled = Answer::new(429).header("retry-after", "90");
    let builder = Client::builder().pause(Pause::builder());
    let client = faked(builder, &Fake::new([throttled]));
    let response = client.post("http://localhost/").fetch().await;
    assert!(response.is_ok_and(|it| it.status() == 429));
    fails(client.post("http://localhost/")).await
}

async fn queue_timeout() -> Error {
    let pool = PoolConfig::default().max_connections(1).queue_timeout(SOON);
    second(pool).await
}

async fn queue_full() -> Error {
    second(PoolConfig::default().max_connections(1).max_waiting(0)).await
}

/// The error of the second request, where the first one waits for an answer that does not come.
async fn second(pool: PoolConfig) -> Error {
    let client = build(Client::builder().pool(pool));
    let url = url(peers::silent().await);
    let first = tokio::spawn(client.get(&url).send());
    tokio::task::yield_now().await;
    let error = fails(client.get(&url)).await;
    first.abort();
    error
}

async fn dns() -> Error {
    let resolver = Resolver::over(service_fn(|_: Name| {
        ready(Err::<Vec<SocketAddr>, _>(io::Error::other("no such host")))
    }));
    fails(resolving(resolver, Client::builder()).get("http://name.test/")).await
}

async fn dns_timeout() -> Error {
    let resolver = Resolver::over(service_fn(|_: Name| {
        pending::<Result<Vec<SocketAddr>, DnsError>>()
    }));
    let builder = Client::builder().timeouts(Timeouts::default().connect(SOON));
    fails(resolving(resolver, builder).get("http://name.test/")).await
}

async fn refused() -> Error {
    // Bound, so that no other process gets the port, and without a listener.
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(([127, 0, 0, 1], 0).into()).expect("a port");
    fails(get(socket.local_addr().expect("it is bound"))).await
}

async fn connect_timeout() -> Error {
    let client = build(Client::builder().timeouts(Timeouts::default().connect(SOON)));
    fails(client.get(format!("https://{}/", peers::silent().await))).await
}

async fn connect() -> Error {
    let connector = service_fn(|_: http::Uri| async {
        // Stands for any failure of a connect but a refusal.
        Err::<TokioIo<tokio::net::TcpStream>, _>(io::Error::from(io::ErrorKind::NotFound))
    });
    let client = once().build_with_connector(connector).expect("settings");
    fails(client.get("http://peer.test/")).await
}

async fn proxy() -> Error {
    let refusal = "HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n";
    let proxy = Proxy::all(&url(peers::answering(refusal).await)).expect("a URL");
    fails(build(Client::builder().proxy(proxy)).get("https://origin.test/")).await
}

async fn tls() -> Error {
    let refusal = peers::listen(|mut stream| async move {
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await
    });
    fails(default().get(format!("https://{}/", refusal.await))).await
}

async fn unsent() -> Error {
    let addr = peers::hanging_up().await;
    let connector = service_fn(move |_: http::Uri| async move {
        peers::closed_connection(addr).await.map(TokioIo::new)
    });
    let client = once().build_with_connector(connector).expect("settings");
    fails(client.get("http://peer.test/")).await
}

async fn stale() -> Error {
    let client = default();
    let url = url(peers::closing(1, "").await);
    client
        .get(&url)
        .fetch()
        .await
        .expect("the first is answered");
    fails(client.get(&url)).await
}

async fn reset(code: u32) -> Error {
    let client = build(Client::builder().http2(Http2::default().prior_knowledge(true)));
    fails(client.get(url(peers::resetting(code).await))).await
}

async fn too_large() -> Error {
    let client = build(Client::builder().max_body(1));
    fails(client.get(url(peers::answering(OK).await))).await
}

async fn request_body() -> Error {
    let body = Body::stream(stream::iter([
        Ok(Bytes::from_static(b"some")),
        Err(io::Error::other("the file ends here")),
    ]));
    let client = default();
    fails(client.post(url(peers::silent().await)).body(body)).await
}

async fn write() -> Error {
    let response = get(peers::answering(OK).await).no_retry().send().await;
    // A pipe whose reader is gone.
    let (mut writer, reader) = tokio::io::duplex(1);
    drop(reader);
    let copied = response.expect("it is answered").copy_to(&mut writer).await;
    copied.expect_err("nobody reads it")
}

async fn changed() -> Error {
    let fake = Fake::from_fn(|request| match request.headers().get("range") {
        None => Answer::new(200)
            .header("etag", "\"1\"")
            .body("half")
            .breaks_off(),
        Some(_) => Answer::new(200).header("etag", "\"2\"").body("another"),
    });
    let request = fake.client().get("http://peer.test/file").resume(true);
    match request.send().await {
        Ok(response) => response.bytes().await.expect_err("the file has changed"),
        Err(error) => error,
    }
}

async fn digest() -> Error {
    // Nothing is left of such a download.
    let name = format!("diagnose-{}", std::process::id());
    let path = std::env::temp_dir().join(name);
    let fake = Fake::new([Answer::new(200).body("another file")]);
    let request = fake.client().get("http://peer.test/file");
    let download = request.download_to(path).sha256([0; 32]).await;
    download.expect_err("no file has this digest")
}

async fn json(body: &'static str) -> Error {
    let client = Client::fake([Answer::new(200).body(body)]);
    let response = client.get("http://peer.test/").fetch().await;
    let read = response.expect("it is answered").json::<Quote>();
    read.map(|quote| quote.price).expect_err("it is no quote")
}

#[derive(serde::Deserialize)]
struct Quote {
    price: f64,
}

async fn redirect() -> Error {
    let around = "HTTP/1.1 302 Found\r\nlocation: /\r\ncontent-length: 0\r\n\r\n";
    let client = build(Client::builder().redirects(Redirects::limited(1)));
    fails(client.get(url(peers::answering(around).await))).await
}

async fn status() -> Error {
    let missing = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";
    fails(get(peers::answering(missing).await).error_for_status(true)).await
}

async fn layer_timeout() -> Error {
    let client = build(Client::builder().attempt_layer(TimeoutLayer::new(SOON)));
    fails(client.get(url(peers::silent().await))).await
}

async fn service() -> Error {
    let broken = service_fn(|_: Request<Body>| {
        ready(Err::<http::Response<Body>, _>(io::Error::other(
            "out of order",
        )))
    });
    let client = once().build_with_service(broken).expect("settings");
    fails(client.get("http://peer.test/")).await
}

async fn attempts() -> Error {
    let client = Client::new();
    let request = client.get(url(peers::by_turns().await));
    failed(request.head_timeout(SOON).fetch().await)
}

/// A client that sends each request once, and says how it ended.
fn default() -> Client {
    build(Client::builder())
}

fn once() -> ClientBuilder {
    Client::builder().retry(RetryPolicy::builder().max_attempts(1))
}

/// A client over a fake, whose calls are sent once.
fn faked(builder: ClientBuilder, fake: &Fake) -> Client {
    let policy = RetryPolicy::builder().max_attempts(1);
    builder
        .retry(policy)
        .build_with_fake(fake)
        .expect("the settings are valid")
}

fn build(builder: ClientBuilder) -> Client {
    let policy = RetryPolicy::builder().max_attempts(1);
    builder
        .retry(policy)
        .build()
        .expect("the settings are valid")
}

fn based(builder: ClientBuilder) -> Client {
    build(builder.base_url("http://peer.test/").expect("a URL"))
}

fn one_connection() -> ClientBuilder {
    Client::builder().pool(PoolConfig::default().max_connections(1))
}

fn resolving(resolver: Resolver, builder: ClientBuilder) -> Client {
    build(builder.map_connector(|connector| connector.resolver(resolver)))
}

fn get(addr: SocketAddr) -> RequestBuilder {
    default().get(url(addr))
}

fn url(addr: SocketAddr) -> String {
    format!("http://{addr}/")
}

async fn fails(request: RequestBuilder) -> Error {
    failed(request.no_retry().fetch().await)
}

fn failed<T>(outcome: Result<T, Error>) -> Error {
    match outcome {
        Ok(_) => unreachable!("each case is made to fail"),
        Err(error) => error,
    }
}
