use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

/// The beginning of a response's body: an extension of the response that a
/// [`PeekLayer`](super::PeekLayer) has peeked at.
#[derive(Clone, Eq, PartialEq)]
pub struct Peeked {
    prefix: Bytes,
    whole: bool,
}

impl Peeked {
    /// The first bytes of the body, as many as the layer allows and as had come in time.
    #[must_use]
    pub fn prefix(&self) -> &Bytes {
        &self.prefix
    }

    /// Whether that is the whole body.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.whole
    }
}

// Leaves the bytes out, which may be secret.
impl fmt::Debug for Peeked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peeked")
            .field("len", &self.prefix.len())
            .field("whole", &self.whole)
            .finish()
    }
}

pin_project! {
    /// A response body whose beginning may have been read: it returns every frame of the inner body
    /// in order, and its error at the same place.
    pub struct PeekBody<B: Body> {
        #[pin]
        state: State<B>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<B: Body> {
        Passing { #[pin] body: B },
        Begun { begun: Begun<B> },
    }
}

impl<B: Body> PeekBody<B> {
    pub(super) fn passing(body: B) -> Self {
        Self {
            state: State::Passing { body },
        }
    }

    pub(super) fn begun(begun: Begun<B>) -> Self {
        Self {
            state: State::Begun { begun },
        }
    }
}

impl<B> Body for PeekBody<B>
where
    B: Body<Data = Bytes>,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().state.project() {
            StateProj::Passing { body } => body.poll_frame(cx),
            StateProj::Begun { begun } => begun.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.state {
            State::Passing { body } => body.is_end_stream(),
            State::Begun { begun } => begun.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.state {
            State::Passing { body } => body.size_hint(),
            State::Begun { begun } => begun.size_hint(),
        }
    }
}

impl<B: Body> fmt::Debug for PeekBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Passing { .. } => "passing",
            State::Begun { .. } => "begun",
        };
        f.debug_tuple("PeekBody").field(&state).finish()
    }
}

/// A body, and the frames that were read and not returned yet. The bound is for the types of its
/// frames and error.
pub(super) struct Begun<B: Body> {
    frames: VecDeque<Frame<B::Data>>,
    /// How many bytes these frames have.
    held: usize,
    /// The error that came after the frames.
    error: Option<B::Error>,
    rest: Pin<Box<B>>,
    read: Read,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Read {
    On,
    Ended,
}

impl<B> Begun<B>
where
    B: Body<Data = Bytes>,
{
    const FRAMES_AT_A_TIME: usize = 64;

    pub(super) fn new(body: B) -> Self {
        Self {
            frames: VecDeque::new(),
            held: 0,
            error: None,
            rest: Box::pin(body),
            read: Read::On,
        }
    }

    /// Reads until there are `limit` bytes, or the body has ended.
    pub(super) fn poll_prefix(&mut self, cx: &mut Context<'_>, limit: usize) -> Poll<()> {
        let mut frames = 0;
        while self.read == Read::On && self.held < limit {
            // A body that always has more must not block its thread or the timer.
            if frames == Self::FRAMES_AT_A_TIME {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            frames += 1;
            match ready!(self.rest.as_mut().poll_frame(cx)) {
                Some(Ok(frame)) => {
                    // Empty frames are dropped, since a body of only these would fill the memory.
                    let length = frame.data_ref().map(Bytes::len);
                    if length != Some(0) {
                        self.held = self.held.saturating_add(length.unwrap_or_default());
                        self.frames.push_back(frame);
                    }
                    if self.rest.is_end_stream() {
                        self.read = Read::Ended;
                    }
                }
                Some(Err(error)) => {
                    self.error = Some(error);
                    self.read = Read::Ended;
                }
                None => self.read = Read::Ended,
            }
        }
        Poll::Ready(())
    }

    pub(super) fn peeked(&self, limit: usize) -> Peeked {
        let mut data = self.frames.iter().filter_map(Frame::data_ref);
        let mut prefix = data.next().cloned().unwrap_or_default();
        if let Some(second) = data.next().filter(|_| prefix.len() < limit) {
            let mut joined = BytesMut::from(prefix);
            joined.extend_from_slice(second);
            data.for_each(|more| joined.extend_from_slice(more));
            prefix = joined.freeze();
        }
        let whole = self.read == Read::Ended && self.error.is_none() && prefix.len() <= limit;
        prefix.truncate(limit);
        Peeked { prefix, whole }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if let Some(frame) = self.frames.pop_front() {
            let length = frame.data_ref().map_or(0, Bytes::len);
            self.held = self.held.saturating_sub(length);
            return Poll::Ready(Some(Ok(frame)));
        }
        if let Some(error) = self.error.take() {
            return Poll::Ready(Some(Err(error)));
        }
        match self.read {
            Read::On => self.rest.as_mut().poll_frame(cx),
            Read::Ended => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        let ended = self.read == Read::Ended || self.rest.is_end_stream();
        self.frames.is_empty() && self.error.is_none() && ended
    }

    fn size_hint(&self) -> SizeHint {
        let held = u64::try_from(self.held).unwrap_or(u64::MAX);
        let rest = match (self.read, &self.error) {
            // The rest of a body that has failed is unknown, and will not come.
            (Read::Ended, Some(_)) => SizeHint::new(),
            (Read::Ended, None) => SizeHint::with_exact(0),
            (Read::On, _) => self.rest.size_hint(),
        };
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(held));
        if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(held)) {
            hint.set_upper(upper);
        }
        hint
    }
}
