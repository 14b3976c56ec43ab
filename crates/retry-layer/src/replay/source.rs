use std::{fmt, sync::Arc};

use bytes::Bytes;
use http::Extensions;
use http_body::{Body, SizeHint};

use super::{
    body::ReplayBody,
    copied::Copied,
    factory::BodyFactory,
    memory::{ReplayMemory, Share},
    reader::Reader,
    tape::{Ending, Keeping, Rest, Tape},
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
    /// What was kept belongs to a layer above now.
    Taken,
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
            // Not empty, which would be another request. No attempt follows.
            Self::Taken => ReplayBody::changed(None),
        }
    }
}

/// Whether an attempt can be sent beside one that is under way.
pub(crate) enum Copying<B> {
    Copied(ReplayBody<B>),
    /// Not before the attempt has read the whole body.
    Later,
    Never,
}

impl<B> ReplaySource<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    /// What copies of this body can be made of, if anything. The extensions are those of its request.
    pub(crate) fn of(body: &ReplayBody<B>, extensions: &Extensions) -> Option<Self>
    where
        B: 'static,
    {
        if let Some(tape) = body.tape() {
            return Some(Self::Recorded(tape));
        }
        match body.passed() {
            None => body.is_empty().then_some(Self::Empty),
            Some(passed) if passed.is_end_stream() => Some(Self::Empty),
            Some(passed) => {
                let factory = extensions.get::<BodyFactory<B>>()?.clone();
                let exact = passed.size_hint().exact();
                Some(Self::Made { factory, exact })
            }
        }
    }

    /// The body of an attempt that is sent beside the last one, which reads on.
    ///
    /// A recorded body is copied, by reference count, once it was read whole: two attempts that read from
    /// it at the same time would have to wait for each other, or to keep what one of them does not
    /// need any more.
    pub(crate) fn copy(&self) -> Copying<B> {
        match self {
            Self::Empty | Self::Made { .. } => Copying::Copied(self.rewind()),
            Self::Recorded(tape) => {
                let state = tape.lock();
                match (state.keeping, &state.rest) {
                    (Keeping::All, Rest::Finished) => {
                        let pieces = state.all_pieces();
                        let copied = Copied::new(pieces, SizeHint::clone(&tape.hint));
                        Copying::Copied(ReplayBody::copied(copied))
                    }
                    (Keeping::All, Rest::Held(_) | Rest::BeingPolled) => Copying::Later,
                    (Keeping::Nothing, _) | (Keeping::All, Rest::Failed | Rest::Taken) => {
                        Copying::Never
                    }
                }
            }
            Self::Taken => Copying::Never,
        }
    }
}

impl<B> ReplaySource<B> {
    /// Whether another attempt could send the same body.
    pub(crate) fn is_replayable(&self, ending: Ending) -> bool {
        match self {
            Self::Empty | Self::Made { .. } => true,
            Self::Recorded(tape) => tape.lock().is_replayable(ending),
            Self::Taken => false,
        }
    }

    /// Ends the reader of the last attempt if another one can still send the same body. Returns
    /// whether it can.
    ///
    /// Called when the next attempt is decided on, and not when it is sent: until then, the last
    /// attempt might read more than is kept.
    pub(crate) fn supersede(&self, ending: Ending) -> bool {
        let Self::Recorded(tape) = self else {
            return !matches!(self, Self::Taken);
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
            Self::Taken => "Taken",
        })
    }
}
