use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::Response;
use pin_project_lite::pin_project;

use super::{BreakerError, CircuitOpen, shared::Sent};
use crate::named::ServiceError;

pin_project! {
    /// The future of [`CircuitBreaker`](super::CircuitBreaker).
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the attempt, which then counts neither as a success nor as a failure. If it
    /// was a probe, the next request may be one.
    #[must_use = "futures do nothing unless polled"]
    pub struct BreakerFuture<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F> {
        Sending { #[pin] attempt: F, sent: Option<Sent> },
        Refused { error: Option<CircuitOpen> },
    }
}

impl<F> BreakerFuture<F> {
    #[inline]
    pub(super) fn sent(attempt: F, sent: Option<Sent>) -> Self {
        Self {
            state: State::Sending { attempt, sent },
        }
    }

    pub(super) fn refused(error: CircuitOpen) -> Self {
        Self {
            state: State::Refused { error: Some(error) },
        }
    }
}

impl<F> BreakerFuture<F> {
    /// The future of the attempt; `None` if the request was refused.
    #[must_use]
    pub fn attempt(&self) -> Option<&F> {
        match &self.state {
            State::Sending { attempt, .. } => Some(attempt),
            State::Refused { .. } => None,
        }
    }
}

impl<F, R, E> Future for BreakerFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    E: ServiceError,
{
    type Output = Result<Response<R>, BreakerError<E>>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProj::Sending { attempt, sent } => {
                let result = ready!(attempt.poll(cx));
                if let Some(sent) = sent.take() {
                    sent.ended(&result);
                }
                Poll::Ready(result.map_err(BreakerError::inner))
            }
            StateProj::Refused { error } => {
                let error = error.take().expect("polled after it was ready");
                Poll::Ready(Err(BreakerError::open(error)))
            }
        }
    }
}

impl<F> fmt::Debug for BreakerFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_refused = matches!(self.state, State::Refused { .. });
        f.debug_struct("BreakerFuture")
            .field("is_refused", &is_refused)
            .finish_non_exhaustive()
    }
}
