//! RFC 9113, section 6: DATA, PRIORITY, `RST_STREAM`, `PUSH_PROMISE`, PING and GOAWAY.

use h2::Reason;
use test_support::frames::{self, flag, frame, kind};

use crate::http2::conformance::scene::{self, BYSTANDER, VICTIM};

const PROTOCOL_ERROR: &[Reason] = &[Reason::PROTOCOL_ERROR];

/// 6.1: DATA.
mod section_6_1 {
    use super::{PROTOCOL_ERROR, VICTIM, flag, frame, frames, kind, scene};

    #[tokio::test(start_paused = true)]
    async fn data_on_stream_0_is_a_protocol_error() {
        scene::is_connection_error(PROTOCOL_ERROR, frames::data(0, true, b"test")).await;
    }

    #[tokio::test(start_paused = true)]
    async fn padding_as_long_as_the_payload_or_longer_is_a_protocol_error() {
        for padding in [5, 6, 255] {
            let payload = [padding, 0, 0, 0, 0];
            let bytes = [
                frames::head(VICTIM, 0, &[]),
                frame(kind::DATA, flag::PADDED, VICTIM, &payload),
            ];
            scene::is_connection_error_in_flight(PROTOCOL_ERROR, bytes.concat()).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn padding_is_no_part_of_the_body() {
        let padded = [&[3], b"body".as_slice(), &[0; 3]].concat();
        let flags = flag::PADDED | flag::END_STREAM;
        let bytes = [
            frames::head(VICTIM, 0, &[]),
            frame(kind::DATA, flag::PADDED, VICTIM, &[4, 0, 0, 0, 0]),
            frame(kind::DATA, flags, VICTIM, &padded),
        ];
        scene::is_answered("body", bytes.concat()).await;
    }
}

/// 6.3: PRIORITY, which is deprecated.
mod section_6_3 {
    use super::{PROTOCOL_ERROR, VICTIM, frame, kind, scene};

    #[tokio::test(start_paused = true)]
    async fn a_priority_is_ignored_on_any_stream() {
        for stream in [VICTIM, scene::UNOPENED, scene::OF_THE_SERVER] {
            scene::is_ignored(frame(kind::PRIORITY, 0, stream, &[0, 0, 0, 0, 16])).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_priority_on_stream_0_is_a_protocol_error() {
        let bytes = frame(kind::PRIORITY, 0, 0, &[0, 0, 0, 0, 16]);
        scene::is_connection_error(PROTOCOL_ERROR, bytes).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_priority_of_another_length_than_five_is_an_error_of_its_length() {
        // The section asks for an error of the stream, which an endpoint may take as one of the connection (5.4.2).
        for length in [4, 6] {
            let bytes = frame(kind::PRIORITY, 0, VICTIM, &vec![0; length]);
            scene::is_any_error(scene::WRONG_LENGTH, bytes).await;
        }
    }
}

/// 6.4: `RST_STREAM`.
mod section_6_4 {
    use super::{PROTOCOL_ERROR, VICTIM, frame, frames, kind, scene};

    #[tokio::test(start_paused = true)]
    async fn a_reset_of_stream_0_is_a_protocol_error() {
        scene::is_connection_error(PROTOCOL_ERROR, frames::reset(0, 8)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_reset_of_another_length_than_four_is_an_error_of_its_length() {
        for length in [3, 5] {
            let bytes = frame(kind::RST_STREAM, 0, VICTIM, &vec![0; length]);
            scene::is_connection_error_in_flight(scene::WRONG_LENGTH, bytes).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_reset_ends_its_request_and_no_other() {
        for bytes in [
            frames::reset(VICTIM, 2),
            [frames::head(VICTIM, 0, &[]), frames::reset(VICTIM, 2)].concat(),
        ] {
            scene::fails_alone(bytes).await;
        }
    }
}

/// 6.6: `PUSH_PROMISE`, which the client forbids.
mod section_6_6 {
    use super::{PROTOCOL_ERROR, VICTIM, flag, frame, frames, kind, scene};
    use test_support::frames::setting;

    #[tokio::test(start_paused = true)]
    async fn the_client_says_that_it_takes_no_push() {
        let bytes = frames::answer(VICTIM, b"fine");
        let outcome = scene::answered_by(bytes).await;
        let mut own = outcome
            .seen
            .iter()
            .filter(|frame| frame.kind == kind::SETTINGS);
        let own = own.next().unwrap();
        let mut pairs = own.payload.chunks(6);
        let push = [setting::ENABLE_PUSH.to_be_bytes().as_slice(), &[0; 4]].concat();
        assert!(pairs.any(|pair| pair == push), "{own:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_push_is_a_protocol_error() {
        // :method GET, :scheme http, :path / of the static table.
        let promised = [2_u32.to_be_bytes().as_slice(), &[0x82, 0x86, 0x84]].concat();
        for stream in [VICTIM, 0, scene::UNOPENED] {
            let bytes = frame(kind::PUSH_PROMISE, flag::END_HEADERS, stream, &promised);
            scene::is_connection_error_in_flight(PROTOCOL_ERROR, bytes).await;
        }
    }
}

/// 6.7: PING.
mod section_6_7 {
    use super::{PROTOCOL_ERROR, VICTIM, frame, frames, kind, scene};
    use test_support::frames::flag;

    #[tokio::test(start_paused = true)]
    async fn a_ping_is_answered_with_its_own_payload() {
        // `is_ignored` sends one of its own after this one, and waits for the answer.
        let payload = *b"anything";
        let outcome = scene::answered_by(
            [
                frames::ping(false, payload),
                frames::answer(VICTIM, b"fine"),
            ]
            .concat(),
        );
        let outcome = outcome.await;
        outcome.spared_the_bystander();
        let answered = |frame: &&frames::Frame| {
            frame.kind == kind::PING && frame.has(flag::ACK) && frame.payload == payload
        };
        assert_eq!(outcome.seen.iter().filter(answered).count(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_to_no_ping_is_not_answered() {
        let payload = *b"unasked!";
        let outcome = scene::answered_by(
            [frames::ping(true, payload), frames::answer(VICTIM, b"fine")].concat(),
        );
        let outcome = outcome.await;
        outcome.spared_the_bystander();
        assert!(outcome.seen.iter().all(|frame| frame.payload != payload));
    }

    #[tokio::test(start_paused = true)]
    async fn a_ping_on_a_stream_is_a_protocol_error() {
        let bytes = frame(kind::PING, 0, VICTIM, &[0; 8]);
        scene::is_connection_error(PROTOCOL_ERROR, bytes).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_ping_of_another_length_than_eight_is_an_error_of_its_length() {
        for length in [0, 7, 9] {
            let bytes = frame(kind::PING, 0, 0, &vec![0; length]);
            scene::is_connection_error(scene::WRONG_LENGTH, bytes).await;
        }
    }
}

/// 6.8: GOAWAY.
mod section_6_8 {
    use super::{BYSTANDER, PROTOCOL_ERROR, VICTIM, frame, frames, kind, scene};

    #[tokio::test(start_paused = true)]
    async fn a_goaway_on_a_stream_is_a_protocol_error() {
        let payload = [0, 0, 0, 9, 0, 0, 0, 0];
        let bytes = frame(kind::GOAWAY, 0, VICTIM, &payload);
        scene::is_connection_error(PROTOCOL_ERROR, bytes).await;
    }

    #[tokio::test(start_paused = true)]
    async fn streams_up_to_the_last_one_are_finished_and_nothing_new_comes() {
        let outcome = scene::play(|mut peer| async move {
            peer.write(&frames::go_away(BYSTANDER, 0)).await;
            peer.write(&frames::answer(VICTIM, b"last words")).await;
            peer.write(&frames::answer(BYSTANDER, b"fine")).await;
            peer
        });
        let outcome = outcome.await;
        assert_eq!(outcome.victim.unwrap().1, "last words");
        assert_eq!(outcome.bystander.unwrap().1, "fine");
        assert_eq!(outcome.next.unwrap().1, "fine");
        assert_eq!(outcome.connections, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_above_the_last_one_was_not_processed_and_its_error_says_so() {
        let outcome = scene::play(|mut peer| async move {
            peer.write(&frames::go_away(VICTIM, 0)).await;
            peer.write(&frames::answer(VICTIM, b"last words")).await;
            peer
        });
        let outcome = outcome.await;
        assert_eq!(outcome.victim.unwrap().1, "last words");
        let error = outcome.bystander.unwrap_err();
        assert!(error.is_unprocessed(), "{error:?}");
        assert_eq!(outcome.next.unwrap().1, "fine");
        assert_eq!(outcome.connections, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_goaway_may_lower_the_last_stream() {
        let outcome = scene::play(|mut peer| async move {
            peer.write(&frames::go_away(0x7fff_ffff, 0)).await;
            peer.write(&frames::go_away(VICTIM, 0)).await;
            peer.write(&frames::answer(VICTIM, b"last words")).await;
            peer
        });
        let outcome = outcome.await;
        assert_eq!(outcome.victim.unwrap().1, "last words");
        assert!(outcome.bystander.unwrap_err().is_unprocessed());
        assert_eq!(outcome.next.unwrap().1, "fine");
    }

    #[tokio::test(start_paused = true)]
    async fn a_goaway_with_an_error_ends_what_may_have_been_processed_as_ambiguous() {
        let outcome = scene::play(|mut peer| async move {
            peer.write(&frames::go_away(BYSTANDER, 2)).await;
            // The peer is gone.
            peer.hang_up().await;
            peer
        });
        let outcome = outcome.await;
        for answer in [outcome.victim, outcome.bystander] {
            scene::assert_ambiguous(&answer.unwrap_err());
        }
        assert_eq!(outcome.next.unwrap().1, "fine");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_said_beside_the_code_is_no_reason_to_fail() {
        let payload = [&[0, 0, 0, 5, 0, 0, 0, 0], b"restarting".as_slice()].concat();
        let outcome = scene::play(|mut peer| async move {
            peer.write(&frame(kind::GOAWAY, 0, 0, &payload)).await;
            peer.write(&frames::answer(VICTIM, b"fine")).await;
            peer.write(&frames::answer(BYSTANDER, b"fine")).await;
            peer
        });
        let outcome = outcome.await;
        assert_eq!(outcome.victim.unwrap().1, "fine");
        assert_eq!(outcome.bystander.unwrap().1, "fine");
        assert_eq!(outcome.next.unwrap().1, "fine");
    }
}
