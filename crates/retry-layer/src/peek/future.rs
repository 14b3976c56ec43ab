use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Response, response::Parts};
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};

use super::{
    body::{Begun, PeekBody},
    settings::PeekSettings,
};

pin_project! {
    /// The future of [`Peek`](super::Peek).
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the request, or the response with the read part of its body.
    ///
    /// # Panics
    ///
    /// If it is polled again after it was ready.
    #[must_use = "futures do nothing unless polled"]
    pub struct PeekFuture<F, B: Body> {
        #[pin]
        state: State<F, B>,
        settings: Arc<PeekSettings>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F, B: Body> {
        Sending { #[pin] attempt: F },
        Peeking {
            head: Option<Parts>,
            body: Option<Begun<B>>,
            // Armed at the first pending poll, since most beginnings come with their head.
            #[pin]
            timer: Option<Sleep>,
        },
    }
}

impl<F, B: Body> PeekFuture<F, B> {
    pub(super) fn new(attempt: F, settings: Arc<PeekSettings>) -> Self {
        Self {
            state: State::Sending { attempt },
            settings,
        }
    }
}

impl<F, B, E> Future for PeekFuture<F, B>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body<Data = Bytes>,
{
    type Output = Result<Response<PeekBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProj::Sending { attempt } => {
                    let (head, body) = ready!(attempt.poll(cx)?).into_parts();
                    if body.is_end_stream() || !this.settings.is_wanted(&head) {
                        let body = PeekBody::passing(body);
                        return Poll::Ready(Ok(Response::from_parts(head, body)));
                    }
                    this.state.set(State::Peeking {
                        head: Some(head),
                        body: Some(Begun::new(body)),
                        timer: None,
                    });
                }
                StateProj::Peeking {
                    head,
                    body,
                    mut timer,
                } => {
                    let (Some(begun), limit) = (body.as_mut(), this.settings.limit) else {
                        panic!("`PeekFuture` polled after it was ready")
                    };
                    if begun.poll_prefix(cx, limit).is_pending() {
                        if timer.is_none() {
                            timer.set(Some(sleep(this.settings.time)));
                        }
                        if let Some(timer) = timer.as_pin_mut() {
                            ready!(timer.poll(cx));
                        }
                    }
                    let peeked = begun.peeked(limit);
                    let (Some(mut head), Some(begun)) = (head.take(), body.take()) else {
                        unreachable!("the head stays as long as the body")
                    };
                    head.extensions.insert(peeked);
                    let body = PeekBody::begun(begun);
                    return Poll::Ready(Ok(Response::from_parts(head, body)));
                }
            }
        }
    }
}

impl<F, B: Body> fmt::Debug for PeekFuture<F, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Sending { .. } => "sending",
            State::Peeking { .. } => "peeking",
        };
        f.debug_struct("PeekFuture")
            .field("state", &state)
            .finish_non_exhaustive()
    }
}
