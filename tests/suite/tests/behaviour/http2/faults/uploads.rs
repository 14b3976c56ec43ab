//! Responses that nobody wants any more while their requests are still being sent.

use std::{io, time::Duration};

use bytes::Bytes;
use http::{Request, Uri};
use http_body::Frame as BodyFrame;
use http_body_util::StreamBody;
use session_layer::{Http2, PoolConfig, Session, SessionLayer, Timeouts};
use tokio::{
    io::DuplexStream,
    sync::mpsc,
    time::{Instant, timeout},
};
use tokio_stream::{StreamExt, wrappers::UnboundedReceiverStream};
use tower::{Layer, ServiceExt, service_fn};

use crate::http2::faults::{
    frames::{DATA, END_HEADERS, Frames, HEADERS, OK, RST_STREAM, allow, frame},
    pipe::Pipe,
};

const SECOND: Duration = Duration::from_secs(1);
const CANCEL: [u8; 4] = [0, 0, 0, 8];

type Piece = Result<BodyFrame<Bytes>, io::Error>;
type Body = StreamBody<std::pin::Pin<Box<dyn tokio_stream::Stream<Item = Piece> + Send>>>;

/// A body that is given in pieces; it has no more than it was given.
fn body() -> (mpsc::UnboundedSender<Bytes>, Body) {
    let (give, pieces) = mpsc::unbounded_channel();
    let pieces = UnboundedReceiverStream::new(pieces).map(|it| Ok(BodyFrame::data(it)));
    (give, StreamBody::new(Box::pin(pieces)))
}

/// What a peer saw of a request: the error code of its reset, when it came.
type Resets = mpsc::UnboundedReceiver<(Vec<u8>, Instant)>;

/// A session to a peer that answers by a head, or not at all, and takes no more of a body than the
/// first windows allow.
fn session(heads: bool) -> (Session<Body>, Resets) {
    let (tell, resets) = mpsc::unbounded_channel();
    let connector = service_fn(move |_: Uri| {
        let (near, far) = Pipe::whole();
        tokio::spawn(serve(far, heads, tell.clone()));
        async { Ok::<_, io::Error>(near) }
    });
    let session = SessionLayer::new(PoolConfig::default(), Timeouts::default())
        .and_then(|layer| layer.http2(Http2::default().prior_knowledge(true)))
        .unwrap()
        .layer(connector);
    (session, resets)
}

async fn serve(io: DuplexStream, heads: bool, tell: mpsc::UnboundedSender<(Vec<u8>, Instant)>) {
    let Some(mut frames) = Frames::accept(io).await else {
        return;
    };
    frames.write(&allow(100)).await;
    while let Some(it) = frames.next().await {
        match it.kind {
            HEADERS if heads => {
                let head = frame(HEADERS, END_HEADERS, it.stream, &[OK]);
                frames.write(&head).await;
            }
            RST_STREAM => {
                let _ = tell.send((it.payload, Instant::now()));
            }
            DATA | HEADERS => {}
            other => panic!("an unexpected frame of kind {other}"),
        }
    }
}

fn request(body: Body) -> Request<Body> {
    Request::post("http://peer/").body(body).unwrap()
}

/// How much waits to be sent when the response is dropped: nothing, or more than the peer's window.
const WAITING: [usize; 3] = [0, 10, 200_000];

#[tokio::test(start_paused = true)]
async fn dropping_a_response_resets_its_stream_though_its_request_waits() {
    for waiting in WAITING {
        let (session, mut resets) = session(true);
        let (give, body) = body();
        give.send(Bytes::from(vec![0; waiting])).unwrap();
        let response = session.clone().oneshot(request(body)).await.unwrap();
        tokio::time::sleep(SECOND).await;
        let dropped = Instant::now();
        drop(response);
        let (code, at) = resets.recv().await.unwrap();
        assert_eq!((&code[..], at), (&CANCEL[..], dropped), "{waiting}");
        assert!(give.is_closed(), "the body is dropped: {waiting}");
        assert_eq!(session.stats().streams, 0);
        assert_eq!(session.stats().open, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn dropping_a_call_resets_its_stream_though_its_request_waits() {
    for waiting in WAITING {
        let (session, mut resets) = session(false);
        let (give, body) = body();
        give.send(Bytes::from(vec![0; waiting])).unwrap();
        let began = Instant::now();
        let dropped = timeout(SECOND, session.clone().oneshot(request(body))).await;
        assert!(dropped.is_err());
        let (code, at) = resets.recv().await.unwrap();
        assert_eq!((&code[..], at - began), (&CANCEL[..], SECOND), "{waiting}");
        assert!(give.is_closed(), "the body is dropped: {waiting}");
        assert_eq!(session.stats().streams, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_whose_last_piece_waits_for_the_peer_is_reset_too() {
    let (session, mut resets) = session(true);
    let (give, body) = body();
    give.send(Bytes::from(vec![0; 70_000])).unwrap();
    drop(give);
    let response = session.clone().oneshot(request(body)).await.unwrap();
    tokio::time::sleep(SECOND).await;
    let dropped = Instant::now();
    drop(response);
    let (code, at) = resets.recv().await.unwrap();
    assert_eq!((&code[..], at), (&CANCEL[..], dropped));
    assert_eq!(session.stats().streams, 0);
}
