use std::vec;

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::pieces::Piece;

/// A body that was read whole, once more: for an attempt that is sent beside another one.
pub(super) struct Copied {
    pieces: vec::IntoIter<Piece>,
    /// What is left, as the first attempt announced it.
    left: SizeHint,
    started: bool,
}

impl Copied {
    pub(super) fn new(pieces: Vec<Piece>, hint: SizeHint) -> Self {
        Self {
            pieces: pieces.into_iter(),
            left: hint,
            started: false,
        }
    }

    pub(super) fn next_frame(&mut self) -> Option<Frame<Bytes>> {
        self.started = true;
        let piece = self.pieces.next()?;
        let len = u64::try_from(piece.len()).unwrap_or(u64::MAX);
        let mut left = SizeHint::new();
        left.set_lower(self.left.lower().saturating_sub(len));
        if let Some(upper) = self.left.upper() {
            left.set_upper(upper.saturating_sub(len));
        }
        self.left = left;
        Some(piece.to_frame())
    }

    pub(super) fn is_end_stream(&self) -> bool {
        // Every attempt starts like the first one, before which nothing was known of the end.
        self.started && self.pieces.len() == 0
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        if self.is_end_stream() {
            SizeHint::with_exact(0)
        } else {
            // It is `Copy` from http-body 1.1 on only.
            SizeHint::clone(&self.left)
        }
    }
}
