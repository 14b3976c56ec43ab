use std::{
    error::Error,
    fmt, mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::{
    factory::BodyFactory,
    memory::{ReplayMemory, Share},
    named::BoxError,
};

pin_project! {
    /// The body of a request that may be sent more than once.
    ///
    /// The first attempt streams it as it comes. Each frame is kept while it passes, by reference
    /// count and without a copy, up to the policy's
    /// [`replay_limit`](crate::RetryPolicyBuilder::replay_limit). A later attempt gets what was
    /// kept, and then the rest; trailers too. A body that goes over the limit is still sent, but
    /// only to this attempt. A body that is one frame of bytes is kept whatever its size, since it
    /// is in memory anyway. All calls of a policy together keep no more than its
    /// [`replay_memory`](crate::RetryPolicyBuilder::replay_memory), if that is set; short frames are
    /// then copied, so that they hold no buffer that is longer than what is counted. A body that
    /// comes with a [`BodyFactory`] is made anew for each attempt, and not kept.
    ///
    /// Its length is the same on every attempt. Only the newest attempt can read: the body of an
    /// attempt that was given up ends in an error, never early, so that a truncated request is not
    /// taken for a whole one.
    pub struct ReplayBody<B> {
        #[pin]
        state: State<B>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<B> {
        Empty,
        Passing { #[pin] body: B },
        Recorded { reader: Reader<B> },
        // Made anew, and not as long as the first one was.
        Changed { exact: Option<u64> },
    }
}

impl<B> ReplayBody<B> {
    pub(crate) fn empty() -> Self {
        Self {
            state: State::Empty,
        }
    }

    /// Makes a body of which nothing is kept, so that it can be sent once: for a layer between the
    /// attempts and the service, which puts a body of its own in place of one.
    pub fn passing(body: B) -> Self {
        Self {
            state: State::Passing { body },
        }
    }
}

impl<B> Body for ReplayBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = ReplayBodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ReplayBodyError>>> {
        match self.project().state.project() {
            StateProj::Empty => Poll::Ready(None),
            StateProj::Passing { body } => {
                let frame = ready!(body.poll_frame(cx));
                Poll::Ready(frame.map(|frame| frame.map_err(ReplayBodyError::inner)))
            }
            StateProj::Recorded { reader } => reader.poll_frame(cx),
            StateProj::Changed { .. } => Poll::Ready(Some(Err(ReplayBodyError::changed()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.state {
            State::Empty => true,
            State::Passing { body } => body.is_end_stream(),
            State::Recorded { reader } => reader.is_end_stream(),
            State::Changed { .. } => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.state {
            State::Empty => SizeHint::with_exact(0),
            State::Passing { body } => body.size_hint(),
            State::Recorded { reader } => reader.size_hint(),
            State::Changed { exact } => exact.map_or_else(SizeHint::new, SizeHint::with_exact),
        }
    }
}

impl<B> fmt::Debug for ReplayBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Empty => "empty",
            State::Passing { .. } => "passing",
            State::Recorded { .. } => "recorded",
            State::Changed { .. } => "changed",
        };
        f.debug_tuple("ReplayBody").field(&state).finish()
    }
}

/// The caller's end of a [`ReplayBody`]: makes the body of each further attempt.
pub(crate) enum Kept<B> {
    Empty,
    Taped(Arc<Tape<B>>),
    Made {
        factory: BodyFactory<B>,
        /// The length of the first one, if it was known.
        exact: Option<u64>,
    },
}

impl<B> Kept<B>
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
        let reader = Reader {
            tape: Arc::clone(&tape),
            epoch: 0,
            started: false,
        };
        (
            Self::Taped(tape),
            ReplayBody {
                state: State::Recorded { reader },
            },
        )
    }

    /// The same for a body that can be made anew: nothing is kept of it.
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
            Self::Taped(tape) => {
                let epoch = tape.lock().rewind();
                let reader = Reader {
                    tape: Arc::clone(tape),
                    epoch,
                    started: false,
                };
                ReplayBody {
                    state: State::Recorded { reader },
                }
            }
            Self::Made { factory, exact } => {
                let body = factory.make();
                if body.size_hint().exact() == *exact {
                    ReplayBody::passing(body)
                } else {
                    ReplayBody {
                        state: State::Changed { exact: *exact },
                    }
                }
            }
        }
    }
}

impl<B> Kept<B> {
    /// Whether another attempt could send the same body.
    pub(crate) fn is_replayable(&self, ending: Ending) -> bool {
        match self {
            Self::Empty | Self::Made { .. } => true,
            Self::Taped(tape) => tape.lock().is_replayable(ending),
        }
    }

    /// Ends the reader of the last attempt, if another one can still send the same body; returns
    /// whether it can.
    ///
    /// Asked when the next attempt is decided on, and not when it is sent: until it is cut off, the
    /// last one may read on, beyond what is kept.
    pub(crate) fn supersede(&self, ending: Ending) -> bool {
        let Self::Taped(tape) = self else {
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
        // So that it hears of it: the body will wake the next reader only.
        if let Some(overtaken) = overtaken {
            overtaken.wake();
        }
        true
    }

    /// No further attempt will be made: what has passed is let go.
    #[inline]
    pub(crate) fn release(&self) {
        if let Self::Taped(tape) = self {
            tape.let_go();
        }
    }
}

impl<B> fmt::Debug for Kept<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "Empty",
            Self::Taped(_) => "Taped",
            Self::Made { .. } => "Made",
        })
    }
}

/// How an attempt ended, as far as its body is concerned.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Ending {
    /// A server that answers before it read the whole body may still be reading it.
    Answered,
    Failed,
}

/// One body, what has been read of it, and who may read on.
pub(crate) struct Tape<B, P: ?Sized = [Option<Piece>]> {
    /// As it was before anything was read: each attempt announces this length.
    hint: SizeHint,
    limit: usize,
    state: Mutex<TapeState<B, P>>,
}

struct TapeState<B, P: ?Sized = [Option<Piece>]> {
    /// Counts the attempts; only the reader of the newest may read.
    epoch: u32,
    /// How many pieces the newest reader has read.
    read: usize,
    /// How many bytes it has read, of these and of the rest.
    sent: u64,
    /// How many bytes the pieces hold.
    held: usize,
    /// What they take of the memory that all calls share.
    share: Share,
    keeping: Keeping,
    polled: bool,
    /// Whether the last frame was read, though the body was not asked for its end.
    drained: bool,
    rest: Rest<B>,
    /// Who waits for a body that is lent.
    waiter: Option<Waker>,
    /// The task of the newest reader.
    reader: Option<Waker>,
    // Last, since its size is settled when the tape is made.
    pieces: Pieces<P>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Keeping {
    All,
    Nothing,
}

enum Rest<B> {
    Held(Pin<Box<B>>),
    /// A reader is polling it right now, outside the lock.
    Lent,
    Finished,
    Failed,
}

impl<B: Body> Tape<B> {
    /// A body that is known to be no longer than this is taken to be one piece.
    const ONE_PIECE: u64 = 16 * 1024;

    fn new(body: B, limit: usize, share: Share) -> Arc<Self> {
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
    // No foreign code runs under the lock but the clone and drop of a waker, and a panic there
    // leaves the state whole.
    fn lock(&self) -> MutexGuard<'_, TapeState<B>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps nothing more, and lets go of what the newest reader has read.
    fn let_go(&self) {
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
    fn is_replayable(&self, ending: Ending) -> bool {
        if self.keeping == Keeping::Nothing {
            return false;
        }
        match self.rest {
            Rest::Finished => true,
            Rest::Held(_) => ending == Ending::Failed || !self.polled || self.drained,
            Rest::Lent => ending == Ending::Failed,
            Rest::Failed => false,
        }
    }

    fn rewind(&mut self) -> u32 {
        self.epoch = self.epoch.wrapping_add(1);
        self.read = 0;
        self.sent = 0;
        self.epoch
    }

    /// The next piece that an earlier attempt had read already.
    fn next_piece(&mut self) -> Option<Frame<Bytes>> {
        let piece = self.pieces.get(self.read)?;
        let (frame, len) = (piece.to_frame(), piece.len());
        self.read = self.read.saturating_add(1);
        self.count(len);
        Some(frame)
    }

    /// Counts what the newest reader has read.
    fn count(&mut self, len: usize) {
        self.sent = self
            .sent
            .saturating_add(u64::try_from(len).unwrap_or(u64::MAX));
    }

    /// How many bytes an attempt has read. One that was given up is as at its beginning: it fails
    /// before its end, and must not announce less until then.
    fn sent_in(&self, epoch: u32) -> u64 {
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

    fn len(&self) -> usize {
        match self {
            Self::Data(data) => data.len(),
            Self::Trailers(_) => 0,
        }
    }

    /// What it takes of the memory that all calls share. Beyond the room that a tape has anyway, the
    /// overhead counts too: a body of single bytes takes a hundred times its length.
    fn cost(&self, beyond: bool) -> usize {
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
    fn detached(self) -> Self {
        match self {
            Self::Data(data) if data.len() < Self::SHORT => {
                Self::Data(Bytes::copy_from_slice(&data))
            }
            other => other,
        }
    }

    fn to_frame(&self) -> Frame<Bytes> {
        match self {
            Self::Data(data) => Frame::data(data.clone()),
            Self::Trailers(trailers) => Frame::trailers((**trailers).clone()),
        }
    }
}

/// The pieces in order: the first ones where the tape is, so that they need no allocation.
struct Pieces<P: ?Sized = [Option<Piece>]> {
    len: usize,
    more: Vec<Piece>,
    first: P,
}

impl<const N: usize> Pieces<[Option<Piece>; N]> {
    fn with_room() -> Self {
        Self {
            len: 0,
            more: Vec::new(),
            first: [const { None }; N],
        }
    }
}

impl Pieces {
    fn get(&self, index: usize) -> Option<&Piece> {
        match index.checked_sub(self.first.len()) {
            None => self.first.get(index)?.as_ref(),
            Some(index) => self.more.get(index),
        }
    }

    fn push(&mut self, piece: Piece) {
        match self.first.get_mut(self.len) {
            Some(room) => *room = Some(piece),
            None => self.more.push(piece),
        }
        self.len = self.len.saturating_add(1);
    }

    fn pop(&mut self) -> Option<Piece> {
        self.len = self.len.checked_sub(1)?;
        match self.first.get_mut(self.len) {
            Some(room) => room.take(),
            None => self.more.pop(),
        }
    }

    fn len(&self) -> usize {
        self.len
    }

    /// Whether the room of the tape is used up.
    fn is_full(&self) -> bool {
        self.len >= self.first.len()
    }
}

/// One attempt's view of a [`Tape`].
struct Reader<B> {
    tape: Arc<Tape<B>>,
    epoch: u32,
    started: bool,
}

impl<B> Reader<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ReplayBodyError>>> {
        self.started = true;
        let mut loan = {
            let mut state = self.tape.lock();
            if state.epoch != self.epoch {
                return Poll::Ready(Some(Err(ReplayBodyError::superseded())));
            }
            if let Some(frame) = state.next_piece() {
                let over = state.keeping == Keeping::Nothing;
                drop(state);
                if over {
                    self.tape.let_go();
                }
                return Poll::Ready(Some(Ok(frame)));
            }
            state.polled = true;
            if !state
                .reader
                .as_ref()
                .is_some_and(|it| it.will_wake(cx.waker()))
            {
                state.reader = Some(cx.waker().clone());
            }
            match mem::replace(&mut state.rest, Rest::Lent) {
                Rest::Held(body) => Loan {
                    tape: &self.tape,
                    epoch: self.epoch,
                    body: Some(body),
                },
                Rest::Lent => {
                    // The attempt before this one is polling in another task; it wakes us when it
                    // gives the body back.
                    state.waiter = Some(cx.waker().clone());
                    return Poll::Pending;
                }
                Rest::Finished => {
                    state.rest = Rest::Finished;
                    return Poll::Ready(None);
                }
                Rest::Failed => {
                    state.rest = Rest::Failed;
                    return Poll::Ready(Some(Err(ReplayBodyError::spent())));
                }
            }
        };
        loan.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        // Every attempt starts like the first one, which did not know yet.
        if !self.started {
            return false;
        }
        let state = self.tape.lock();
        self.is_at_the_end(&state)
    }

    fn is_at_the_end(&self, state: &TapeState<B>) -> bool {
        state.epoch == self.epoch
            && state.read == state.pieces.len()
            && match &state.rest {
                Rest::Held(body) => body.is_end_stream(),
                Rest::Finished => true,
                Rest::Lent | Rest::Failed => false,
            }
    }

    fn size_hint(&self) -> SizeHint {
        let hint = &self.tape.hint;
        let sent = if self.started {
            let state = self.tape.lock();
            if self.is_at_the_end(&state) {
                return SizeHint::with_exact(0);
            }
            state.sent_in(self.epoch)
        } else {
            0
        };
        let mut left = SizeHint::new();
        left.set_lower(hint.lower().saturating_sub(sent));
        if let Some(upper) = hint.upper() {
            left.set_upper(upper.saturating_sub(sent));
        }
        left
    }
}

/// The rest of a body, out of the tape while it is polled. If that panics, the body counts as
/// failed, and whoever waits for it is told.
struct Loan<'a, B> {
    tape: &'a Tape<B>,
    epoch: u32,
    body: Option<Pin<Box<B>>>,
}

impl<B> Loan<'_, B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ReplayBodyError>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let polled = body.as_mut().poll_frame(cx);
        let over = match &polled {
            Poll::Ready(None | Some(Err(_))) => true,
            Poll::Ready(Some(Ok(_))) => body.is_end_stream(),
            Poll::Pending => false,
        };
        let nothing_follows = over || body.size_hint().exact() == Some(0);
        // What is over is dropped last, outside the lock: it is foreign code.
        let (rest, _over) = match (&polled, self.body.take()) {
            (Poll::Ready(Some(Err(_))), over) => (Rest::Failed, over),
            (_, Some(body)) if !over => (Rest::Held(body), None),
            (_, over) => (Rest::Finished, over),
        };
        match polled {
            Poll::Ready(Some(Ok(frame))) => {
                let frame = self.give_back_with(rest, frame, nothing_follows);
                Poll::Ready(Some(frame))
            }
            Poll::Ready(Some(Err(error))) => {
                self.give_back(rest);
                Poll::Ready(Some(Err(ReplayBodyError::inner(error))))
            }
            Poll::Ready(None) => {
                self.give_back(rest);
                Poll::Ready(None)
            }
            Poll::Pending => {
                self.give_back(rest);
                Poll::Pending
            }
        }
    }

    /// Gives the body back together with the frame that was read of it. The frame belongs to the
    /// newest attempt: one that is not the newest any more leaves it on the tape.
    fn give_back_with(
        &mut self,
        rest: Rest<B>,
        frame: Frame<Bytes>,
        nothing_follows: bool,
    ) -> Result<Frame<Bytes>, ReplayBodyError> {
        let piece = match frame.into_data() {
            Ok(data) => Piece::Data(data),
            Err(frame) => match frame.into_trailers() {
                Ok(trailers) => Piece::Trailers(Box::new(trailers)),
                Err(unknown) => {
                    // A kind of frame that http-body does not have today cannot be kept.
                    self.tape.let_go();
                    self.give_back(rest);
                    return Ok(unknown);
                }
            },
        };
        let frame = piece.to_frame();
        let waiter;
        let newest;
        let over;
        {
            let mut state = self.tape.lock();
            newest = state.epoch == self.epoch;
            let held = state.held.saturating_add(piece.len());
            let whole = nothing_follows && state.pieces.len() == 0;
            let within = whole || held <= self.tape.limit;
            let cost = piece.cost(state.pieces.is_full());
            // What an attempt that was overtaken had read is kept in any case: it is lost else.
            let fits =
                !newest || (within && state.keeping == Keeping::All && state.share.grow(cost));
            over = state.keeping == Keeping::All && !fits;
            if over {
                state.keeping = Keeping::Nothing;
            }
            if newest {
                state.count(piece.len());
            }
            if (state.keeping == Keeping::All || !newest)
                && !matches!(&piece, Piece::Data(data) if data.is_empty())
            {
                state.held = if whole { state.held } else { held };
                let counted = state.share.is_bound();
                let piece = if counted { piece.detached() } else { piece };
                state.pieces.push(piece);
                if newest {
                    state.read = state.read.saturating_add(1);
                }
            }
            state.drained = nothing_follows;
            state.rest = rest;
            waiter = state.waiter.take();
        }
        if over {
            self.tape.let_go();
        }
        if let Some(waiter) = waiter {
            waiter.wake();
        }
        if newest {
            Ok(frame)
        } else {
            Err(ReplayBodyError::superseded())
        }
    }
}

impl<B> Loan<'_, B> {
    fn give_back(&mut self, rest: Rest<B>) {
        let waiter = {
            let mut state = self.tape.lock();
            state.rest = rest;
            state.waiter.take()
        };
        if let Some(waiter) = waiter {
            waiter.wake();
        }
    }
}

impl<B> Drop for Loan<'_, B> {
    fn drop(&mut self) {
        // Still here only if the poll panicked.
        if let Some(body) = self.body.take() {
            self.give_back(Rest::Failed);
            drop(body);
        }
    }
}

/// The body of a request could not be read.
///
/// Either it failed by itself, in which case that error is the [`source`](Error::source), or the
/// attempt that reads it has been given up in the meantime, or a [`BodyFactory`] made one of
/// another length than the first.
#[derive(Debug)]
pub struct ReplayBodyError {
    kind: Kind,
    source: Option<BoxError>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Inner,
    Superseded,
    Spent,
    Changed,
}

impl ReplayBodyError {
    /// An error of the body inside. One of this type says already what it is.
    fn inner(error: impl Into<BoxError>) -> Self {
        error.into().downcast().map_or_else(
            |error| Self {
                kind: Kind::Inner,
                source: Some(error),
            },
            |known| *known,
        )
    }

    fn superseded() -> Self {
        Self {
            kind: Kind::Superseded,
            source: None,
        }
    }

    fn spent() -> Self {
        Self {
            kind: Kind::Spent,
            source: None,
        }
    }

    fn changed() -> Self {
        Self {
            kind: Kind::Changed,
            source: None,
        }
    }

    /// Whether the attempt was given up for a newer one, which reads the body now.
    #[must_use]
    pub fn is_superseded(&self) -> bool {
        self.kind == Kind::Superseded
    }
}

impl fmt::Display for ReplayBodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Inner => "the request body failed",
            Kind::Superseded => "the request body belongs to a newer attempt",
            Kind::Spent => "the request body failed in an earlier attempt",
            Kind::Changed => "the request body was made anew with another length",
        })
    }
}

impl Error for ReplayBodyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source
            .as_deref()
            .map(|source| source as &(dyn Error + 'static))
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, task::Waker};

    use http_body_util::{BodyExt, Full, StreamBody, channel::Channel};

    use super::*;

    fn poll<B>(body: &mut ReplayBody<B>) -> Poll<Option<Result<Frame<Bytes>, ReplayBodyError>>>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<BoxError>,
        ReplayBody<B>: Unpin,
    {
        Pin::new(body).poll_frame(&mut Context::from_waker(Waker::noop()))
    }

    fn next<B>(body: &mut ReplayBody<B>) -> Bytes
    where
        B: Body<Data = Bytes>,
        B::Error: Into<BoxError>,
        ReplayBody<B>: Unpin,
    {
        let Poll::Ready(Some(Ok(frame))) = poll(body) else {
            panic!("no frame")
        };
        frame.into_data().unwrap()
    }

    fn pieces(sizes: &[usize]) -> impl Body<Data = Bytes, Error = Infallible> + Unpin + use<> {
        let frames: Vec<_> = sizes
            .iter()
            .map(|size| Ok(Frame::data(Bytes::from(vec![b'x'; *size]))))
            .collect();
        StreamBody::new(Iter(frames.into_iter()))
    }

    struct Iter(std::vec::IntoIter<Result<Frame<Bytes>, Infallible>>);

    impl futures_core::Stream for Iter {
        type Item = Result<Frame<Bytes>, Infallible>;

        fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            Poll::Ready(self.0.next())
        }
    }

    #[test]
    fn what_an_attempt_reads_after_it_was_given_up_is_not_missing_from_the_next() {
        let (kept, mut first) = Kept::record(pieces(&[4, 4, 4, 4]), 8, None);
        assert_eq!(next(&mut first).len(), 4);
        assert!(kept.supersede(Ending::Failed));
        // It lives on in a task of its own, and would read beyond what is kept.
        let Poll::Ready(Some(Err(error))) = poll(&mut first) else {
            panic!("it may not read on")
        };
        assert!(error.is_superseded());
        let mut second = kept.rewind();
        let whole: usize = (0..4).map(|_| next(&mut second).len()).sum();
        assert_eq!(whole, 16);
    }

    #[test]
    fn an_attempt_that_has_read_too_far_cannot_be_superseded() {
        let (kept, mut first) = Kept::record(pieces(&[4, 4, 4, 4]), 8, None);
        for _ in 0..3 {
            next(&mut first);
        }
        assert!(!kept.supersede(Ending::Failed));
        assert_eq!(next(&mut first).len(), 4, "it goes on with what it has");
    }

    #[test]
    fn a_reader_that_waits_is_told_that_it_was_superseded() {
        let (_sender, body) = Channel::<Bytes>::new(1);
        let (kept, mut first) = Kept::record(body, 8, None);
        let mut first = tokio_test::task::spawn(async move {
            std::future::poll_fn(|cx| Pin::new(&mut first).poll_frame(cx)).await
        });
        assert!(first.poll().is_pending());
        assert!(kept.supersede(Ending::Failed));
        assert!(first.is_woken());
        let Poll::Ready(Some(Err(error))) = first.poll() else {
            panic!("it may not read on")
        };
        assert!(error.is_superseded());
    }

    #[test]
    fn a_body_whose_last_byte_was_read_is_read_though_nobody_asked_for_its_end() {
        let (kept, mut first) = Kept::record(Sized(Some(Bytes::from_static(b"abc"))), 8, None);
        assert!(kept.is_replayable(Ending::Answered), "never polled");
        next(&mut first);
        assert!(kept.is_replayable(Ending::Answered));
        assert!(kept.supersede(Ending::Answered));
        assert_eq!(next(&mut kept.rewind()), "abc");
    }

    /// A body that knows its length, and leaves `is_end_stream` at its default.
    struct Sized(Option<Bytes>);

    impl Body for Sized {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
        }

        fn size_hint(&self) -> SizeHint {
            SizeHint::with_exact(self.0.as_ref().map_or(0, |bytes| bytes.len() as u64))
        }
    }

    #[test]
    fn a_factory_beside_an_empty_body_makes_none() {
        let factory = BodyFactory::new(|| Full::<Bytes>::from("old"));
        let (kept, first) = Kept::make(Full::<Bytes>::default(), factory);
        assert!(first.is_end_stream());
        assert!(kept.rewind().is_end_stream());
    }

    #[test]
    fn a_wrapper_of_32_bytes_takes_40() {
        assert!(size_of::<ReplayBody<Bytes32>>() <= 40);
    }

    struct Bytes32(#[expect(dead_code, reason = "only its size matters")] [usize; 4]);

    #[test]
    fn bytes_are_kept_whatever_their_size_and_not_copied() {
        let data = Bytes::from(vec![1; 1 << 20]);
        let (kept, mut body) = Kept::record(Full::new(data.clone()), 16, None);
        assert!(kept.is_replayable(Ending::Answered), "never polled");
        assert_eq!(next(&mut body).as_ptr(), data.as_ptr());
        assert!(body.is_end_stream());
        assert!(kept.is_replayable(Ending::Answered));

        let mut again = kept.rewind();
        assert_eq!(again.size_hint().exact(), Some(1 << 20));
        assert!(!again.is_end_stream());
        assert_eq!(next(&mut again).as_ptr(), data.as_ptr());
        assert!(again.is_end_stream());
        assert_eq!(again.size_hint().exact(), Some(0));
    }

    #[test]
    fn a_stream_within_the_bound_is_replayed_and_goes_on() {
        let (kept, mut body) = Kept::record(pieces(&[3, 4, 5]), 64, None);
        assert_eq!(next(&mut body).len(), 3);
        assert!(kept.is_replayable(Ending::Failed));
        assert!(
            !kept.is_replayable(Ending::Answered),
            "answered before it was read whole"
        );

        let mut again = kept.rewind();
        let lengths = [
            next(&mut again).len(),
            next(&mut again).len(),
            next(&mut again).len(),
        ];
        assert_eq!(lengths, [3, 4, 5]);
        assert!(matches!(poll(&mut again), Poll::Ready(None)));
        assert!(kept.is_replayable(Ending::Answered));
    }

    #[test]
    fn a_stream_of_more_pieces_than_there_is_room_for_is_replayed_and_let_go() {
        let sizes: Vec<usize> = (1..=40).collect();
        let (kept, mut body) = Kept::record(pieces(&sizes), usize::MAX, None);
        let mut frames: Vec<_> = sizes.iter().map(|_| next(&mut body)).collect();
        assert!(kept.supersede(Ending::Failed));

        let mut again = kept.rewind();
        for frame in &frames[..20] {
            assert_eq!(next(&mut again).as_ptr(), frame.as_ptr());
        }
        // The server has answered, and still gets what is left.
        kept.release();
        assert!(frames.iter().all(|frame| !frame.is_unique()));
        for frame in &frames[20..] {
            assert_eq!(next(&mut again).as_ptr(), frame.as_ptr());
        }
        assert!(frames.iter_mut().all(|frame| frame.is_unique()));
        assert!(matches!(poll(&mut again), Poll::Ready(None)));
    }

    #[test]
    fn the_length_that_is_left_goes_down_on_each_attempt() {
        struct Halves(u64);
        impl Body for Halves {
            type Data = Bytes;
            type Error = Infallible;
            fn poll_frame(
                mut self: Pin<&mut Self>,
                _: &mut Context<'_>,
            ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
                self.0 -= 2;
                Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"ab")))))
            }
            fn size_hint(&self) -> SizeHint {
                SizeHint::with_exact(self.0)
            }
        }
        let (kept, mut first) = Kept::record(Halves(4), 64, None);
        next(&mut first);
        assert_eq!(first.size_hint().exact(), Some(2));
        let mut second = kept.rewind();
        assert_eq!(second.size_hint().exact(), Some(4));
        next(&mut second);
        assert_eq!(second.size_hint().exact(), Some(2));
    }

    #[test]
    fn an_attempt_that_was_given_up_never_announces_less_than_the_whole_body() {
        let (kept, mut first) = Kept::record(Full::new(Bytes::from_static(b"abcd")), 64, None);
        let mut second = kept.rewind();
        assert_eq!(next(&mut second), "abcd");
        // It waited in a queue, and its head is only written now.
        assert_eq!(first.size_hint().exact(), Some(4));
        assert!(!first.is_end_stream());
        assert!(matches!(poll(&mut first), Poll::Ready(Some(Err(_)))));
    }

    #[test]
    fn a_piece_may_ask_the_tape_when_it_is_dropped() {
        /// The memory of a piece that belongs to somebody who looks at the body once more.
        struct Owner(Arc<Mutex<Option<Kept<Full<Bytes>>>>>);
        impl AsRef<[u8]> for Owner {
            fn as_ref(&self) -> &[u8] {
                b"piece"
            }
        }
        impl Drop for Owner {
            fn drop(&mut self) {
                let kept = self.0.lock().unwrap();
                assert!(!kept.as_ref().unwrap().is_replayable(Ending::Failed));
            }
        }
        let slot = Arc::new(Mutex::new(None));
        let piece = Bytes::from_owner(Owner(Arc::clone(&slot)));
        let (kept, mut body) = Kept::record(Full::new(piece), 64, None);
        drop(next(&mut body));
        let Kept::Taped(tape) = &kept else {
            panic!("it has a body")
        };
        let tape = Arc::clone(tape);
        *slot.lock().unwrap() = Some(kept);
        tape.let_go();
        assert!(matches!(poll(&mut body), Poll::Ready(None)));
    }

    #[test]
    fn a_stream_over_the_bound_is_sent_once() {
        let (kept, mut body) = Kept::record(pieces(&[3, 4, 5]), 6, None);
        assert_eq!(next(&mut body).len(), 3);
        assert_eq!(next(&mut body).len(), 4);
        assert!(!kept.is_replayable(Ending::Failed));
        assert_eq!(next(&mut body).len(), 5);
        assert!(matches!(poll(&mut body), Poll::Ready(None)));
        assert!(!kept.is_replayable(Ending::Failed));
    }

    #[test]
    fn under_a_bound_of_memory_short_slices_do_not_keep_their_buffer() {
        let buffer = Bytes::from(vec![b'x'; 1 << 20]);
        let slices = [buffer.slice(..3), buffer.slice(3..7), buffer.slice(7..8)];
        let frames: Vec<_> = slices.into_iter().map(|it| Ok(Frame::data(it))).collect();
        let memory = ReplayMemory::new(8);
        let body = StreamBody::new(Iter(frames.into_iter()));
        let (kept, mut first) = Kept::record(body, 64, Some(&memory));
        while let Poll::Ready(Some(frame)) = poll(&mut first) {
            frame.unwrap();
        }
        assert!(buffer.is_unique(), "a megabyte for eight bytes");
        assert!(kept.supersede(Ending::Answered));
        let mut again = kept.rewind();
        let whole: usize = (0..3).map(|_| next(&mut again).len()).sum();
        assert_eq!(whole, 8);
    }

    #[test]
    fn under_a_bound_of_memory_pieces_beyond_the_room_of_the_tape_count_with_their_overhead() {
        for (number, fits) in [(16, true), (17, false)] {
            let memory = ReplayMemory::new(100);
            let (kept, mut body) = Kept::record(pieces(&vec![1; number]), 64, Some(&memory));
            while let Poll::Ready(Some(_)) = poll(&mut body) {}
            assert_eq!(kept.is_replayable(Ending::Answered), fits, "{number}");
        }
    }

    #[tokio::test]
    async fn under_a_bound_of_memory_trailers_count() {
        for (limit, fits) in [(9, true), (8, false)] {
            let (mut sender, channel) = Channel::<Bytes, Infallible>::new(4);
            let trailers = [("checksum", "1")].map(|(name, value)| {
                (
                    name.parse::<http::HeaderName>().unwrap(),
                    value.parse().unwrap(),
                )
            });
            sender
                .send_trailers(trailers.into_iter().collect())
                .await
                .unwrap();
            drop(sender);
            let memory = ReplayMemory::new(limit);
            let (kept, first) = Kept::record(channel, 64, Some(&memory));
            first.collect().await.unwrap();
            assert_eq!(kept.is_replayable(Ending::Answered), fits, "{limit}");
        }
    }

    #[test]
    fn a_stream_exactly_at_the_bound_is_kept() {
        let (kept, mut body) = Kept::record(pieces(&[3, 4]), 7, None);
        while let Poll::Ready(Some(_)) = poll(&mut body) {}
        assert!(kept.is_replayable(Ending::Answered));
    }

    #[test]
    fn a_superseded_body_fails_and_never_ends_early() {
        let (kept, mut old) = Kept::record(pieces(&[3, 4]), 64, None);
        assert_eq!(next(&mut old).len(), 3);
        let mut new = kept.rewind();
        assert!(!old.is_end_stream());
        let Poll::Ready(Some(Err(error))) = poll(&mut old) else {
            panic!("must fail")
        };
        assert!(error.is_superseded());
        assert_eq!(next(&mut new).len(), 3);
    }

    #[test]
    fn a_body_that_failed_is_not_replayed() {
        let frames = vec![Ok(Frame::data(Bytes::from_static(b"a"))), Err("broken")];
        let (kept, mut body) = Kept::record(StreamBody::new(Failing(frames.into_iter())), 64, None);
        assert_eq!(next(&mut body), "a");
        let Poll::Ready(Some(Err(error))) = poll(&mut body) else {
            panic!("must fail")
        };
        assert_eq!(error.source().unwrap().to_string(), "broken");
        assert!(!kept.is_replayable(Ending::Failed));
        assert!(matches!(poll(&mut body), Poll::Ready(Some(Err(_)))));
    }

    struct Failing(std::vec::IntoIter<Result<Frame<Bytes>, &'static str>>);

    impl futures_core::Stream for Failing {
        type Item = Result<Frame<Bytes>, &'static str>;

        fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            Poll::Ready(self.0.next())
        }
    }

    #[test]
    fn a_body_that_panicked_fails_in_the_next_attempt() {
        struct Panicking;
        impl Body for Panicking {
            type Data = Bytes;
            type Error = Infallible;
            fn poll_frame(
                self: Pin<&mut Self>,
                _: &mut Context<'_>,
            ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
                panic!("a bug of somebody else")
            }
        }
        let (kept, mut body) = Kept::record(Panicking, 64, None);
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| poll(&mut body)));
        assert!(panicked.is_err());
        assert!(!kept.is_replayable(Ending::Failed));
        assert!(matches!(
            poll(&mut kept.rewind()),
            Poll::Ready(Some(Err(_)))
        ));
    }

    #[tokio::test]
    async fn trailers_are_replayed() {
        let (mut sender, channel) = Channel::<Bytes, Infallible>::new(4);
        sender.send_data(Bytes::from_static(b"data")).await.unwrap();
        let mut trailers = HeaderMap::new();
        trailers.insert("checksum", http::HeaderValue::from_static("1"));
        sender.send_trailers(trailers.clone()).await.unwrap();
        drop(sender);

        let (kept, first) = Kept::record(channel, 64, None);
        assert_eq!(first.collect().await.unwrap().trailers(), Some(&trailers));
        assert!(kept.is_replayable(Ending::Answered));
        let again = kept.rewind().collect().await.unwrap();
        assert_eq!(again.trailers(), Some(&trailers));
        assert_eq!(again.to_bytes(), "data");
    }

    #[tokio::test]
    async fn a_pending_body_wakes_the_newest_attempt() {
        let (mut sender, channel) = Channel::<Bytes, Infallible>::new(4);
        let (kept, mut old) = Kept::record(channel, 64, None);
        assert!(poll(&mut old).is_pending());
        let new = tokio::spawn(kept.rewind().collect());
        tokio::task::yield_now().await;
        sender.send_data(Bytes::from_static(b"late")).await.unwrap();
        drop(sender);
        assert_eq!(new.await.unwrap().unwrap().to_bytes(), "late");
    }

    /// While it is polled for the first attempt, the second one starts and polls too.
    struct Overtaken {
        overtake: Option<Box<dyn FnOnce()>>,
    }

    impl Body for Overtaken {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(self.overtake.take().map(|overtake| {
                overtake();
                Ok(Frame::data(Bytes::from_static(b"frame")))
            }))
        }
    }

    #[test]
    fn an_attempt_that_overtakes_a_poll_gets_its_frame() {
        use std::{cell::RefCell, rc::Rc};

        let kept: Rc<RefCell<Option<Kept<Overtaken>>>> = Rc::default();
        let newer: Rc<RefCell<Option<ReplayBody<Overtaken>>>> = Rc::default();
        let woken = tokio_test::task::spawn(());
        let waker = Rc::new(RefCell::new(woken));
        let overtake = {
            let (kept, newer, waker) = (Rc::clone(&kept), Rc::clone(&newer), Rc::clone(&waker));
            move || {
                let mut body = kept.borrow().as_ref().map(Kept::rewind).unwrap();
                waker.borrow_mut().enter(|cx, _| {
                    assert!(Pin::new(&mut body).poll_frame(cx).is_pending());
                });
                *newer.borrow_mut() = Some(body);
            }
        };
        let body = Overtaken {
            overtake: Some(Box::new(overtake)),
        };
        // Nothing is kept but what an attempt that was overtaken had read.
        let (first, mut old) = Kept::record(body, 0, None);
        *kept.borrow_mut() = Some(first);

        let Poll::Ready(Some(Err(error))) = poll(&mut old) else {
            panic!("must fail")
        };
        assert!(error.is_superseded());
        assert!(waker.borrow().is_woken());
        let mut newer = newer.borrow_mut().take().unwrap();
        assert_eq!(next(&mut newer), "frame");
        assert!(matches!(poll(&mut newer), Poll::Ready(None)));
    }

    #[test]
    fn released_pieces_are_freed() {
        let (kept, mut body) = Kept::record(pieces(&[3, 4]), 64, None);
        let first = next(&mut body);
        assert!(!first.is_unique());
        kept.release();
        assert!(first.is_unique());
        assert_eq!(next(&mut body).len(), 4);
        assert!(matches!(poll(&mut body), Poll::Ready(None)));
    }
}
