//! What is left of a response body that was dropped.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::Body;
use hyper::body::Incoming;

/// How many bytes of an unwanted body are read to save its connection.
const MOST: usize = 64 * 1024;

/// How long the connection waits for them. A new connection takes one round trip or more.
pub(crate) const FOR: Duration = Duration::from_millis(50);

/// The rest of a response body that was dropped before its end.
///
/// What is there is read at once. What is not, though it may be on its way or in the buffers of
/// hyper, is left to the driver, which reads it for as long as [`FOR`].
#[derive(Debug)]
pub(crate) struct Unread {
    body: Incoming,
    taken: usize,
}

/// What came of reading it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Drained {
    /// It has ended, and left nothing behind.
    Ended,
    /// It broke, or is too long: a new connection costs less.
    NotWorthIt,
}

impl Unread {
    pub(crate) fn new(body: Incoming) -> Self {
        Self { body, taken: 0 }
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Drained> {
        loop {
            if self.body.is_end_stream() {
                return Poll::Ready(Drained::Ended);
            }
            let left = usize::try_from(self.body.size_hint().lower()).unwrap_or(usize::MAX);
            if self.taken.saturating_add(left) > MOST {
                return Poll::Ready(Drained::NotWorthIt);
            }
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    let bytes = frame.data_ref().map_or(0, Bytes::len);
                    self.taken = self.taken.saturating_add(bytes);
                }
                Some(Err(_)) => return Poll::Ready(Drained::NotWorthIt),
                None => return Poll::Ready(Drained::Ended),
            }
        }
    }
}
