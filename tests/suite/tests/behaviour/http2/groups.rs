//! Requests that keep off the HTTP/2 connections of others.

use h2::server::Builder;
use http::{Request, StatusCode};
use http_body_util::Full;
use session_layer::{
    Connector, Http2, PoolConfig, RequestOptions, Session, SessionLayer, Timeouts,
};
use test_suite::{BytesSession, fetch, get, in_memory};
use test_support::{
    MemoryConnector, Server, always,
    http2::{Peer, Stream},
    tls::{Authority, LOOPBACK},
};
use tower::Layer;

fn in_group(url: &str, group: u8) -> Request<Full<bytes::Bytes>> {
    let mut request = get(url);
    let options = RequestOptions::new().connection_group(group);
    request.extensions_mut().insert(options);
    request
}

fn numbered() -> Peer {
    Peer::new(Builder::new(), |stream: Stream| async {
        let connection = stream.connection.to_string();
        stream.answer(200, connection);
    })
}

fn known(peer: &Peer, pool: PoolConfig) -> BytesSession {
    SessionLayer::new(pool, Timeouts::default())
        .and_then(|layer| layer.http2(Http2::default().prior_knowledge(true)))
        .unwrap()
        .layer(peer.connector())
}

async fn connections(session: &BytesSession, url: &str, groups: &[u8]) -> String {
    let mut all = String::new();
    for group in groups {
        let (status, body) = fetch(session, in_group(url, *group)).await.unwrap();
        assert_eq!(status, StatusCode::OK);
        all.push_str(std::str::from_utf8(&body).unwrap());
    }
    all
}

#[tokio::test(start_paused = true)]
async fn each_group_has_a_connection_of_its_own_and_keeps_it() {
    let peer = numbered();
    let session = known(&peer, PoolConfig::default());
    assert_eq!(
        connections(&session, "http://peer/", &[0, 1, 2, 1, 0, 2]).await,
        "012102"
    );
    assert_eq!(session.stats().open, 3);
}

#[tokio::test(start_paused = true)]
async fn the_limit_per_origin_counts_for_each_group_and_that_of_all_for_all() {
    let peer = numbered();
    let session = known(&peer, PoolConfig::default().max_connections_per_origin(1));
    assert_eq!(
        connections(&session, "http://peer/", &[0, 1, 0]).await,
        "010"
    );

    // Where only one is allowed at all, that of the other group makes room.
    let peer = numbered();
    let session = known(&peer, PoolConfig::default().max_connections(1));
    assert_eq!(
        connections(&session, "http://peer/", &[0, 1, 1, 0]).await,
        "0112"
    );
    assert_eq!(session.stats().open, 1);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_has_come_to_a_standstill_holds_no_other_group_up() {
    let peer = Peer::new(Builder::new(), |stream: Stream| async move {
        if stream.connection == 0 {
            stream.freeze();
            stream.hold().await;
        } else {
            stream.answer(200, "well");
        }
    });
    let session = known(&peer, PoolConfig::default());
    let (one, url) = (session.clone(), "http://peer/");
    let stuck = tokio::spawn(async move { fetch(&one, get(url)).await });
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    let (_, body) = fetch(&session, in_group(url, 1)).await.unwrap();
    assert_eq!(body, "well");
    stuck.abort();
}

#[tokio::test(start_paused = true)]
async fn over_http1_a_group_changes_nothing() {
    let connector = MemoryConnector::new(always(200, "well"));
    let session = in_memory(PoolConfig::default(), Timeouts::default(), &connector);
    for group in [0, 1, 2, 0] {
        fetch(&session, in_group("http://peer/", group))
            .await
            .unwrap();
    }
    assert_eq!(session.stats().opened, 1);
    assert_eq!(session.stats().reused, 3);
}

#[tokio::test]
async fn a_peer_that_is_known_to_speak_http1_has_no_groups() {
    let authority = Authority::new();
    let server = Server::start_tls(always(200, "well"), authority.server_config(LOOPBACK)).await;
    let connector = Connector::new().tls_config(authority.client_config());
    let session: BytesSession = Session::new(connector);
    for group in [0, 1, 2] {
        fetch(&session, in_group(&server.url("/"), group))
            .await
            .unwrap();
    }
    assert_eq!(session.stats().opened, 1);
}
