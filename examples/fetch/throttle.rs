//! Bodies that are read no faster than at a given rate.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

/// A body that gives so many bytes per second, in small pieces.
pub(crate) struct Throttled<B> {
    inner: Pin<Box<B>>,
    rate: u64,
    /// What is left of what the body gave at once.
    rest: Bytes,
    /// When the next piece may be given.
    next: Pin<Box<Sleep>>,
}

/// How late a piece may be without making the next one later.
const LATE: Duration = Duration::from_millis(200);

impl<B> Throttled<B> {
    pub(crate) fn new(inner: B, rate: u64) -> Self {
        Self {
            inner: Box::pin(inner),
            rate: rate.max(1),
            rest: Bytes::new(),
            next: Box::pin(sleep_until(Instant::now())),
        }
    }

    /// The length of a piece: about a tenth of a second's bytes.
    fn piece(&self) -> usize {
        let piece = (self.rate / 10).clamp(1, 64 * 1024);
        usize::try_from(piece).unwrap_or(usize::MAX)
    }

    /// Takes a piece of what is left, and sets when the next one may follow.
    fn take(&mut self) -> Bytes {
        let piece = self.rest.split_to(self.piece().min(self.rest.len()));
        let length = u64::try_from(piece.len()).unwrap_or(u64::MAX);
        let micros = length.saturating_mul(1_000_000) / self.rate;
        // Counted from when the piece could have been given, so that a late timer costs no rate; but what
        // was not used for long is not made up for.
        let from = self.next.deadline().max(Instant::now() - LATE);
        let next = from + Duration::from_micros(micros);
        self.next.as_mut().reset(next);
        piece
    }
}

impl<B: Body<Data = Bytes>> Body for Throttled<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if self.rest.is_empty() {
            let Some(frame) = ready!(self.inner.as_mut().poll_frame(cx)).transpose()? else {
                return Poll::Ready(None);
            };
            match frame.into_data() {
                Ok(data) => self.rest = data,
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            }
        }
        ready!(self.next.as_mut().poll(cx));
        Poll::Ready(Some(Ok(Frame::data(self.take()))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = u64::try_from(self.rest.len()).unwrap_or(u64::MAX);
        let inner = self.inner.size_hint();
        let mut hint = SizeHint::new();
        if let Some(upper) = inner.upper().and_then(|upper| upper.checked_add(rest)) {
            hint.set_upper(upper);
        }
        hint.set_lower(inner.lower().saturating_add(rest));
        hint
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt as _, Full};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_body_takes_as_long_as_its_rate_says() {
        let began = Instant::now();
        let content = Bytes::from(vec![7; 100_000]);
        let body = Throttled::new(Full::new(content.clone()), 10_000);
        assert_eq!(body.size_hint().exact(), Some(100_000));
        assert_eq!(body.collect().await.expect("it ends").to_bytes(), content);
        let took = began.elapsed().as_secs_f64();
        // What follows the last piece is not waited for.
        assert!((9.8..10.3).contains(&took), "{took}");
    }
}
