//! A second attempt beside one that takes long, through the whole client.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use client::{
    AttemptOutcome, AttemptRecord, Client, ClientBuilder, DeadlinePhase, Http2, PoolConfig,
    RequestOptions, RetryPolicy,
    retry_layer::{AttemptHeader, Idempotent, NoHedge, budget::Unlimited, hedge::Hedging},
};
use h2::server::Builder;
use http::{HeaderName, StatusCode};
use test_suite::eventually;
use test_support::{
    Connection, MemoryConnector, Reply, Server, answer,
    http2::{Peer, Stream},
};
use tokio::{task::JoinSet, time::Instant};
use tower::layer::util::Identity;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Hedges after 100 ms.
fn hedging() -> ClientBuilder {
    Client::builder().hedge(Hedging::after(ms(100)))
}

/// Each request whose number, from 0, is among these is answered after ten seconds, and all others at
/// once.
fn slow(numbers: &'static [usize]) -> MemoryConnector {
    let next = AtomicUsize::new(0);
    MemoryConnector::new(answer(move |request| {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let body = request.header("host").unwrap().to_owned();
        let reply = Reply::status(200).body(body);
        if numbers.contains(&number) {
            reply.delay(Duration::from_secs(10))
        } else {
            reply
        }
    }))
}

fn over(connector: &MemoryConnector) -> Client {
    hedging().build_with_connector(connector.clone()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_hedge_answers_over_a_connection_of_its_own() {
    let connector = slow(&[0]);
    let client = over(&connector);
    let start = Instant::now();
    let response = client.get("http://peer/").fetch().await.unwrap();
    assert_eq!(start.elapsed(), ms(100));
    assert_eq!(&**response.body(), b"peer");
    assert_eq!(response.retry_report().attempts().len(), 2);
    assert!(response.retry_report().attempts()[1].is_hedge());
    let log = connector.wait_for(|log| log.open == 1).await;
    assert_eq!((log.accepted, log.requests.len()), (2, 2));
    let stats = client.stats();
    assert_eq!((stats.in_use, stats.idle, stats.open), (0, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_streamed_body_comes_whole_and_knows_its_connection() {
    let connector = slow(&[0]);
    let response = over(&connector).get("http://peer/").send().await.unwrap();
    assert!(response.connection().is_some());
    assert_eq!(response.text().await.unwrap(), "peer");
}

#[tokio::test(start_paused = true)]
async fn a_hedge_goes_to_the_next_endpoint() {
    let connector = slow(&[0]);
    let client = hedging()
        .endpoints(["http://a/", "http://b/"])
        .unwrap()
        .build_with_connector(connector.clone())
        .unwrap();
    let response = client.get("x").fetch().await.unwrap();
    assert_eq!(&**response.body(), b"b");
    assert_eq!(response.url(), "http://b/x");
}

#[tokio::test(start_paused = true)]
async fn a_post_is_sent_once_unless_it_may_be_repeated() {
    for (marked, sent) in [(false, 1), (true, 2)] {
        let connector = slow(&[0]);
        let client = over(&connector);
        let mut request = client.post("http://peer/").body("order");
        if marked {
            request = request.extension(Idempotent);
        }
        request.fetch().await.unwrap();
        let log = connector.log();
        assert_eq!(log.requests.len(), sent);
        assert!(log.requests.iter().all(|it| it.body == "order"));
    }
    let connector = slow(&[0]);
    let request = over(&connector).get("http://peer/").extension(NoHedge);
    request.fetch().await.unwrap();
    assert_eq!(connector.log().requests.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_hedges_is_enough_and_another_does_not_turn_it_off() {
    let hedges = RetryPolicy::builder().hedging(Hedging::after(ms(100)).build().unwrap());
    for builder in [
        Client::builder().retry(hedges),
        hedging().retry(RetryPolicy::builder().budget(Unlimited)),
    ] {
        let connector = slow(&[0]);
        let client = builder.build_with_connector(connector.clone()).unwrap();
        client.get("http://peer/").fetch().await.unwrap();
        assert_eq!(connector.log().requests.len(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn settings_that_cannot_be_are_an_error_of_build() {
    let builder = Client::builder().hedge(Hedging::learned().percentile(30));
    let error = builder.build().unwrap_err();
    assert!(error.is_builder());
}

#[tokio::test(start_paused = true)]
async fn a_call_that_ends_by_its_deadline_reports_the_hedge_too() {
    let connector = slow(&[0, 1, 2]);
    let client = hedging()
        .deadline(ms(500))
        .build_with_connector(connector.clone())
        .unwrap();
    let error = client.get("http://peer/").fetch().await.unwrap_err();
    assert!(error.is_deadline(), "{error:?}");
    assert_eq!(error.deadline_phase(), Some(DeadlinePhase::Head));
    let report = error.retry_report().unwrap();
    let hedges: Vec<_> = report
        .attempts()
        .iter()
        .map(AttemptRecord::is_hedge)
        .collect();
    assert_eq!(hedges, [false, true]);
    eventually("nothing is in use", || client.stats().in_use == 0).await;
}

fn http2(peer: &Peer) -> Client {
    hedging()
        .http2(Http2::default().prior_knowledge(true))
        .build_with_connector(peer.connector())
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn over_http2_a_hedge_does_not_ride_on_the_connection_that_stands_still() {
    let peer = Peer::new(Builder::new(), |stream: Stream| async move {
        if stream.connection == 0 && stream.number == 1 {
            // Nothing of this connection is read or written any more.
            stream.freeze();
            stream.hold().await;
        } else {
            let connection = stream.connection.to_string();
            stream.answer(200, connection);
        }
    });
    let client = http2(&peer);
    let fetch = || async { client.get("http://peer/").fetch().await.unwrap() };
    assert_eq!(&**fetch().await.body(), b"0");
    let start = Instant::now();
    let response = fetch().await;
    assert_eq!(&**response.body(), b"1");
    assert_eq!(start.elapsed(), ms(100));
    let first = response.retry_report().attempts()[0].outcome();
    assert_eq!(first, AttemptOutcome::Unanswered);
}

#[tokio::test(start_paused = true)]
async fn a_hedge_of_a_request_that_has_a_group_does_not_ride_on_its_connection_either() {
    for group in [1, 128, 255] {
        let peer = Peer::new(Builder::new(), |stream: Stream| async move {
            if stream.connection == 0 {
                stream.hold().await;
            } else {
                stream.answer(200, "hedge");
            }
        });
        let client = http2(&peer);
        let options = RequestOptions::new().connection_group(group);
        let request = client.get("http://peer/").extension(options);
        assert_eq!(&**request.fetch().await.unwrap().body(), b"hedge");
        assert_eq!(peer.log().connections.len(), 2, "{group}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_brings_a_policy_that_hedges_is_hedged_by_any_client() {
    for builder in [
        Client::builder(),
        Client::builder().attempt_layer(Identity::new()),
    ] {
        let connector = slow(&[0]);
        let client = builder.build_with_connector(connector.clone()).unwrap();
        let own = RetryPolicy::builder().hedging(Hedging::after(ms(100)).build().unwrap());
        let request = client.get("http://peer/").extension(own.build().unwrap());
        let start = Instant::now();
        assert_eq!(request.fetch().await.unwrap().status(), 200);
        assert_eq!(start.elapsed(), ms(100));
        assert_eq!(connector.log().requests.len(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn over_http2_the_loser_is_reset_in_the_middle_of_its_body() {
    let peer = Peer::new(Builder::new(), |stream: Stream| async move {
        if stream.connection == 0 {
            // A head at once, and bytes of the body later than the hedge has its own.
            stream.drip(&["late", "later"], ms(5_000), true).await;
        } else {
            stream.answer(200, "hedge");
        }
    });
    let client = http2(&peer);
    let response = client.get("http://peer/").fetch().await.unwrap();
    assert_eq!(&**response.body(), b"hedge");
    eventually("one stream is reset", || {
        let log = peer.log();
        log.connections[0].resets == 1 && log.connections[1].resets == 0
    })
    .await;
    assert_eq!(client.stats().in_use, 0);
    // The connection of the loser goes on.
    assert_eq!(
        peer.log().connections.iter().filter(|it| it.ended).count(),
        0
    );
}

#[tokio::test(start_paused = true)]
async fn over_http1_the_loser_is_closed_in_the_middle_of_its_body() {
    let connector = MemoryConnector::new(|mut connection: Connection| async move {
        while connection.read_request().await.is_some() {
            if connection.number() == 0 {
                // A head at once, and bytes of the body later than the hedge has its own.
                connection
                    .write("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n")
                    .await;
                tokio::time::sleep(ms(5_000)).await;
                connection.write("late").await;
                connection.stall_until_closed().await;
                return;
            }
            connection.respond(200, "hedge").await;
        }
    });
    // A permit that did not come back would be missing at once.
    let client = hedging().pool(PoolConfig::default().max_connections(2));
    let client = client.build_with_connector(connector.clone()).unwrap();
    let response = client.get("http://peer/").fetch().await.unwrap();
    assert_eq!(&**response.body(), b"hedge");
    connector.wait_for(|log| log.open == 1).await;
    let stats = client.stats();
    assert_eq!((stats.open, stats.idle, stats.in_use), (1, 1, 0));
    assert_eq!(stats.closed.abandoned, 1);
    let both = client.get("http://peer/1").fetch();
    let (one, other) = tokio::join!(both, client.get("http://peer/2").fetch());
    assert_eq!(
        (one.unwrap().status(), other.unwrap().status()),
        (StatusCode::OK, StatusCode::OK)
    );
    assert_eq!(client.stats().open, 2);
}

#[tokio::test(start_paused = true)]
async fn with_a_single_connection_hedges_wait_and_no_call_is_lost() {
    let connector =
        MemoryConnector::new(answer(|_| Reply::status(200).body("well").delay(ms(300))));
    let peer = Peer::new(Builder::new(), |stream: Stream| async move {
        tokio::time::sleep(ms(300)).await;
        stream.answer(200, "well");
    });
    let one = PoolConfig::default().max_connections(1);
    let known = Http2::default().prior_knowledge(true);
    for client in [
        hedging().pool(one.clone()).build_with_connector(connector),
        hedging()
            .pool(one)
            .http2(known)
            .build_with_connector(peer.connector()),
    ] {
        let client = client.unwrap();
        let mut calls = JoinSet::new();
        for _ in 0..10 {
            let request = client.get("http://peer/");
            calls.spawn(async move { request.fetch().await.map(|it| it.status().as_u16()) });
        }
        for call in calls.join_all().await {
            assert_eq!(call.unwrap(), 200);
        }
        eventually("nothing is in use", || {
            let stats = client.stats();
            stats.in_use == 0 && stats.streams == 0 && stats.waiting == 0
        })
        .await;
    }
}

/// Every other call is slow at its first attempt.
fn is_slow(path: &str, attempt: Option<&str>) -> bool {
    attempt == Some("1") && path.ends_with(['0', '2', '4', '6', '8'])
}

#[tokio::test]
async fn over_sockets_nothing_is_left_of_the_losers_of_both_protocols() {
    let http1 = Server::start(answer(|request| {
        let reply = Reply::status(200).body("well");
        if is_slow(request.path(), request.header("x-attempt")) {
            reply.delay(Duration::from_secs(60))
        } else {
            reply
        }
    }))
    .await;
    let peer = Peer::new(Builder::new(), |stream: Stream| async {
        let attempt = stream.request.headers().get("x-attempt");
        let attempt = attempt.and_then(|it| it.to_str().ok());
        if is_slow(stream.request.uri().path(), attempt) {
            stream.hold().await;
        } else {
            stream.answer(200, "well");
        }
    });
    let http2_url = format!("http://{}", peer.listen().await);
    let builder = || {
        let header = AttemptHeader::numbered(HeaderName::from_static("x-attempt"));
        let policy = RetryPolicy::builder()
            .budget(Unlimited)
            .attempt_header(header);
        Client::builder()
            .hedge(Hedging::after(ms(20)))
            .retry(policy)
    };
    let known = Http2::default().prior_knowledge(true);
    for (client, url) in [
        (builder().build().unwrap(), http1.url("")),
        (builder().http2(known).build().unwrap(), http2_url),
    ] {
        let mut calls = JoinSet::new();
        for call in 0..40 {
            let request = client.get(format!("{url}/{call}"));
            calls.spawn(async move { request.fetch().await.map(|it| it.status().as_u16()) });
        }
        for call in calls.join_all().await {
            assert_eq!(call.unwrap(), 200);
        }
        eventually("nothing is in use", || {
            let stats = client.stats();
            stats.in_use == 0 && stats.streams == 0 && stats.waiting == 0
        })
        .await;
        client.close().await;
        assert_eq!(client.stats().open, 0);
    }
}
