use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;

/// A frame that can be sent again.
#[derive(Clone)]
pub(crate) enum Piece {
    Data(Bytes),
    Trailers(Box<HeaderMap>),
}

impl Piece {
    /// Shorter pieces are copied. A longer one is counted by its length, though its buffer may be
    /// longer: hyper reads into buffers of up to 400 KiB.
    const SHORT: usize = 16 * 1024;
    /// The memory of a piece beside its bytes: its entry, and the overhead of an allocation.
    const OVERHEAD: usize = 96;

    /// A copy of a frame, which shares its bytes. `None` if it is of a kind that http-body does not have
    /// today.
    pub(super) fn of(frame: &Frame<Bytes>) -> Option<Self> {
        match frame.data_ref() {
            Some(data) => Some(Self::Data(data.clone())),
            None => Some(Self::Trailers(Box::new(frame.trailers_ref()?.clone()))),
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Data(data) => data.len(),
            Self::Trailers(_) => 0,
        }
    }

    /// How much it takes of the memory that all calls share, in one of the entries that a tape has
    /// anyway.
    pub(super) fn cost(&self) -> usize {
        match self {
            Self::Data(data) => data.len(),
            Self::Trailers(trailers) => trailers
                .iter()
                .map(|(name, value)| name.as_str().len().saturating_add(value.len()))
                .fold(0, usize::saturating_add),
        }
    }

    /// How much it takes beyond those entries. The overhead counts too: a body of single bytes takes a
    /// hundred times its length.
    pub(super) fn cost_beyond(&self) -> usize {
        self.cost().saturating_add(Self::OVERHEAD)
    }

    /// The same piece in a buffer of its own, if it is short: `Bytes` does not expose the length of the
    /// buffer that it is a slice of, and keeps alive.
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
