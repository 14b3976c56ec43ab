use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Buf;
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};

/// How much of a refused response is read, so that its connection can be used again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct DrainLimits {
    pub(crate) bytes: u64,
    pub(crate) time: Duration,
}

impl Default for DrainLimits {
    fn default() -> Self {
        Self {
            bytes: 256 * 1024,
            time: Duration::from_millis(50),
        }
    }
}

pin_project! {
    /// Reads a body to its end, or gives up; ready when there is nothing more to do with it.
    pub(crate) struct Drain<R> {
        #[pin]
        body: R,
        // Armed at the first pending poll: most refused bodies are there with their head.
        #[pin]
        timer: Option<Sleep>,
        left: u64,
        time: Duration,
    }
}

impl<R: Body> Drain<R> {
    const FRAMES_AT_A_TIME: usize = 64;

    /// Nothing if the body is at its end, or certainly too long to be worth reading.
    pub(crate) fn new(body: R, limits: DrainLimits) -> Option<Self> {
        let hopeless = limits.time.is_zero() || body.size_hint().lower() > limits.bytes;
        if hopeless || body.is_end_stream() {
            return None;
        }
        Some(Self {
            body,
            timer: None,
            left: limits.bytes,
            time: limits.time,
        })
    }
}

impl<R: Body> Future for Drain<R> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        let mut frames = 0;
        loop {
            // A body that always has more must not keep its thread, nor outlive the timer.
            if frames == Self::FRAMES_AT_A_TIME {
                cx.waker().wake_by_ref();
                break;
            }
            frames += 1;
            match this.body.as_mut().poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    let len = frame.data_ref().map_or(0, Buf::remaining);
                    let len = u64::try_from(len).unwrap_or(u64::MAX);
                    // A frame without data costs one too, or a body of such frames never ends.
                    match this.left.checked_sub(len.max(1)) {
                        Some(left) => *this.left = left,
                        None => return Poll::Ready(()),
                    }
                    if this.body.is_end_stream() {
                        return Poll::Ready(());
                    }
                }
                Poll::Ready(None | Some(Err(_))) => return Poll::Ready(()),
                Poll::Pending => break,
            }
        }
        if this.timer.is_none() {
            this.timer.set(Some(sleep(*this.time)));
        }
        if let Some(timer) = this.timer.as_pin_mut() {
            ready!(timer.poll(cx));
        }
        Poll::Ready(())
    }
}

impl<R> fmt::Debug for Drain<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drain")
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use bytes::Bytes;
    use http_body::Frame;
    use tokio::time::advance;
    use tokio_test::{assert_pending, assert_ready, task};

    use super::*;

    /// Always has another byte.
    struct Endless;

    impl Body for Endless {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b".")))))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_endless_body_lets_others_run_and_ends_with_the_time() {
        let limits = DrainLimits {
            bytes: u64::MAX,
            ..DrainLimits::default()
        };
        let mut drain = task::spawn(Drain::new(Endless, limits).unwrap());
        assert_pending!(drain.poll());
        assert!(drain.is_woken());
        advance(limits.time).await;
        assert_ready!(drain.poll());
    }
}
