use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::Request;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tracing::Span;

use super::{CallRecord, Record};
use crate::{Body, Error, ResponseBody, call_settings};

/// A response body with the record of its attempt or its call, which ends with it.
#[derive(Debug)]
pub(crate) struct Observed {
    inner: ResponseBody,
    record: Option<Recorded>,
}

/// What a body belongs to.
#[derive(Debug)]
pub(super) enum Recorded {
    Attempt(Record),
    Call(CallRecord),
}

impl Observed {
    pub(super) fn new(inner: ResponseBody, record: Recorded) -> Self {
        let record = (!inner.is_end_stream()).then_some(record);
        Self { inner, record }
    }

    pub(crate) fn get_ref(&self) -> &ResponseBody {
        &self.inner
    }

    pub(crate) fn get_mut(&mut self) -> &mut ResponseBody {
        &mut self.inner
    }

    /// Whether it is the body of a whole call, and not of one attempt.
    pub(crate) fn is_of_call(&self) -> bool {
        matches!(self.record, Some(Recorded::Call(_)))
    }
}

impl Recorded {
    fn span(&self) -> &Span {
        match self {
            Self::Attempt(record) => record.span(),
            Self::Call(record) => record.span(),
        }
    }

    fn passed(&mut self, frame: &Result<Frame<Bytes>, Error>) {
        match (self, frame) {
            (Self::Attempt(record), Ok(frame)) => {
                record.received(frame.data_ref().map_or(0, Bytes::len));
            }
            (Self::Call(_), Ok(_)) => {}
            (Self::Attempt(record), Err(error)) => record.failed(error),
            (Self::Call(record), Err(error)) => record.failed(error),
        }
    }
}

impl HttpBody for Observed {
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
        if let (Some(frame), Some(record)) = (&frame, &mut this.record) {
            record.passed(frame);
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

/// How many bytes of a request's body were sent.
#[derive(Clone, Debug)]
pub(crate) enum SentBytes {
    /// The body announces its length.
    Announced(u64),
    /// A request extension: it does not, and what is read of it is counted. Of a stream that is kept
    /// for later attempts each byte is read, and counted, once.
    Counted(Arc<AtomicU64>),
}

impl SentBytes {
    pub(super) fn of<B: HttpBody>(request: &Request<B>) -> Option<Self> {
        match request.extensions().get() {
            Some(Self::Counted(count)) => Some(Self::Counted(count.clone())),
            Some(Self::Announced(_)) | None => {
                request.body().size_hint().exact().map(Self::Announced)
            }
        }
    }

    pub(super) fn count(&self) -> u64 {
        match self {
            Self::Announced(bytes) => *bytes,
            Self::Counted(count) => count.load(Relaxed),
        }
    }
}

/// Counts what is read of a request's body, where it does not announce its length.
pub(crate) fn count_sent(request: &mut Request<Body>) {
    if request.body().size_hint().exact().is_some() {
        return;
    }
    let count = Arc::default();
    let body = std::mem::take(request.body_mut());
    *request.body_mut() = body.counted(&count);
    call_settings::set(request.extensions_mut(), SentBytes::Counted(count));
}
