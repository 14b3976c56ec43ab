use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;

/// A frame that can be sent again.
pub(crate) enum Piece {
    Data(Bytes),
    Trailers(Box<HeaderMap>),
}

impl Piece {
    /// What is shorter is copied. A longer piece is counted by its length, though its buffer may be
    /// longer: the largest that hyper reads into has 400 KiB.
    const SHORT: usize = 16 * 1024;
    /// What a piece takes beside its bytes: its place, and what goes with an allocation of its own.
    const OVERHEAD: usize = 96;

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Data(data) => data.len(),
            Self::Trailers(_) => 0,
        }
    }

    /// What it takes of the memory that all calls share. Beyond the room that a tape has anyway, the
    /// overhead counts too: a body of single bytes takes a hundred times its length.
    pub(super) fn cost(&self, beyond: bool) -> usize {
        let held = match self {
            Self::Data(data) => data.len(),
            Self::Trailers(trailers) => trailers
                .iter()
                .map(|(name, value)| name.as_str().len().saturating_add(value.len()))
                .fold(0, usize::saturating_add),
        };
        let overhead = if beyond { Self::OVERHEAD } else { 0 };
        held.saturating_add(overhead)
    }

    /// The same piece in memory of its own, if it is short: `Bytes` does not tell how long the buffer
    /// is of which it is a slice, and which it keeps alive.
    pub(super) fn detached(self) -> Self {
        match self {
            Self::Data(data) if data.len() < Self::SHORT => {
                Self::Data(Bytes::copy_from_slice(&data))
            }
            other => other,
        }
    }

    pub(super) fn to_frame(&self) -> Frame<Bytes> {
        match self {
            Self::Data(data) => Frame::data(data.clone()),
            Self::Trailers(trailers) => Frame::trailers((**trailers).clone()),
        }
    }
}

/// The pieces in order: the first ones where the tape is, so that they need no allocation.
pub(super) struct Pieces<P: ?Sized = [Option<Piece>]> {
    len: usize,
    more: Vec<Piece>,
    first: P,
}

impl<const N: usize> Pieces<[Option<Piece>; N]> {
    pub(super) fn with_room() -> Self {
        Self {
            len: 0,
            more: Vec::new(),
            first: [const { None }; N],
        }
    }
}

impl Pieces {
    pub(super) fn get(&self, index: usize) -> Option<&Piece> {
        match index.checked_sub(self.first.len()) {
            None => self.first.get(index)?.as_ref(),
            Some(index) => self.more.get(index),
        }
    }

    pub(super) fn push(&mut self, piece: Piece) {
        match self.first.get_mut(self.len) {
            Some(room) => *room = Some(piece),
            None => self.more.push(piece),
        }
        self.len = self.len.saturating_add(1);
    }

    pub(super) fn pop(&mut self) -> Option<Piece> {
        self.len = self.len.checked_sub(1)?;
        match self.first.get_mut(self.len) {
            Some(room) => room.take(),
            None => self.more.pop(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Whether the room of the tape is used up.
    pub(super) fn is_full(&self) -> bool {
        self.len >= self.first.len()
    }
}
