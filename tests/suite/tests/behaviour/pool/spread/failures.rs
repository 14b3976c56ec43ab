//! Addresses that fail: how long they are left out, and what tries them again.

use std::{convert::Infallible, sync::atomic::Ordering::Relaxed, time::Duration};

use client::Http2;
use http::{Uri, Version};
use session_layer::{
    PoolConfig, Resolver, SessionLayer, Spread, Timeouts, assigned_address, dns::Name,
};
use test_suite::{BytesSession, fetch, get};
use test_support::{Connection, MemoryConnector, http2};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tower::{Layer, ServiceExt, service_fn, util::BoxCloneSyncService};

use super::{Cluster, SECOND, address, assert_even};

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
