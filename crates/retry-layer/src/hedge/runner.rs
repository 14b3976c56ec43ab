use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{Response, response::Parts};
use http_body::Body;
use pin_project_lite::pin_project;

use super::body::{Beginning, Begun, HedgeBody};

pin_project! {
    /// One attempt of a [race](super::race::Race).
    #[project = RunnerProj]
    pub(super) enum Runner<F, R: Body, E> {
        Sending { #[pin] attempt: F },
        // The head has come, and no byte of the body.
        HasHead { response: Option<(Parts, Pin<Box<Begun<R>>>)> },
        // Its outcome is kept, should the others fail too.
        Failed { outcome: Option<Result<Response<HedgeBody<R>>, E>> },
        Over,
    }
}

/// What has become of an attempt.
pub(super) enum News<R: Body> {
    /// Its head has come. It is to be polled again at once.
    Head,
    Answer(Response<HedgeBody<R>>),
    /// [`Runner::take`] has its outcome.
    Failed,
}

impl<F, R: Body, E> Runner<F, R, E> {
    #[inline]
    pub(super) fn new(attempt: F) -> Self {
        Self::Sending { attempt }
    }

    /// What is there of the response or of the failure.
    pub(super) fn take(mut self: Pin<&mut Self>) -> Option<Result<Response<HedgeBody<R>>, E>> {
        let taken = match self.as_mut().project() {
            RunnerProj::Failed { outcome } => outcome.take(),
            RunnerProj::HasHead { response } => response.take().map(begun).map(Ok),
            RunnerProj::Sending { .. } | RunnerProj::Over => None,
        };
        self.set(Self::Over);
        taken
    }

    /// Drops what is there of the attempt.
    pub(super) fn end(mut self: Pin<&mut Self>) {
        self.set(Self::Over);
    }

    /// The future of the attempt while there is no head.
    pub(super) fn attempt(&self) -> Option<&F> {
        match self {
            Self::Sending { attempt } => Some(attempt),
            Self::HasHead { .. } | Self::Failed { .. } | Self::Over => None,
        }
    }
}

impl<F, R, E> Runner<F, R, E>
where
    F: Future<Output = Result<Response<R>, E>>,
    R: Body,
{
    /// Asks how far it has come; nothing more comes of one that has failed.
    pub(super) fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        has_failed: impl FnOnce(&Result<Response<R>, E>) -> bool,
    ) -> Poll<News<R>> {
        let (next, news) = match self.as_mut().project() {
            RunnerProj::Sending { attempt } => {
                let result = ready!(attempt.poll(cx));
                let has_failed = has_failed(&result);
                match result {
                    Ok(response) if !has_failed && response.body().is_end_stream() => {
                        let answer = response.map(HedgeBody::passing);
                        (Self::Over, News::Answer(answer))
                    }
                    Ok(response) if !has_failed => {
                        let (head, body) = response.into_parts();
                        let response = Some((head, Box::pin(Begun::new(body))));
                        (Self::HasHead { response }, News::Head)
                    }
                    result => {
                        let outcome = result.map(|response| response.map(HedgeBody::passing));
                        let outcome = Some(outcome);
                        (Self::Failed { outcome }, News::Failed)
                    }
                }
            }
            RunnerProj::HasHead { response } => {
                let Some((_, body)) = response else {
                    return Poll::Pending;
                };
                let beginning = ready!(body.as_mut().poll_beginning(cx));
                let Some(response) = response.take().map(begun) else {
                    return Poll::Pending;
                };
                match beginning {
                    Beginning::Answer => (Self::Over, News::Answer(response)),
                    Beginning::Error => {
                        let outcome = Some(Ok(response));
                        (Self::Failed { outcome }, News::Failed)
                    }
                }
            }
            RunnerProj::Failed { .. } | RunnerProj::Over => return Poll::Pending,
        };
        self.set(next);
        Poll::Ready(news)
    }
}

fn begun<R: Body>((head, begun): (Parts, Pin<Box<Begun<R>>>)) -> Response<HedgeBody<R>> {
    Response::from_parts(head, HedgeBody::begun(begun))
}
