//! Requests that are spread over the addresses of a name.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use client::{Client, Http2, RetryPolicyBuilder, budget::Unlimited};
use http::{StatusCode, Uri, Version};
use session_layer::{
    Connector, PoolConfig, Resolver, SessionLayer, Spread, Step, Timeouts, TriedAddresses,
    assigned_address, dns::Name,
};
use test_suite::{BytesSession, fetch, get, post, send};
use test_support::{Connection, MemoryConnector, MemoryStream, Server, always, http2};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tower::{Layer, Service, ServiceExt, service_fn, util::BoxCloneSyncService};

const SECOND: Duration = Duration::from_secs(1);

/// A name with several servers, each at an address of its own.
#[derive(Clone)]
struct Cluster {
    version: Version,
    servers: Arc<Mutex<BTreeMap<SocketAddr, Arc<Pod>>>>,
    /// What the name has for addresses.
    addresses: Arc<Mutex<Vec<SocketAddr>>>,
    lookups: Arc<AtomicUsize>,
}

/// One of the servers.
struct Pod {
    served: Arc<AtomicUsize>,
    dead: Arc<AtomicBool>,
    hangs: AtomicBool,
    http1: MemoryConnector,
    http2: http2::Connector,
}

fn address(number: u8) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(10, 0, 0, number), 80))
}

/// How long a server takes. Were that always the same, requests would go in step, and the order of tasks
/// would decide which server has the fewest.
fn a_while() -> Duration {
    Duration::from_millis(fastrand::u64(10..30))
}

impl Pod {
    /// Answers with this status after a while, until it dies.
    fn new(status: u16) -> Arc<Self> {
        let served = Arc::<AtomicUsize>::default();
        let dead = Arc::<AtomicBool>::default();
        let http1 = {
            let (served, dead) = (served.clone(), dead.clone());
            MemoryConnector::new(move |mut connection: Connection| {
                let (served, dead) = (served.clone(), dead.clone());
                async move {
                    while connection.read_request().await.is_some() {
                        sleep(a_while()).await;
                        if dead.load(Relaxed) {
                            return;
                        }
                        served.fetch_add(1, Relaxed);
                        connection.respond(status, "ok").await;
                    }
                }
            })
        };
        let http2 = {
            let (served, dead) = (served.clone(), dead.clone());
            let handler = move |stream: http2::Stream| {
                let (served, dead) = (served.clone(), dead.clone());
                async move {
                    sleep(a_while()).await;
                    if dead.load(Relaxed) {
                        return stream.close();
                    }
                    served.fetch_add(1, Relaxed);
                    stream.answer(status, "ok");
                }
            };
            http2::Peer::new(h2::server::Builder::new(), handler).connector()
        };
        Arc::new(Self {
            served,
            dead,
            hangs: AtomicBool::new(false),
            http1,
            http2,
        })
    }

    fn served(&self) -> usize {
        self.served.load(Relaxed)
    }

    /// Refuses connections, and breaks those that are there.
    async fn die(&self) {
        self.dead.store(true, Relaxed);
        self.http1.drop_connections().await;
    }
}

impl Cluster {
    fn new(version: Version, statuses: &[u16]) -> Self {
        let cluster = Self {
            version,
            servers: Arc::default(),
            addresses: Arc::default(),
            lookups: Arc::default(),
        };
        for status in statuses {
            cluster.add(*status);
        }
        cluster
    }

    /// Starts a server more, and gives the name its address.
    fn add(&self, status: u16) -> SocketAddr {
        let mut servers = self.servers.lock().unwrap();
        let address = address(u8::try_from(servers.len()).unwrap());
        servers.insert(address, Pod::new(status));
        self.addresses.lock().unwrap().push(address);
        address
    }

    fn remove(&self, address: SocketAddr) {
        self.addresses.lock().unwrap().retain(|it| *it != address);
    }

    fn pod(&self, number: u8) -> Arc<Pod> {
        self.servers.lock().unwrap()[&address(number)].clone()
    }

    /// How many requests each server has answered since the counts were taken last.
    fn take_counts(&self) -> Vec<usize> {
        let servers = self.servers.lock().unwrap();
        servers
            .values()
            .map(|pod| pod.served.swap(0, Relaxed))
            .collect()
    }

    fn resolver(&self) -> Resolver {
        let (addresses, lookups) = (self.addresses.clone(), self.lookups.clone());
        let found = move |_: Name| {
            lookups.fetch_add(1, Relaxed);
            let found = addresses.lock().unwrap().clone();
            async move { Ok::<_, Infallible>(found) }
        };
        Resolver::over(service_fn(found)).ttl(5 * SECOND)
    }

    /// Connects to the address that a connection is assigned to.
    fn connector(&self) -> BoxCloneSyncService<Uri, MemoryStream, io::Error> {
        let cluster = self.clone();
        BoxCloneSyncService::new(service_fn(move |uri: Uri| {
            let cluster = cluster.clone();
            async move {
                let address = assigned_address().expect("requests are spread");
                let pod = cluster.servers.lock().unwrap()[&address].clone();
                if pod.hangs.load(Relaxed) {
                    std::future::pending::<()>().await;
                }
                if pod.dead.load(Relaxed) {
                    return Err(io::ErrorKind::ConnectionRefused.into());
                }
                match cluster.version {
                    Version::HTTP_2 => pod.http2.clone().oneshot(uri).await,
                    _ => pod.http1.clone().oneshot(uri).await,
                }
            }
        }))
    }

    /// A client with the default retries.
    fn client(&self) -> Client {
        self.client_with(|retry| retry)
    }

    fn client_with(&self, retry: impl FnOnce(RetryPolicyBuilder) -> RetryPolicyBuilder) -> Client {
        let knows = self.version == Version::HTTP_2;
        let resolver = self.resolver();
        Client::builder()
            .map_connector(|connector| connector.resolver(resolver))
            .spread_addresses()
            .map_retry(retry)
            .http2(Http2::default().prior_knowledge(knows))
            .build_with_connector(self.connector())
            .unwrap()
    }

    fn session(&self) -> BytesSession {
        self.session_over(self.connector())
    }

    fn session_over(
        &self,
        connector: BoxCloneSyncService<Uri, MemoryStream, io::Error>,
    ) -> BytesSession {
        let knows = self.version == Version::HTTP_2;
        let layer = SessionLayer::new(PoolConfig::default(), Timeouts::default()).unwrap();
        let layer = layer
            .http2(Http2::default().prior_knowledge(knows))
            .unwrap();
        let layer = layer.spread(Spread::by(self.resolver())).unwrap();
        layer.layer(connector)
    }
}

/// Makes so many GETs, twenty at a time, of which none may fail.
async fn gets(client: &Client, count: usize) {
    let left = Arc::new(AtomicUsize::new(count));
    let mut callers = JoinSet::new();
    for _ in 0..20 {
        let (client, left) = (client.clone(), left.clone());
        callers.spawn(async move {
            let take = |left: usize| left.checked_sub(1);
            while left.fetch_update(Relaxed, Relaxed, take).is_ok() {
                let answer = client.get("http://orders/").fetch().await;
                assert_eq!(answer.expect("no GET is lost").status(), 200);
            }
        });
    }
    while let Some(called) = callers.join_next().await {
        called.expect("none panics");
    }
}

fn assert_even(counts: &[usize]) {
    let mean = counts.iter().sum::<usize>() / counts.len();
    for count in counts {
        assert!(count.abs_diff(mean) * 10 <= mean, "{counts:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn servers_share_requests_alike_though_one_dies_and_one_is_added() {
    fastrand::seed(7);
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let cluster = Cluster::new(version, &[200, 200, 200]);
        let client = cluster.client();
        gets(&client, 600).await;
        assert_even(&cluster.take_counts());
        let opened = client.stats().opened;
        if version == Version::HTTP_2 {
            assert_eq!(opened, 3, "one connection for each address");
        }

        let dying = tokio::join!(gets(&client, 600), async {
            sleep(Duration::from_millis(100)).await;
            cluster.pod(1).die().await;
        });
        let ((), ()) = dying;
        cluster.take_counts();
        gets(&client, 600).await;
        let counts = cluster.take_counts();
        assert_eq!(counts[1], 0);
        assert_even(&[counts[0], counts[2]]);

        // The name does not have the dead one any more, but a new one.
        cluster.remove(address(1));
        cluster.add(200);
        sleep(7 * SECOND).await;
        gets(&client, 40).await;
        sleep(SECOND).await;
        cluster.take_counts();
        gets(&client, 600).await;
        let counts = cluster.take_counts();
        println!("{version:?}: {counts:?}");
        assert_eq!(counts[1], 0);
        assert_even(&[counts[0], counts[2], counts[3]]);
    }
}

#[tokio::test(start_paused = true)]
async fn requests_one_after_the_other_are_shared_alike_too() {
    fastrand::seed(7);
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let cluster = Cluster::new(version, &[200, 200, 200]);
        let client = cluster.client();
        for _ in 0..600 {
            client.get("http://orders/").fetch().await.unwrap();
        }
        assert_even(&cluster.take_counts());
        assert_eq!(client.stats().opened, 3);
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_attempt_goes_to_another_address() {
    let cluster = Cluster::new(Version::HTTP_11, &[503, 200]);
    // Half of the calls need a retry.
    let client = cluster.client_with(|retry| retry.budget(Unlimited));
    for _ in 0..8 {
        let answer = client.get("http://orders/").fetch().await.unwrap();
        assert_eq!(answer.status(), 200);
    }
    let counts = cluster.take_counts();
    assert!((3..=8).contains(&counts[0]), "{counts:?}");
    assert_eq!(counts[1], 8, "no call was at the first twice: {counts:?}");
}

#[tokio::test(start_paused = true)]
async fn an_address_that_refuses_is_left_out_by_other_calls_for_a_while() {
    let cluster = Cluster::new(Version::HTTP_11, &[200, 200]);
    cluster.pod(0).dead.store(true, Relaxed);
    let session = cluster.session();
    let mut failed = 0;
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(900) {
        match fetch(&session, get("http://orders/")).await {
            Ok(_) => {}
            Err(error) if error.is_connect() && error.is_unsent() => failed += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(failed, 1);
    cluster.pod(0).dead.store(false, Relaxed);
    sleep(SECOND).await;
    for _ in 0..20 {
        fetch(&session, get("http://orders/")).await.unwrap();
    }
    assert!(cluster.pod(0).served() >= 9);
}

#[tokio::test(start_paused = true)]
async fn an_address_that_does_not_answer_costs_one_call_a_second() {
    let cluster = Cluster::new(Version::HTTP_11, &[200, 200]);
    cluster.pod(0).hangs.store(true, Relaxed);
    let client = cluster.client();
    let began = Instant::now();
    for _ in 0..10 {
        client.get("http://orders/").fetch().await.unwrap();
    }
    assert!(began.elapsed() < 2 * SECOND, "{:?}", began.elapsed());
    // The only address has all the time that there is.
    let alone = Cluster::new(Version::HTTP_11, &[200]);
    alone.pod(0).hangs.store(true, Relaxed);
    let began = Instant::now();
    let error = fetch(&alone.session(), get("http://orders/")).await;
    assert!(error.unwrap_err().is_timeout());
    assert_eq!(began.elapsed(), 10 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn requests_that_break_together_leave_their_address_out_for_one_second() {
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let cluster = Cluster::new(version, &[200, 200]);
        let session = cluster.session();
        let mut calls = JoinSet::new();
        for _ in 0..40 {
            let session = session.clone();
            calls.spawn(async move { fetch(&session, get("http://orders/")).await.map(drop) });
        }
        // All are under way.
        sleep(Duration::from_millis(5)).await;
        cluster.pod(0).dead.store(true, Relaxed);
        let mut failed = 0;
        while let Some(call) = calls.join_next().await {
            failed += usize::from(call.unwrap().is_err());
        }
        assert!(failed > 10, "{version:?}: {failed}");
        cluster.pod(0).dead.store(false, Relaxed);
        sleep(SECOND).await;
        cluster.take_counts();
        for _ in 0..10 {
            fetch(&session, get("http://orders/")).await.unwrap();
        }
        assert!(cluster.pod(0).served() >= 4, "{version:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_address_that_does_not_answer_is_left_out_though_calls_wait_for_less_time() {
    let cluster = Cluster::new(Version::HTTP_11, &[200, 200]);
    cluster.pod(0).hangs.store(true, Relaxed);
    let session = cluster.session();
    let mut late = 0;
    let began = Instant::now();
    while began.elapsed() < 3 * SECOND {
        let call = fetch(&session, get("http://orders/"));
        match timeout(Duration::from_millis(300), call).await {
            Ok(answer) => _ = answer.unwrap(),
            Err(_) => late += 1,
        }
    }
    assert!(late <= 3, "{late}");
    // Who does not wait at all says nothing of it.
    let cluster = Cluster::new(Version::HTTP_11, &[200, 200]);
    let session = cluster.session();
    for pod in [0, 1] {
        cluster.pod(pod).hangs.store(true, Relaxed);
    }
    for _ in 0..4 {
        let call = fetch(&session, get("http://orders/"));
        assert!(timeout(Duration::from_millis(20), call).await.is_err());
    }
    for pod in [0, 1] {
        cluster.pod(pod).hangs.store(false, Relaxed);
    }
    for _ in 0..10 {
        fetch(&session, get("http://orders/")).await.unwrap();
    }
    assert_even(&cluster.take_counts());
}

#[tokio::test(start_paused = true)]
async fn an_address_that_takes_connections_and_closes_them_is_left_out() {
    // As the proxy beside a server does that is gone.
    let closes = MemoryConnector::new(|connection: Connection| connection.close());
    for (version, closed_after) in [
        (Version::HTTP_11, Duration::ZERO),
        (Version::HTTP_11, Duration::from_millis(1)),
        (Version::HTTP_2, Duration::ZERO),
        (Version::HTTP_2, Duration::from_millis(1)),
    ] {
        let cluster = Cluster::new(version, &[200, 200]);
        let (closes, well) = (closes.clone(), cluster.connector());
        let connector = service_fn(move |uri: Uri| {
            let (closes, well) = (closes.clone(), well.clone());
            async move {
                if assigned_address() != Some(address(0)) {
                    return well.oneshot(uri).await;
                }
                let stream = closes.oneshot(uri).await;
                sleep(closed_after).await;
                stream
            }
        });
        let session = cluster.session_over(BoxCloneSyncService::new(connector));
        let began = Instant::now();
        let mut failed = Vec::new();
        while began.elapsed() < 10 * SECOND {
            let at = began.elapsed().as_secs();
            if fetch(&session, get("http://orders/")).await.is_err() {
                failed.push(at);
            }
        }
        assert_eq!(failed, [0, 1, 3, 7], "{version:?} {closed_after:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_address_whose_open_connections_answer_is_tried_over_them() {
    let cluster = Cluster::new(Version::HTTP_11, &[200, 200]);
    let session = cluster.session();
    while session.stats().opened < 2 {
        fetch(&session, get("http://orders/")).await.unwrap();
    }
    // It takes no further connection.
    cluster.pod(0).http1.refuse();
    let mut calls = JoinSet::new();
    for _ in 0..8 {
        let session = session.clone();
        calls.spawn(async move { fetch(&session, get("http://orders/")).await.map(drop) });
    }
    let mut failed = 0;
    while let Some(call) = calls.join_next().await {
        failed += usize::from(call.unwrap().is_err());
    }
    assert!(failed > 0);
    let opened = session.stats().opened;
    sleep(SECOND).await;
    cluster.take_counts();
    for _ in 0..20 {
        fetch(&session, get("http://orders/")).await.unwrap();
    }
    let counts = cluster.take_counts();
    assert!(counts[0] >= 8, "{counts:?}");
    assert_eq!(session.stats().opened, opened);
}

#[tokio::test(start_paused = true)]
async fn an_address_that_answers_no_ping_is_left_out() {
    let frozen = http2::Peer::new(h2::server::Builder::new(), async |stream: http2::Stream| {
        stream.freeze();
        stream.hold().await;
    });
    let well = http2::Peer::new(h2::server::Builder::new(), async |stream: http2::Stream| {
        stream.answer(200, "ok");
    });
    let connectors = [frozen.connector(), well.connector()];
    let connector = service_fn(move |uri: Uri| {
        let assigned = assigned_address().expect("requests are spread");
        let at = usize::from(assigned != address(0));
        connectors[at].clone().oneshot(uri)
    });
    let found = [address(0), address(1)];
    let resolver = Resolver::over(service_fn(move |_: Name| async move {
        Ok::<_, Infallible>(found.to_vec())
    }));
    let http2 = Http2::default().prior_knowledge(true);
    let http2 = http2.keep_alive_interval(5 * SECOND);
    let layer = SessionLayer::new(PoolConfig::default(), Timeouts::default()).unwrap();
    let layer = layer.http2(http2).unwrap().spread(Spread::by(resolver));
    let session: BytesSession = layer.unwrap().layer(BoxCloneSyncService::new(connector));
    let mut failed = 0;
    for _ in 0..10 {
        if let Err(error) = fetch(&session, get("http://orders/")).await {
            assert!(error.to_string().contains("orders"), "{error}");
            failed += 1;
        }
    }
    assert_eq!(failed, 1);
    assert_eq!(frozen.log().connections.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn connections_to_an_address_that_is_gone_close_when_nothing_is_on_them() {
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let cluster = Cluster::new(version, &[200, 200]);
        let client = cluster.client();
        gets(&client, 40).await;
        let before = client.stats();
        cluster.remove(address(0));
        sleep(6 * SECOND).await;
        // Whoever comes first finds the old addresses, and has them looked up.
        gets(&client, 1).await;
        sleep(SECOND).await;
        let after = client.stats();
        assert!(after.closed.address_gone >= 1, "{version:?}: {after:?}");
        assert_eq!(after.closed.total(), after.closed.address_gone);
        assert!(after.open < before.open);
        cluster.take_counts();
        gets(&client, 40).await;
        assert_eq!(cluster.take_counts(), [0, 40]);

        // It comes back.
        cluster.addresses.lock().unwrap().push(address(0));
        sleep(6 * SECOND).await;
        gets(&client, 1).await;
        sleep(SECOND).await;
        gets(&client, 100).await;
        assert!(cluster.take_counts()[0] > 40);
        assert_eq!(client.stats().closed.total(), after.closed.total());
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_under_way_to_an_address_that_is_gone_ends_well() {
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let cluster = Cluster::new(version, &[200]);
        let client = cluster.client();
        gets(&client, 1).await;
        sleep(6 * SECOND).await;
        *cluster.addresses.lock().unwrap() = vec![address(1)];
        cluster
            .servers
            .lock()
            .unwrap()
            .insert(address(1), Pod::new(200));
        // It has the lookup begun, and is still under way when that ends.
        gets(&client, 1).await;
        sleep(SECOND).await;
        assert_eq!(cluster.take_counts(), [2, 0]);
        gets(&client, 5).await;
        assert_eq!(cluster.take_counts(), [0, 5]);
        assert_eq!(client.stats().closed.address_gone, 1, "{version:?}");
        assert_eq!(client.stats().open, 1.max(client.stats().idle));
    }
}

#[tokio::test(start_paused = true)]
async fn a_name_that_cannot_be_looked_up_fails_and_one_that_is_known_stays() {
    let cluster = Cluster::new(Version::HTTP_11, &[200]);
    let session = cluster.session();
    let known = std::mem::take(&mut *cluster.addresses.lock().unwrap());
    let error = fetch(&session, get("http://orders/")).await.unwrap_err();
    assert!(error.is_dns() && error.is_unsent(), "{error}");
    *cluster.addresses.lock().unwrap() = known;
    fetch(&session, get("http://orders/")).await.unwrap();
    cluster.addresses.lock().unwrap().clear();
    for _ in 0..5 {
        sleep(10 * SECOND).await;
        fetch(&session, get("http://orders/")).await.unwrap();
    }
    assert_eq!(session.stats().closed.address_gone, 0);
    assert!(cluster.lookups.load(Relaxed) >= 6);
}

#[tokio::test(start_paused = true)]
async fn a_lookup_that_hangs_ends_at_the_connect_timeout_and_is_told_as_one() {
    let hangs = service_fn(async |_: Name| {
        std::future::pending::<()>().await;
        Ok::<_, Infallible>(Vec::<SocketAddr>::new())
    });
    let layer = SessionLayer::new(PoolConfig::default(), Timeouts::default()).unwrap();
    let spread = Spread::by(Resolver::over(hangs));
    let mut session: BytesSession = layer
        .spread(spread)
        .unwrap()
        .layer(Cluster::new(Version::HTTP_11, &[200]).connector());
    let mut waiting = session.call(get("http://orders/"));
    let moment = Duration::from_millis(1);
    assert!(timeout(moment, &mut waiting).await.is_err());
    assert_eq!(waiting.step(), Step::Dns);
    let began = Instant::now();
    let error = waiting.await.unwrap_err();
    assert_eq!(began.elapsed() + moment, 10 * SECOND);
    assert!(error.is_timeout() && error.is_unsent(), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_name_is_looked_up_ends_when_its_session_closes() {
    let lookups = Arc::<AtomicUsize>::default();
    let counted = lookups.clone();
    let hangs = service_fn(move |_: Name| {
        counted.fetch_add(1, Relaxed);
        std::future::pending::<Result<Vec<SocketAddr>, Infallible>>()
    });
    let layer = SessionLayer::new(PoolConfig::default(), Timeouts::default()).unwrap();
    let layer = layer.spread(Spread::by(Resolver::over(hangs))).unwrap();
    let session: BytesSession = layer.layer(Cluster::new(Version::HTTP_11, &[]).connector());
    let began = Instant::now();
    let closing = async {
        sleep(SECOND).await;
        session.close(SECOND).await
    };
    let (answer, _) = tokio::join!(fetch(&session, get("http://orders/")), closing);
    let error = answer.unwrap_err();
    assert!(error.is_closed() && error.is_unsent(), "{error}");
    assert_eq!(began.elapsed(), SECOND);
    let error = fetch(&session, get("http://others/")).await.unwrap_err();
    assert!(error.is_closed(), "{error}");
    assert_eq!(lookups.load(Relaxed), 1, "none begins after that");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_while_its_name_is_looked_up_leaves_nothing() {
    let cluster = Cluster::new(Version::HTTP_11, &[200, 200]);
    let mut session = cluster.session();
    let mut call = tokio_test::task::spawn(session.call(get("http://orders/")));
    assert!(call.poll().is_pending());
    drop(call);
    let stats = session.stats();
    assert_eq!((stats.open, stats.waiting), (0, 0));
    fetch(&session, get("http://orders/")).await.unwrap();
    session.close(SECOND).await;
    assert_eq!(session.stats().open, 0);
}

#[tokio::test(start_paused = true)]
async fn what_a_call_has_tried_can_be_read() {
    let cluster = Cluster::new(Version::HTTP_11, &[200, 200]);
    let session = cluster.session();
    let tried = TriedAddresses::new();
    for _ in 0..3 {
        let mut request = post("http://orders/", "x");
        request.extensions_mut().insert(tried.clone());
        send(&session, request).await.unwrap();
    }
    let mut addresses = tried.addresses();
    addresses.sort_unstable();
    assert_eq!(addresses, [address(0), address(1)]);
}

#[tokio::test]
async fn real_servers_share_requests_alike_and_the_host_stays_the_name() {
    let servers = [
        Server::start(always(200, "ok")).await,
        Server::start(always(200, "ok")).await,
        Server::start(always(200, "ok")).await,
    ];
    let addresses = servers.each_ref().map(Server::addr);
    let resolver = Resolver::new().override_host("orders.test", addresses);
    let client = Client::builder()
        .map_connector(|connector| connector.resolver(resolver))
        .spread_addresses()
        .build()
        .unwrap();
    for _ in 0..90 {
        let answer = client.get("http://orders.test/").fetch().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
    }
    for server in &servers {
        let log = server.log();
        assert_eq!(log.accepted, 1);
        assert!(
            (20..=40).contains(&log.requests.len()),
            "{}",
            log.requests.len()
        );
        assert_eq!(log.requests[0].header("host"), Some("orders.test"));
    }
    let before = servers[0].log().requests.len();
    servers[0].stop_accepting().await;
    servers[0].drop_connections().await;
    for _ in 0..30 {
        client.get("http://orders.test/").fetch().await.unwrap();
    }
    // An address in a URL is one server.
    let literal = format!("http://{}/", addresses[1]);
    client.get(&*literal).fetch().await.unwrap();
    assert_eq!(servers[0].log().requests.len(), before);
}

#[test]
fn times_of_zero_are_refused() {
    let layer = SessionLayer::<String>::default;
    let spread = || Spread::over(&Connector::new());
    for (spread, name) in [
        (spread().refresh(Duration::ZERO), "refresh"),
        (spread().connect_timeout(Duration::ZERO), "connect timeout"),
    ] {
        let error = layer().spread(spread).unwrap_err().to_string();
        assert!(error.starts_with(name), "{error}");
    }
    assert!(layer().spread(spread().connect_timeout(None)).is_ok());
}
