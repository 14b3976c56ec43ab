//! RFC 9113, section 6.5: SETTINGS.

use h2::Reason;
use test_support::frames::{self, flag, frame, kind, setting};

use crate::http2::conformance::scene::{self, VICTIM};

const PROTOCOL_ERROR: &[Reason] = &[Reason::PROTOCOL_ERROR];

/// 6.5: the frame.
mod section_6_5 {
    use super::{PROTOCOL_ERROR, VICTIM, flag, frame, kind, scene};

    #[tokio::test(start_paused = true)]
    async fn an_acknowledgement_with_a_payload_is_an_error_of_its_length() {
        let bytes = frame(kind::SETTINGS, flag::ACK, 0, &[0; 6]);
        scene::is_connection_error(scene::WRONG_LENGTH, bytes).await;
    }

    #[tokio::test(start_paused = true)]
    async fn settings_on_a_stream_are_a_protocol_error() {
        let bytes = frame(kind::SETTINGS, 0, VICTIM, &[]);
        scene::is_connection_error(PROTOCOL_ERROR, bytes).await;
    }

    #[tokio::test(start_paused = true)]
    async fn settings_whose_length_is_no_multiple_of_6_are_an_error_of_length() {
        for length in [1, 3, 5, 7] {
            let bytes = frame(kind::SETTINGS, 0, 0, &vec![0; length]);
            scene::is_connection_error(scene::WRONG_LENGTH, bytes).await;
        }
    }
}

/// 6.5.2: the settings that are defined.
mod section_6_5_2 {
    use super::{PROTOCOL_ERROR, frames, scene, setting};

    #[tokio::test(start_paused = true)]
    async fn a_server_that_enables_push_breaks_the_protocol() {
        let enabled = |value| frames::settings(&[(setting::ENABLE_PUSH, value)]);
        scene::is_connection_error(PROTOCOL_ERROR, enabled(2)).await;
        // The section asks for the same error; the `h2` crate accepts the value and makes no use of it.
        scene::is_ignored(enabled(1)).await;
        scene::is_ignored(enabled(0)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn an_initial_window_above_the_largest_is_a_flow_control_error() {
        for value in [0x8000_0000, u32::MAX] {
            let bytes = frames::settings(&[(setting::INITIAL_WINDOW_SIZE, value)]);
            scene::is_connection_error(scene::BAD_WINDOW, bytes).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_frame_size_outside_its_bounds_is_a_protocol_error() {
        for value in [0, 16_383, 16_777_216, u32::MAX] {
            let bytes = frames::settings(&[(setting::MAX_FRAME_SIZE, value)]);
            scene::is_connection_error(PROTOCOL_ERROR, bytes).await;
        }
        for value in [16_384, 16_777_215] {
            scene::is_ignored(frames::settings(&[(setting::MAX_FRAME_SIZE, value)])).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_unknown_setting_is_ignored() {
        // 8 is known: it is that of RFC 8441.
        for identifier in [0, 7, 9, 0xff, 0xffff] {
            scene::is_ignored(frames::settings(&[(identifier, u32::MAX)])).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn values_at_their_bounds_are_taken() {
        for pair in [
            (setting::HEADER_TABLE_SIZE, 0),
            (setting::HEADER_TABLE_SIZE, u32::MAX),
            (setting::MAX_CONCURRENT_STREAMS, u32::MAX),
            (setting::INITIAL_WINDOW_SIZE, 0),
            (setting::INITIAL_WINDOW_SIZE, 0x7fff_ffff),
            (setting::MAX_HEADER_LIST_SIZE, u32::MAX),
        ] {
            scene::is_ignored(frames::settings(&[pair])).await;
        }
    }
}

/// 6.5.3: settings are acknowledged.
mod section_6_5_3 {
    use super::{VICTIM, flag, frames, kind, scene, setting};

    #[tokio::test(start_paused = true)]
    async fn each_settings_frame_is_acknowledged_at_once() {
        let outcome = scene::answered_by(
            [
                frames::settings(&[(setting::MAX_HEADER_LIST_SIZE, 8_192)]),
                frames::settings(&[]),
                frames::answer(VICTIM, b"fine"),
            ]
            .concat(),
        );
        let outcome = outcome.await;
        outcome.spared_the_bystander();
        let acknowledged = |frame: &&frames::Frame| {
            frame.kind == kind::SETTINGS && frame.has(flag::ACK) && frame.payload.is_empty()
        };
        // With the one of the preface.
        assert_eq!(outcome.seen.iter().filter(acknowledged).count(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn of_a_setting_given_twice_the_last_value_holds() {
        let twice = frames::settings(&[
            (setting::MAX_CONCURRENT_STREAMS, 0),
            (setting::MAX_CONCURRENT_STREAMS, 100),
        ]);
        // The next request goes over the same connection.
        scene::is_ignored(twice).await;
    }
}
