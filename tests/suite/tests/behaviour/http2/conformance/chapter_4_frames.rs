//! RFC 9113, section 4: HTTP frames.

use h2::Reason;
use test_support::frames::{self, flag, frame, kind};

use crate::http2::conformance::scene::{self, UNOPENED, VICTIM};

/// As long as a payload may be while `SETTINGS_MAX_FRAME_SIZE` has its initial value.
const MAX_FRAME_SIZE: usize = 16_384;

/// 4.1: the format of a frame.
mod section_4_1 {
    use super::{UNOPENED, VICTIM, flag, frame, frames, kind, scene};

    const UNKNOWN: u8 = 0x16;

    #[tokio::test(start_paused = true)]
    async fn a_frame_of_an_unknown_type_is_ignored() {
        for stream in [0, VICTIM, UNOPENED] {
            scene::is_ignored(frame(UNKNOWN, 0, stream, &[0; 8])).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_flag_that_the_type_does_not_define_is_ignored() {
        let undefined = 0x16;
        scene::is_ignored(frame(kind::SETTINGS, undefined, 0, &[])).await;
        let head = frames::head(VICTIM, 0x50, &[]);
        let body = frame(kind::DATA, flag::END_STREAM | 0xf0, VICTIM, b"body");
        scene::is_answered("body", [head, body].concat()).await;
    }

    #[tokio::test(start_paused = true)]
    async fn the_reserved_bit_before_the_stream_is_ignored() {
        let reserved = 0x8000_0000;
        scene::is_ignored(frame(kind::SETTINGS, 0, reserved, &[])).await;
        let head = frames::head(VICTIM | reserved, 0, &[]);
        let body = frames::data(VICTIM | reserved, true, b"body");
        scene::is_answered("body", [head, body].concat()).await;
    }
}

/// 4.2: the size of a frame.
mod section_4_2 {
    use super::{MAX_FRAME_SIZE, Reason, VICTIM, flag, frame, frames, kind, scene};

    #[tokio::test(start_paused = true)]
    async fn a_frame_of_exactly_the_largest_size_is_taken() {
        let body = "x".repeat(MAX_FRAME_SIZE);
        let head = frames::head(VICTIM, 0, &[]);
        let data = frames::data(VICTIM, true, body.as_bytes());
        scene::is_answered(&body, [head, data].concat()).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_frame_above_the_largest_size_is_a_frame_size_error() {
        let too_large = vec![0; MAX_FRAME_SIZE + 1];
        let head = frames::head(VICTIM, 0, &[]);
        for bytes in [
            [head.clone(), frames::data(VICTIM, true, &too_large)].concat(),
            frame(kind::HEADERS, flag::END_HEADERS, VICTIM, &too_large),
            [
                frame(kind::HEADERS, 0, VICTIM, &[frames::STATUS_200]),
                frame(kind::CONTINUATION, flag::END_HEADERS, VICTIM, &too_large),
            ]
            .concat(),
        ] {
            scene::is_connection_error_in_flight(&[Reason::FRAME_SIZE_ERROR], bytes).await;
        }
        let settings = frame(kind::SETTINGS, 0, 0, &vec![0; MAX_FRAME_SIZE + 2]);
        scene::is_connection_error(&[Reason::FRAME_SIZE_ERROR], settings).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_frame_too_short_for_what_its_type_needs_is_a_frame_size_error() {
        for kind in [
            kind::RST_STREAM,
            kind::PING,
            kind::GOAWAY,
            kind::WINDOW_UPDATE,
        ] {
            let stream = match kind {
                kind::RST_STREAM | kind::WINDOW_UPDATE => VICTIM,
                _ => 0,
            };
            let bytes = frame(kind, 0, stream, &[0; 3]);
            scene::is_connection_error_in_flight(scene::WRONG_LENGTH, bytes).await;
        }
    }
}

/// 4.3: field sections, compressed.
mod section_4_3 {
    use super::{Reason, VICTIM, flag, frame, frames, kind, scene};

    #[tokio::test(start_paused = true)]
    async fn a_field_block_that_cannot_be_decoded_is_a_compression_error() {
        // The first: a literal whose name and value are missing.
        for block in [vec![0x40], vec![0xff; 20], vec![frames::STATUS_200, 0x40]] {
            let flags = flag::END_HEADERS | flag::END_STREAM;
            let bytes = frame(kind::HEADERS, flags, VICTIM, &block);
            scene::is_connection_error_in_flight(scene::BAD_BLOCK, bytes).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_block_of_a_stream_that_nobody_reads_still_changes_the_table() {
        // The response to the victim adds a field to the table; the client has reset that stream when it comes, and the
        // bystander's response refers to the field.
        let outcome = scene::play(|mut peer| async move {
            let added = [vec![0x40, 3], b"x-a".to_vec(), vec![4], b"kept".to_vec()].concat();
            let block = [vec![frames::STATUS_200], added].concat();
            peer.write(&frames::reset(VICTIM, Reason::CANCEL.into()))
                .await;
            peer.write(&frame(kind::HEADERS, flag::END_HEADERS, VICTIM, &block))
                .await;
            // 62, 0x3e, is the first place behind the static table.
            let block = [frames::STATUS_200, 0x80 | 0x3e];
            let stream = scene::BYSTANDER;
            peer.write(&frame(kind::HEADERS, flag::END_HEADERS, stream, &block))
                .await;
            peer.write(&frames::data(stream, true, b"fine")).await;
            peer
        });
        let outcome = outcome.await;
        outcome.victim.as_ref().expect_err("it was reset");
        outcome.spared_the_bystander();
    }
}
