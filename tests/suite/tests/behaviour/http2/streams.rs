//! HTTP/2: streams in the pool's accounts, and peers that go away, die or refuse.

use std::time::Duration;

use bytes::Bytes;
use h2::{Reason, server::Builder};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Full, StreamBody};
use session_layer::{Connector, Error, Http2, Phase, PoolConfig, Session, SessionLayer, Timeouts};
use test_suite::{BytesSession, eventually, fetch, get, post, send};
use test_support::{
    Server, always,
    http2::{Peer, Stream},
    tls::{Authority, LOOPBACK},
};
use tokio::{task::JoinSet, time::Instant};
use tower::{Layer, ServiceExt};

const SECOND: Duration = Duration::from_secs(1);
const HELLO: &str = "hello";

fn h2(pool: PoolConfig, timeouts: Timeouts, http2: Http2) -> SessionLayer<Full<Bytes>> {
    SessionLayer::new(pool, timeouts)
        .and_then(|layer| layer.http2(http2.prior_knowledge(true)))
        .expect("the test's settings are valid")
}

fn over_tcp(pool: PoolConfig, http2: Http2) -> BytesSession {
    h2(pool, Timeouts::default(), http2).layer(Connector::new())
}

fn in_memory(pool: PoolConfig, timeouts: Timeouts, peer: &Peer) -> BytesSession {
    h2(pool, timeouts, Http2::default()).layer(peer.connector())
}

fn answering(builder: Builder) -> Peer {
    Peer::new(builder, |stream: Stream| async {
        stream.answer(200, HELLO);
    })
}

fn hello() -> Peer {
    answering(Builder::new())
}

/// Answers after a while, so that streams run at the same time.
fn slow(builder: &Builder) -> Peer {
    Peer::new(builder.clone(), |stream: Stream| async move {
        tokio::time::sleep(Duration::from_millis(5)).await;
        stream.answer(200, HELLO);
    })
}

fn streams(limit: u32) -> Builder {
    let mut builder = Builder::new();
    builder.max_concurrent_streams(limit);
    builder
}

/// Sends so many requests at the same time; returns how many were answered well.
async fn burst(session: &BytesSession, url: &str, requests: usize) -> usize {
    let mut tasks = JoinSet::new();
    for _ in 0..requests {
        let (session, request) = (session.clone(), get(url));
        tasks.spawn(async move { fetch(&session, request).await });
    }
    let mut good = 0;
    while let Some(answered) = tasks.join_next().await {
        let answered = answered.expect("no request panics");
        let (status, body) = answered.expect("every request is answered");
        good += usize::from(status == StatusCode::OK && body == HELLO);
    }
    good
}

async fn start(
    session: &BytesSession,
    url: &str,
) -> tokio::task::JoinHandle<Result<(StatusCode, Bytes), Error>> {
    let (session, request) = (session.clone(), get(url));
    let task = tokio::spawn(async move { fetch(&session, request).await });
    tokio::task::yield_now().await;
    task
}

#[tokio::test]
async fn requests_go_one_after_the_other_over_one_connection() {
    let peer = hello();
    let url = format!("http://{}/", peer.listen().await);
    let session = over_tcp(PoolConfig::default(), Http2::default());
    for _ in 0..20 {
        let response = send(&session, get(&url)).await.unwrap();
        assert_eq!(response.version(), Version::HTTP_2);
        assert_eq!(
            response.into_body().collect().await.unwrap().to_bytes(),
            HELLO
        );
    }
    assert_eq!(session.stats().opened, 1);
    assert_eq!(session.stats().reused, 19);
    assert_eq!(session.stats().idle, 1);
    assert_eq!(peer.log().connections.len(), 1);
}

#[tokio::test]
async fn a_request_names_its_authority_and_nothing_about_the_connection() {
    let peer = Peer::new(Builder::new(), |stream: Stream| async move {
        let uri = stream.request.uri().to_string();
        let names: Vec<_> = stream
            .request
            .headers()
            .keys()
            .map(ToString::to_string)
            .collect();
        stream.answer(200, format!("{uri} {}", names.join(",")));
    });
    let address = peer.listen().await;
    let session = over_tcp(PoolConfig::default(), Http2::default());
    let request = Request::get(format!("http://user:secret@{address}/a?b"))
        .header("connection", "keep-alive, x-hop")
        .header("x-hop", "1")
        .header("keep-alive", "timeout=5")
        .header("te", "gzip")
        .header("x-end", "1");
    let (_, seen) = fetch(&session, request.body(Full::default()).unwrap())
        .await
        .unwrap();
    assert_eq!(seen, format!("http://{address}/a?b x-end"));

    let request = get(&format!("http://{address}/"));
    let (mut head, body) = request.into_parts();
    head.headers.insert("host", "example.com".parse().unwrap());
    let (_, seen) = fetch(&session, Request::from_parts(head, body))
        .await
        .unwrap();
    assert_eq!(seen, "http://example.com/ ");
}

#[tokio::test]
async fn bodies_of_a_megabyte_go_both_ways() {
    let peer = Peer::new(Builder::new(), Stream::echo);
    let url = format!("http://{}/", peer.listen().await);
    let session = over_tcp(PoolConfig::default(), Http2::default());
    let sent = Bytes::from(vec![7; 1024 * 1024]);
    let (_, body) = fetch(&session, post(&url, sent.clone())).await.unwrap();
    assert!(body == sent);
    assert_eq!(session.stats().idle, 1);
}

#[tokio::test]
async fn a_cold_burst_by_alpn_makes_few_handshakes() {
    let authority = Authority::new();
    let mut config = authority.server_config(LOOPBACK);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let peer = slow(&Builder::new());
    let url = format!("https://{}/", peer.listen_tls(config).await);
    let connector = Connector::new().tls_config(authority.client_config());
    let session: BytesSession = Session::new(connector);
    assert_eq!(burst(&session, &url, 100).await, 100);
    let handshakes = peer.log().connections.len();
    assert!(handshakes <= 4, "{handshakes}");
}

#[tokio::test]
async fn a_peer_that_knows_http1_only_gets_it() {
    let authority = Authority::new();
    let server = Server::start_tls(always(200, HELLO), authority.server_config(LOOPBACK)).await;
    let connector = Connector::new().tls_config(authority.client_config());
    let session: BytesSession = Session::new(connector);
    assert_eq!(burst(&session, &server.url("/"), 20).await, 20);
    assert_eq!(session.stats().open, session.stats().idle);
}

#[tokio::test]
async fn http2_that_is_known_beforehand_is_not_guessed_over_tls() {
    let authority = Authority::new();
    let server = Server::start_tls(always(200, HELLO), authority.server_config(LOOPBACK)).await;
    let session: BytesSession = h2(PoolConfig::default(), Timeouts::default(), Http2::default())
        .layer(Connector::new().tls_config(authority.client_config()));
    let error = fetch(&session, get(&server.url("/"))).await.unwrap_err();
    assert!(error.is_tls() && error.is_unsent(), "{error}");
}

#[tokio::test]
async fn the_peers_limit_on_streams_holds_and_more_connections_open() {
    let peer = slow(&streams(10));
    let url = format!("http://{}/", peer.listen().await);
    let session = over_tcp(
        PoolConfig::default().max_connections_per_origin(8),
        Http2::default().max_concurrent_streams(50),
    );
    assert_eq!(burst(&session, &url, 300).await, 300);
    let connections = peer.log().connections;
    assert!(
        (2..=8).contains(&connections.len()),
        "{}",
        connections.len()
    );
    for connection in &connections {
        assert!(connection.most <= 10, "{connection:?}");
    }
}

#[tokio::test]
async fn the_own_limit_on_streams_holds_where_the_peer_has_none() {
    let peer = slow(&Builder::new());
    let url = format!("http://{}/", peer.listen().await);
    let session = over_tcp(
        PoolConfig::default().max_connections_per_origin(2),
        Http2::default().max_concurrent_streams(3),
    );
    assert_eq!(burst(&session, &url, 50).await, 50);
    let connections = peer.log().connections;
    assert!(connections.len() <= 2);
    assert!(connections.iter().all(|connection| connection.most <= 3));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_allows_no_stream_ends_in_a_pool_timeout() {
    let peer = answering(streams(0));
    let session = in_memory(
        PoolConfig::default().queue_timeout(2 * SECOND),
        Timeouts::default(),
        &peer,
    );
    // The first may go out before the peer has said so; then it is refused.
    let first = fetch(&session, get("http://peer/")).await.unwrap_err();
    assert!(
        first.is_unprocessed() || first.is_pool_timeout(),
        "{first:?}"
    );
    let began = Instant::now();
    let error = fetch(&session, get("http://peer/")).await.unwrap_err();
    assert!(error.is_pool_timeout() && error.is_unsent(), "{error}");
    assert_eq!(began.elapsed().as_secs(), 2);
    // One a second, and no more.
    let tried = peer.log().connections.len();
    assert!(tried <= 5, "{tried}");
}

#[tokio::test(start_paused = true)]
async fn a_dead_peer_is_left_within_the_ping_timeout() {
    let peer = Peer::new(Builder::new(), |stream: Stream| async move {
        if stream.connection == 0 && stream.number > 0 {
            stream.freeze();
            return stream.hold().await;
        }
        stream.answer(200, HELLO);
    });
    let timeouts = Timeouts::default().head(300 * SECOND);
    let http2 = Http2::default().keep_alive_interval(20 * SECOND);
    let session: BytesSession = h2(PoolConfig::default(), timeouts, http2).layer(peer.connector());
    fetch(&session, get("http://peer/")).await.unwrap();
    let began = Instant::now();
    let error = fetch(&session, get("http://peer/")).await.unwrap_err();
    assert!(began.elapsed() <= 31 * SECOND, "{:?}", began.elapsed());
    assert!(!error.is_unsent(), "{error}");
    fetch(&session, get("http://peer/")).await.unwrap();
    assert_eq!(peer.log().connections.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_connection_whose_peer_may_be_dead_gets_nothing_new_until_it_speaks() {
    let peer = Peer::new(Builder::new(), |stream: Stream| async move {
        match (stream.connection, stream.request.uri().path()) {
            (0, "/dead") => {
                stream.freeze();
                stream.hold().await;
            }
            _ => stream.answer(200, HELLO),
        }
    });
    let timeouts = Timeouts::default().head(5 * SECOND);
    let session = in_memory(PoolConfig::default(), timeouts, &peer);
    fetch(&session, get("http://peer/")).await.unwrap();
    let error = fetch(&session, get("http://peer/dead")).await.unwrap_err();
    assert_eq!(error.timeout_phase(), Some(Phase::Head));
    assert_eq!(
        session.stats().open,
        1,
        "the connection itself is still there"
    );
    let began = Instant::now();
    fetch(&session, get("http://peer/")).await.unwrap();
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(peer.log().connections.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_head_that_does_not_come_resets_its_stream_and_no_other() {
    let peer = Peer::new(Builder::new(), |stream: Stream| async move {
        match stream.request.uri().path() {
            "/never" => stream.hold().await,
            "/slow" => stream.drip(&["hel", "lo"], 4 * SECOND, true).await,
            _ => stream.answer(200, HELLO),
        }
    });
    let timeouts = Timeouts::default().head(5 * SECOND);
    let session = in_memory(PoolConfig::default(), timeouts, &peer);
    fetch(&session, get("http://peer/")).await.unwrap();
    let began = Instant::now();
    let other = start(&session, "http://peer/slow").await;
    let error = fetch(&session, get("http://peer/never")).await.unwrap_err();
    assert_eq!(error.timeout_phase(), Some(Phase::Head));
    assert_eq!(began.elapsed(), 5 * SECOND);
    assert_eq!(other.await.unwrap().unwrap().1, HELLO);
    let log = peer.log();
    assert_eq!((log.connections.len(), log.connections[0].resets), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stands_still_ends_alone() {
    let peer = Peer::new(Builder::new(), |stream: Stream| async move {
        match stream.request.uri().path() {
            "/still" => stream.drip(&["one"], SECOND, false).await,
            _ => stream.answer(200, HELLO),
        }
    });
    let timeouts = Timeouts::default().body_idle(3 * SECOND);
    let session = in_memory(PoolConfig::default(), timeouts, &peer);
    let began = Instant::now();
    let error = fetch(&session, get("http://peer/still")).await.unwrap_err();
    assert_eq!(error.timeout_phase(), Some(Phase::Body));
    assert_eq!(began.elapsed(), 4 * SECOND);
    fetch(&session, get("http://peer/")).await.unwrap();
    let log = peer.log();
    assert_eq!((log.connections.len(), log.connections[0].resets), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_the_peer_does_not_take_ends_in_time() {
    let peer = Peer::new(Builder::new(), Stream::hold);
    let timeouts = Timeouts::default().head(5 * SECOND);
    let session = in_memory(PoolConfig::default(), timeouts, &peer);
    let began = Instant::now();
    let upload = post("http://peer/", vec![0; 1024 * 1024]);
    let error = fetch(&session, upload).await.unwrap_err();
    assert_eq!(error.timeout_phase(), Some(Phase::Head));
    assert_eq!(began.elapsed().as_secs(), 5);
}

#[tokio::test]
async fn a_peer_that_goes_away_finishes_what_it_has_and_gets_nothing_new() {
    let (release, gate) = tokio::sync::watch::channel(false);
    let peer = Peer::new(Builder::new(), move |stream: Stream| {
        let mut gate = gate.clone();
        async move {
            if stream.request.uri().path() == "/last" {
                stream.go_away();
                let _ = gate.wait_for(|open| *open).await;
            }
            stream.answer(200, HELLO);
        }
    });
    let address = peer.listen().await;
    let session = over_tcp(PoolConfig::default(), Http2::default());
    let last = start(&session, &format!("http://{address}/last")).await;
    eventually("the peer has the first", || peer.log().streams() == 1).await;
    // The GOAWAY comes without anything else to wake the client.
    tokio::time::sleep(Duration::from_millis(50)).await;
    fetch(&session, get(&format!("http://{address}/")))
        .await
        .unwrap();
    assert_eq!(peer.log().connections.len(), 2);
    release.send(true).unwrap();
    assert_eq!(last.await.unwrap().unwrap().1, HELLO);
    eventually("the first connection is closed", || {
        session.stats().open == 1
    })
    .await;
}

#[tokio::test]
async fn a_refused_stream_is_told_from_one_that_may_have_run() {
    let peer = Peer::new(Builder::new(), |stream: Stream| async move {
        match stream.request.uri().path() {
            "/refuse" => stream.refuse(),
            "/reset" => stream.reset(Reason::INTERNAL_ERROR),
            _ => stream.answer(200, HELLO),
        }
    });
    let address = peer.listen().await;
    let session = over_tcp(PoolConfig::default(), Http2::default());
    for (path, refused) in [("/refuse", true), ("/reset", false)] {
        let error = fetch(&session, get(&format!("http://{address}{path}"))).await;
        let error = error.unwrap_err();
        assert_eq!(
            (error.is_unprocessed(), error.is_reset()),
            (refused, !refused)
        );
        assert!(!error.is_unsent());
    }
    fetch(&session, get(&format!("http://{address}/")))
        .await
        .unwrap();
    assert_eq!(peer.log().connections.len(), 1, "the connection goes on");
}

#[tokio::test]
async fn a_goaway_that_may_have_run_the_request_is_broken() {
    let peer = Peer::new(Builder::new(), |stream: Stream| async move {
        stream.abort(Reason::NO_ERROR);
        stream.hold().await;
    });
    let address = peer.listen().await;
    let session = over_tcp(PoolConfig::default(), Http2::default());
    let error = fetch(&session, get(&format!("http://{address}/")))
        .await
        .unwrap_err();
    assert!(!error.is_unprocessed() && !error.is_unsent(), "{error:?}");
    eventually("it is gone", || session.stats().open == 0).await;
}

#[tokio::test]
async fn dropping_a_call_resets_its_stream_and_frees_its_place() {
    let peer = Peer::new(streams(1), |stream: Stream| async move {
        match stream.request.uri().path() {
            "/never" => stream.hold().await,
            "/half" => stream.drip(&["half"], Duration::ZERO, false).await,
            _ => stream.answer(200, HELLO),
        }
    });
    let address = peer.listen().await;
    let session = over_tcp(PoolConfig::default().max_connections(1), Http2::default());
    let url = |path: &str| format!("http://{address}{path}");
    fetch(&session, get(&url("/"))).await.unwrap();
    for dropped in 1..=5_usize {
        let never = start(&session, &url("/never")).await;
        eventually("it is there", || peer.log().streams() == dropped * 3 - 1).await;
        never.abort();
        let response = send(&session, get(&url("/half"))).await.unwrap();
        drop(response);
        fetch(&session, get(&url("/"))).await.unwrap();
    }
    assert_eq!(peer.log().connections.len(), 1);
    assert_eq!(session.stats().in_use, 0);
}

#[tokio::test(start_paused = true)]
async fn a_connection_closes_when_idle_for_too_long_and_not_while_it_is_used() {
    let peer = Peer::new(Builder::new(), |stream: Stream| async move {
        tokio::time::sleep(8 * SECOND).await;
        stream.answer(200, HELLO);
    });
    let pool = PoolConfig::default().idle_timeout(5 * SECOND);
    let session = in_memory(pool, Timeouts::default(), &peer);
    fetch(&session, get("http://peer/")).await.unwrap();
    assert_eq!(session.stats().idle, 1);
    tokio::time::sleep(Duration::from_millis(4_999)).await;
    assert_eq!(session.stats().open, 1);
    tokio::time::sleep(Duration::from_millis(2)).await;
    assert_eq!(session.stats().open, 0);
}

#[tokio::test(start_paused = true)]
async fn a_connection_too_old_finishes_what_it_carries() {
    let peer = Peer::new(Builder::new(), |stream: Stream| async move {
        match stream.request.uri().path() {
            "/long" => stream.drip(&["hel", "lo"], 20 * SECOND, true).await,
            _ => stream.answer(200, HELLO),
        }
    });
    let pool = PoolConfig::default().max_lifetime(10 * SECOND);
    let session = in_memory(pool, Timeouts::default(), &peer);
    let long = start(&session, "http://peer/long").await;
    tokio::time::sleep(12 * SECOND).await;
    fetch(&session, get("http://peer/")).await.unwrap();
    assert_eq!(peer.log().connections.len(), 2);
    assert_eq!(long.await.unwrap().unwrap().1, HELLO);
    tokio::time::sleep(SECOND).await;
    assert!(peer.log().connections[0].ended);
}

#[tokio::test(start_paused = true)]
async fn closing_counts_the_streams_that_finish_and_those_it_cuts() {
    let peer = Peer::new(Builder::new(), |stream: Stream| async move {
        match stream.request.uri().path() {
            "/never" => stream.hold().await,
            _ => stream.drip(&["hel", "lo"], SECOND, true).await,
        }
    });
    let session = in_memory(PoolConfig::default(), Timeouts::default(), &peer);
    let good = start(&session, "http://peer/").await;
    let cut = [
        start(&session, "http://peer/never").await,
        start(&session, "http://peer/never").await,
    ];
    tokio::time::sleep(SECOND).await;
    let report = session.close(5 * SECOND).await;
    assert_eq!((report.finished, report.aborted), (1, 2));
    assert_eq!(good.await.unwrap().unwrap().1, HELLO);
    for cut in cut {
        assert!(cut.await.unwrap().unwrap_err().is_closed());
    }
    assert_eq!(session.stats().open, 0);
    assert!(
        peer.log()
            .connections
            .iter()
            .all(|connection| connection.ended)
    );
}

#[tokio::test]
async fn a_session_that_is_dropped_ends_its_connection() {
    let peer = hello();
    let url = format!("http://{}/", peer.listen().await);
    let session = over_tcp(PoolConfig::default(), Http2::default());
    let response = send(&session, get(&url)).await.unwrap();
    drop(session);
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        HELLO
    );
    eventually("the peer sees the end", || peer.log().connections[0].ended).await;
}

#[tokio::test]
async fn an_idle_connection_makes_room_for_another_host_at_the_total_limit() {
    let (one, other) = (hello(), hello());
    let (one_url, other_url) = (
        format!("http://{}/", one.listen().await),
        format!("http://{}/", other.listen().await),
    );
    let session = over_tcp(PoolConfig::default().max_connections(1), Http2::default());
    for _ in 0..5 {
        fetch(&session, get(&one_url)).await.unwrap();
        fetch(&session, get(&other_url)).await.unwrap();
    }
    assert_eq!(session.stats().opened, 10);
}

#[tokio::test]
async fn a_busy_connection_makes_room_for_a_host_that_has_waited_too_long() {
    let (busy, other) = (slow(&Builder::new()), hello());
    let busy_url = format!("http://{}/", busy.listen().await);
    let other_url = format!("http://{}/", other.listen().await);
    let session = over_tcp(PoolConfig::default().max_connections(1), Http2::default());
    let mut load = JoinSet::new();
    for _ in 0..4 {
        let (session, url) = (session.clone(), busy_url.clone());
        load.spawn(async move {
            loop {
                fetch(&session, get(&url)).await.unwrap();
            }
        });
    }
    eventually("it is busy", || busy.log().streams() > 10).await;
    let began = std::time::Instant::now();
    fetch(&session, get(&other_url)).await.unwrap();
    assert!(began.elapsed() < 5 * SECOND, "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_peer_that_speaks_something_else_fails_all_its_waiters() {
    let server = Server::start(|mut connection| async move {
        connection.write("HTTP/1.1 400 Bad Request\r\n\r\n").await;
    })
    .await;
    let session = over_tcp(PoolConfig::default(), Http2::default());
    let mut tasks = JoinSet::new();
    for _ in 0..20 {
        let (session, request) = (session.clone(), get(&server.url("/")));
        tasks.spawn(async move { fetch(&session, request).await });
    }
    while let Some(failed) = tasks.join_next().await {
        failed.unwrap().unwrap_err();
    }
    eventually("nothing is open", || session.stats().open == 0).await;
    assert!(session.stats().opened <= 4, "{:?}", session.stats());
    drop(server);
}

#[tokio::test]
async fn a_request_body_that_panics_fails_its_own_request() {
    type Piece = Result<http_body::Frame<Bytes>, std::convert::Infallible>;
    struct Panics;
    impl futures_core::Stream for Panics {
        type Item = Piece;
        fn poll_next(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Piece>> {
            panic!("the body's own fault");
        }
    }
    type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, std::convert::Infallible>;
    let (release, gate) = tokio::sync::watch::channel(false);
    let peer = Peer::new(Builder::new(), move |stream: Stream| {
        let mut gate = gate.clone();
        async move {
            if stream.request.uri().path() == "/other" {
                let _ = gate.wait_for(|open| *open).await;
            }
            stream.answer(200, HELLO);
        }
    });
    let address = peer.listen().await;
    let session: Session<Body> = SessionLayer::new(PoolConfig::default(), Timeouts::default())
        .and_then(|layer| layer.http2(Http2::default().prior_knowledge(true)))
        .unwrap()
        .layer(Connector::new());
    let with = |path: &str, body: Body| {
        let request = Request::post(format!("http://{address}{path}")).body(body);
        session.clone().oneshot(request.unwrap())
    };
    let other = tokio::spawn(with("/other", Full::from("x").boxed_unsync()));
    eventually("the other is there", || peer.log().streams() == 1).await;
    let error = with("/", StreamBody::new(Panics).boxed_unsync())
        .await
        .unwrap_err();
    assert!(error.is_request_body(), "{error:?}");
    release.send(true).unwrap();
    assert_eq!(other.await.unwrap().unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn a_request_that_asks_for_an_upgrade_goes_over_http1() {
    let authority = Authority::new();
    let mut config = authority.server_config(LOOPBACK);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let server = Server::start_tls(
        |mut connection| async move {
            connection.read_request().await;
            connection
                .write("HTTP/1.1 101 Switching Protocols\r\nupgrade: echo\r\nconnection: upgrade\r\n\r\n")
                .await;
        },
        config,
    )
    .await;
    let connector = Connector::new().tls_config(authority.client_config());
    let session: BytesSession = Session::new(connector);
    let request = Request::get(server.url("/"))
        .header("upgrade", "echo")
        .header("connection", "upgrade");
    let response = send(&session, request.body(Full::default()).unwrap()).await;
    assert_eq!(response.unwrap().status(), StatusCode::SWITCHING_PROTOCOLS);
}

#[tokio::test(start_paused = true)]
async fn a_head_that_is_too_large_says_so_and_the_connection_goes_on() {
    let peer = Peer::new(Builder::new(), |stream: Stream| async move {
        let fields = stream.request.uri().path()[1..].parse::<usize>().unwrap();
        let mut head = Response::new(());
        for field in 0..fields {
            let name = HeaderName::try_from(format!("x-{field:04}")).unwrap();
            // With name and overhead this makes a kilobyte.
            let value = HeaderValue::try_from("y".repeat(1024 - 32 - 6)).unwrap();
            head.headers_mut().insert(name, value);
        }
        stream.answer_head(head, true);
    });
    let session = in_memory(PoolConfig::default(), Timeouts::default(), &peer);
    for (fields, fits) in [(256, true), (257, false), (600, false), (256, true)] {
        match fetch(&session, get(&format!("http://peer/{fields}"))).await {
            Ok(_) => assert!(fits, "{fields}"),
            Err(error) => assert!(!fits && error.is_too_large(), "{fields}: {error:?}"),
        }
    }
    assert_eq!(peer.log().connections.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_calls_given_up_at_once_disturb_no_other_stream() {
    let peer = Peer::new(Builder::new(), |stream: Stream| async move {
        match stream.request.uri().path() {
            "/never" => stream.hold().await,
            "/long" => stream.drip(&["hel", "lo"], 20 * SECOND, true).await,
            _ => stream.answer(200, HELLO),
        }
    });
    let pool = PoolConfig::default().max_connections(1);
    let session = in_memory(pool, Timeouts::default(), &peer);
    let long = send(&session, get("http://peer/long")).await.unwrap();
    let mut seen = 1;
    for _ in 0..20 {
        let mut calls = JoinSet::new();
        for _ in 0..50 {
            let session = session.clone();
            calls.spawn(async move { send(&session, get("http://peer/never")).await });
        }
        seen += 51;
        // A peer that is alive answers others meanwhile.
        fetch(&session, get("http://peer/")).await.unwrap();
        eventually("they are there", || peer.log().streams() == seen).await;
        calls.abort_all();
        drop(calls);
        eventually("they are gone", || peer.log().connections[0].running <= 1).await;
    }
    assert_eq!(peer.log().connections[0].resets, 1000);
    let (_, body) = fetch(&session, get("http://peer/")).await.unwrap();
    assert_eq!(body, HELLO);
    let body = long.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, HELLO);
    assert_eq!(peer.log().connections.len(), 1);
}
