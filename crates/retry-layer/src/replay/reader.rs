use std::{
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::{
    error::ReplayBodyError,
    pieces::Piece,
    tape::{Keeping, Rest, Tape},
};
use crate::named::BoxError;

/// One attempt's view of a [`Tape`].
pub(super) struct Reader<B> {
    tape: Arc<Tape<B>>,
    epoch: u32,
    started: bool,
    /// Whether this attempt has read the last frame.
    at_end: bool,
}

/// What came of a read.
pub(super) enum Read<B> {
    Polled(Poll<Option<Result<Frame<Bytes>, ReplayBodyError>>>),
    /// The rest of the body, which this attempt reads without the tape from now on: nothing is kept
    /// of it, so that no other attempt can follow.
    Alone(Pin<Box<B>>),
}

impl<B> Reader<B> {
    pub(super) fn new(tape: &Arc<Tape<B>>, epoch: u32) -> Self {
        Self {
            tape: Arc::clone(tape),
            epoch,
            started: false,
            at_end: false,
        }
    }

    pub(super) fn tape(&self) -> Arc<Tape<B>> {
        Arc::clone(&self.tape)
    }
}

impl<B> Reader<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Read<B> {
        self.started = true;
        let mut polled = {
            let mut state = self.tape.lock();
            if state.epoch != self.epoch {
                return Read::failed(ReplayBodyError::superseded());
            }
            if let Some(frame) = state.next_piece() {
                self.at_end = state.is_read();
                let over = state.keeping == Keeping::Nothing;
                drop(state);
                if over {
                    self.tape.discard();
                }
                return Read::Polled(Poll::Ready(Some(Ok(frame))));
            }
            if state.keeping == Keeping::Nothing {
                if let Some(body) = state.rest.take() {
                    return Read::Alone(body);
                }
            }
            state.polled = true;
            if !state
                .reader
                .as_ref()
                .is_some_and(|it| it.will_wake(cx.waker()))
            {
                state.reader = Some(cx.waker().clone());
            }
            match mem::replace(&mut state.rest, Rest::BeingPolled) {
                Rest::Held(body) => PolledBody {
                    tape: &self.tape,
                    epoch: self.epoch,
                    body: Some(body),
                    ended: false,
                },
                Rest::BeingPolled => {
                    // The attempt before this one is polling in another task; it wakes us when it
                    // gives the body back.
                    state.waiter = Some(cx.waker().clone());
                    return Read::Polled(Poll::Pending);
                }
                Rest::Finished => {
                    state.rest = Rest::Finished;
                    self.at_end = true;
                    return Read::Polled(Poll::Ready(None));
                }
                over @ (Rest::Failed | Rest::Taken) => {
                    state.rest = over;
                    return Read::failed(ReplayBodyError::spent());
                }
            }
        };
        let frame = polled.poll_frame(cx);
        self.at_end = polled.ended;
        Read::Polled(frame)
    }

    /// Every attempt starts like the first one, before which nothing was known of the end.
    pub(super) fn is_end_stream(&self) -> bool {
        self.at_end
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        let hint = &self.tape.hint;
        if self.at_end {
            return SizeHint::with_exact(0);
        }
        let sent = if self.started {
            self.tape.lock().sent_in(self.epoch)
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

impl<B> Read<B> {
    fn failed(error: ReplayBodyError) -> Self {
        Self::Polled(Poll::Ready(Some(Err(error))))
    }
}

/// The rest of a body, taken out of the tape while it is polled. If the poll panics, the body counts
/// as failed, and the reader that waits for it is woken.
struct PolledBody<'a, B> {
    tape: &'a Tape<B>,
    epoch: u32,
    body: Option<Pin<Box<B>>>,
    /// Whether the attempt has read the last frame.
    ended: bool,
}

impl<B> PolledBody<'_, B>
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
        // A body that has ended is dropped last, outside the lock: its drop is foreign code.
        let (rest, _over) = match (&polled, self.body.take()) {
            (Poll::Ready(Some(Err(_))), over) => (Rest::Failed, over),
            (_, Some(body)) if !over => (Rest::Held(body), None),
            (_, over) => (Rest::Finished, over),
        };
        let Poll::Ready(Some(Ok(frame))) = &polled else {
            self.ended = matches!(polled, Poll::Ready(None));
            self.give_back(rest);
            return polled.map_err(ReplayBodyError::inner);
        };
        if !self.give_back_with(rest, frame, nothing_follows) {
            return Poll::Ready(Some(Err(ReplayBodyError::superseded())));
        }
        self.ended = over;
        polled.map_err(ReplayBodyError::inner)
    }

    /// Gives the body back together with the frame that was read of it. Returns whether the frame
    /// is for this attempt, which then is the newest: a superseded one leaves it on the tape.
    fn give_back_with(
        &mut self,
        rest: Rest<B>,
        frame: &Frame<Bytes>,
        nothing_follows: bool,
    ) -> bool {
        let Some(piece) = Piece::of(frame) else {
            // A kind of frame that http-body does not have today cannot be kept.
            self.tape.discard();
            self.give_back(rest);
            return true;
        };
        let waiter;
        let newest;
        let over;
        {
            let mut state = self.tape.lock();
            newest = state.epoch == self.epoch;
            let held = state.held.saturating_add(piece.len());
            let whole = nothing_follows && state.pieces.len() == 0;
            let within = whole || held <= self.tape.limit;
            let cost = if state.pieces.is_full() {
                piece.cost_beyond()
            } else {
                piece.cost()
            };
            // The frame of a superseded attempt is kept in any case, or it would be lost.
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
            self.tape.discard();
        }
        if let Some(waiter) = waiter {
            waiter.wake();
        }
        newest
    }
}

impl<B> PolledBody<'_, B> {
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

impl<B> Drop for PolledBody<'_, B> {
    fn drop(&mut self) {
        // Still here only if the poll panicked.
        if let Some(body) = self.body.take() {
            self.give_back(Rest::Failed);
            drop(body);
        }
    }
}
