//! The pool, where something fails: connects that many wait for, connections that are dead when
//! they are given out, and foreign code that panics.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use client::{Client, session_layer};
use h2::server::Builder;
use http::{StatusCode, Uri};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt as _, Full};
use session_layer::{
    Connector, Event, Http2, Observer, PoolConfig, Resolver, ResponseFuture, Session, SessionLayer,
    Timeouts,
};
use test_suite::{BytesSession, eventually, fetch, get, in_memory};
use test_support::{
    Connect, Connection, MemoryConnector, MemoryStream, Reply, Server, always, answer,
    http2::{Peer, Stream},
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::Instant,
};
use tower::{Layer as _, Service, ServiceExt as _, service_fn};

const SECOND: Duration = Duration::from_secs(1);

/// A connector that does something else first.
#[derive(Clone)]
struct Before<C, F>(C, F);

impl<C, F> Service<Uri> for Before<C, F>
where
    C: Service<Uri, Error = io::Error>,
    C::Future: Send + 'static,
    F: Fn() -> io::Result<()>,
{
    type Response = C::Response;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<C::Response>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        match (self.1)() {
            Ok(()) => Box::pin(self.0.call(uri)),
            Err(error) => Box::pin(async { Err(error) }),
        }
    }
}

/// Refuses the first so many connects.
fn refusing<C>(connector: C, times: usize) -> Before<C, impl Fn() -> io::Result<()> + Clone> {
    let connects = Arc::new(AtomicUsize::new(0));
    Before(connector, move || {
        if connects.fetch_add(1, Relaxed) < times {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        Ok(())
    })
}

fn hello() -> Peer {
    Peer::new(Builder::new(), |stream: Stream| async {
        stream.answer(200, "hello");
    })
}

/// Makes a hundred calls at once; returns how many were answered.
async fn hundred(client: &Client, url: &str) -> usize {
    let mut calls = JoinSet::new();
    for _ in 0..100 {
        let call = client.get(url).fetch();
        calls.spawn(async move { call.await.is_ok() });
    }
    let answered = calls.join_all().await;
    answered.into_iter().filter(|answered| *answered).count()
}

#[tokio::test(start_paused = true)]
async fn a_connect_that_fails_costs_none_of_a_hundred_calls() {
    for refused in 1..=2 {
        let connector = refusing(MemoryConnector::new(always(200, "hello")), refused);
        let client = Client::builder().build_with_connector(connector).unwrap();
        assert_eq!(hundred(&client, "https://peer/").await, 100, "{refused}");

        let client = Client::builder()
            .http2(Http2::default().prior_knowledge(true))
            .build_with_connector(refusing(hello().connector(), refused))
            .unwrap();
        assert_eq!(hundred(&client, "http://peer/").await, 100, "{refused}");
        assert_eq!(client.stats().opened, 1);
    }
}

/// Accepts connections and closes the first so many at once; passes the others on.
async fn closing(address: SocketAddr, times: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let front = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for number in 0.. {
            let (mut near, _) = listener.accept().await.unwrap();
            if number >= times {
                tokio::spawn(async move {
                    let mut far = TcpStream::connect(address).await.unwrap();
                    let _ = copy_bidirectional(&mut near, &mut far).await;
                });
            }
        }
    });
    front
}

#[tokio::test]
async fn a_connection_that_ends_before_its_settings_costs_none_of_100_calls() {
    for closed in 1..=2 {
        let front = closing(hello().listen().await, closed).await;
        let client = Client::builder()
            .http2(Http2::default().prior_knowledge(true))
            .build()
            .unwrap();
        let url = format!("http://{front}/");
        assert_eq!(hundred(&client, &url).await, 100, "{closed}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_that_is_down_fails_all_waiters_at_once_after_a_few_dials() {
    let connector = MemoryConnector::new(always(200, "never"));
    connector.refuse();
    let session = in_memory(PoolConfig::default(), Timeouts::default(), &connector);
    let mut calls = JoinSet::new();
    for _ in 0..100 {
        let session = session.clone();
        calls.spawn(async move { fetch(&session, get("https://peer/")).await });
    }
    let began = Instant::now();
    for failed in calls.join_all().await {
        assert!(failed.unwrap_err().is_connect());
    }
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(connector.log().dialled.len(), 3);
    let stats = session.stats();
    assert_eq!((stats.open, stats.connecting, stats.waiting), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_host_that_does_not_answer_fails_each_in_its_own_time() {
    let connector = MemoryConnector::new(always(200, "never"));
    connector.hang();
    let session = in_memory(PoolConfig::default(), Timeouts::default(), &connector);
    let mut calls = JoinSet::new();
    for number in 0..100_u32 {
        let session = session.clone();
        calls.spawn(async move {
            // A fifth comes each two seconds.
            tokio::time::sleep(2 * SECOND * (number % 5)).await;
            let began = Instant::now();
            let failed = fetch(&session, get("https://peer/")).await.unwrap_err();
            assert!(failed.is_connect() && failed.is_timeout(), "{failed:?}");
            began.elapsed()
        });
    }
    for took in calls.join_all().await {
        assert!(took <= 13 * SECOND, "{took:?}");
    }
    assert_eq!(connector.log().dialled.len(), 2);
    assert_eq!(session.stats().open, 0);
}

#[tokio::test]
async fn a_lookup_that_fails_costs_none_of_a_hundred_calls() {
    let server = Server::start(always(200, "hello")).await;
    let address = server.addr();
    for failing in 1..=2 {
        let lookups = Arc::new(AtomicUsize::new(0));
        let counted = lookups.clone();
        let resolver = Resolver::over(service_fn(move |_| {
            let fails = counted.fetch_add(1, Relaxed) < failing;
            async move {
                tokio::task::yield_now().await;
                if fails {
                    return Err(io::Error::other("try again"));
                }
                Ok([address])
            }
        }));
        let client = Client::builder()
            .map_connector(|connector| connector.resolver(resolver))
            .build()
            .unwrap();
        let url = format!("http://peer.test:{}/", address.port());
        assert_eq!(hundred(&client, &url).await, 100);
        assert_eq!(lookups.load(Relaxed), failing + 1);
    }
}

#[tokio::test]
async fn a_name_that_fails_for_good_is_looked_up_a_few_times() {
    let lookups = Arc::new(AtomicUsize::new(0));
    let counted = lookups.clone();
    let resolver = Resolver::over(service_fn(move |_| {
        counted.fetch_add(1, Relaxed);
        async {
            tokio::task::yield_now().await;
            Err::<[SocketAddr; 0], _>(io::Error::other("try again"))
        }
    }));
    let session: BytesSession = SessionLayer::new(PoolConfig::default(), Timeouts::default())
        .unwrap()
        .layer(Connector::new().resolver(resolver));
    let mut calls = JoinSet::new();
    for _ in 0..100 {
        let session = session.clone();
        calls.spawn(async move { fetch(&session, get("http://peer.test/")).await });
    }
    for failed in calls.join_all().await {
        assert!(failed.unwrap_err().is_dns());
    }
    assert!(lookups.load(Relaxed) <= 4, "{}", lookups.load(Relaxed));
}

#[tokio::test(start_paused = true)]
async fn no_request_is_overtaken_where_the_server_closes_after_each_answer() {
    let order = Arc::new(Mutex::new(Vec::new()));
    let noted = order.clone();
    let connector = MemoryConnector::new(move |mut connection: Connection| {
        let noted = noted.clone();
        async move {
            if let Some(request) = connection.read_request().await {
                note(&noted, request.path());
                connection.respond(200, "x").await;
            }
        }
    });
    let pool = PoolConfig::default().max_connections_per_origin(1);
    let session = in_memory(pool, Timeouts::default(), &connector);
    // Each but the first is given the connection of the one before, whose end has not been seen yet.
    let calls = (0..20).map(|number| session.clone().call(get(&format!("http://peer/{number}"))));
    let answered = all(calls).await;
    assert_eq!(answered, 20, "hyper hands the request back");
    let order = order.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(order.iter().copied().eq(0..20), "{order:?}");
}

#[tokio::test(start_paused = true)]
async fn no_request_is_overtaken_where_each_answer_comes_with_a_goaway() {
    let served = Arc::new(Mutex::new(Vec::new()));
    let noted = served.clone();
    let mut builder = Builder::new();
    builder.max_concurrent_streams(1);
    let peer = Peer::new(builder, move |stream: Stream| {
        let noted = noted.clone();
        async move {
            note(&noted, stream.request.uri().path());
            stream.go_away();
            stream.answer(200, "x");
        }
    });
    let pool = PoolConfig::default().max_connections_per_origin(1);
    let session: BytesSession = SessionLayer::new(pool, Timeouts::default())
        .and_then(|layer| layer.http2(Http2::default().prior_knowledge(true)))
        .unwrap()
        .layer(peer.connector());
    let calls = (0..20).map(|number| session.clone().call(get(&format!("http://peer/{number}"))));
    all(calls).await;
    let served = served.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(served.len() > 10, "{served:?}");
    assert!(served.is_sorted(), "{served:?}");
}

/// Takes note of a request by the number that is its path.
fn note(order: &Mutex<Vec<u32>>, path: &str) {
    let number = path.trim_start_matches('/').parse().unwrap();
    let mut order = order.lock().unwrap_or_else(PoisonError::into_inner);
    order.push(number);
}

/// Waits for calls that were made in this order, each with its whole answer; returns how many got
/// one.
async fn all(calls: impl Iterator<Item = ResponseFuture<Full<Bytes>>>) -> usize {
    let mut under_way = JoinSet::new();
    for call in calls {
        under_way.spawn(async move {
            let response = call.await.ok()?;
            response.into_body().collect().await.ok()
        });
    }
    under_way.join_all().await.into_iter().flatten().count()
}

/// Panics at every event, or at those after the first so many.
struct Panics(Arc<AtomicUsize>);

impl Observer for Panics {
    fn observe(&self, event: &Event<'_>) {
        self.0.fetch_add(1, Relaxed);
        panic!("the observer's own fault, at {event:?}");
    }
}

fn observed(connector: &MemoryConnector) -> (BytesSession, Arc<AtomicUsize>) {
    let events = Arc::new(AtomicUsize::new(0));
    let pool = PoolConfig::default().max_connections(1);
    let session = SessionLayer::new(pool, Timeouts::default())
        .unwrap()
        .observer(Panics(events.clone()))
        .layer(connector.clone());
    (session, events)
}

#[tokio::test(start_paused = true)]
async fn an_observer_that_panics_disturbs_no_request_and_leaks_nothing() {
    let connector = MemoryConnector::new(always(200, "hello"));
    connector.script([Connect::Refuse, Connect::Accept]);
    let (session, events) = observed(&connector);
    for scheme in ["http", "https"] {
        for _ in 0..3 {
            let url = format!("{scheme}://peer/");
            let (one, two) = tokio::join!(fetch(&session, get(&url)), fetch(&session, get(&url)));
            for answered in [one, two] {
                let failed = answered.err().map(|error| error.is_connect());
                assert!(failed.is_none_or(|is_connect| is_connect));
            }
            assert_eq!(fetch(&session, get(&url)).await.unwrap().1, "hello");
        }
    }
    session.close(SECOND).await;
    let stats = session.stats();
    assert_eq!((stats.open, stats.connecting, stats.waiting), (0, 0, 0));
    // Queued, failed, opened, reused and closed.
    assert!(events.load(Relaxed) > 10);
}

/// Panics when it is cloned, while it is told to.
struct Fragile(MemoryConnector, Arc<AtomicBool>);

impl Clone for Fragile {
    fn clone(&self) -> Self {
        assert!(!self.1.load(Relaxed), "the connector's own fault");
        Self(self.0.clone(), self.1.clone())
    }
}

impl Service<Uri> for Fragile {
    type Response = <MemoryConnector as Service<Uri>>::Response;
    type Error = io::Error;
    type Future = <MemoryConnector as Service<Uri>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        self.0.call(uri)
    }
}

#[tokio::test(start_paused = true)]
async fn a_connector_that_panics_when_cloned_fails_requests_and_leaks_nothing() {
    let panics = Arc::new(AtomicBool::new(false));
    let connector = Fragile(MemoryConnector::new(always(200, "hello")), panics.clone());
    let pool = PoolConfig::default().max_connections(1);
    let session: BytesSession = SessionLayer::new(pool, Timeouts::default())
        .unwrap()
        .layer(connector);
    panics.store(true, Relaxed);
    let mut calls = JoinSet::new();
    for number in 0..10 {
        let (session, url) = (session.clone(), format!("https://peer-{}/", number % 2));
        calls.spawn(async move { fetch(&session, get(&url)).await });
    }
    for failed in calls.join_all().await {
        assert!(failed.unwrap_err().is_connect());
    }
    panics.store(false, Relaxed);
    assert_eq!(
        fetch(&session, get("https://peer-0/")).await.unwrap().1,
        "hello"
    );
    let stats = session.stats();
    assert_eq!((stats.open, stats.connecting, stats.waiting), (1, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_connector_that_panics_once_costs_one_request() {
    let connects = AtomicUsize::new(0);
    let connects = Arc::new(connects);
    let connector = Before(MemoryConnector::new(always(200, "hello")), move || {
        assert!(
            connects.fetch_add(1, Relaxed) > 0,
            "the connector's own fault"
        );
        Ok(())
    });
    let client = Client::builder().build_with_connector(connector).unwrap();
    assert_eq!(hundred(&client, "https://peer/").await, 100);
    assert_eq!(client.stats().connecting, 0);
}

#[tokio::test]
async fn a_guard_of_addresses_that_panics_fails_its_requests_and_leaks_nothing() {
    let server = Server::start(always(200, "hello")).await;
    let address = server.addr();
    let panics = Arc::new(AtomicBool::new(true));
    let told = panics.clone();
    let resolver = Resolver::over(service_fn(
        move |_| async move { Ok::<_, io::Error>([address]) },
    ))
    .guard(move |_, _| {
        assert!(!told.load(Relaxed), "the guard's own fault");
        true
    });
    let session: BytesSession = SessionLayer::new(PoolConfig::default(), Timeouts::default())
        .unwrap()
        .layer(Connector::new().resolver(resolver));
    let url = format!("http://peer.test:{}/", address.port());
    for _ in 0..3 {
        let (one, two) = tokio::join!(fetch(&session, get(&url)), fetch(&session, get(&url)));
        assert!(one.unwrap_err().is_connect() && two.unwrap_err().is_connect());
    }
    panics.store(false, Relaxed);
    assert_eq!(fetch(&session, get(&url)).await.unwrap().1, "hello");
    let stats = session.stats();
    assert_eq!((stats.open, stats.connecting, stats.waiting), (1, 0, 0));
}

/// What a stream is asked, and panics at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Used {
    Facts,
    Read,
    Write,
    Dropped,
}

struct FragileStream {
    inner: MemoryStream,
    at: Used,
    /// How often it is used before.
    after: AtomicUsize,
}

impl FragileStream {
    fn used(&self, what: Used) {
        let panics = self.at == what && self.after.fetch_sub(1, Relaxed) == 1;
        assert!(!panics, "the stream's own fault, at {what:?}");
    }
}

impl hyper_util::client::legacy::connect::Connection for FragileStream {
    fn connected(&self) -> hyper_util::client::legacy::connect::Connected {
        self.used(Used::Facts);
        self.inner.connected()
    }
}

impl hyper::rt::Read for FragileStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        self.used(Used::Read);
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl hyper::rt::Write for FragileStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.used(Used::Write);
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

impl Drop for FragileStream {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.used(Used::Dropped);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_panics_anywhere_fails_its_requests_and_leaks_nothing() {
    let memory = MemoryConnector::new(answer(|_| Reply::status(200).body("hello")));
    let http2 = hello();
    for knows in [false, true] {
        for at in [Used::Facts, Used::Read, Used::Write, Used::Dropped] {
            for after in 1..=4 {
                let (memory, http2) = (memory.clone(), http2.connector());
                let connects = Arc::new(AtomicUsize::new(0));
                let connector = service_fn(move |uri: Uri| {
                    let (mut memory, mut http2) = (memory.clone(), http2.clone());
                    // The first connection panics, all others are sound.
                    let first = connects.fetch_add(1, Relaxed) == 0;
                    let after = AtomicUsize::new(if first { after } else { 0 });
                    async move {
                        let inner: io::Result<_> = if knows {
                            http2.call(uri).await
                        } else {
                            memory.call(uri).await
                        };
                        inner.map(|inner| FragileStream { inner, at, after })
                    }
                });
                let pool = PoolConfig::default().max_connections(1);
                let session: BytesSession = SessionLayer::new(pool, Timeouts::default())
                    .and_then(|layer| layer.http2(Http2::default().prior_knowledge(knows)))
                    .unwrap()
                    .layer(connector);
                let url = "http://peer/";
                for _ in 0..3 {
                    let two = async {
                        tokio::join!(fetch(&session, get(url)), fetch(&session, get(url)))
                    };
                    // No longer than a time-out takes.
                    let two = tokio::time::timeout(SECOND, two);
                    assert!(two.await.is_ok(), "hangs: {at:?} {after} {knows}");
                }
                let began = Instant::now();
                let answered = fetch(&session, get(url)).await;
                assert_eq!(answered.unwrap().1, "hello", "{at:?} {after} {knows}");
                assert!(began.elapsed() < SECOND, "{at:?} {after} {knows}");
                assert_eq!(session.stats().connecting, 0, "{at:?} {after} {knows}");
                session.close(SECOND).await;
                let stats = session.stats();
                assert_eq!((stats.open, stats.connecting, stats.waiting), (0, 0, 0));
            }
        }
    }
}

/// A request body that panics where it is asked something.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Asked {
    Frame,
    End,
    Size,
    Dropped,
}

struct Bomb {
    at: Option<Asked>,
    /// How often it is asked before.
    after: AtomicUsize,
}

impl Bomb {
    fn asked(&self, what: Asked) {
        let panics = self.at == Some(what) && self.after.fetch_sub(1, Relaxed) == 1;
        assert!(!panics, "the body's own fault, at {what:?}");
    }
}

impl Body for Bomb {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.asked(Asked::Frame);
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.asked(Asked::End);
        false
    }

    fn size_hint(&self) -> SizeHint {
        self.asked(Asked::Size);
        SizeHint::default()
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.asked(Asked::Dropped);
        }
    }
}

#[tokio::test]
async fn a_body_that_panics_anywhere_fails_no_other_request_and_leaks_nothing() {
    let gate = Arc::new(tokio::sync::Notify::new());
    let held = gate.clone();
    let peer = Peer::new(Builder::new(), move |stream: Stream| {
        let held = held.clone();
        async move {
            if stream.request.uri().path() == "/other" {
                held.notified().await;
            }
            stream.answer(200, "hello");
        }
    });
    let http2 = peer.listen().await;
    let http1 = Server::start(always(200, "hello")).await;
    for (knows, address) in [(true, http2), (false, http1.addr())] {
        let layer = SessionLayer::new(PoolConfig::default(), Timeouts::default()).unwrap();
        let layer = layer
            .http2(Http2::default().prior_knowledge(knows))
            .unwrap();
        let session: Session<Bomb> = layer.layer(Connector::new());
        let call = |path: &str, at: Option<Asked>, after: usize| {
            let request = http::Request::post(format!("http://{address}{path}"));
            let after = AtomicUsize::new(after);
            let request = request.body(Bomb { at, after }).unwrap();
            let session = session.clone();
            tokio::spawn(async move { session.oneshot(request).await })
        };
        let other = knows.then(|| call("/other", None, 0));
        if knows {
            eventually("the other is there", || peer.log().streams() > 0).await;
        }
        for at in [Asked::Frame, Asked::End, Asked::Size, Asked::Dropped] {
            for after in 1..=6 {
                // It fails, or is answered where nobody asked, or its own task panics.
                let _ = tokio::time::timeout(10 * SECOND, call("/", Some(at), after))
                    .await
                    .expect("it does not hang");
                let answered = call("/", None, 0).await.unwrap();
                assert_eq!(answered.unwrap().status(), StatusCode::OK, "{at:?}");
            }
        }
        if let Some(other) = other {
            gate.notify_one();
            let answered = other.await.unwrap().expect("nobody else's panic ends it");
            assert_eq!(answered.status(), StatusCode::OK);
        }
        session.close(SECOND).await;
        let stats = session.stats();
        assert_eq!((stats.open, stats.connecting, stats.waiting), (0, 0, 0));
    }
}
