//! The pool over real sockets: what the server sees.

use std::{sync::Arc, time::Duration};

use http::StatusCode;
use http_body_util::BodyExt;
use session_layer::{PoolConfig, Timeouts};
use test_suite::{eventually, fetch, get, in_memory, post, send, session};
use test_support::{MemoryConnector, Reply, Server, always, answer, sequence};
use tokio::task::JoinSet;
use tower::Service;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn ten_gets_in_a_row_use_one_connection() {
    let server = Server::start(always(200, "hello")).await;
    let session = session(PoolConfig::default());
    for _ in 0..10 {
        let (status, body) = fetch(&session, get(&server.url("/"))).await.unwrap();
        assert_eq!((status, &*body), (StatusCode::OK, &b"hello"[..]));
    }
    assert_eq!(server.log().accepted, 1);
    let stats = session.stats();
    assert_eq!(
        (stats.open, stats.idle, stats.opened, stats.reused),
        (1, 1, 1, 9)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_gets_in_a_row_use_one_connection_on_several_threads_too() {
    let server = Server::start(always(200, vec![b'x'; 50_000])).await;
    let session = session(PoolConfig::default());
    for _ in 0..10 {
        fetch(&session, get(&server.url("/"))).await.unwrap();
    }
    assert_eq!(server.log().accepted, 1);
}

#[tokio::test]
async fn a_response_without_a_body_gives_its_connection_back_at_the_head() {
    let server = Server::start(always(204, "")).await;
    let session = session(PoolConfig::default());
    let first = send(&session, get(&server.url("/"))).await.unwrap();
    let second = send(&session, get(&server.url("/"))).await.unwrap();
    drop((first, second));
    assert_eq!(server.log().accepted, 1);
}

#[tokio::test(start_paused = true)]
async fn an_origin_is_one_however_it_is_spelled_and_others_are_others() {
    let groups = [
        &[
            "http://peer/",
            "http://PEER:80/a",
            "HTTP://peer:/b",
            "http://Peer:080?c",
            "http://user:pw@peer/",
            "http://a%40b@pEER:00080/",
        ][..],
        &["http://peer:81/", "http://PEER:081/", "http://u@peer:81/"],
        &["http://peer./", "http://PEER.:80/"],
        &["http://[::A]/", "http://[::a]:80/", "http://u@[::A]:/"],
        &["http://[::a]:81/", "http://[::A]:0081/"],
        &["http://peer.a/", "http://PEER.A/"],
    ];
    let connector = MemoryConnector::new(always(200, "x"));
    let session = in_memory(PoolConfig::default(), Timeouts::default(), &connector);
    for first in 0..groups.len() {
        for (index, group) in groups.iter().enumerate() {
            for step in 0..group.len() {
                let uri = group[(first + step) % group.len()];
                fetch(&session, get(uri)).await.unwrap();
                let log = connector.log();
                let host = log.requests.last().unwrap().header("host").unwrap();
                let dialled = log.dialled[index].authority().unwrap().as_str();
                assert_eq!(host, dialled, "{uri}");
            }
        }
    }
    assert_eq!(session.stats().opened, groups.len() as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_never_sees_more_connections_than_the_limit() {
    let slow = answer(|_| Reply::status(200).body("x").delay(Duration::from_millis(5)));
    let server = Server::start(slow).await;
    let session = session(PoolConfig::default().max_connections_per_origin(3));
    let mut calls = JoinSet::new();
    for _ in 0..60 {
        let (session, url) = (session.clone(), server.url("/"));
        calls.spawn(async move { fetch(&session, get(&url)).await.unwrap().0 });
    }
    while let Some(status) = calls.join_next().await {
        assert_eq!(status.unwrap(), StatusCode::OK);
    }
    let log = server.log();
    assert_eq!(log.peak_open, 3);
    assert_eq!(log.peak_in_flight, 3);
    assert_eq!(log.requests.len(), 60);
}

#[tokio::test(start_paused = true)]
async fn the_total_limit_holds_over_all_origins_and_starves_none() {
    let connector = MemoryConnector::new(answer(|_| {
        Reply::status(200).body("x").delay(Duration::from_millis(2))
    }));
    let pool = PoolConfig::default().max_connections(8);
    let session = in_memory(pool, Timeouts::default(), &connector);
    let mut calls = JoinSet::new();
    for turn in 0..120 {
        let (session, url) = (session.clone(), format!("http://peer-{}/", turn % 3));
        calls.spawn(async move { fetch(&session, get(&url)).await.unwrap().0 });
    }
    for status in calls.join_all().await {
        assert_eq!(status, StatusCode::OK);
    }
    let log = connector.log();
    assert_eq!(log.peak_open, 8);
    assert!(
        log.accepted <= 25,
        "{} connections for 120 requests",
        log.accepted
    );
}

#[tokio::test]
async fn an_idle_connection_makes_room_for_another_origin() {
    let (one, two) = (
        Server::start(always(200, "1")).await,
        Server::start(always(200, "2")).await,
    );
    let session = session(PoolConfig::default().max_connections(1));
    for _ in 0..3 {
        assert_eq!(fetch(&session, get(&one.url("/"))).await.unwrap().1, "1");
        assert_eq!(fetch(&session, get(&two.url("/"))).await.unwrap().1, "2");
    }
    assert_eq!(one.log().peak_open, 1);
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_makes_room_for_an_origin_that_turns_out_to_speak_http1() {
    let server = MemoryConnector::new(answer(|request| match &*request.target {
        "/first" => Reply::status(200),
        _ => Reply::stall(),
    }));
    let pool = PoolConfig::default().max_connections(3);
    let session = in_memory(pool, Timeouts::default(), &server);
    for other in ["http://a/first", "http://b/first"] {
        fetch(&session, get(other)).await.unwrap();
    }
    // All three wait for one connection, since it might speak HTTP/2.
    let mut calls = JoinSet::new();
    for _ in 0..3 {
        let session = session.clone();
        calls.spawn(async move { fetch(&session, get("https://peer/")).await });
    }
    let log = server.wait_for(|log| log.requests.len() == 5).await;
    assert_eq!(log.peak_open, 3);
    assert_eq!(session.stats().waiting, 0);
}

#[tokio::test(start_paused = true)]
async fn a_connect_that_fails_closes_no_idle_connection() {
    let server = MemoryConnector::new(always(200, ""));
    let pool = PoolConfig::default().max_connections(2);
    let session = in_memory(pool, Timeouts::default(), &server);
    fetch(&session, get("http://a/")).await.unwrap();
    server.refuse();
    // All three wait for one connect at a time, since the connection might speak HTTP/2.
    let mut calls = JoinSet::new();
    for _ in 0..3 {
        let session = session.clone();
        calls.spawn(async move { fetch(&session, get("https://peer/")).await });
    }
    for failed in calls.join_all().await {
        failed.unwrap_err();
    }
    let stats = session.stats();
    assert_eq!((stats.open, stats.idle, stats.closed.evicted), (1, 1, 0));
}

#[tokio::test]
async fn waiters_are_served_in_the_order_of_arrival() {
    let server = Server::start(answer(|request| {
        Reply::status(200)
            .body(request.target.clone())
            .delay(Duration::from_millis(1))
    }))
    .await;
    let session = session(PoolConfig::default().max_connections_per_origin(1));
    let mut calls = JoinSet::new();
    for number in 0..20 {
        let (session, url) = (session.clone(), server.url(&format!("/{number}")));
        calls.spawn(async move { fetch(&session, get(&url)).await.unwrap() });
        tokio::task::yield_now().await;
    }
    calls.join_all().await;
    let expected: Vec<_> = (0..20).map(|number| format!("/{number}")).collect();
    assert_eq!(server.log().targets(), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelled_waiters_leak_nothing() {
    let server = Server::start(answer(|_| {
        Reply::status(200).body("x").delay(Duration::from_millis(2))
    }))
    .await;
    let session = session(PoolConfig::default().max_connections_per_origin(1));
    let mut calls = JoinSet::new();
    for turn in 0..200_u64 {
        let (session, url) = (session.clone(), server.url("/"));
        let patience = Duration::from_micros(50 * turn);
        calls.spawn(async move {
            let _ = tokio::time::timeout(patience, fetch(&session, get(&url))).await;
        });
    }
    calls.join_all().await;
    eventually("everything is given back", || {
        let stats = session.stats();
        stats.waiting == 0 && stats.in_use == 0 && stats.connecting == 0
    })
    .await;
    assert_eq!(
        fetch(&session, get(&server.url("/"))).await.unwrap().0,
        StatusCode::OK
    );
}

#[tokio::test]
async fn a_connection_that_the_server_closed_while_idle_is_replaced_unseen() {
    let server = Server::start(always(200, "x")).await;
    let session = session(PoolConfig::default());
    fetch(&session, get(&server.url("/"))).await.unwrap();
    server.drop_connections().await;
    eventually("the closed connection is gone", || {
        session.stats().open == 0
    })
    .await;
    fetch(&session, get(&server.url("/"))).await.unwrap();
    assert_eq!(server.log().accepted, 2);
}

#[tokio::test]
async fn a_reused_connection_that_breaks_is_stale_and_ends_its_neighbours() {
    // Each connection answers once, reads the next request, and resets.
    let server = Server::start(|mut connection: test_support::Connection| async move {
        let _ = connection.read_request().await;
        connection.respond(200, "x").await;
        let _ = connection.read_request().await;
        connection.reset();
    })
    .await;
    let session = session(PoolConfig::default());
    let (one, two) = tokio::join!(
        send(&session, get(&server.url("/"))),
        send(&session, get(&server.url("/"))),
    );
    for response in [one, two] {
        response.unwrap().into_body().collect().await.unwrap();
    }
    assert_eq!(session.stats().idle, 2);
    let error = fetch(&session, post(&server.url("/"), "once"))
        .await
        .unwrap_err();
    assert!(error.is_stale() && !error.is_unsent(), "{error:?}");
    assert_eq!(session.stats().idle, 0);
}

#[tokio::test]
async fn a_fresh_connection_that_breaks_is_broken_and_not_stale() {
    let server = Server::start(sequence([Reply::reset()])).await;
    let session = session(PoolConfig::default());
    let error = fetch(&session, get(&server.url("/"))).await.unwrap_err();
    assert!(
        error.is_broken() && !error.is_stale() && !error.is_unsent(),
        "{error:?}"
    );
}

#[tokio::test]
async fn the_slot_of_a_half_read_body_is_free_when_the_body_is_dropped() {
    let server = Server::start(always(200, vec![b'x'; 8 << 20])).await;
    let session = session(PoolConfig::default().max_connections(1));
    for _ in 0..3 {
        let mut response = send(&session, get(&server.url("/"))).await.unwrap();
        assert!(response.body_mut().frame().await.is_some());
    }
    assert_eq!(server.log().accepted, 3);
}

#[tokio::test]
async fn a_small_body_that_nobody_reads_does_not_cost_its_connection() {
    let server = Server::start(always(200, "x")).await;
    let session = session(PoolConfig::default());
    for _ in 0..5 {
        let response = send(&session, get(&server.url("/"))).await.unwrap();
        drop(response);
    }
    assert_eq!(server.log().accepted, 1);
}

#[tokio::test]
async fn a_refused_connect_says_what_happened() {
    let server = Server::start(always(200, "x")).await;
    let url = server.url("/");
    drop(server);
    let session = session(PoolConfig::default());
    let error = fetch(&session, get(&url)).await.unwrap_err();
    assert!(error.is_connect() && error.is_unsent() && !error.is_timeout());
    assert!(
        error
            .to_string()
            .contains("cannot connect (http://127.0.0.1:"),
        "{error}"
    );
    assert_eq!(
        session.stats().open,
        0,
        "its place is free before it is told"
    );
}

#[tokio::test]
async fn a_name_that_does_not_resolve_says_so() {
    let session = session(PoolConfig::default());
    let error = fetch(&session, get("http://no-such-host.invalid/"))
        .await
        .unwrap_err();
    assert!(
        error.is_dns() && error.is_connect() && error.is_unsent(),
        "{error:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_gave_up_on_a_connect_does_not_fail_the_next() {
    let connector = MemoryConnector::new(always(200, "x"));
    connector.delay(SECOND);
    let session = in_memory(PoolConfig::default(), Timeouts::default(), &connector);
    let impatient = tokio::time::timeout(SECOND / 2, fetch(&session, get("http://peer/")));
    assert!(impatient.await.is_err());
    fetch(&session, get("http://peer/")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_call_dropped_before_its_first_poll_takes_nothing_from_another() {
    let connector = MemoryConnector::new(always(200, "x"));
    connector.delay(SECOND);
    let session = in_memory(PoolConfig::default(), Timeouts::default(), &connector);
    let never_polled = session.clone().call(get("http://peer/a"));
    let neighbour = tokio::spawn({
        let session = session.clone();
        async move { fetch(&session, get("http://peer/b")).await }
    });
    tokio::time::sleep(SECOND / 2).await;
    drop(never_polled);
    neighbour.await.unwrap().unwrap();
    assert_eq!(connector.log().accepted, 1);
    assert_eq!(session.stats().open, 1);
}

#[tokio::test(start_paused = true)]
async fn a_needless_connect_is_called_off() {
    let connector = MemoryConnector::new(always(200, "x"));
    connector.hang();
    let session = in_memory(PoolConfig::default(), Timeouts::default(), &connector);
    let impatient = tokio::time::timeout(SECOND, fetch(&session, get("http://peer/")));
    assert!(impatient.await.is_err());
    tokio::task::yield_now().await;
    assert_eq!((session.stats().open, session.stats().connecting), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_waiter_for_a_connect_under_way_has_no_queue_timeout() {
    let connector = MemoryConnector::new(always(200, "x"));
    let pool = PoolConfig::default().queue_timeout(SECOND);
    let session = in_memory(pool, Timeouts::default(), &connector);
    let first = send(&session, get("http://peer/")).await.unwrap();
    connector.delay(5 * SECOND);
    let second = tokio::spawn({
        let session = session.clone();
        async move { send(&session, get("http://peer/")).await.unwrap() }
    });
    tokio::task::yield_now().await;
    // Serves the second, whose own connect goes on, and is what the third waits for.
    first.into_body().collect().await.unwrap();
    let second = second.await.unwrap();
    fetch(&session, get("http://peer/")).await.unwrap();
    drop(second);
}

#[tokio::test]
async fn the_order_of_arrival_holds_where_every_answer_closes_its_connection() {
    for _ in 0..20 {
        let server = Server::start(answer(|request| {
            Reply::status(200)
                .header("connection", "close")
                .body(request.target.clone())
        }))
        .await;
        let session = session(PoolConfig::default().max_connections_per_origin(1));
        let mut calls = JoinSet::new();
        for number in 0..30 {
            // The place in the queue is taken by the call, so this loop is the order of arrival.
            let call = session
                .clone()
                .call(get(&server.url(&format!("/{number}"))));
            calls.spawn(async move { call.await.unwrap().into_body().collect().await.unwrap() });
        }
        calls.join_all().await;
        let expected: Vec<_> = (0..30).map(|number| format!("/{number}")).collect();
        assert_eq!(server.log().targets(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_misdirected_request_retires_its_connection_and_its_old_neighbours() {
    let connector = MemoryConnector::new(sequence([
        Reply::status(200),
        Reply::status(200),
        Reply::status(421),
        Reply::status(200),
    ]));
    let session = in_memory(PoolConfig::default(), Timeouts::default(), &connector);
    let (one, two) = tokio::join!(
        fetch(&session, get("http://peer/")),
        fetch(&session, get("http://peer/")),
    );
    one.unwrap();
    two.unwrap();
    assert_eq!(session.stats().idle, 2);
    fetch(&session, get("http://peer/")).await.unwrap();
    assert_eq!(session.stats().idle, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_outlives_the_runtime_that_opened_its_connections() {
    let server = Server::start(always(200, "x")).await;
    let session = Arc::new(session(PoolConfig::default()));
    for _ in 0..3 {
        let (session, url) = (session.clone(), server.url("/"));
        let status = tokio::task::spawn_blocking(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async { fetch(&session, get(&url)).await.unwrap().0 })
        });
        assert_eq!(status.await.unwrap(), StatusCode::OK);
    }
    eventually("connections end with their runtime", || {
        session.stats().open == 0
    })
    .await;
}
