use std::{fmt, sync::Arc};

use bytes::Bytes;
use http_body::Body;

use super::{
    body::ReplayBody,
    factory::BodyFactory,
    memory::{ReplayMemory, Share},
    reader::Reader,
    tape::{Ending, Tape},
};
use crate::named::BoxError;

/// What a call keeps of its request body, to make the [`ReplayBody`] of each attempt.
pub(crate) enum ReplaySource<B> {
    Empty,
    Recorded(Arc<Tape<B>>),
    Made {
        factory: BodyFactory<B>,
        /// The length of the first one, if it was known.
        exact: Option<u64>,
    },
}

impl<B> ReplaySource<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    /// Makes the body of the first attempt, and what is kept for the others.
    pub(crate) fn record(
        body: B,
        limit: usize,
        memory: Option<&Arc<ReplayMemory>>,
    ) -> (Self, ReplayBody<B>) {
        if body.is_end_stream() {
            return (Self::Empty, ReplayBody::empty());
        }
        let tape = Tape::new(body, limit, Share::of(memory));
        let reader = Reader::new(&tape, 0);
        (Self::Recorded(tape), ReplayBody::recorded(reader))
    }

    /// As `record`, for a body that a factory can make again: nothing is kept of it.
    pub(crate) fn make(body: B, factory: BodyFactory<B>) -> (Self, ReplayBody<B>) {
        if body.is_end_stream() {
            // A layer above may have taken the body away and left the factory behind.
            return (Self::Empty, ReplayBody::empty());
        }
        let exact = body.size_hint().exact();
        (Self::Made { factory, exact }, ReplayBody::passing(body))
    }

    /// The body of a new attempt. The one before it cannot read any more.
    pub(crate) fn rewind(&self) -> ReplayBody<B> {
        match self {
            Self::Empty => ReplayBody::empty(),
            Self::Recorded(tape) => {
                let epoch = tape.lock().rewind();
                ReplayBody::recorded(Reader::new(tape, epoch))
            }
            Self::Made { factory, exact } => {
                let body = factory.make();
                if body.size_hint().exact() == *exact {
                    ReplayBody::passing(body)
                } else {
                    ReplayBody::changed(*exact)
                }
            }
        }
    }
}

impl<B> ReplaySource<B> {
    /// Whether another attempt could send the same body.
    pub(crate) fn is_replayable(&self, ending: Ending) -> bool {
        match self {
            Self::Empty | Self::Made { .. } => true,
            Self::Recorded(tape) => tape.lock().is_replayable(ending),
        }
    }

    /// Ends the reader of the last attempt if another one can still send the same body. Returns
    /// whether it can.
    ///
    /// Called when the next attempt is decided on, and not when it is sent: until then, the last
    /// attempt might read more than is kept.
    pub(crate) fn supersede(&self, ending: Ending) -> bool {
        let Self::Recorded(tape) = self else {
            return true;
        };
        let overtaken = {
            let mut state = tape.lock();
            if !state.is_replayable(ending) {
                return false;
            }
            state.rewind();
            state.reader.take()
        };
        // Woken here, because the body will wake only the next reader.
        if let Some(overtaken) = overtaken {
            overtaken.wake();
        }
        true
    }

    /// Drops what was kept, since no further attempt will be made.
    #[inline]
    pub(crate) fn release(&self) {
        if let Self::Recorded(tape) = self {
            tape.discard();
        }
    }
}

impl<B> fmt::Debug for ReplaySource<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "Empty",
            Self::Recorded(_) => "Recorded",
            Self::Made { .. } => "Made",
        })
    }
}
