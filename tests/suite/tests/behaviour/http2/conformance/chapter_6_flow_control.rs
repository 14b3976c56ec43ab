//! RFC 9113, sections 5.2 and 6.9: flow control.

use std::{sync::Mutex, time::Duration};

use h2::Reason;
use http_body_util::BodyExt;
use session_layer::Error;
use test_suite::{fetch, get, post, send};
use test_support::frames::{self, Connector, Peer, flag, frame, kind, setting};

use tokio::{sync::oneshot, time::Instant};

use crate::http2::conformance::scene::{self, VICTIM};

const PROTOCOL_ERROR: &[Reason] = &[Reason::PROTOCOL_ERROR];
const FLOW_CONTROL_ERROR: Reason = Reason::FLOW_CONTROL_ERROR;

/// The largest window.
const LARGEST: u32 = 0x7fff_ffff;

/// Reads the DATA that the client sends without being given more room; returns how much it was.
async fn data_until_quiet(peer: &mut Peer) -> usize {
    let sent = |peer: &Peer| -> usize {
        let data = peer.seen.iter().filter(|frame| frame.kind == kind::DATA);
        data.map(|frame| frame.payload.len()).sum()
    };
    loop {
        let before = sent(peer);
        // Twice: what was written before the first answer may be followed by more.
        for probe in [[2; 8], [3; 8]] {
            peer.write(&frames::ping(false, probe)).await;
            assert!(peer.pong(probe).await);
        }
        if sent(peer) == before {
            return before;
        }
    }
}

/// Writes bytes while a body waits for room, and returns the code by which the client tells of the error. Whoever sent
/// the body gets an error, and the next request works.
async fn code_for_an_upload(bytes: impl Fn(u32) -> Vec<u8>) -> Reason {
    let (report, code) = oneshot::channel();
    let bytes = bytes(1);
    let once = Mutex::new(Some((bytes, report)));
    let connector = Connector::new(move |_, mut peer| {
        let once = once.lock().unwrap().take();
        async move {
            let Some((bytes, report)) = once else {
                return peer.answer_all(b"fine").await;
            };
            peer.request().await;
            assert_eq!(data_until_quiet(&mut peer).await, 10);
            peer.write(&bytes).await;
            while let Some(frame) = peer.next().await {
                if let Some(code) = frame.code() {
                    let _ = report.send(code);
                    break;
                }
            }
            peer.answer_all(b"fine").await;
        }
    });
    let room = [(setting::INITIAL_WINDOW_SIZE, 10)];
    let session = scene::session(connector.settings(&room));
    let began = Instant::now();
    let upload = fetch(&session, post("http://peer/", vec![b'x'; 100])).await;
    let error = upload.expect_err("its stream is lost");
    assert!(!error.is_unsent() && !error.is_timeout(), "{error:?}");
    assert_eq!(began.elapsed(), Duration::ZERO);
    let (_, next) = fetch(&session, get("http://peer/")).await.unwrap();
    assert_eq!(next, "fine");
    scene::leaves_nothing(session).await;
    Reason::from(code.await.expect("the client tells of the error"))
}

/// 6.9: `WINDOW_UPDATE`.
mod section_6_9 {
    use super::{PROTOCOL_ERROR, VICTIM, frame, frames, kind, scene};

    #[tokio::test(start_paused = true)]
    async fn an_increment_of_0_for_the_connection_is_a_protocol_error() {
        scene::is_connection_error(PROTOCOL_ERROR, frames::window_update(0, 0)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn an_increment_of_0_for_a_stream_is_a_protocol_error() {
        scene::is_any_error(PROTOCOL_ERROR, frames::window_update(VICTIM, 0)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_window_update_of_another_length_than_four_is_an_error_of_its_length() {
        for length in [3, 5] {
            let bytes = frame(kind::WINDOW_UPDATE, 0, 0, &vec![0; length]);
            scene::is_connection_error(scene::WRONG_LENGTH, bytes).await;
        }
    }
}

/// 6.9.1: the window.
mod section_6_9_1 {
    use super::{
        BodyExt, Connector, Error, FLOW_CONTROL_ERROR, LARGEST, Mutex, Reason, VICTIM,
        code_for_an_upload, data_until_quiet, fetch, frames, get, oneshot, post, scene, send,
        setting,
    };

    #[tokio::test(start_paused = true)]
    async fn a_window_of_the_connection_that_overflows_is_a_flow_control_error() {
        let bytes = frames::window_update(0, LARGEST).repeat(2);
        scene::is_connection_error(&[FLOW_CONTROL_ERROR], bytes).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_streams_window_that_overflows_is_its_flow_control_error() {
        let code = code_for_an_upload(|stream| frames::window_update(stream, LARGEST).repeat(2));
        assert_eq!(code.await, FLOW_CONTROL_ERROR);
    }

    #[tokio::test(start_paused = true)]
    async fn a_window_of_a_stream_on_which_nothing_is_sent_any_more_may_overflow() {
        // The section makes no difference; the `h2` crate does not count what it has no use for.
        scene::is_ignored(frames::window_update(VICTIM, LARGEST).repeat(2)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_of_a_body_is_sent_than_the_peer_has_room_for() {
        let connector = Connector::new(|_, mut peer| async move {
            let stream = peer.request().await.unwrap();
            assert_eq!(data_until_quiet(&mut peer).await, 10);
            peer.write(&frames::window_update(stream, 7)).await;
            assert_eq!(data_until_quiet(&mut peer).await, 17);
            peer.write(&frames::window_update(stream, 1_000)).await;
            assert_eq!(data_until_quiet(&mut peer).await, 100);
            peer.write(&frames::answer(stream, b"fine")).await;
            peer.answer_all(b"fine").await;
        });
        let room = [(setting::INITIAL_WINDOW_SIZE, 10)];
        let session = scene::session(connector.settings(&room));
        // The peer's settings are known before the second request only.
        let upload = || fetch(&session, post("http://peer/", vec![b'x'; 100]));
        assert_eq!(upload().await.unwrap().1, "fine");
        scene::leaves_nothing(session).await;
    }

    #[tokio::test(start_paused = true)]
    async fn data_beyond_the_clients_window_is_a_flow_control_error() {
        let (report, seen) = oneshot::channel();
        let once = Mutex::new(Some(report));
        let connector = Connector::new(move |_, mut peer| {
            let report = once.lock().unwrap().take();
            async move {
                let Some(report) = report else {
                    return peer.answer_all(b"fine").await;
                };
                let stream = peer.request().await.unwrap();
                peer.write(&frames::head(stream, 0, &[])).await;
                // Nobody reads; the window of the stream is far below this.
                for _ in 0..32 * 64 {
                    let full = frames::data(stream, false, &[b'x'; 16_384]);
                    peer.write(&full).await;
                }
                while let Some(frame) = peer.next().await {
                    if let Some(code) = frame.code() {
                        let _ = report.send(code);
                        break;
                    }
                }
                peer.answer_all(b"fine").await;
            }
        });
        let session = scene::session(connector);
        let response = send(&session, get("http://peer/")).await.unwrap();
        let code = seen.await.expect("the client tells of the error");
        assert_eq!(Reason::from(code), FLOW_CONTROL_ERROR);
        let error: Error = response.into_body().collect().await.unwrap_err();
        assert!(
            error.is_response_body() || error.is_broken() || error.is_protocol(),
            "{error:?}"
        );
        let (_, next) = fetch(&session, get("http://peer/")).await.unwrap();
        assert_eq!(next, "fine");
        scene::leaves_nothing(session).await;
    }
}

/// 6.9.2: a change of the initial window.
mod section_6_9_2 {
    use super::{
        Connector, FLOW_CONTROL_ERROR, LARGEST, code_for_an_upload, data_until_quiet, fetch,
        frames, post, scene, setting,
    };

    #[tokio::test(start_paused = true)]
    async fn a_smaller_initial_window_holds_for_streams_that_are_open() {
        let connector = Connector::new(|_, mut peer| async move {
            let stream = peer.request().await.unwrap();
            assert_eq!(data_until_quiet(&mut peer).await, 100);
            // The window of the stream is 100 below zero now, and 40 below after the update.
            peer.write(&frames::settings(&[(setting::INITIAL_WINDOW_SIZE, 0)]))
                .await;
            peer.write(&frames::window_update(stream, 60)).await;
            assert_eq!(data_until_quiet(&mut peer).await, 100);
            peer.write(&frames::window_update(stream, 45)).await;
            assert_eq!(data_until_quiet(&mut peer).await, 105);
            peer.write(&frames::settings(&[(setting::INITIAL_WINDOW_SIZE, 10)]))
                .await;
            assert_eq!(data_until_quiet(&mut peer).await, 115);
            peer.write(&frames::window_update(stream, 1_000)).await;
            assert_eq!(data_until_quiet(&mut peer).await, 200);
            peer.write(&frames::answer(stream, b"fine")).await;
            peer.answer_all(b"fine").await;
        });
        let room = [(setting::INITIAL_WINDOW_SIZE, 100)];
        let session = scene::session(connector.settings(&room));
        let upload = fetch(&session, post("http://peer/", vec![b'x'; 200]));
        assert_eq!(upload.await.unwrap().1, "fine");
        scene::leaves_nothing(session).await;
    }

    #[tokio::test(start_paused = true)]
    async fn an_initial_window_that_makes_a_window_overflow_is_a_flow_control_error() {
        let code = code_for_an_upload(|stream| {
            let larger = frames::settings(&[(setting::INITIAL_WINDOW_SIZE, LARGEST)]);
            [frames::window_update(stream, LARGEST - 10), larger].concat()
        });
        assert_eq!(code.await, FLOW_CONTROL_ERROR);
    }
}

/// 5.2: flow control is for DATA alone.
mod section_5_2 {
    use super::{VICTIM, flag, frames, scene, setting};

    #[tokio::test(start_paused = true)]
    async fn a_request_without_a_body_needs_no_window() {
        let none = [(setting::INITIAL_WINDOW_SIZE, 0)];
        let outcome = scene::play_with(&none, |mut peer| async move {
            peer.write(&frames::head(VICTIM, flag::END_STREAM, &[]))
                .await;
            peer.write(&frames::answer(scene::BYSTANDER, b"fine")).await;
            peer
        });
        let outcome = outcome.await;
        assert_eq!(outcome.victim.as_ref().unwrap().1, "");
        outcome.spared_the_bystander();
    }
}
