//! The connector behind proxies: what they are sent, what they must not be sent, and what their
//! failures are.

use std::{
    error::Error as StdError,
    io, iter,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, StatusCode, Uri};
use http_body_util::Full;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use retry_layer::{Class, transport};
use session_layer::{
    ConnectError, ConnectTimes, Connector, Error, PoolConfig, Proxy, ProxyError, Session,
    SessionLayer, Timeouts, Transport,
};
use test_suite::{BytesSession, fetch, get, send, test_path};
use test_support::{
    Log, Server, always, proxy,
    proxy::Asked,
    tls::{Authority, LOOPBACK},
};
use tower::{Layer, Service, ServiceExt};

/// Of `alice:canary`.
const BASIC: &str = "Basic YWxpY2U6Y2FuYXJ5";

/// What must never be seen where it does not belong.
const SECRETS: [&str; 2] = ["canary", "YWxpY2U6Y2FuYXJ5"];

fn via(proxy: &Server) -> Proxy {
    Proxy::all(&proxy.origin()).expect("the address of a server is a URL")
}

fn authorized(proxy: &Server) -> Proxy {
    let url = proxy.origin().replace("://", "://alice:canary@");
    Proxy::all(&url).expect("the address of a server is a URL")
}

fn session(connector: Connector) -> BytesSession {
    Session::new(connector)
}

/// A session through a proxy, that trusts this authority alone.
fn through(proxy: Proxy, authority: &Authority) -> BytesSession {
    let connector = Connector::new().tls_config(authority.client_config());
    session(connector.proxy(proxy))
}

async fn secure_origin(authority: &Authority, names: &[&str]) -> Server {
    Server::start_tls(always(200, "origin"), authority.server_config(names)).await
}

/// A request with secrets of its own for the origin.
fn secret(url: &str) -> Request<Full<bytes::Bytes>> {
    let mut request = get(url);
    for (name, value) in [("authorization", "canary"), ("cookie", "canary")] {
        let value = http::HeaderValue::from_static(value);
        request
            .headers_mut()
            .insert(http::HeaderName::from_static(name), value);
    }
    request
}

fn proxy_error(error: &Error) -> Option<&ProxyError> {
    let error: &(dyn StdError + 'static) = error;
    iter::successors(Some(error), |error| (*error).source()).find_map(|error| error.downcast_ref())
}

/// All that an error tells, in every form.
fn told(error: &Error) -> String {
    let chain: &(dyn StdError + 'static) = error;
    let chain = iter::successors(Some(chain), |error| (*error).source());
    chain.fold(format!("{error:#?}"), |told, error| {
        format!("{told}\n{error}\n{error:?}")
    })
}

fn assert_no_secret(what: &str, text: &str) {
    for secret in SECRETS {
        assert!(!text.contains(secret), "{what}: {text}");
    }
}

fn heads(log: &Log) -> String {
    let heads = log.requests.iter().map(|request| &*request.raw_head);
    heads.map(String::from_utf8_lossy).collect()
}

/// Asserts that a request fails by the proxy, for good, and without a word of its credentials.
async fn fails(what: &str, session: &BytesSession, url: &str) -> Error {
    let error = send(session, secret(url))
        .await
        .expect_err("the proxy fails");
    assert!(
        error.is_proxy() && error.is_connect() && error.is_unsent(),
        "{what}: {error:?}"
    );
    assert!(!error.is_dns() && !error.is_tls(), "{what}: {error:?}");
    assert!(proxy_error(&error).is_some(), "{what}: {error:?}");
    assert_no_secret(what, &told(&error));
    assert_eq!(session.stats().open, 0, "{what}");
    error
}

#[tokio::test]
async fn plain_http_is_sent_whole_and_credentials_go_to_the_proxy_alone() {
    let nobody = "127.0.0.1:1".parse().unwrap();
    let proxy = Server::start(proxy::http(nobody, Some(BASIC))).await;
    let session = session(Connector::new().proxy(authorized(&proxy)));
    for target in ["http://origin.test/a?b=c", "http://origin.test:8080/"] {
        let (status, body) = fetch(&session, get(target)).await.unwrap();
        assert_eq!((status, &*body), (StatusCode::OK, target.as_bytes()));
    }
    // Two requests to one origin are one connection, whose requests are whole each time.
    fetch(&session, get("http://origin.test/again"))
        .await
        .unwrap();
    let log = proxy.log();
    assert_eq!(log.accepted, 2);
    assert_eq!(log.targets()[2], "http://origin.test/again");
    assert_eq!(log.requests[0].header("host"), Some("origin.test"));
    assert_eq!(log.requests[1].header("host"), Some("origin.test:8080"));
    let credentials = log.requests[2].headers.get_all("proxy-authorization");
    assert_eq!(credentials.iter().collect::<Vec<_>>(), [BASIC]);
}

/// Somebody's connector that always leads to one proxy.
#[derive(Clone)]
struct ToProxy(Connector, Uri);

impl Service<Uri> for ToProxy {
    type Response = Proxied;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Proxied, ConnectError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let connecting = self.0.call(self.1.clone());
        Box::pin(async { Ok(Proxied(connecting.await?)) })
    }
}

struct Proxied(Transport);

impl Connection for Proxied {
    fn connected(&self) -> Connected {
        self.0.connected().proxy(true)
    }
}

impl Read for Proxied {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl Write for Proxied {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[tokio::test]
async fn a_foreign_connector_that_leads_to_a_proxy_has_requests_sent_whole() {
    let nobody = "127.0.0.1:1".parse().unwrap();
    let proxy = Server::start(proxy::http(nobody, None)).await;
    let foreign = ToProxy(Connector::new(), proxy.origin().parse().unwrap());
    let session: BytesSession = Session::new(foreign);
    let target = "http://origin.test/a?b";
    let (_, body) = fetch(&session, get(target)).await.unwrap();
    assert_eq!(body, target);
    let names: Vec<_> = proxy.log().requests[0].headers.keys().cloned().collect();
    assert_eq!(names, ["host"]);
}

#[tokio::test]
async fn a_tunnel_hides_credentials_of_the_proxy_and_origin_from_each_other() {
    let authority = Authority::new();
    let origin = secure_origin(&authority, &["origin.test"]).await;
    let proxy = Server::start(proxy::http(origin.addr(), Some(BASIC))).await;
    let session = through(authorized(&proxy), &authority);
    for _ in 0..2 {
        // The name does not exist: the proxy alone is to resolve it.
        let (status, body) = fetch(&session, get("https://origin.test/a")).await.unwrap();
        assert_eq!((status, &*body), (StatusCode::OK, &b"origin"[..]));
    }
    let (seen, log) = (origin.log(), proxy.log());
    assert_eq!(seen.accepted, 1, "the tunnel is reused");
    assert_eq!(seen.targets(), ["/a", "/a"]);
    assert_eq!(seen.requests[0].header("host"), Some("origin.test"));
    assert_no_secret("the origin", &heads(&seen));
    assert!(!heads(&seen).to_lowercase().contains("proxy"));

    assert_eq!(log.targets(), ["origin.test:443"]);
    assert_eq!(log.requests[0].header("host"), Some("origin.test:443"));
    assert_eq!(log.requests[0].header("proxy-authorization"), Some(BASIC));
}

#[tokio::test]
async fn nothing_of_a_request_for_the_origin_is_in_connect() {
    let authority = Authority::new();
    let origin = secure_origin(&authority, LOOPBACK).await;
    let proxy = Server::start(proxy::http(origin.addr(), None)).await;
    let session = through(via(&proxy), &authority);
    let url = format!("https://localhost:{}/", origin.addr().port());
    assert!(fetch(&session, secret(&url)).await.is_ok());
    let log = proxy.log();
    let names: Vec<_> = log.requests[0].headers.keys().collect();
    assert_eq!(names, ["host"]);
    assert_no_secret("the proxy", &heads(&log));
    assert_eq!(origin.log().requests[0].header("cookie"), Some("canary"));
}

#[tokio::test]
async fn a_proxy_that_wants_credentials_is_a_final_error_with_its_status() {
    let authority = Authority::new();
    let origin = secure_origin(&authority, LOOPBACK).await;
    let proxy = Server::start(proxy::http(origin.addr(), Some("Basic other"))).await;
    for proxy_of in [via(&proxy), authorized(&proxy)] {
        let session = through(proxy_of, &authority);
        let error = fails("407", &session, &origin.url("/")).await;
        assert_eq!(
            error.proxy_status(),
            Some(StatusCode::PROXY_AUTHENTICATION_REQUIRED)
        );
        assert_eq!(proxy_error(&error).unwrap().proxy(), proxy.origin());
        assert_eq!(transport::classify(&error), Class::Final);
        assert!(told(&error).contains("407"), "{error:?}");
    }
    assert_eq!(origin.log().accepted, 0);
}

#[tokio::test]
async fn a_407_to_a_request_sent_whole_is_its_response() {
    let nobody = "127.0.0.1:1".parse().unwrap();
    let proxy = Server::start(proxy::http(nobody, Some(BASIC))).await;
    let session = session(Connector::new().proxy(via(&proxy)));
    let (status, _) = fetch(&session, get("http://origin.test/")).await.unwrap();
    assert_eq!(status, StatusCode::PROXY_AUTHENTICATION_REQUIRED);
}

#[tokio::test]
async fn whatever_a_proxy_answers_but_success_is_its_error() {
    let authority = Authority::new();
    let huge = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(64 * 1024));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(1000));
    for (what, answer, status) in [
        (
            "502",
            "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 6\r\n\r\ncanary",
            Some(502),
        ),
        ("403", "HTTP/1.0 403 Forbidden\r\n\r\n", Some(403)),
        (
            "a redirect",
            "HTTP/1.1 302 Found\r\nLocation: http://canary/\r\n\r\n",
            Some(302),
        ),
        ("garbage", "SSH-2.0-OpenSSH_9.2\r\n", None),
        ("half a head", "HTTP/1.1 200 OK\r\nX: ", None),
        ("nothing", "", None),
        ("a huge head", &huge, None),
        ("many fields", &many, None),
        (
            "bytes before TLS",
            "HTTP/1.1 200 OK\r\n\r\n\x16\x03\x01",
            None,
        ),
        (
            "a body",
            "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\ncanary",
            None,
        ),
    ] {
        let proxy = Server::start(proxy::answering(answer.to_owned())).await;
        let session = through(authorized(&proxy), &authority);
        let error = fails(what, &session, "https://origin.test/").await;
        let status = status.map(|status| StatusCode::from_u16(status).unwrap());
        assert_eq!(error.proxy_status(), status, "{what}: {error:?}");
        assert!(!error.is_timeout(), "{what}: {error:?}");
        assert_eq!(proxy.log().accepted, 1, "{what}");
    }
}

#[tokio::test]
async fn any_2xx_opens_a_tunnel_and_its_content_length_means_nothing() {
    let authority = Authority::new();
    let origin = secure_origin(&authority, LOOPBACK).await;
    for head in [
        "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
        "HTTP/1.1 299 Fine\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.0 200 Connection established\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
    ] {
        let upstream = origin.addr();
        let proxy = Server::start(move |connection: test_support::Connection| {
            proxy::tunnel(connection, head, upstream)
        })
        .await;
        let session = through(via(&proxy), &authority);
        let url = format!("https://localhost:{}/", origin.addr().port());
        let (status, _) = fetch(&session, get(&url)).await.expect(head);
        assert_eq!(status, StatusCode::OK, "{head}");
    }
}

#[tokio::test]
async fn a_proxy_that_hangs_ends_at_the_connect_timeout() {
    let authority = Authority::new();
    let proxy = Server::start(|mut connection: test_support::Connection| async move {
        connection.stall_until_closed().await;
    })
    .await;
    let short = Duration::from_millis(200);
    for url in [proxy.origin(), proxy.origin().replace("http", "socks5h")] {
        // By the connector's timeout, and by the session's.
        let connector = || {
            let connector = Connector::new().tls_config(authority.client_config());
            connector.proxy(Proxy::all(&url).unwrap())
        };
        let own: BytesSession = Session::new(connector().connect_timeout(short));
        let error = fails("the connector's", &own, "https://origin.test/").await;
        assert!(error.is_timeout(), "{error:?}");

        let timeouts = Timeouts::default().connect(short);
        let layer = SessionLayer::new(PoolConfig::default(), timeouts).unwrap();
        let error = send(&layer.layer(connector()), get("https://origin.test/"))
            .await
            .unwrap_err();
        assert!(error.is_timeout() && error.is_connect() && error.is_unsent());
    }
    proxy
        .wait_for(|log| log.accepted == 4 && log.open == 0)
        .await;
}

#[tokio::test]
async fn a_proxy_that_cannot_be_reached_is_told_from_an_origin_that_cannot() {
    let proxy = Server::start(always(200, "x")).await;
    proxy.stop_accepting().await;
    let refused = session(Connector::new().proxy(authorized(&proxy)));
    let error = fails("refused", &refused, "http://origin.test/").await;
    assert_eq!(error.proxy_status(), None);
    assert_eq!(transport::classify(&error), Class::NotSent);

    let nameless = Proxy::all("http://alice:canary@none-such.invalid:3128").unwrap();
    let session = session(Connector::new().proxy(nameless));
    fails("no such name", &session, "http://origin.test/").await;
}

#[tokio::test]
async fn an_https_proxy_is_verified_and_tls_with_the_origin_runs_inside() {
    let authority = Authority::new();
    let origin = secure_origin(&authority, &["origin.test"]).await;
    let config = authority.server_config(LOOPBACK);
    let proxy = Server::start_tls(proxy::http(origin.addr(), Some(BASIC)), config).await;
    let session = through(authorized(&proxy), &authority);
    let (_, body) = fetch(&session, get("https://origin.test/")).await.unwrap();
    assert_eq!(body, "origin");
    let (_, body) = fetch(&session, get("http://origin.test/x")).await.unwrap();
    assert_eq!(body, "http://origin.test/x");
    assert_no_secret("the origin", &heads(&origin.log()));
    assert_eq!(
        proxy.log().targets(),
        ["origin.test:443", "http://origin.test/x"]
    );
}

#[tokio::test]
async fn an_https_proxy_that_is_not_trusted_is_sent_nothing() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let nobody = "127.0.0.1:1".parse().unwrap();
    for (what, config) in [
        ("unknown root", stranger.server_config(LOOPBACK)),
        ("another name", authority.server_config(&["origin.test"])),
        ("expired", authority.expired_server_config(LOOPBACK)),
    ] {
        let proxy = Server::start_tls(proxy::http(nobody, None), config).await;
        let session = through(authorized(&proxy), &authority);
        for url in ["https://origin.test/", "http://origin.test/"] {
            let error = fails(what, &session, url).await;
            assert_eq!(transport::classify(&error), Class::Permanent, "{what}");
        }
        assert!(proxy.log().requests.is_empty(), "{what}");
    }
}

#[tokio::test]
async fn an_https_proxy_is_shown_neither_client_certificate_nor_pin() {
    let authority = Authority::new();
    let origin = Server::start_tls(
        always(200, "origin"),
        authority.mutual_server_config(&["origin.test"]),
    )
    .await;
    // A proxy that takes a client with a certificate only: it must get none.
    let config = authority.mutual_server_config(LOOPBACK);
    let proxy = Server::start_tls(proxy::http(origin.addr(), None), config).await;
    let asks = |proxy: &Server| {
        let connector = Connector::new().tls_config(authority.mutual_client_config());
        session(connector.proxy(via(proxy)))
    };
    fails("no certificate", &asks(&proxy), "https://origin.test/").await;
    assert!(proxy.log().requests.is_empty());

    // The same client has one for the origin.
    let config = authority.server_config(LOOPBACK);
    let proxy = Server::start_tls(proxy::http(origin.addr(), None), config).await;
    let (_, body) = fetch(&asks(&proxy), get("https://origin.test/"))
        .await
        .unwrap();
    assert_eq!(body, "origin");
}

#[tokio::test]
async fn a_certificate_of_the_origin_is_verified_inside_the_tunnel() {
    let authority = Authority::new();
    let origin = secure_origin(&authority, &["other.test"]).await;
    let proxy = Server::start(proxy::http(origin.addr(), None)).await;
    let session = through(via(&proxy), &authority);
    let error = send(&session, get("https://origin.test/"))
        .await
        .unwrap_err();
    assert!(error.is_tls() && !error.is_proxy(), "{error:?}");
    assert!(origin.log().requests.is_empty());
}

#[tokio::test]
async fn socks_connects_by_name_or_by_address() {
    let plain = Server::start(always(200, "plain")).await;
    let by_name = |port| format!("origin.test:{port}");
    let by_address = |port| format!("127.0.0.1:{port}");
    let port = plain.addr().port();
    for (scheme, host, target) in [
        ("socks4a", "origin.test", by_name(port)),
        ("socks5h", "origin.test", by_name(port)),
        ("socks4", "127.0.0.1", by_address(port)),
        ("socks5", "127.0.0.1", by_address(port)),
        ("socks4a", "127.0.0.1", by_address(port)),
    ] {
        let asked = Asked::default();
        let proxy = Server::start(proxy::socks(plain.addr(), None, &asked)).await;
        let url = proxy.origin().replace("http", scheme);
        let session = session(Connector::new().proxy(Proxy::all(&url).unwrap()));
        let url = format!("http://{host}:{port}/");
        let (_, body) = fetch(&session, get(&url)).await.expect(scheme);
        assert_eq!(body, "plain", "{scheme}");
        assert_eq!(asked.targets(), [target], "{scheme}");
    }
    // Through a tunnel the request is none of the proxy's business.
    assert_eq!(plain.log().targets(), ["/"; 5]);
}

#[tokio::test]
async fn socks_resolves_here_where_the_scheme_says_so() {
    let origin = Server::start(always(200, "plain")).await;
    for scheme in ["socks4", "socks5"] {
        let asked = Asked::default();
        let proxy = Server::start(proxy::socks(origin.addr(), None, &asked)).await;
        let url = proxy.origin().replace("http", scheme);
        let session = session(Connector::new().proxy(Proxy::all(&url).unwrap()));
        let error = send(&session, get("http://none-such.invalid/"))
            .await
            .unwrap_err();
        assert!(error.is_dns() && !error.is_proxy(), "{scheme}: {error:?}");
        assert!(asked.targets().is_empty(), "{scheme}");
    }
}

#[tokio::test]
async fn socks5_carries_tls_and_its_password_goes_to_the_proxy_alone() {
    let authority = Authority::new();
    let origin = secure_origin(&authority, &["origin.test"]).await;
    let asked = Asked::default();
    let handler = proxy::socks(origin.addr(), Some(("alice", "canary")), &asked);
    let proxy = Server::start(handler).await;
    let url = proxy.origin().replace("http://", "socks5h://alice:canary@");
    let session = through(Proxy::all(&url).unwrap(), &authority);
    let (_, body) = fetch(&session, get("https://origin.test/")).await.unwrap();
    assert_eq!(body, "origin");
    assert_eq!(asked.targets(), ["origin.test:443"]);
    assert_no_secret("the origin", &heads(&origin.log()));
}

#[tokio::test]
async fn a_socks_proxy_that_refuses_is_an_error_of_the_proxy() {
    let nobody = "127.0.0.1:1".parse().unwrap();
    let wanted = Some(("alice", "other"));
    let wrong = Server::start(proxy::socks(nobody, wanted, &Asked::default())).await;
    let wrong_url = wrong.origin().replace("http://", "socks5h://alice:canary@");
    let none_url = wrong.origin().replace("http://", "socks5h://");
    let unreachable = proxy::answering_bytes([5, 0], [5, 4, 0, 1, 0, 0, 0, 0, 0, 0]);
    let unreachable = Server::start(unreachable).await;
    let unreachable_url = unreachable.origin().replace("http://", "socks5h://");
    let rejected = Server::start(proxy::answering_bytes([0, 91, 0, 0, 0, 0, 0, 0], [])).await;
    let rejected_url = rejected.origin().replace("http://", "socks4a://");
    let garbage = Server::start(proxy::answering_bytes(*b"HT", *b"TP/1.1 400")).await;
    let garbage_url = garbage.origin().replace("http://", "socks5h://");
    for (what, url) in [
        ("a wrong password", wrong_url),
        ("no password", none_url),
        ("host unreachable", unreachable_url),
        ("rejected", rejected_url),
        ("garbage", garbage_url),
    ] {
        let session = session(Connector::new().proxy(Proxy::all(&url).unwrap()));
        fails(what, &session, "http://origin.test/").await;
    }
}

#[tokio::test]
async fn what_is_exempt_goes_past_the_proxy_without_its_credentials() {
    let origin = Server::start(always(200, "direct")).await;
    let nobody = "127.0.0.1:1".parse().unwrap();
    let proxy = Server::start(proxy::http(nobody, None)).await;
    let exempt = authorized(&proxy).no_proxy("127.0.0.0/8");
    let session = session(Connector::new().proxy(exempt));
    let (_, body) = fetch(&session, get(&origin.url("/"))).await.unwrap();
    assert_eq!(body, "direct");
    assert_eq!(proxy.log().accepted, 0);
    assert_eq!(origin.log().targets(), ["/"]);
    assert_no_secret("the origin", &heads(&origin.log()));
}

#[tokio::test]
async fn loopback_is_not_exempt_by_itself() {
    let origin = Server::start(always(200, "direct")).await;
    let nobody = "127.0.0.1:1".parse().unwrap();
    let proxy = Server::start(proxy::http(nobody, None)).await;
    let session = session(Connector::new().proxy(via(&proxy)));
    let (_, body) = fetch(&session, get(&origin.url("/x"))).await.unwrap();
    assert_eq!(body, origin.url("/x"));
    assert_eq!(origin.log().accepted, 0);
}

#[tokio::test]
async fn the_first_proxy_that_applies_is_taken() {
    let nobody = "127.0.0.1:1".parse().unwrap();
    let first = Server::start(proxy::http(nobody, None)).await;
    let second = Server::start(proxy::http(nobody, None)).await;
    let connector = Connector::new()
        .proxy(via(&first).no_proxy("b.test"))
        .proxy(via(&second));
    let session = session(connector);
    for url in ["http://a.test/", "http://b.test/"] {
        fetch(&session, get(url)).await.unwrap();
    }
    assert_eq!(first.log().targets(), ["http://a.test/"]);
    assert_eq!(second.log().targets(), ["http://b.test/"]);
}

/// The environment of a process cannot be changed here, so the test runs itself in another.
#[tokio::test]
async fn the_environment_is_read_by_choice_only() {
    const CHILD: &str = "CONNECTOR_PROXY_CHILD";
    const NAME: &str = "the_environment_is_read_by_choice_only";
    if let Ok(origin) = std::env::var(CHILD) {
        let unasked = session(Connector::new());
        let (_, body) = fetch(&unasked, get(&origin)).await.unwrap();
        assert_eq!(body, "direct");
        let asked = session(Connector::new().proxy(Proxy::from_env().unwrap()));
        let (_, body) = fetch(&asked, get(&origin)).await.unwrap();
        assert_eq!(body, origin);
        return;
    }
    let origin = Server::start(always(200, "direct")).await;
    let nobody = "127.0.0.1:1".parse().unwrap();
    let proxy = Server::start(proxy::http(nobody, Some(BASIC))).await;
    let url = proxy.origin().replace("://", "://alice:canary@");
    let child = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args([&test_path(module_path!(), NAME), "--exact"])
        .env(CHILD, origin.url("/x"))
        .env("HTTP_PROXY", &url)
        .env_remove("NO_PROXY")
        .env_remove("no_proxy")
        .env_remove("REQUEST_METHOD")
        .output()
        .await
        .unwrap();
    let output = String::from_utf8_lossy(&child.stdout).into_owned();
    assert!(child.status.success(), "{output}");
    assert_eq!((origin.log().accepted, proxy.log().accepted), (1, 1));
}

#[tokio::test]
async fn no_debug_shows_credentials() {
    let nobody = "127.0.0.1:1".parse().unwrap();
    let server = Server::start(proxy::http(nobody, None)).await;
    let proxy = authorized(&server);
    let connector = Connector::new().proxy(proxy.clone());
    let session: BytesSession = Session::new(connector.clone());
    let uri = Uri::from_static("http://origin.test");
    let transport = connector.clone().oneshot(uri).await.unwrap();
    let shown = format!("{proxy:?} {connector:?} {session:?} {transport:?}");
    assert!(shown.contains(&server.origin()), "{shown}");
    assert_no_secret("debug", &shown);
}

#[tokio::test]
async fn the_time_that_a_proxy_takes_is_told() {
    let authority = Authority::new();
    let origin = secure_origin(&authority, LOOPBACK).await;
    let proxy = Server::start(proxy::http(origin.addr(), None)).await;
    let connector = Connector::new().tls_config(authority.client_config());
    let uri = format!("https://localhost:{}", origin.addr().port());
    let transport = connector
        .proxy(via(&proxy))
        .oneshot(uri.parse::<Uri>().unwrap())
        .await
        .unwrap();
    let mut extras = http::Extensions::new();
    transport.connected().get_extras(&mut extras);
    let times: &ConnectTimes = extras.get().unwrap();
    assert!(times.proxy.is_some() && times.tls.is_some(), "{times:?}");
    assert_eq!(times.peer, Some(proxy.addr()));
}
