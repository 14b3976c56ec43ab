use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::Record;
use crate::{Error, ResponseBody};

/// A response body with the record of its attempt, which ends with it.
#[derive(Debug)]
pub(crate) struct Observed {
    inner: ResponseBody,
    record: Option<Record>,
}

impl Observed {
    pub(super) fn new(inner: ResponseBody, record: Record) -> Self {
        let record = (!inner.is_end_stream()).then_some(record);
        Self { inner, record }
    }

    pub(crate) fn get_ref(&self) -> &ResponseBody {
        &self.inner
    }

    pub(crate) fn get_mut(&mut self) -> &mut ResponseBody {
        &mut self.inner
    }
}

impl Body for Observed {
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
        if let (Some(Err(error)), Some(record)) = (&frame, &mut this.record) {
            record.failed(error);
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
