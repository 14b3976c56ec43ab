//! RFC 9113, section 6: HEADERS and CONTINUATION.

use h2::Reason;
use test_support::frames::{self, flag, frame, kind};

use crate::http2::conformance::scene::{self, BYSTANDER, VICTIM};

const PROTOCOL_ERROR: &[Reason] = &[Reason::PROTOCOL_ERROR];

/// The first part of a field block.
fn begun(stream: u32) -> Vec<u8> {
    frame(kind::HEADERS, 0, stream, &[frames::STATUS_200])
}

/// A further part of one.
fn goes_on(stream: u32, flags: u8) -> Vec<u8> {
    let block = frames::field("x-more", b"1");
    frame(kind::CONTINUATION, flags, stream, &block)
}

/// 6.2: HEADERS.
mod section_6_2 {
    use super::{BYSTANDER, PROTOCOL_ERROR, VICTIM, begun, flag, frame, frames, kind, scene};

    #[tokio::test(start_paused = true)]
    async fn a_head_on_stream_0_is_a_protocol_error() {
        let bytes = frames::head(0, flag::END_STREAM, &[]);
        scene::is_connection_error(PROTOCOL_ERROR, bytes).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_block_that_is_interrupted_is_a_protocol_error() {
        for between in [
            frame(kind::PRIORITY, 0, VICTIM, &[0, 0, 0, 0, 16]),
            frames::ping(false, [0; 8]),
            frames::data(BYSTANDER, true, b"test"),
            frames::head(BYSTANDER, flag::END_STREAM, &[]),
            frames::window_update(0, 1),
            // An unknown type is ignored elsewhere, and not here (5.5).
            frame(0xfa, 0, 0, &[]),
        ] {
            let bytes = [begun(VICTIM), between].concat();
            scene::is_connection_error_in_flight(PROTOCOL_ERROR, bytes).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn padding_beyond_the_payload_is_a_protocol_error() {
        for padding in [2, 255] {
            let payload = [padding, frames::STATUS_200];
            let flags = flag::PADDED | flag::END_HEADERS | flag::END_STREAM;
            let bytes = frame(kind::HEADERS, flags, VICTIM, &payload);
            scene::is_connection_error_in_flight(PROTOCOL_ERROR, bytes).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn padding_and_priority_are_no_part_of_the_block() {
        let priority = [0, 0, 0, 0, 16];
        let payload = [&[2], priority.as_slice(), &[frames::STATUS_200, 0, 0]].concat();
        let flags = flag::PADDED | flag::PRIORITY | flag::END_HEADERS;
        let bytes = [
            frame(kind::HEADERS, flags, VICTIM, &payload),
            frames::data(VICTIM, true, b"body"),
        ];
        scene::is_answered("body", bytes.concat()).await;
    }
}

/// 6.10: CONTINUATION.
mod section_6_10 {
    use super::{BYSTANDER, PROTOCOL_ERROR, VICTIM, begun, flag, frames, goes_on, scene};

    #[tokio::test(start_paused = true)]
    async fn a_block_may_go_on_in_several_frames() {
        let bytes = [
            begun(VICTIM),
            goes_on(VICTIM, 0),
            goes_on(VICTIM, 0),
            goes_on(VICTIM, flag::END_HEADERS),
            frames::data(VICTIM, true, b"body"),
        ];
        scene::is_answered("body", bytes.concat()).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_continuation_that_something_else_follows_is_a_protocol_error() {
        for between in [
            frames::data(VICTIM, true, b"test"),
            frames::settings(&[]),
            goes_on(BYSTANDER, flag::END_HEADERS),
        ] {
            let bytes = [begun(VICTIM), goes_on(VICTIM, 0), between].concat();
            scene::is_connection_error_in_flight(PROTOCOL_ERROR, bytes).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_continuation_on_stream_0_is_a_protocol_error() {
        let bytes = [begun(VICTIM), goes_on(0, flag::END_HEADERS)].concat();
        scene::is_connection_error_in_flight(PROTOCOL_ERROR, bytes).await;
        let bytes = goes_on(0, flag::END_HEADERS);
        scene::is_connection_error(PROTOCOL_ERROR, bytes).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_continuation_of_a_block_that_has_ended_is_a_protocol_error() {
        let head = frames::head(VICTIM, 0, &[]);
        for before in [
            head.clone(),
            [begun(VICTIM), goes_on(VICTIM, flag::END_HEADERS)].concat(),
            [head, frames::data(VICTIM, false, b"test")].concat(),
        ] {
            let bytes = [before, goes_on(VICTIM, flag::END_HEADERS)].concat();
            scene::is_connection_error_in_flight(PROTOCOL_ERROR, bytes).await;
        }
    }
}
