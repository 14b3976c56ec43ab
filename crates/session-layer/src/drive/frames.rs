//! Follows the frames that the IO of an HTTP/2 connection writes.

use std::{io::IoSlice, sync::Arc};

use crate::exchange::Gate;

/// The length of the head of a frame
/// ([RFC 9113, section 4.1](https://www.rfc-editor.org/rfc/rfc9113#section-4.1)).
const FRAME_HEAD: usize = 9;

/// What a client writes before its first frame
/// ([RFC 9113, section 3.4](https://www.rfc-editor.org/rfc/rfc9113#section-3.4)).
const PREFACE: u32 = 24;

const HEADERS: u8 = 1;

/// Follows the frames that are written, and counts the streams that they open.
#[derive(Debug)]
pub(super) struct Outgoing {
    gate: Arc<Gate>,
    /// How many bytes come before the next head of a frame.
    skip: u32,
    head: [u8; FRAME_HEAD],
    /// How many bytes of that head have been written.
    have: usize,
    /// The stream that was opened last. A HEADERS frame of an earlier stream has trailers.
    last: u32,
}

impl Outgoing {
    pub(super) fn new(gate: Arc<Gate>) -> Self {
        Self {
            gate,
            skip: PREFACE,
            head: [0; FRAME_HEAD],
            have: 0,
            last: 0,
        }
    }

    pub(super) fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Notes bytes that were written.
    pub(super) fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let skip = bytes
                .len()
                .min(usize::try_from(self.skip).unwrap_or(usize::MAX));
            self.skip -= u32::try_from(skip).unwrap_or(self.skip);
            bytes = bytes.get(skip..).unwrap_or_default();
            let wanted = self.head.get_mut(self.have..).unwrap_or_default();
            let taken = wanted.len().min(bytes.len());
            let (head, rest) = bytes.split_at(taken);
            for (to, from) in wanted.iter_mut().zip(head) {
                *to = *from;
            }
            self.have += taken;
            bytes = rest;
            if self.have == FRAME_HEAD {
                self.have = 0;
                self.begin_frame();
            }
        }
    }

    /// Notes the first `written` bytes of these.
    pub(super) fn pass_slices(&mut self, slices: &[IoSlice<'_>], mut written: usize) {
        for slice in slices {
            let part = slice.get(..written).unwrap_or(slice);
            written = written.saturating_sub(slice.len());
            self.pass(part);
        }
    }

    fn begin_frame(&mut self) {
        let [a, b, c, kind, _, stream @ ..] = self.head;
        self.skip = u32::from_be_bytes([0, a, b, c]);
        let stream = u32::from_be_bytes(stream);
        if kind == HEADERS && stream > self.last {
            self.last = stream;
            // One task writes to a socket, so no other counts in between.
            self.gate.note_opened();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u8::try_from(payload.len()).unwrap();
        let mut frame = vec![0, 0, length, kind, 0];
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        frame
    }

    fn opened(pieces: impl Iterator<Item = Vec<u8>>) -> u64 {
        let gate = Arc::new(Gate::default());
        let mut outgoing = Outgoing::new(gate.clone());
        for piece in pieces {
            outgoing.pass(&piece);
        }
        gate.opened()
    }

    #[test]
    fn streams_are_counted_however_the_bytes_are_cut() {
        let bytes = [
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            frame(4, 0, &[]),
            frame(HEADERS, 1, b"one"),
            // Looks like a head, and is none.
            frame(0, 1, &frame(HEADERS, 9, b"x")),
            frame(HEADERS, 1, b"trailers"),
            frame(6, 0, &[0; 8]),
            frame(HEADERS, 3, b""),
        ]
        .concat();
        for size in 1..=bytes.len() {
            assert_eq!(opened(bytes.chunks(size).map(<[u8]>::to_vec)), 2, "{size}");
        }
    }

    #[test]
    fn only_what_was_written_counts() {
        let gate = Arc::new(Gate::default());
        let mut outgoing = Outgoing::new(gate.clone());
        outgoing.pass(&[b'x'; 24]);
        let (one, two) = (frame(HEADERS, 1, b"one"), frame(HEADERS, 3, b"two"));
        let slices = [IoSlice::new(&one), IoSlice::new(&two)];
        outgoing.pass_slices(&slices, one.len() + 8);
        assert_eq!(gate.opened(), 1);
        outgoing.pass(&two[8..]);
        assert_eq!(gate.opened(), 2);
    }
}
