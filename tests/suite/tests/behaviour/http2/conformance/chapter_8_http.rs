//! RFC 9113, section 8: HTTP semantics in HTTP/2.

use h2::Reason;
use test_support::frames::{self, field, flag, frame, kind};

use crate::http2::conformance::scene::{self, VICTIM};

const PROTOCOL_ERROR: &[Reason] = &[Reason::PROTOCOL_ERROR];

/// A whole head of these fields, without a status that is not among them.
fn only(flags: u8, fields: &[Vec<u8>]) -> Vec<u8> {
    let block = fields.concat();
    frame(kind::HEADERS, flag::END_HEADERS | flags, VICTIM, &block)
}

/// A whole response with these fields beside `:status`.
fn with(fields: &[Vec<u8>]) -> Vec<u8> {
    frames::head(VICTIM, flag::END_STREAM, fields)
}

/// A whole response that ends with these trailers.
fn with_trailers(fields: &[Vec<u8>]) -> Vec<u8> {
    [
        frames::head(VICTIM, 0, &[]),
        frames::data(VICTIM, false, b"body"),
        only(flag::END_STREAM, fields),
    ]
    .concat()
}

/// 8.1: the frames of a message.
mod section_8_1 {
    use super::{PROTOCOL_ERROR, VICTIM, field, flag, frames, only, scene, with_trailers};

    fn interim(status: &str, flags: u8) -> Vec<u8> {
        only(flags, &[field(":status", status.as_bytes())])
    }

    #[tokio::test(start_paused = true)]
    async fn interim_responses_may_come_before_the_final_one() {
        let bytes = [
            interim("100", 0),
            interim("103", 0),
            interim("199", 0),
            frames::answer(VICTIM, b"body"),
        ];
        scene::is_answered("body", bytes.concat()).await;
    }

    #[tokio::test(start_paused = true)]
    async fn an_interim_response_that_ends_the_stream_is_malformed() {
        // The stream is closed by that, so that there is nothing to reset.
        scene::fails_alone(interim("103", flag::END_STREAM)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn data_before_a_head_is_malformed() {
        let bytes = frames::data(VICTIM, true, b"early");
        scene::is_any_error(PROTOCOL_ERROR, bytes).await;
        let bytes = [interim("103", 0), frames::data(VICTIM, true, b"early")].concat();
        scene::is_any_error(PROTOCOL_ERROR, bytes).await;
    }

    #[tokio::test(start_paused = true)]
    async fn trailers_may_follow_the_body() {
        scene::is_answered("body", with_trailers(&[field("x-sum", b"1")])).await;
    }

    #[tokio::test(start_paused = true)]
    async fn trailers_that_do_not_end_the_stream_are_malformed() {
        let bytes = [
            frames::head(VICTIM, 0, &[]),
            frames::data(VICTIM, false, b"body"),
            only(0, &[field("x-sum", b"1")]),
        ];
        scene::is_stream_error(PROTOCOL_ERROR, bytes.concat()).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_whole_response_is_given_though_a_reset_without_error_follows() {
        let bytes = [frames::answer(VICTIM, b"whole"), frames::reset(VICTIM, 0)];
        scene::is_answered("whole", bytes.concat()).await;
    }
}

/// 8.1.1: malformed messages.
mod section_8_1_1 {
    use super::{PROTOCOL_ERROR, VICTIM, field, flag, frames, scene};

    fn announcing(length: &str, flags: u8) -> Vec<u8> {
        let length = field("content-length", length.as_bytes());
        frames::head(VICTIM, flags, &[length])
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_is_not_of_the_announced_length_is_malformed() {
        for bytes in [
            [announcing("5", 0), frames::data(VICTIM, true, b"four")].concat(),
            [announcing("3", 0), frames::data(VICTIM, true, b"four")].concat(),
        ] {
            scene::is_stream_error(PROTOCOL_ERROR, bytes).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_length_without_any_body_is_an_error() {
        scene::fails_alone(announcing("5", flag::END_STREAM)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_of_the_announced_length_is_whole() {
        let bytes = [announcing("4", 0), frames::data(VICTIM, true, b"four")];
        scene::is_answered("four", bytes.concat()).await;
    }
}

/// 8.2.1: which fields are valid.
mod section_8_2_1 {
    use super::{PROTOCOL_ERROR, field, scene, with, with_trailers};

    #[tokio::test(start_paused = true)]
    async fn a_name_with_capital_letters_blanks_or_control_bytes_is_malformed() {
        for name in [
            "X-Upper", "x upper", "x\u{1}", "x\u{7f}", "x:y", "", "x\u{e4}",
        ] {
            scene::is_any_error(PROTOCOL_ERROR, with(&[field(name, b"1")])).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_value_with_a_line_break_or_a_zero_is_malformed() {
        for value in ["1\r\nx-b: 2", "1\n", "\r", "a\0b"] {
            let fields = [field("x-a", value.as_bytes())];
            scene::is_any_error(PROTOCOL_ERROR, with(&fields)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn trailers_are_held_to_the_same_rules() {
        for (name, value) in [("X-Upper", "1"), ("x-a", "1\r\n"), ("", "1")] {
            let fields = [field(name, value.as_bytes())];
            scene::is_any_error(PROTOCOL_ERROR, with_trailers(&fields)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_above_ascii_in_a_value_are_allowed() {
        scene::is_answered("", with(&[field("x-a", &[0xe4, b'x', 0xff])])).await;
    }
}

/// 8.2.2: fields about the connection.
mod section_8_2_2 {
    use super::{PROTOCOL_ERROR, field, scene, with};

    #[tokio::test(start_paused = true)]
    async fn a_field_about_the_connection_is_malformed() {
        for (name, value) in [
            ("connection", "close"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
        ] {
            let fields = [field(name, value.as_bytes())];
            scene::is_stream_error(PROTOCOL_ERROR, with(&fields)).await;
        }
    }
}

/// 8.3: pseudo-header fields.
mod section_8_3 {
    use super::{PROTOCOL_ERROR, field, flag, frames, only, scene, with, with_trailers};

    #[tokio::test(start_paused = true)]
    async fn a_pseudo_header_that_nobody_defines_is_malformed() {
        for name in [":unknown", ":statuses", ":"] {
            scene::is_any_error(PROTOCOL_ERROR, with(&[field(name, b"/")])).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_pseudo_header_of_requests_never_reaches_the_caller() {
        // The section calls the response malformed; the `h2` crate drops the field.
        for (name, value) in [
            (":path", "/"),
            (":method", "GET"),
            (":scheme", "http"),
            (":authority", "peer"),
        ] {
            scene::is_answered("", with(&[field(name, value.as_bytes())])).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_pseudo_header_after_another_field_is_malformed() {
        let fields = [field("x-a", b"1"), vec![frames::STATUS_200]];
        scene::is_stream_error(PROTOCOL_ERROR, only(flag::END_STREAM, &fields)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_pseudo_header_in_trailers_never_reaches_the_caller() {
        // The section calls the response malformed; the `h2` crate drops the field.
        for fields in [vec![frames::STATUS_200], field(":path", b"/")] {
            scene::is_answered("body", with_trailers(&[fields])).await;
        }
    }
}

/// 8.3.2: the pseudo-header of responses.
mod section_8_3_2 {
    use super::{PROTOCOL_ERROR, field, flag, frames, only, scene};

    #[tokio::test(start_paused = true)]
    async fn a_response_without_a_status_is_an_error() {
        scene::fails_alone(only(flag::END_STREAM, &[field("x-a", b"1")])).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_with_two_statuses_is_malformed() {
        let fields = [vec![frames::STATUS_200], vec![frames::STATUS_200]];
        scene::is_stream_error(PROTOCOL_ERROR, only(flag::END_STREAM, &fields)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_status_that_is_no_number_of_three_digits_is_malformed() {
        for status in ["", "20", "2000", "abc", "-20", "099", "2 0"] {
            let fields = [field(":status", status.as_bytes())];
            scene::is_any_error(PROTOCOL_ERROR, only(flag::END_STREAM, &fields)).await;
        }
    }
}

/// 8.6: HTTP/2 has no upgrades.
mod section_8_6 {
    use super::{Reason, VICTIM, field, flag, frames, only, scene};

    #[tokio::test(start_paused = true)]
    async fn a_101_is_never_a_response() {
        let switching = only(0, &[field(":status", b"101")]);
        let whole = [switching, frames::data(VICTIM, true, b"upgraded")].concat();
        scene::is_any_error(&[Reason::PROTOCOL_ERROR], whole).await;
        scene::fails_alone(only(flag::END_STREAM, &[field(":status", b"101")])).await;
    }
}

/// 8.7: which requests were not processed.
mod section_8_7 {
    use super::{Reason, VICTIM, frames, scene};

    #[tokio::test(start_paused = true)]
    async fn a_refused_stream_was_not_processed_and_its_error_says_so() {
        let bytes = frames::reset(VICTIM, Reason::REFUSED_STREAM.into());
        let outcome = scene::fails_alone(bytes).await;
        assert!(outcome.victim.unwrap_err().is_unprocessed());
    }

    #[tokio::test(start_paused = true)]
    async fn any_other_reset_says_nothing_of_that() {
        for code in [1, 2, 5, 8, 11, 13] {
            let outcome = scene::fails_alone(frames::reset(VICTIM, code)).await;
            let error = outcome.victim.unwrap_err();
            assert!(!error.is_unprocessed() && !error.is_unsent(), "{error:?}");
        }
    }
}
