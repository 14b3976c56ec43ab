//! What a client with retries makes of a connection that the peer's mistake ended.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use client::{Client, Http2};
use test_support::frames::{self, Connector, Peer, flag, frame, kind};

use crate::http2::conformance::scene::{BYSTANDER, VICTIM};

/// What makes the client end the whole connection.
fn mistakes() -> Vec<Vec<u8>> {
    vec![
        frame(kind::HEADERS, flag::END_HEADERS, VICTIM, &[0xff; 20]),
        frames::data(0, true, b"test"),
        frames::data(VICTIM, true, &[0; 16_385]),
        frame(
            kind::PUSH_PROMISE,
            flag::END_HEADERS,
            VICTIM,
            &[0, 0, 0, 2, 0x82],
        ),
        frames::window_update(0, 0x7fff_ffff).repeat(2),
    ]
}

/// Makes that mistake on the first connection when two requests are there; answers all on the others, and counts them.
async fn serve(number: usize, mut peer: Peer, mistake: Vec<u8>, again: Arc<AtomicUsize>) {
    if number == 0 {
        peer.request().await;
        peer.write(&frames::answer(1, b"fine")).await;
        while peer
            .request()
            .await
            .is_some_and(|stream| stream < BYSTANDER)
        {}
        peer.write(&mistake).await;
        peer.into_seen().await;
        return;
    }
    while let Some(stream) = peer.request().await {
        again.fetch_add(1, Ordering::Relaxed);
        peer.write(&frames::answer(stream, b"fine")).await;
    }
}

fn client(mistake: Vec<u8>) -> (Client, Arc<AtomicUsize>) {
    let again = Arc::new(AtomicUsize::new(0));
    let counted = again.clone();
    let connector =
        Connector::new(move |number, peer| serve(number, peer, mistake.clone(), counted.clone()));
    let client = Client::builder()
        .http2(Http2::default().prior_knowledge(true))
        .build_with_connector(connector)
        .expect("the settings are valid");
    (client, again)
}

#[tokio::test(start_paused = true)]
async fn a_get_that_only_shared_the_connection_is_sent_again_and_answered() {
    for mistake in mistakes() {
        let (client, _) = client(mistake.clone());
        client.get("http://peer/").send().await.unwrap();
        let (_, bystander) = tokio::join!(
            client.get("http://peer/victim").send(),
            client.get("http://peer/bystander").send(),
        );
        let bystander = bystander.unwrap_or_else(|error| panic!("{mistake:x?}: {error:?}"));
        assert_eq!(bystander.bytes().await.unwrap(), "fine");
    }
}

#[tokio::test(start_paused = true)]
async fn a_post_that_may_have_been_processed_is_not_sent_again() {
    for mistake in mistakes() {
        let (client, again) = client(mistake);
        client.get("http://peer/").send().await.unwrap();
        let (one, two) = tokio::join!(
            client.post("http://peer/victim").body("1").send(),
            client.post("http://peer/bystander").body("2").send(),
        );
        one.unwrap_err();
        two.unwrap_err();
        assert_eq!(again.load(Ordering::Relaxed), 0);
    }
}
