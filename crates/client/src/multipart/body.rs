use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::{Body, body::Make, error::BoxError};

/// Joins several bodies to one, which can be made anew if each of them can.
pub(super) fn joined(pieces: Vec<Body>) -> Body {
    let makes: Option<Vec<_>> = pieces.iter().map(Body::renewal).collect();
    match makes {
        Some(makes) => Body::from_fn(move || {
            Body::new(Joined {
                pieces: makes.iter().map(Make::make).collect(),
            })
        }),
        None => Body::new(Joined {
            pieces: pieces.into(),
        }),
    }
}

/// Bodies one after the other.
struct Joined {
    pieces: VecDeque<Body>,
}

impl HttpBody for Joined {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        while let Some(piece) = self.pieces.front_mut() {
            match ready!(Pin::new(piece).poll_frame(cx)) {
                // Trailers of a piece are dropped.
                Some(Ok(frame)) if frame.is_trailers() => {}
                Some(frame) => return Poll::Ready(Some(frame)),
                None => {
                    self.pieces.pop_front();
                }
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.iter().all(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let mut sum = SizeHint::with_exact(0);
        for piece in &self.pieces {
            let hint = piece.size_hint();
            let upper = sum.upper().zip(hint.upper());
            let lower = sum.lower().saturating_add(hint.lower());
            sum = SizeHint::new();
            sum.set_lower(lower);
            if let Some(upper) = upper.and_then(|(one, other)| one.checked_add(other)) {
                sum.set_upper(upper.max(lower));
            }
        }
        sum
    }
}
