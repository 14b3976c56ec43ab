use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// What a request sends: nothing, bytes, or a stream of them.
///
/// A clone is cheap, so that one is there for each request. A client whose own streams cannot be
/// cloned must not make use of that: see [`is_stream`](Self::is_stream).
#[derive(Clone, Debug, Default)]
pub struct Payload {
    left: Bytes,
    /// How much one frame of a stream carries; 0 for bytes, which are one frame.
    frame: usize,
}

impl Payload {
    /// Bytes, of which the client knows that they are in memory.
    #[must_use]
    pub fn bytes(bytes: Bytes) -> Self {
        Self {
            left: bytes,
            frame: 0,
        }
    }

    /// A stream of these bytes, so many in each frame, whose length is not announced.
    #[must_use]
    pub fn stream(bytes: Bytes, frame: usize) -> Self {
        Self { left: bytes, frame }
    }

    /// Whether nothing is sent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    /// Whether it stands for a stream, which nobody could clone.
    #[must_use]
    pub fn is_stream(&self) -> bool {
        self.frame > 0
    }

    /// The bytes that are left.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.left
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left.is_empty() {
            return Poll::Ready(None);
        }
        let length = match self.frame {
            0 => self.left.len(),
            frame => frame.min(self.left.len()),
        };
        let data = self.left.split_to(length);
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        if self.is_stream() && !self.left.is_empty() {
            return SizeHint::new();
        }
        SizeHint::with_exact(self.left.len() as u64)
    }
}
