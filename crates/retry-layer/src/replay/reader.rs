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
    tape::{Keeping, Rest, Tape, TapeState},
};
use crate::named::BoxError;

/// One attempt's view of a [`Tape`].
pub(super) struct Reader<B> {
    tape: Arc<Tape<B>>,
    epoch: u32,
    started: bool,
}

impl<B> Reader<B> {
    pub(super) fn new(tape: &Arc<Tape<B>>, epoch: u32) -> Self {
        Self {
            tape: Arc::clone(tape),
            epoch,
            started: false,
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
    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ReplayBodyError>>> {
        self.started = true;
        let mut polled = {
            let mut state = self.tape.lock();
            if state.epoch != self.epoch {
                return Poll::Ready(Some(Err(ReplayBodyError::superseded())));
            }
            if let Some(frame) = state.next_piece() {
                let over = state.keeping == Keeping::Nothing;
                drop(state);
                if over {
                    self.tape.discard();
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
            match mem::replace(&mut state.rest, Rest::BeingPolled) {
                Rest::Held(body) => PolledBody {
                    tape: &self.tape,
                    epoch: self.epoch,
                    body: Some(body),
                },
                Rest::BeingPolled => {
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
        polled.poll_frame(cx)
    }

    pub(super) fn is_end_stream(&self) -> bool {
        // Every attempt starts like the first one, before which nothing was known of the end.
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
                Rest::BeingPolled | Rest::Failed => false,
            }
    }

    pub(super) fn size_hint(&self) -> SizeHint {
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

/// The rest of a body, taken out of the tape while it is polled. If the poll panics, the body counts
/// as failed, and the reader that waits for it is woken.
struct PolledBody<'a, B> {
    tape: &'a Tape<B>,
    epoch: u32,
    body: Option<Pin<Box<B>>>,
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
    /// newest attempt: a superseded one leaves it on the tape.
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
                    self.tape.discard();
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
        if newest {
            Ok(frame)
        } else {
            Err(ReplayBodyError::superseded())
        }
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
