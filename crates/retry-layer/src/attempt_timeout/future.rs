use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};

use super::error::AttemptError;

pin_project! {
    /// The future of [`AttemptTimeout`](super::AttemptTimeout).
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the attempt. The bytes that it has sent may have been processed; the same
    /// holds when the timeout runs out.
    #[must_use = "futures do nothing unless polled"]
    pub struct AttemptTimeoutFuture<F> {
        #[pin]
        attempt: F,
        // Armed at the first pending poll.
        #[pin]
        timer: Option<Sleep>,
        timeout: Duration,
    }
}

impl<F> AttemptTimeoutFuture<F> {
    pub(super) fn new(attempt: F, timeout: Duration) -> Self {
        Self {
            attempt,
            timer: None,
            timeout,
        }
    }
}

impl<F, T, E> Future for AttemptTimeoutFuture<F>
where
    F: Future<Output = Result<T, E>>,
{
    type Output = Result<T, AttemptError<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        // Polled first, so that an answer that came in time is returned.
        if let Poll::Ready(result) = this.attempt.poll(cx) {
            return Poll::Ready(result.map_err(AttemptError::inner));
        }
        if this.timer.is_none() {
            this.timer.set(Some(sleep(*this.timeout)));
        }
        if let Some(timer) = this.timer.as_pin_mut() {
            ready!(timer.poll(cx));
        }
        Poll::Ready(Err(AttemptError::elapsed()))
    }
}

impl<F> fmt::Debug for AttemptTimeoutFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AttemptTimeoutFuture")
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
