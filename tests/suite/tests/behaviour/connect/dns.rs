//! Names and addresses, through a session and over real sockets.

use std::{
    error::Error as StdError,
    future::Future,
    io, iter,
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{StatusCode, Uri};
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use retry_layer::{ReplayBody, RetryLayer};
use session_layer::{
    DnsError, Error, PoolConfig, Resolver, Session, SessionLayer, Timeouts,
    dns::{Name, is_public},
};
use test_suite::{BytesSession, eventually, fetch, get, send};
use test_support::{Server, always};
use tokio::{net::TcpStream, task::JoinSet};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

/// A connector that dials what its resolver says, and counts how often it is called.
#[derive(Clone)]
struct Dialler {
    resolver: Resolver,
    calls: Arc<AtomicUsize>,
}

impl Dialler {
    fn new(resolver: Resolver) -> Self {
        Self {
            resolver,
            calls: Arc::default(),
        }
    }

    fn session<B>(&self) -> Session<B>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        SessionLayer::new(PoolConfig::default(), Timeouts::default())
            .expect("the settings are valid")
            .layer(self.clone())
    }
}

impl Service<Uri> for Dialler {
    type Response = TokioIo<TcpStream>;
    type Error = Box<dyn StdError + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let resolver = self.resolver.clone();
        Box::pin(async move {
            let host = uri.host().ok_or("no host")?;
            let addresses = resolver.resolve(host, uri.port_u16().unwrap_or(80)).await?;
            Ok(TokioIo::new(TcpStream::connect(&*addresses).await?))
        })
    }
}

/// A name that is on this host at its first lookup, and on another one in the network from then on.
fn rebound() -> (Resolver, Arc<AtomicUsize>) {
    let lookups = Arc::<AtomicUsize>::default();
    let counting = lookups.clone();
    let source = service_fn(move |_: Name| {
        let address = match counting.fetch_add(1, Ordering::SeqCst) {
            0 => Ipv4Addr::LOCALHOST,
            _ => Ipv4Addr::new(10, 0, 0, 1),
        };
        async move { Ok::<_, io::Error>([SocketAddr::from((address, 0))]) }
    });
    (Resolver::over(source), lookups)
}

fn refused(error: &(dyn StdError + 'static)) -> bool {
    iter::successors(Some(error), |error| (*error).source())
        .filter_map(|error| error.downcast_ref::<DnsError>())
        .any(DnsError::is_refused)
}

fn assert_refused(error: &Error, url: &str) {
    assert!(error.is_dns() && error.is_connect(), "{url}: {error:?}");
    assert!(error.is_unsent(), "{url}: {error:?}");
    assert!(refused(error), "{url}: {error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_cold_requests_make_one_lookup() {
    let server = Server::start(always(200, "x")).await;
    let (calls, lookups) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let (waiting, counting) = (calls.clone(), lookups.clone());
    let source = service_fn(move |_: Name| {
        counting.fetch_add(1, Ordering::SeqCst);
        let calls = waiting.clone();
        async move {
            eventually("each request dials", || calls.load(Ordering::SeqCst) == 100).await;
            Ok::<_, io::Error>([SocketAddr::from((Ipv4Addr::LOCALHOST, 0))])
        }
    });
    let resolver = Resolver::over(source);
    let session: BytesSession = Dialler { resolver, calls }.session();
    let url = format!("http://peer.test:{}/", server.addr().port());
    let mut requests = JoinSet::new();
    for _ in 0..100 {
        let (session, url) = (session.clone(), url.clone());
        requests.spawn(async move { fetch(&session, get(&url)).await });
    }
    for response in requests.join_all().await {
        assert_eq!(response.unwrap().0, StatusCode::OK);
    }
    assert_eq!(lookups.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_guard_keeps_requests_away_from_the_inside_and_nothing_is_sent() {
    let server = Server::start(always(200, "a secret")).await;
    let port = server.addr().port();
    let resolver = Resolver::new()
        .public_only()
        .override_host("inside.example", [Ipv4Addr::LOCALHOST]);
    let session: BytesSession = Dialler::new(resolver).session();
    for host in [
        "127.0.0.1",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",
        "localhost",
        "LOCALHOST",
        "[::1]",
        "[64:ff9b::7f00:1]",
        "inside.example",
    ] {
        let url = format!("http://{host}:{port}/");
        let error = send(&session, get(&url)).await.unwrap_err();
        assert_refused(&error, &url);
    }
    assert_eq!(server.log().accepted, 0);
}

#[tokio::test]
async fn a_refused_address_is_final_for_the_retry_layer() {
    for host in ["127.0.0.1", "[::ffff:127.0.0.1]", "0.0.0.0", "localhost"] {
        let dialler = Dialler::new(Resolver::new().public_only());
        let stack = ServiceBuilder::new()
            .layer(RetryLayer::default())
            .service(dialler.session::<ReplayBody<Full<Bytes>>>());
        let url = format!("http://{host}/");
        let error = stack.oneshot(get(&url)).await.unwrap_err();
        assert_refused(&error, &url);
        assert_eq!(dialler.calls.load(Ordering::SeqCst), 1, "{url}");
    }
}

#[tokio::test]
async fn the_address_that_was_checked_is_the_one_that_is_dialled() {
    let server = Server::start(always(200, "x")).await;
    let (resolver, lookups) = rebound();
    let resolver = resolver
        .ttl(None)
        .guard(|_, address| address.is_loopback() || is_public(address));
    let dialler = Dialler::new(resolver);
    let url = format!("http://peer.test:{}/", server.addr().port());

    let session: BytesSession = dialler.session();
    fetch(&session, get(&url)).await.unwrap();
    assert_eq!(lookups.load(Ordering::SeqCst), 1);
    // The connection stays the one that was allowed.
    fetch(&session, get(&url)).await.unwrap();
    assert_eq!(lookups.load(Ordering::SeqCst), 1);

    let session: BytesSession = dialler.session();
    let error = send(&session, get(&url)).await.unwrap_err();
    assert_refused(&error, &url);
    assert_eq!(lookups.load(Ordering::SeqCst), 2);
    assert_eq!(server.log().accepted, 1);
}

#[tokio::test]
async fn an_overridden_host_keeps_its_name_towards_the_server() {
    let server = Server::start(always(200, "x")).await;
    let resolver = Resolver::new().override_host("API.example", [server.addr()]);
    let session: BytesSession = Dialler::new(resolver).session();
    fetch(&session, get("http://api.example/")).await.unwrap();
    let log = server.log();
    assert_eq!(log.requests[0].headers["host"], "api.example");
}

#[tokio::test]
async fn what_will_not_pass_is_not_tried_again_by_a_client() {
    let resolver = Resolver::new()
        .public_only()
        .override_host("nowhere.example", [] as [Ipv4Addr; 0]);
    for url in [
        "http://127.0.0.1/",
        "http://localhost/",
        "http://nowhere.example/",
    ] {
        let dialler = Dialler::new(resolver.clone());
        let client = client::Client::builder()
            .build_with_connector(dialler.clone())
            .unwrap();
        client.get(url).fetch().await.unwrap_err();
        assert_eq!(dialler.calls.load(Ordering::SeqCst), 1, "{url}");
    }
}
