//! What is known of a body without reading it.

use std::{
    any::Any,
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::Request;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::Full;
use retry_layer::{BodyFactory, BodyReplay};

use crate::Body;

/// Stands for a body that is not there, of which this is known.
pub(super) struct Shape {
    is_end: bool,
    size: SizeHint,
    known: Option<BodyReplay>,
}

impl Shape {
    pub(super) fn of<B>(request: &Request<B>) -> Self
    where
        B: HttpBody + 'static,
    {
        let body = request.body();
        let is_end = body.is_end_stream();
        let any: &dyn Any = body;
        let known = if is_end {
            Some(BodyReplay::Empty)
        } else if request.extensions().get::<BodyFactory<Body>>().is_some() {
            Some(BodyReplay::MadeAnew)
        } else if any.is::<Full<Bytes>>() {
            Some(BodyReplay::Kept)
        } else {
            any.downcast_ref().and_then(of_own)
        };
        Self {
            is_end,
            size: body.size_hint(),
            known,
        }
    }

    /// How it can be repeated, where that follows from its type.
    pub(super) fn known(&self) -> Option<BodyReplay> {
        self.known
    }
}

fn of_own(body: &Body) -> Option<BodyReplay> {
    if body.again().is_some() {
        // One frame, which is kept whatever its size.
        return Some(BodyReplay::Kept);
    }
    body.factory().map(|_| BodyReplay::MadeAnew)
}

impl HttpBody for Shape {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.is_end
    }

    fn size_hint(&self) -> SizeHint {
        self.size
    }
}
