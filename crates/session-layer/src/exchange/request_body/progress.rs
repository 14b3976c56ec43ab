use std::{
    mem,
    panic::{self, AssertUnwindSafe},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame};

use super::Next;
use crate::{
    box_error::BoxError,
    exchange::{Carrier, Cause, ExchangeState},
    reuse::Length,
};

/// Notes on the exchange how far the body is. Its drop notes the end: hyper drops a body whose
/// announced length it has taken, without asking for the end.
pub(super) struct Progress {
    pub(super) exchange: Arc<ExchangeState>,
    pub(super) head: Option<Duration>,
    pub(super) carrier: Carrier,
    /// What is left of a large piece.
    pub(super) rest: Bytes,
}

/// The most that hyper gets of one stream at a time. hyper asks for more when the peer has taken
/// that, which shows whether the upload moves.
pub(crate) const PIECE: usize = 16 * 1024;

impl Progress {
    /// Polls the body of a stream for a frame.
    pub(super) fn poll_stream<B>(&mut self, inner: Pin<&mut B>, cx: &mut Context<'_>) -> Poll<Next>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<BoxError>,
    {
        if self.exchange.is_orphan() {
            return Poll::Ready(Some(Err(over())));
        }
        if self.exchange.has_body_failed() {
            return Poll::Ready(Some(Err("the body panicked".into())));
        }
        if !self.rest.is_empty() {
            self.exchange.note_piece_given();
            let rest = mem::take(&mut self.rest);
            return Poll::Ready(Some(Ok(self.piece(rest))));
        }
        let Some(polled) = self.caught(|| inner.poll_frame(cx)) else {
            return Poll::Ready(Some(Err("the body panicked".into())));
        };
        if polled.is_ready() {
            self.exchange.note_piece_given();
        } else {
            self.exchange.note_piece_asked_for();
        }
        Poll::Ready(match ready!(polled) {
            Some(Ok(frame)) => Some(Ok(match frame.into_data() {
                Ok(bytes) => self.piece(bytes),
                Err(trailers) => trailers,
            })),
            Some(Err(error)) => {
                // hyper makes a reset of the error, and does not pass it on.
                self.exchange.keep_error(error.into());
                Some(Err("the request body failed".into()))
            }
            None => None,
        })
    }

    /// Calls the body of a stream. Its panic ends its own request, and not the task that drives the
    /// others.
    fn caught<T>(&self, ask: impl FnOnce() -> T) -> Option<T> {
        let answer = panic::catch_unwind(AssertUnwindSafe(ask)).ok();
        if answer.is_none() {
            self.exchange.note_body_failed();
            self.exchange.abort(Cause::Dropped);
        }
        answer
    }

    /// Calls a method of the body that returns at once. If it panics on a stream, the default is
    /// returned.
    #[inline]
    pub(super) fn ask<T: Default>(&self, ask: impl FnOnce() -> T) -> T {
        if self.carrier == Carrier::Stream {
            return self.caught(ask).unwrap_or_default();
        }
        ask()
    }

    fn piece(&mut self, mut bytes: Bytes) -> Frame<Bytes> {
        if bytes.len() > PIECE {
            let piece = bytes.split_to(PIECE);
            self.rest = bytes;
            return Frame::data(piece);
        }
        Frame::data(bytes)
    }

    /// Notes the frame that hyper is about to get; on an error hyper does not get it.
    pub(super) fn note(
        &self,
        frame: Option<&Result<Frame<Bytes>, BoxError>>,
        ends: bool,
        left: &mut Option<Length>,
    ) -> Result<(), BoxError> {
        let bytes = match frame {
            Some(Ok(frame)) => frame.data_ref().map_or(0, Bytes::len),
            Some(Err(_)) => {
                self.exchange.note_body_failed();
                return Ok(());
            }
            None => 0,
        };
        self.exchange.uploaded(bytes);
        let too_long = is_too_long(left, bytes);
        let too_short = ends && bytes_left(*left).is_some_and(|left| left > 0);
        if too_long || too_short {
            return Err(self.wrong_length());
        }
        Ok(())
    }

    /// Aborts the exchange, so that the peer does not take the bytes that it has for the whole
    /// body.
    pub(super) fn wrong_length(&self) -> BoxError {
        const WHY: &str = "the body is not as long as announced";
        self.exchange.keep_error(WHY.into());
        self.exchange.abort(Cause::WrongLength);
        WHY.into()
    }
}

/// The error for hyper in place of the rest of a body whose exchange is over: it resets the stream.
pub(super) fn over() -> BoxError {
    #[cfg(feature = "http2")]
    return h2::Error::from(h2::Reason::CANCEL).into();
    #[cfg(not(feature = "http2"))]
    "the exchange is over".into()
}

impl Drop for Progress {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.exchange.note_body_failed();
        }
        self.exchange.request_ended(self.head);
        if self.carrier == Carrier::Stream {
            ExchangeState::upload_ended(&self.exchange);
        }
    }
}

pub(super) fn bytes_left(left: Option<Length>) -> Option<u64> {
    left.map(|(Length::Announced(left) | Length::Known(left))| left)
}

/// Counts bytes down from the announced length; returns whether there are too many.
pub(super) fn is_too_long(left: &mut Option<Length>, bytes: usize) -> bool {
    let Some(Length::Announced(left) | Length::Known(left)) = left else {
        return false;
    };
    let rest = left.checked_sub(u64::try_from(bytes).unwrap_or(u64::MAX));
    *left = rest.unwrap_or_default();
    rest.is_none()
}
