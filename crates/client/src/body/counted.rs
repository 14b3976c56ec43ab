use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::Boxed;
use crate::error::BoxError;

/// A request body that counts the bytes that are read of it.
pub(super) struct Counted {
    inner: Boxed,
    count: Arc<AtomicU64>,
}

impl Counted {
    pub(super) fn new(inner: Boxed, count: Arc<AtomicU64>) -> Self {
        Self { inner, count }
    }
}

impl Body for Counted {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = ready!(self.inner.as_mut().poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            // Relaxed: a metric, on which nothing else depends.
            self.count
                .fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Relaxed);
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
