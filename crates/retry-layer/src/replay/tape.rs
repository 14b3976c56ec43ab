use std::{
    mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Waker,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::{
    memory::Share,
    pieces::{Piece, Pieces},
};

/// How an attempt ended, as far as its body is concerned.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Ending {
    /// A server that answers before it read the whole body may still be reading it.
    Answered,
    Failed,
}

/// One body, the frames that were read of it, and which attempt may read on.
pub(crate) struct Tape<B, P: ?Sized = [Option<Piece>]> {
    /// The size before anything was read, which each attempt announces.
    pub(super) hint: SizeHint,
    pub(super) limit: usize,
    pub(super) state: Mutex<TapeState<B, P>>,
}

pub(super) struct TapeState<B, P: ?Sized = [Option<Piece>]> {
    /// Counts the attempts; only the reader of the newest may read.
    pub(super) epoch: u32,
    /// How many pieces the newest reader has read.
    pub(super) read: usize,
    /// How many bytes it has read.
    pub(super) sent: u64,
    /// How many bytes the pieces hold.
    pub(super) held: usize,
    /// The memory that the pieces take of what all calls share.
    pub(super) share: Share,
    pub(super) keeping: Keeping,
    pub(super) polled: bool,
    /// Whether the last frame was read, even if the body has not returned its end yet.
    pub(super) drained: bool,
    pub(super) rest: Rest<B>,
    /// The task of a reader that waits until another one has polled the body.
    pub(super) waiter: Option<Waker>,
    /// The task of the newest reader.
    pub(super) reader: Option<Waker>,
    // The last field, because its size is chosen when the tape is made.
    pub(super) pieces: Pieces<P>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Keeping {
    All,
    Nothing,
}

pub(super) enum Rest<B> {
    Held(Pin<Box<B>>),
    /// A reader is polling it right now, outside the lock.
    BeingPolled,
    Finished,
    Failed,
    /// The newest attempt has it for itself, since nothing is kept for another.
    Taken,
}

impl<B> Rest<B> {
    /// Takes the body for an attempt that has it for itself, unless it is polled at this moment or is over.
    pub(super) fn take(&mut self) -> Option<Pin<Box<B>>> {
        match mem::replace(self, Self::Taken) {
            Self::Held(body) => Some(body),
            other => {
                *self = other;
                None
            }
        }
    }
}

impl<B: Body> Tape<B> {
    /// A body that is known to be no longer than this is taken to be one piece.
    const ONE_PIECE: u64 = 16 * 1024;

    pub(super) fn new(body: B, limit: usize, share: Share) -> Arc<Self> {
        let upper = body.size_hint().upper();
        if upper.is_some_and(|upper| upper <= Self::ONE_PIECE) {
            Arc::new(Self::with_room::<1>(body, limit, share))
        } else {
            Arc::new(Self::with_room::<16>(body, limit, share))
        }
    }

    /// A tape with room for so many pieces in its own allocation.
    fn with_room<const N: usize>(
        body: B,
        limit: usize,
        share: Share,
    ) -> Tape<B, [Option<Piece>; N]> {
        Tape {
            hint: body.size_hint(),
            limit,
            state: Mutex::new(TapeState {
                epoch: 0,
                read: 0,
                sent: 0,
                held: 0,
                share,
                keeping: Keeping::All,
                polled: false,
                drained: false,
                rest: Rest::Held(Box::pin(body)),
                waiter: None,
                reader: None,
                pieces: Pieces::with_room(),
            }),
        }
    }
}

impl<B> Tape<B> {
    // The only foreign code under the lock is the clone and drop of a waker, and a panic there leaves
    // the state valid.
    pub(super) fn lock(&self) -> MutexGuard<'_, TapeState<B>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops keeping, and drops the pieces that the newest reader has read.
    pub(super) fn discard(&self) {
        loop {
            let (piece, left) = {
                let mut state = self.lock();
                state.keeping = Keeping::Nothing;
                (state.take_read(), state.pieces.len())
            };
            // Dropped one by one, outside the lock: the owner of a piece may be foreign code.
            if piece.is_none() || left == 0 {
                break;
            }
        }
    }
}

impl<B> TapeState<B> {
    pub(super) fn is_replayable(&self, ending: Ending) -> bool {
        if self.keeping == Keeping::Nothing {
            return false;
        }
        match self.rest {
            Rest::Finished => true,
            Rest::Held(_) => ending == Ending::Failed || !self.polled || self.drained,
            Rest::BeingPolled => ending == Ending::Failed,
            Rest::Failed | Rest::Taken => false,
        }
    }

    pub(super) fn rewind(&mut self) -> u32 {
        self.epoch = self.epoch.wrapping_add(1);
        self.read = 0;
        self.sent = 0;
        self.epoch
    }

    /// The next piece that an earlier attempt had read already.
    pub(super) fn next_piece(&mut self) -> Option<Frame<Bytes>> {
        let piece = self.pieces.get(self.read)?;
        let (frame, len) = (piece.to_frame(), piece.len());
        self.read = self.read.saturating_add(1);
        self.count(len);
        Some(frame)
    }

    /// Whether the newest attempt has read all that there is.
    pub(super) fn is_read(&self) -> bool {
        self.read == self.pieces.len() && matches!(self.rest, Rest::Finished)
    }

    /// All pieces that were read so far.
    pub(super) fn all_pieces(&self) -> Vec<Piece> {
        let all = (0..self.pieces.len()).filter_map(|index| self.pieces.get(index));
        all.cloned().collect()
    }

    /// Counts what the newest reader has read.
    pub(super) fn count(&mut self, len: usize) {
        self.sent = self
            .sent
            .saturating_add(u64::try_from(len).unwrap_or(u64::MAX));
    }

    /// How many bytes an attempt has read. A superseded attempt reports 0, so that it keeps announcing
    /// the full length until it fails.
    pub(super) fn sent_in(&self, epoch: u32) -> u64 {
        if epoch == self.epoch { self.sent } else { 0 }
    }

    /// The last piece, if all of them have been read.
    fn take_read(&mut self) -> Option<Piece> {
        if self.read < self.pieces.len() {
            return None;
        }
        let piece = self.pieces.pop();
        self.read = self.pieces.len();
        if self.read == 0 {
            self.share.give_back();
        }
        piece
    }
}
