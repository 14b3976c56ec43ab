//! RFC 9113, section 5: streams and multiplexing.

use h2::Reason;
use test_support::frames::{self, flag, frame, kind};

use crate::http2::conformance::scene::{self, OF_THE_SERVER, UNOPENED, VICTIM};

/// 5.1: the states of a stream.
mod section_5_1 {
    use super::{OF_THE_SERVER, Reason, UNOPENED, VICTIM, flag, frame, frames, kind, scene};

    #[tokio::test(start_paused = true)]
    async fn data_for_an_idle_stream_is_a_protocol_error() {
        for stream in [UNOPENED, OF_THE_SERVER] {
            let bytes = frames::data(stream, true, b"test");
            scene::is_connection_error(&[Reason::PROTOCOL_ERROR], bytes).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_reset_of_an_idle_stream_is_a_protocol_error() {
        for stream in [UNOPENED, OF_THE_SERVER] {
            let bytes = frames::reset(stream, Reason::CANCEL.into());
            scene::is_connection_error(&[Reason::PROTOCOL_ERROR], bytes).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_window_for_an_idle_stream_is_a_protocol_error() {
        for stream in [UNOPENED, OF_THE_SERVER] {
            let bytes = frames::window_update(stream, 100);
            scene::is_connection_error(&[Reason::PROTOCOL_ERROR], bytes).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_continuation_on_an_idle_stream_is_a_protocol_error() {
        for stream in [UNOPENED, OF_THE_SERVER] {
            let block = [frames::STATUS_200];
            let bytes = frame(kind::CONTINUATION, flag::END_HEADERS, stream, &block);
            scene::is_connection_error(&[Reason::PROTOCOL_ERROR], bytes).await;
        }
    }

    fn ended() -> Vec<u8> {
        frames::head(VICTIM, flag::END_STREAM, &[])
    }

    fn was_reset() -> Vec<u8> {
        let head = frames::head(VICTIM, 0, &[]);
        [head, frames::reset(VICTIM, Reason::CANCEL.into())].concat()
    }

    /// The section allows an error of the stream, and asks for one of the connection after `END_STREAM`.
    const CLOSED: &[Reason] = &[Reason::STREAM_CLOSED, Reason::PROTOCOL_ERROR];

    #[tokio::test(start_paused = true)]
    async fn data_after_the_end_of_a_stream_is_an_error_of_stream_or_connection() {
        for before in [ended(), was_reset()] {
            let bytes = [before, frames::data(VICTIM, true, b"test")].concat();
            scene::is_any_error(CLOSED, bytes).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_after_the_end_of_a_stream_is_an_error_of_stream_or_connection() {
        for before in [ended(), was_reset()] {
            let bytes = [before, frames::head(VICTIM, flag::END_STREAM, &[])].concat();
            scene::is_any_error(CLOSED, bytes).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_continuation_after_the_end_of_a_stream_is_a_connection_error() {
        for before in [ended(), was_reset()] {
            let block = frames::field("x-a", b"1");
            let late = frame(kind::CONTINUATION, flag::END_HEADERS, VICTIM, &block);
            scene::is_any_error(CLOSED, [before, late].concat()).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_window_or_a_reset_after_the_end_of_a_stream_is_ignored() {
        let answer = frames::answer(VICTIM, b"whole");
        for late in [
            frames::window_update(VICTIM, 100),
            frames::reset(VICTIM, Reason::NO_ERROR.into()),
            frames::reset(VICTIM, Reason::STREAM_CLOSED.into()),
            frame(kind::PRIORITY, 0, VICTIM, &[0, 0, 0, 0, 16]),
        ] {
            scene::is_answered("whole", [answer.clone(), late].concat()).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_the_client_has_reset_may_still_get_frames() {
        // A response that is invalid is reset by the client; what was under way then must not cost the connection.
        let bytes = [
            frames::head(VICTIM, 0, &[frames::field("connection", b"close")]),
            frames::data(VICTIM, false, b"test"),
            frames::window_update(VICTIM, 100),
            frames::data(VICTIM, true, b"test"),
        ];
        scene::is_stream_error(&[Reason::PROTOCOL_ERROR], bytes.concat()).await;
    }
}

/// 5.1.1: the numbers of streams.
mod section_5_1_1 {
    use super::{OF_THE_SERVER, Reason, UNOPENED, flag, frames, scene};
    use test_suite::{fetch, get};
    use test_support::frames::Connector;

    #[tokio::test(start_paused = true)]
    async fn a_head_on_a_stream_that_nobody_opened_is_a_protocol_error() {
        for stream in [UNOPENED, OF_THE_SERVER] {
            let bytes = frames::head(stream, flag::END_STREAM, &[]);
            scene::is_connection_error(&[Reason::PROTOCOL_ERROR], bytes).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_client_opens_odd_streams_in_rising_order() {
        let connector = Connector::new(|_, mut peer| async move {
            for expected in [1, 3, 5, 7] {
                assert_eq!(peer.request().await, Some(expected));
                peer.write(&frames::answer(expected, b"fine")).await;
            }
            peer.answer_all(b"fine").await;
        });
        let session = scene::session(connector.clone());
        for _ in 0..4 {
            let (_, body) = fetch(&session, get("http://peer/")).await.unwrap();
            assert_eq!(body, "fine");
        }
        assert_eq!(connector.connections(), 1);
        scene::leaves_nothing(session).await;
    }
}

/// 5.1.2: how many streams at once.
mod section_5_1_2 {
    use super::{frames, scene};
    use test_suite::{fetch, get};
    use test_support::frames::{Connector, setting};

    #[tokio::test(start_paused = true)]
    async fn never_are_more_streams_open_than_the_peer_allows() {
        let connector = Connector::new(|_, mut peer| async move {
            while let Some(stream) = peer.request().await {
                // The client has nothing more to say until this one is answered.
                peer.write(&frames::ping(false, [1; 8])).await;
                assert!(peer.pong([1; 8]).await);
                let opened = |frame: &&frames::Frame| frame.kind == frames::kind::HEADERS;
                assert_eq!(
                    peer.seen.iter().filter(opened).count() * 2,
                    usize::try_from(stream).unwrap() + 1
                );
                peer.write(&frames::answer(stream, b"fine")).await;
            }
        });
        let session =
            scene::session_of_one(connector.settings(&[(setting::MAX_CONCURRENT_STREAMS, 1)]));
        let ask = || fetch(&session, get("http://peer/"));
        let (one, two, three) = tokio::join!(ask(), ask(), ask());
        for answer in [one, two, three] {
            assert_eq!(answer.unwrap().1, "fine");
        }
        scene::leaves_nothing(session).await;
    }
}

/// 5.4.1: errors of the connection.
mod section_5_4_1 {
    use super::{Reason, frame, kind, scene};

    #[tokio::test(start_paused = true)]
    async fn an_error_of_the_connection_is_told_by_goaway_and_closes_it() {
        // Both are seen by `is_connection_error`: the frame, and the end of the bytes after it.
        let bytes = frame(kind::PING, 0, 3, &[0; 8]);
        scene::is_connection_error(&[Reason::PROTOCOL_ERROR], bytes).await;
    }
}

/// 5.4.2: errors of a stream.
mod section_5_4_2 {
    use super::{Reason, VICTIM, frames, scene};

    #[tokio::test(start_paused = true)]
    async fn a_reset_is_not_answered_by_a_reset() {
        let bytes = frames::reset(VICTIM, Reason::INTERNAL_ERROR.into());
        let outcome = scene::fails_alone(bytes).await;
        assert_eq!(outcome.reset(VICTIM), None);
        assert!(outcome.victim.unwrap_err().is_reset());
    }

    #[tokio::test(start_paused = true)]
    async fn an_unknown_error_code_has_no_special_meaning() {
        let outcome = scene::fails_alone(frames::reset(VICTIM, 0xdead_beef)).await;
        assert!(outcome.victim.unwrap_err().is_reset());
        let last = scene::BYSTANDER;
        let answers = [
            frames::answer(VICTIM, b"fine"),
            frames::answer(last, b"fine"),
        ];
        let bytes = [frames::go_away(last, 0xdead_beef), answers.concat()].concat();
        let outcome = scene::play(|mut peer| async move {
            peer.write(&bytes).await;
            peer
        });
        let outcome = outcome.await;
        assert_eq!(outcome.next.unwrap().1, "fine");
    }
}

/// 5.5: extensions.
mod section_5_5 {
    use super::{VICTIM, frame, frames, scene};

    #[tokio::test(start_paused = true)]
    async fn what_an_extension_adds_is_ignored_wherever_frames_may_stand() {
        // ALTSVC, ORIGIN, PRIORITY_UPDATE, and one that means nothing.
        for kind in [0x0a, 0x0c, 0x10, 0xfa] {
            let bytes = [
                frames::head(VICTIM, 0, &[]),
                frame(kind, 0xff, VICTIM, b"extension"),
                frames::data(VICTIM, false, b"bo"),
                frame(kind, 0, 0, &[]),
                frames::data(VICTIM, true, b"dy"),
            ];
            scene::is_answered("body", bytes.concat()).await;
        }
    }
}
