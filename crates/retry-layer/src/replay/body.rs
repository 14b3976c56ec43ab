use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::{
    copied::Copied,
    error::ReplayBodyError,
    reader::{Read, Reader},
    tape::Tape,
};
use crate::named::BoxError;

/// The body of a request that may be sent more than once.
///
/// The first attempt streams it as it comes. Each frame is kept while it passes, by reference
/// count and without a copy, up to the policy's
/// [`replay_limit`](crate::RetryPolicyBuilder::replay_limit). A later attempt gets what was
/// kept, and then the rest; trailers too. A body that goes over the limit is still sent, but
/// only to this attempt. A body that is one frame of bytes is kept whatever its size, because it
/// is in memory anyway. All calls of a policy together keep no more than its
/// [`replay_memory`](crate::RetryPolicyBuilder::replay_memory), if that is set; short frames are
/// then copied, so that they hold no buffer that is longer than what is counted. A body that
/// comes with a [`BodyFactory`](crate::BodyFactory) is made anew for each attempt, and not kept.
///
/// Its length is the same on every attempt. Only the newest attempt can read: the body of an
/// attempt that was given up ends in an error, never early, so that a truncated request is not
/// taken for a whole one.
pub struct ReplayBody<B> {
    state: State<B>,
}

// The body is boxed where there is one, so that a request stays within 256 bytes: it is moved some
// ten times, and longer copies take a slower way.
enum State<B> {
    Empty,
    /// Nothing is kept of it, or nothing any more.
    Passing(Pin<Box<B>>),
    Recorded(Reader<B>),
    Copied(Box<Copied>),
    /// The factory made a body of another length than the first one had.
    Changed {
        exact: Option<u64>,
    },
}

impl<B> ReplayBody<B> {
    /// A body that the reader of a tape reads.
    pub(super) fn recorded(reader: Reader<B>) -> Self {
        Self {
            state: State::Recorded(reader),
        }
    }

    /// Stands for a body that the factory made with another length than the first, whose was `exact`.
    pub(super) fn changed(exact: Option<u64>) -> Self {
        Self {
            state: State::Changed { exact },
        }
    }

    pub(super) fn copied(copied: Copied) -> Self {
        Self {
            state: State::Copied(Box::new(copied)),
        }
    }

    /// The tape that it reads, if it reads one.
    pub(super) fn tape(&self) -> Option<Arc<Tape<B>>> {
        match &self.state {
            State::Recorded(reader) => Some(reader.tape()),
            _ => None,
        }
    }

    /// The body inside, if nothing is kept of it.
    pub(super) fn passed(&self) -> Option<&B> {
        match &self.state {
            State::Passing(body) => Some(body),
            _ => None,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        matches!(self.state, State::Empty)
    }

    pub(crate) fn empty() -> Self {
        Self {
            state: State::Empty,
        }
    }

    /// Makes a body of which nothing is kept, so that it can be sent once: for a layer between the
    /// attempts and the service, which puts a body of its own in place of one. Allocates once.
    pub fn passing(body: B) -> Self {
        Self {
            state: State::Passing(Box::pin(body)),
        }
    }
}

impl<B> Body for ReplayBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = ReplayBodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ReplayBodyError>>> {
        let state = &mut self.get_mut().state;
        match state {
            State::Empty => Poll::Ready(None),
            State::Passing(body) => {
                let polled = body.as_mut().poll_frame(cx);
                polled.map_err(ReplayBodyError::inner)
            }
            State::Recorded(reader) => match reader.poll_read(cx) {
                Read::Polled(polled) => polled,
                Read::Alone(mut body) => {
                    let polled = body.as_mut().poll_frame(cx);
                    *state = State::Passing(body);
                    polled.map_err(ReplayBodyError::inner)
                }
            },
            State::Copied(copied) => Poll::Ready(copied.next_frame().map(Ok)),
            State::Changed { .. } => Poll::Ready(Some(Err(ReplayBodyError::changed()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.state {
            State::Empty => true,
            State::Passing(body) => body.is_end_stream(),
            State::Recorded(reader) => reader.is_end_stream(),
            State::Copied(copied) => copied.is_end_stream(),
            State::Changed { .. } => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.state {
            State::Empty => SizeHint::with_exact(0),
            State::Passing(body) => body.size_hint(),
            State::Recorded(reader) => reader.size_hint(),
            State::Copied(copied) => copied.size_hint(),
            State::Changed { exact } => exact.map_or_else(SizeHint::new, SizeHint::with_exact),
        }
    }
}

impl<B> fmt::Debug for ReplayBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Empty => "empty",
            State::Passing(_) => "passing",
            State::Recorded(_) => "recorded",
            State::Copied(_) => "copied",
            State::Changed { .. } => "changed",
        };
        f.debug_tuple("ReplayBody").field(&state).finish()
    }
}
