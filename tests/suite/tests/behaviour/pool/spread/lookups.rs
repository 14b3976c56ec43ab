//! Names that are looked up, again and in vain, and addresses that are gone.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use http::Version;
use session_layer::{PoolConfig, Resolver, SessionLayer, Spread, Step, Timeouts, dns::Name};
use test_suite::{BytesSession, fetch, get};
use tokio::time::{Instant, sleep, timeout};
use tower::{Layer, Service, service_fn};

use super::{Cluster, Pod, SECOND, address, gets};

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
