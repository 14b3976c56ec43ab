use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use session_layer::ConnectionInfo;
use tracing::Span;

use crate::{
    Error, ResponseBody,
    body::{Place, Wrapper},
};

/// What is recorded of an attempt or of a call until the body of its response has ended.
pub(super) trait Recorder: Send + Sync + Unpin + 'static {
    /// The place of the body in the stack.
    const PLACE: Place;

    fn span(&self) -> &Span;

    /// Data or trailers came.
    fn received(&mut self, frame: &Frame<Bytes>);

    /// The body broke.
    fn failed(&mut self, error: &Error);
}

/// A response body that carries the record of its attempt or call, and ends it.
#[derive(Debug)]
pub(super) struct Observed<R> {
    inner: ResponseBody,
    record: Option<R>,
}

impl<R: Recorder> Observed<R> {
    pub(super) fn new(inner: ResponseBody, record: R) -> Self {
        let record = (!inner.is_end_stream()).then_some(record);
        Self { inner, record }
    }
}

impl<R: Recorder> Wrapper for Observed<R> {
    fn place(&self) -> Place {
        R::PLACE
    }

    fn inner(&mut self) -> Option<&mut ResponseBody> {
        Some(&mut self.inner)
    }

    fn connection(&self) -> Option<&ConnectionInfo> {
        self.inner.connection()
    }
}

impl<R: Recorder> HttpBody for Observed<R> {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        let frame = {
            let _entered = this.record.as_ref().map(|record| record.span().enter());
            ready!(Pin::new(&mut this.inner).poll_frame(cx))
        };
        match (&frame, &mut this.record) {
            (Some(Ok(frame)), Some(record)) => record.received(frame),
            (Some(Err(error)), Some(record)) => record.failed(error),
            (None, _) | (_, None) => {}
        }
        if !matches!(frame, Some(Ok(_))) || this.inner.is_end_stream() {
            this.record = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
