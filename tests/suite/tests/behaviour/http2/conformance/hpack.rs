//! RFC 7541: HPACK, as a client decodes and encodes it.

use test_support::frames::{self, field, flag, frame, kind};

use crate::http2::conformance::scene::{self, BAD_BLOCK, VICTIM};

/// A whole response with this field block.
fn block(bytes: &[u8]) -> Vec<u8> {
    let flags = flag::END_HEADERS | flag::END_STREAM;
    frame(kind::HEADERS, flags, VICTIM, bytes)
}

/// A literal field named `x` whose value is this string, with the bit that says that it is Huffman-coded.
fn coded(value: &[u8]) -> Vec<u8> {
    let length = u8::try_from(value.len()).unwrap();
    [&[frames::STATUS_200, 0, 1, b'x', 0x80 | length], value].concat()
}

async fn is_no_block(bytes: &[u8]) {
    scene::is_connection_error_in_flight(BAD_BLOCK, block(bytes)).await;
}

/// 2.3.3: indices.
mod section_2_3_3 {
    #[tokio::test(start_paused = true)]
    async fn an_index_beyond_both_tables_is_an_error() {
        // As a field, and as the name of one.
        for bytes in [
            vec![0x80 | 0x3e],
            vec![0x80 | 0x7e],
            vec![0x7f, 0, 1, b'1'],
            vec![0x0f, 60, 1, b'1'],
        ] {
            super::is_no_block(&bytes).await;
        }
    }
}

/// 4: the size of the dynamic table.
mod section_4 {
    use super::{field, flag, frame, frames, kind, scene};
    use crate::http2::conformance::scene::{BYSTANDER, VICTIM};

    #[tokio::test(start_paused = true)]
    async fn a_size_update_after_a_field_is_an_error() {
        super::is_no_block(&[frames::STATUS_200, 0x20]).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_size_update_at_the_beginning_is_taken() {
        for update in [vec![0x20], vec![0x20, 0x3f, 0xe1, 0x1f]] {
            let bytes = [update, vec![frames::STATUS_200]].concat();
            scene::is_answered("", super::block(&bytes)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_field_larger_than_the_table_empties_it_and_is_no_error() {
        // The table has no room, then a field is added to it, and the next response does not find it.
        let added = [vec![frames::STATUS_200, 0x40, 1, b'x', 1, b'1']].concat();
        let outcome = scene::play(move |mut peer| async move {
            let first = [vec![0x20], added].concat();
            peer.write(&super::block(&first)).await;
            let second = [vec![frames::STATUS_200], field("x", b"2")].concat();
            peer.write(&frame(kind::HEADERS, flag::END_HEADERS, BYSTANDER, &second))
                .await;
            peer.write(&frames::data(BYSTANDER, true, b"fine")).await;
            peer
        });
        let outcome = outcome.await;
        assert_eq!(outcome.victim.as_ref().unwrap().1, "");
        outcome.spared_the_bystander();
        assert_eq!(outcome.reset(VICTIM), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_without_a_table_gets_no_indexed_fields() {
        let none = [(frames::setting::HEADER_TABLE_SIZE, 0)];
        let outcome = scene::play_with(&none, |mut peer| async move {
            peer.write(&frames::answer(VICTIM, b"fine")).await;
            peer.write(&frames::answer(BYSTANDER, b"fine")).await;
            peer
        });
        let outcome = outcome.await;
        outcome.spared_the_bystander();
        // The settings are known when the second request is sent; its block begins with the new size.
        let requests = outcome
            .seen
            .iter()
            .filter(|frame| frame.kind == kind::HEADERS);
        let blocks: Vec<_> = requests.map(|frame| frame.payload.clone()).collect();
        assert!(
            blocks.iter().any(|block| block.first() == Some(&0x20)),
            "{blocks:x?}"
        );
        // An index into the dynamic table is above 61.
        let last = blocks.last().unwrap();
        assert!(
            last.iter().take(3).all(|byte| *byte < 0x80 | 0x3e),
            "{last:x?}"
        );
    }
}

/// 5.1: integers.
mod section_5_1 {
    #[tokio::test(start_paused = true)]
    async fn an_integer_that_is_too_large_or_never_ends_is_an_error() {
        for bytes in [
            vec![0xff, 0xff, 0xff, 0xff, 0xff, 0x0f],
            [vec![0xff], vec![0xff; 100]].concat(),
            [vec![0x7f], vec![0x80; 100], vec![1]].concat(),
        ] {
            super::is_no_block(&bytes).await;
        }
    }
}

/// 5.2: strings.
mod section_5_2 {
    use super::{coded, scene};

    #[tokio::test(start_paused = true)]
    async fn a_huffman_string_with_the_right_padding_is_read() {
        // `a` is 00011; the rest of the byte are ones.
        scene::is_answered("", super::block(&coded(&[0x1f]))).await;
    }

    #[tokio::test(start_paused = true)]
    async fn padding_longer_than_seven_bits_is_an_error() {
        super::is_no_block(&coded(&[0x1f, 0xff])).await;
    }

    #[tokio::test(start_paused = true)]
    async fn padding_of_other_bits_than_ones_is_an_error() {
        super::is_no_block(&coded(&[0x18])).await;
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_string_symbol_in_a_string_is_an_error() {
        super::is_no_block(&coded(&[0x1f, 0xff, 0xff, 0xff, 0xff])).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_string_longer_than_its_block_is_an_error() {
        super::is_no_block(&[0x00, 1, b'x', 100, b'1']).await;
    }
}

/// 6: the representations of fields.
mod section_6 {
    use super::{frames, scene};

    #[tokio::test(start_paused = true)]
    async fn index_0_is_an_error() {
        super::is_no_block(&[0x80]).await;
    }

    #[tokio::test(start_paused = true)]
    async fn literals_of_each_kind_are_read() {
        // With indexing, without, and never indexed; with a name in full and one of the table.
        for first in [0x40, 0x00, 0x10] {
            let bytes = [frames::STATUS_200, first, 1, b'x', 1, b'1'];
            scene::is_answered("", super::block(&bytes)).await;
            let bytes = [frames::STATUS_200, first | 1, 1, b'1'];
            scene::is_answered("", super::block(&bytes)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_size_update_above_what_the_client_allows_is_an_error() {
        // 4096 is the client's, since it says nothing else.
        super::is_no_block(&[0x3f, 0xe2, 0x1f, frames::STATUS_200]).await;
    }
}

/// 7.1.3: fields that are never indexed.
mod section_7_1_3 {
    use http::{HeaderValue, header::AUTHORIZATION};
    use test_suite::{fetch, get};
    use test_support::frames::{self, Connector, kind};

    use crate::http2::conformance::scene;

    #[tokio::test(start_paused = true)]
    async fn a_value_marked_as_sensitive_is_sent_as_never_indexed() {
        let connector = Connector::new(|_, mut peer| async move {
            for _ in 0..2 {
                let head = peer.next_of(kind::HEADERS).await.unwrap();
                // Never indexed, with the name at 23 of the static table.
                let never = [0x1f, 23 - 15];
                let block = &head.payload;
                assert!(block.windows(2).any(|pair| pair == never), "{block:x?}");
                peer.write(&frames::answer(head.stream, b"fine")).await;
            }
            peer.answer_all(b"fine").await;
        });
        let session = scene::session(connector);
        for _ in 0..2 {
            let mut request = get("http://peer/");
            let mut secret = HeaderValue::from_static("Bearer secret");
            secret.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, secret);
            assert_eq!(fetch(&session, request).await.unwrap().1, "fine");
        }
        scene::leaves_nothing(session).await;
    }
}
