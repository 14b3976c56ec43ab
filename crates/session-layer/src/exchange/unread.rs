//! Reads the rest of a response body that was dropped.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::Body;
use hyper::body::Incoming;

/// How many bytes of a dropped body are read to keep its connection.
const MOST: usize = 64 * 1024;

/// How long the driver waits for them. A new connection takes one round trip or more.
pub(crate) const FOR: Duration = Duration::from_millis(50);

/// The rest of a response body that was dropped before its end.
///
/// The bytes that hyper can give are read at once. The driver reads the others, for [`FOR`] at
/// most.
#[derive(Debug)]
pub(crate) struct Unread {
    body: Incoming,
    taken: usize,
}

/// How the reading has ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Drained {
    /// The body has ended, and has left no bytes behind.
    Ended,
    /// The body broke, or is too long: a new connection costs less.
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
