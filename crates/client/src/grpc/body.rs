use std::{
    fmt, mem,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Sleep, sleep_until};
use tonic::Status;

use super::status;
use crate::{ConnectionInfo, DeadlinePhase, deadline::Limit};

/// The response body of a [`GrpcChannel`](super::GrpcChannel). Its errors are gRPC statuses.
pub struct ResponseBody {
    inner: crate::ResponseBody,
    limit: Option<Limit>,
    /// Created only when the body has to be waited for.
    timer: Option<Pin<Box<Sleep>>>,
}

impl ResponseBody {
    pub(super) fn new(inner: crate::ResponseBody, limit: Option<Limit>) -> Self {
        Self {
            inner,
            limit,
            timer: None,
        }
    }

    /// Returns what is known of the connection that the answer came over; see
    /// [`connection`](crate::ResponseBody::connection) of the body inside.
    #[must_use]
    pub fn connection(&self) -> Option<&ConnectionInfo> {
        self.inner.connection()
    }

    fn poll_late(&mut self, limit: Limit, cx: &mut Context<'_>) -> Poll<Status> {
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(sleep_until(limit.at)));
        timer.as_mut().poll(cx).map(|()| {
            // Dropping the body resets the stream, so that the server stops.
            drop(mem::take(&mut self.inner));
            self.limit = None;
            status::of(limit.exceeded().in_phase(Some(DeadlinePhase::Body)))
        })
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(cx) {
            return Poll::Ready(frame.map(|frame| frame.map_err(status::of)));
        }
        match self.limit {
            Some(limit) => self.poll_late(limit, cx).map(|status| Some(Err(status))),
            None => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// An empty body, which tonic returns when an interceptor refuses the call.
impl Default for ResponseBody {
    fn default() -> Self {
        Self::new(crate::ResponseBody::default(), None)
    }
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}
