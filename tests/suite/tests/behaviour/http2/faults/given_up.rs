//! Calls that are given up, each of which resets its stream: a peer may count those.

use std::time::Duration;

use h2::server::Builder;
use http_body_util::BodyExt as _;
use session_layer::{Http2, PoolConfig, SessionLayer, Timeouts};
use test_suite::{BytesSession, eventually, fetch, get, send};
use test_support::http2::{Peer, Stream};
use tower::Layer as _;

/// How often something comes that belongs to another call.
const PAUSE: Duration = Duration::from_millis(5);

/// Gives up calls one after the other, each when the peer has seen it and sent something meanwhile:
/// else the peer would count as dead.
async fn give_up(session: &BytesSession, peer: &Peer, calls: usize) {
    for _ in 0..calls {
        let seen = peer.log().streams();
        let given_up = async {
            eventually("it is there", || peer.log().streams() > seen).await;
            tokio::time::sleep(2 * PAUSE).await;
        };
        tokio::select! {
            _ = send(session, get("http://peer/never")) => panic!("it is never answered"),
            () = given_up => {}
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_replaced_after_100_calls_in_a_row_were_given_up() {
    for (limit, replaced) in [(usize::MAX, 1), (1, 0)] {
        let peer = Peer::new(Builder::new(), |stream: Stream| async move {
            match stream.request.uri().path() {
                "/never" => stream.hold().await,
                "/long" => stream.drip(&vec!["x"; 2000], PAUSE, true).await,
                _ => stream.answer(200, "hello"),
            }
        });
        let pool = PoolConfig::default().max_connections(limit);
        let session: BytesSession = SessionLayer::new(pool, Timeouts::default())
            .and_then(|layer| layer.http2(Http2::default().prior_knowledge(true)))
            .unwrap()
            .layer(peer.connector());
        let session = &session;
        let long = send(session, get("http://peer/long")).await.unwrap();
        let long = tokio::spawn(long.into_body().collect());
        give_up(session, &peer, 99).await;
        // One that is answered shows that not all are given up.
        fetch(session, get("http://peer/")).await.unwrap();
        give_up(session, &peer, 99).await;
        assert_eq!(peer.log().connections.len(), 1);
        give_up(session, &peer, 1).await;
        fetch(session, get("http://peer/")).await.unwrap();
        assert_eq!(peer.log().connections.len(), 1 + replaced);
        // What it carried goes on to its end, and then it closes.
        let body = long.await.unwrap().unwrap().to_bytes();
        assert_eq!(body.len(), 2000);
        eventually("it is closed", || {
            session.stats().closed.abandoned == u64::try_from(replaced).unwrap()
        })
        .await;
        assert_eq!(
            session.stats().closed.total(),
            session.stats().closed.abandoned
        );
    }
}
