//! Requests that are spread over the addresses of a name.

mod failures;
mod lookups;

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
    Connector, PoolConfig, Resolver, SessionLayer, Spread, Timeouts, TriedAddresses,
    assigned_address, dns::Name,
};
use test_suite::{BytesSession, post, send};
use test_support::{Connection, MemoryConnector, MemoryStream, Server, always, http2};
use tokio::{task::JoinSet, time::sleep};
use tower::{Layer, ServiceExt, service_fn, util::BoxCloneSyncService};

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
