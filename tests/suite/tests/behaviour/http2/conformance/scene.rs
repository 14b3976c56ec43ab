//! A connection on which the peer does one thing that a test is about, and what has to become of it.
//!
//! The first request is answered, so that the connection is known to be shared. Then two requests are in flight at
//! once: the peer does what the test says to the first, [`VICTIM`]; the second, [`BYSTANDER`], only shares the
//! connection with it.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use h2::Reason;
use http::StatusCode;
use session_layer::{Error, Http2, PoolConfig, SessionLayer, Timeouts};
use test_suite::{BytesSession, fetch, get};
use test_support::frames::{self, Connector, Frame, Peer, kind};
use tokio::{sync::oneshot, time::Instant};
use tower::Layer;

/// The stream that the peer does something to.
pub(crate) const VICTIM: u32 = 3;
/// The stream that shares its connection.
pub(crate) const BYSTANDER: u32 = 5;
/// A stream that the client has not opened yet.
pub(crate) const UNOPENED: u32 = 101;
/// A stream that only the server could open.
pub(crate) const OF_THE_SERVER: u32 = 2;

/// The payload of the PING by which the peer sees that the client goes on.
const PROBE: [u8; 8] = *b"go on? 1";

pub(crate) type Answer = Result<(StatusCode, Bytes), Error>;

/// What became of the requests, and what the client sent on the first connection.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) victim: Answer,
    pub(crate) bystander: Answer,
    pub(crate) next: Answer,
    pub(crate) seen: Vec<Frame>,
    pub(crate) connections: usize,
}

impl Outcome {
    /// The code of the GOAWAY by which the client told of an error. One without an error ends the session.
    fn go_away(&self) -> Option<u32> {
        go_away(&self.seen)
    }

    /// The code of the reset that the client sent for this stream.
    pub(crate) fn reset(&self, stream: u32) -> Option<u32> {
        let mut sent = self.seen.iter();
        sent.find(|frame| frame.kind == kind::RST_STREAM && frame.stream == stream)
            .and_then(Frame::code)
    }

    /// Holds if the peer's mistake cost the whole connection, with one of these codes.
    #[track_caller]
    fn is_connection_error(&self, codes: &[Reason]) {
        let code = self.go_away().map(Reason::from);
        assert!(
            code.is_some_and(|code| codes.contains(&code)),
            "GOAWAY with {code:?} instead of {codes:?}: {self:#?}"
        );
        assert_eq!(self.connections, 2, "{self:#?}");
        let victim = self.victim.as_ref().expect_err("its connection is lost");
        assert!(is_of_the_peer(victim), "{victim:?}");
        let bystander = self.bystander.as_ref().expect_err("its connection is lost");
        assert_ambiguous(bystander);
        self.goes_on();
    }

    /// Holds if it cost one stream, with one of these codes.
    #[track_caller]
    fn is_stream_error(&self, codes: &[Reason]) {
        let code = self.reset(VICTIM).map(Reason::from);
        assert!(
            code.is_some_and(|code| codes.contains(&code)),
            "RST_STREAM with {code:?} instead of {codes:?}: {self:#?}"
        );
        let victim = self.victim.as_ref().expect_err("its stream is lost");
        assert!(is_of_the_peer(victim), "{victim:?}");
        self.spared_the_bystander();
    }

    /// Holds if the bystander was answered, and the connection is still used.
    #[track_caller]
    pub(crate) fn spared_the_bystander(&self) {
        assert_eq!(self.go_away(), None, "{self:#?}");
        assert_eq!(self.connections, 1, "{self:#?}");
        let bystander = self
            .bystander
            .as_ref()
            .expect("its stream is not concerned");
        assert_eq!(bystander.1, "fine");
        self.goes_on();
    }

    #[track_caller]
    fn goes_on(&self) {
        assert_eq!(self.next.as_ref().expect("a new request works").1, "fine");
    }
}

fn go_away(seen: &[Frame]) -> Option<u32> {
    let mut sent = seen.iter().filter(|frame| frame.kind == kind::GOAWAY);
    sent.find_map(|frame| frame.code().filter(|code| *code != 0))
}

/// Whether an error says that the peer answered wrong, or that the connection broke.
fn is_of_the_peer(error: &Error) -> bool {
    error.is_protocol()
        || error.is_broken()
        || error.is_unprocessed()
        || error.is_reset()
        || error.is_response_body()
}

/// Holds if an error says of its request that it may have been processed, and of its response nothing.
#[track_caller]
pub(crate) fn assert_ambiguous(error: &Error) {
    assert!(
        error.is_broken() && !error.is_protocol() && !error.is_unsent(),
        "a request that only shared the connection failed with {error:?}"
    );
}

/// A session to the peers of this connector.
pub(crate) fn session(connector: Connector) -> BytesSession {
    session_with(PoolConfig::default(), connector)
}

/// The same, with one connection at most.
pub(crate) fn session_of_one(connector: Connector) -> BytesSession {
    session_with(PoolConfig::default().max_connections(1), connector)
}

fn session_with(pool: PoolConfig, connector: Connector) -> BytesSession {
    SessionLayer::new(pool, Timeouts::default())
        .and_then(|layer| layer.http2(Http2::default().prior_knowledge(true)))
        .expect("the test's settings are valid")
        .layer(connector)
}

/// Runs `act` as the peer of the first connection, when two requests are in flight, and reads there to the end of the
/// connection; all others answer.
pub(crate) async fn play<A, F>(act: A) -> Outcome
where
    A: FnOnce(Peer) -> F + Send + 'static,
    F: Future<Output = Peer> + Send + 'static,
{
    play_with(&[], act).await
}

/// The same, after settings of the peer.
pub(crate) async fn play_with<A, F>(settings: &[(u16, u32)], act: A) -> Outcome
where
    A: FnOnce(Peer) -> F + Send + 'static,
    F: Future<Output = Peer> + Send + 'static,
{
    let (report, seen) = oneshot::channel();
    let once = Arc::new(Mutex::new(Some((act, report))));
    let connector = Connector::new(move |_, mut peer| {
        let once = once.lock().unwrap().take();
        async move {
            let Some((act, report)) = once else {
                return peer.answer_all(b"fine").await;
            };
            peer.request().await;
            peer.write(&frames::answer(1, b"fine")).await;
            assert_eq!(peer.request().await, Some(VICTIM));
            assert_eq!(peer.request().await, Some(BYSTANDER));
            let mut peer = act(peer).await;
            peer.answer_all(b"fine").await;
            let _ = report.send(peer.seen);
        }
    });
    let session = session(connector.clone().settings(settings));
    let began = Instant::now();
    fetch(&session, get("http://peer/first")).await.unwrap();
    let (victim, bystander) = tokio::join!(
        fetch(&session, get("http://peer/victim")),
        fetch(&session, get("http://peer/bystander")),
    );
    let next = fetch(&session, get("http://peer/next")).await;
    // Nobody waited for a timeout.
    assert_eq!(began.elapsed(), Duration::ZERO, "{victim:?}, {bystander:?}");
    let connections = connector.connections();
    leaves_nothing(session).await;
    Outcome {
        victim,
        bystander,
        next,
        seen: seen.await.expect("the peer saw the end of its connection"),
        connections,
    }
}

/// Holds if nothing is in use any more, and all connections end with the session.
pub(crate) async fn leaves_nothing(session: BytesSession) {
    let stats = session.stats();
    assert_eq!(
        (stats.streams, stats.in_use, stats.waiting, stats.connecting),
        (0, 0, 0, 0),
        "{stats:?}"
    );
    session.close(Duration::from_secs(1)).await;
    assert_eq!(session.stats().open, 0);
}

/// Holds if these bytes are an error of the connection with one of these codes, whether requests are in flight or not.
pub(crate) async fn is_connection_error(codes: &[Reason], bytes: Vec<u8>) {
    is_connection_error_in_flight(codes, bytes.clone()).await;
    is_connection_error_when_idle(codes, bytes).await;
}

/// Holds if these bytes are an error of the connection while two requests are in flight.
pub(crate) async fn is_connection_error_in_flight(codes: &[Reason], bytes: Vec<u8>) {
    let outcome = play(|mut peer| async move {
        peer.write(&bytes).await;
        peer
    });
    outcome.await.is_connection_error(codes);
}

/// Holds if these bytes are an error of the victim's stream or of the whole connection, with one of these codes. The
/// victim may have got its response before.
pub(crate) async fn is_any_error(codes: &[Reason], bytes: Vec<u8>) {
    let outcome = play(|mut peer| async move {
        peer.write(&bytes).await;
        while let Some(frame) = peer.next().await {
            if frame.kind == kind::RST_STREAM || frame.kind == kind::GOAWAY {
                break;
            }
        }
        peer.write(&frames::answer(BYSTANDER, b"fine")).await;
        peer
    });
    let outcome = outcome.await;
    let code = outcome.go_away().or(outcome.reset(VICTIM));
    let code = code.map(Reason::from);
    assert!(
        code.is_some_and(|code| codes.contains(&code)),
        "{code:?} instead of {codes:?}: {outcome:#?}"
    );
    if outcome.go_away().is_none() {
        return outcome.spared_the_bystander();
    }
    if let Err(error) = &outcome.bystander {
        assert_ambiguous(error);
    }
    outcome.goes_on();
}

/// Holds if these bytes end a connection that carries nothing, and the next request does not notice.
pub(crate) async fn is_connection_error_when_idle(codes: &[Reason], bytes: Vec<u8>) {
    let (report, seen) = oneshot::channel();
    let once = Arc::new(Mutex::new(Some(report)));
    let connector = Connector::new(move |_, mut peer| {
        let (report, bytes) = (once.lock().unwrap().take(), bytes.clone());
        async move {
            let Some(report) = report else {
                return peer.answer_all(b"fine").await;
            };
            peer.request().await;
            peer.write(&frames::answer(1, b"fine")).await;
            // The client has it, and says so.
            peer.write(&frames::ping(false, PROBE)).await;
            peer.pong(PROBE).await;
            peer.write(&bytes).await;
            let _ = report.send(peer.into_seen().await);
        }
    });
    let session = session(connector.clone());
    fetch(&session, get("http://peer/first")).await.unwrap();
    let seen = tokio::time::timeout(Duration::from_secs(1), seen).await;
    let seen = seen.expect("the client closes at once").unwrap();
    let code = go_away(&seen).map(Reason::from);
    assert!(
        code.is_some_and(|code| codes.contains(&code)),
        "idle: GOAWAY with {code:?} instead of {codes:?}: {seen:#?}"
    );
    let next = fetch(&session, get("http://peer/next")).await;
    assert_eq!(next.unwrap().1, "fine");
    assert_eq!(connector.connections(), 2);
    leaves_nothing(session).await;
}

/// Holds if these bytes are an error of the victim's stream with one of these codes, and of nothing else.
pub(crate) async fn is_stream_error(codes: &[Reason], bytes: Vec<u8>) {
    let outcome = play(|mut peer| async move {
        peer.write(&bytes).await;
        peer.next_of(kind::RST_STREAM).await;
        peer.write(&frames::answer(BYSTANDER, b"fine")).await;
        peer
    });
    outcome.await.is_stream_error(codes);
}

/// Holds if the client takes no notice of these bytes: it answers a PING, and both requests get their responses.
pub(crate) async fn is_ignored(bytes: Vec<u8>) {
    let after = frames::answer(VICTIM, b"answered");
    is_answered("answered", [bytes, after].concat()).await;
}

/// Holds if these bytes are a response with this body to the victim, and nobody else is concerned.
pub(crate) async fn is_answered(body: &str, bytes: Vec<u8>) {
    let outcome = answered_by(bytes).await;
    let victim = outcome.victim.as_ref().expect("it was answered");
    assert_eq!(victim.1, body);
    outcome.spared_the_bystander();
}

/// Writes these bytes, sees that the client still answers a PING, and answers the bystander.
pub(crate) async fn answered_by(bytes: Vec<u8>) -> Outcome {
    let outcome = play(|mut peer| async move {
        peer.write(&bytes).await;
        peer.write(&frames::ping(false, PROBE)).await;
        assert!(peer.pong(PROBE).await, "the client goes on");
        peer.write(&frames::answer(BYSTANDER, b"fine")).await;
        peer
    });
    outcome.await
}

/// Holds if the victim's request failed by these bytes, and the bystander's did not.
pub(crate) async fn fails_alone(bytes: Vec<u8>) -> Outcome {
    let outcome = answered_by(bytes).await;
    let victim = outcome
        .victim
        .as_ref()
        .expect_err("it has no valid response");
    assert!(is_of_the_peer(victim), "{victim:?}");
    outcome.spared_the_bystander();
    outcome
}

/// A frame whose length is wrong for its type. RFC 9113 asks for `FRAME_SIZE_ERROR`; the `h2` crate has that for a frame
/// above the limit only, and tells `PROTOCOL_ERROR` for all others (`decode_frame` of its `codec/framed_read.rs`).
pub(crate) const WRONG_LENGTH: &[Reason] = &[Reason::FRAME_SIZE_ERROR, Reason::PROTOCOL_ERROR];

/// A field block that cannot be decoded. RFC 9113 asks for `COMPRESSION_ERROR`; the `h2` crate has that for a block
/// that goes on in CONTINUATION frames only, and else tells `PROTOCOL_ERROR` (the same function).
pub(crate) const BAD_BLOCK: &[Reason] = &[Reason::COMPRESSION_ERROR, Reason::PROTOCOL_ERROR];

/// A setting with an impossible window. RFC 9113 asks for `FLOW_CONTROL_ERROR`; the `h2` crate tells `PROTOCOL_ERROR` for
/// every setting with an impossible value (the same function).
pub(crate) const BAD_WINDOW: &[Reason] = &[Reason::FLOW_CONTROL_ERROR, Reason::PROTOCOL_ERROR];
