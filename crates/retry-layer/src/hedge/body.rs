use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Buf;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

pin_project! {
    /// The body of a response that came through a [`Hedge`](super::Hedge): it gives every frame of the body
    /// inside, also that which was read to know which attempt answered first.
    pub struct HedgeBody<B: Body> {
        #[pin]
        state: State<B>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<B: Body> {
        Passing { #[pin] body: B },
        // Boxed, so that a body that was not held back has no room for a frame.
        Begun { begun: Pin<Box<Begun<B>>> },
    }
}

impl<B: Body> HedgeBody<B> {
    #[inline]
    pub(super) fn passing(body: B) -> Self {
        Self {
            state: State::Passing { body },
        }
    }

    pub(super) fn begun(begun: Pin<Box<Begun<B>>>) -> Self {
        Self {
            state: State::Begun { begun },
        }
    }
}

impl<B: Body + Unpin> HedgeBody<B> {
    /// The body inside, if nothing was read of it.
    ///
    /// # Errors
    ///
    /// This body, if something was.
    pub fn try_into_inner(self) -> Result<B, Self> {
        match self.state {
            State::Passing { body } => Ok(body),
            state @ State::Begun { .. } => Err(Self { state }),
        }
    }

    /// The body inside. What was read of it already comes from this one alone.
    #[must_use]
    pub fn get_ref(&self) -> &B {
        match &self.state {
            State::Passing { body } => body,
            State::Begun { begun } => &begun.rest,
        }
    }

    /// The body inside. What was read of it already comes from this one alone.
    pub fn get_mut(&mut self) -> &mut B {
        match &mut self.state {
            State::Passing { body } => body,
            State::Begun { begun } => &mut begun.as_mut().get_mut().rest,
        }
    }
}

pin_project! {
    /// A body whose first frame was asked for.
    pub(super) struct Begun<B: Body> {
        // What was read and not given out.
        first: First<B>,
        #[pin]
        rest: B,
    }
}

enum First<B: Body> {
    /// Not there, or given out.
    None,
    Frame(Frame<B::Data>),
    Error(B::Error),
    End,
}

type FrameOf<B> = Result<Frame<<B as Body>::Data>, <B as Body>::Error>;

/// What a body began with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Beginning {
    /// With a frame, or with its end.
    Answer,
    Error,
}

impl<B: Body> Begun<B> {
    pub(super) fn new(body: B) -> Self {
        Self {
            first: First::None,
            rest: body,
        }
    }

    /// Waits for the first byte, the trailers, the end or an error.
    pub(super) fn poll_beginning(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Beginning> {
        let mut this = self.project();
        // A body of empty frames must not keep its thread.
        for _ in 0..Self::FRAMES_AT_A_TIME {
            *this.first = match ready!(this.rest.as_mut().poll_frame(cx)) {
                None => First::End,
                Some(Err(error)) => First::Error(error),
                Some(Ok(frame)) if frame.data_ref().is_some_and(|data| !data.has_remaining()) => {
                    continue;
                }
                Some(Ok(frame)) => First::Frame(frame),
            };
            return Poll::Ready(match this.first {
                First::Error(_) => Beginning::Error,
                First::None | First::Frame(_) | First::End => Beginning::Answer,
            });
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    const FRAMES_AT_A_TIME: usize = 64;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<FrameOf<B>>> {
        let this = self.project();
        match std::mem::replace(this.first, First::None) {
            First::None => this.rest.poll_frame(cx),
            First::Frame(frame) => Poll::Ready(Some(Ok(frame))),
            First::Error(error) => {
                *this.first = First::End;
                Poll::Ready(Some(Err(error)))
            }
            First::End => {
                *this.first = First::End;
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self.first {
            First::None => self.rest.is_end_stream(),
            First::Frame(_) | First::Error(_) => false,
            First::End => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        let held = match &self.first {
            First::None => return self.rest.size_hint(),
            First::Frame(frame) => frame.data_ref().map_or(0, Buf::remaining),
            // What a body that has failed still holds is not known, and will not come.
            First::Error(_) => return SizeHint::new(),
            First::End => return SizeHint::with_exact(0),
        };
        let held = u64::try_from(held).unwrap_or(u64::MAX);
        let rest = self.rest.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(held));
        if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(held)) {
            hint.set_upper(upper);
        }
        hint
    }
}

impl<B: Body> Body for HedgeBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        match self.project().state.project() {
            StateProj::Passing { body } => body.poll_frame(cx),
            StateProj::Begun { begun } => begun.as_mut().poll_frame(cx),
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

impl<B: Body> fmt::Debug for HedgeBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Passing { .. } => "passing",
            State::Begun { .. } => "begun",
        };
        f.debug_tuple("HedgeBody").field(&state).finish()
    }
}
