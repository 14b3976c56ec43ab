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
    /// Reads the rest of a response's body that nobody wants, so that its connection can be used again: the
    /// retry layer does so with a response that it refuses, and a layer above with one that it leaves, such as
    /// [a redirect](crate::future#what-a-layer-above-asks).
    ///
    /// It ends at the end of the body, where the body breaks, and when it has read more than it may or for
    /// longer; the body is dropped with it. Nothing is kept in memory. One whose announced length is too long
    /// is not read at all.
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the body, and so closes an HTTP/1 connection.
    #[must_use = "futures do nothing unless polled"]
    pub struct Drain<B> {
        #[pin]
        body: B,
        // Armed at the first pending poll: most refused bodies are there with their head.
        #[pin]
        timer: Option<Sleep>,
        left: u64,
        time: Duration,
    }
}

impl<B: Body> Drain<B> {
    const FRAMES_AT_A_TIME: usize = 64;

    /// Reads up to 256 KiB, for up to 50 ms: as a [policy](crate::RetryPolicyBuilder::drain) does by default.
    /// `None` if the body is at its end, or certainly too long.
    pub fn of(body: B) -> Option<Self> {
        Self::new(body, DrainLimits::default())
    }

    /// Reads up to this many bytes, for up to this time. `None` if the body is at its end, or certainly too
    /// long, or if there is no time.
    pub fn within(body: B, bytes: u64, time: Duration) -> Option<Self> {
        Self::new(body, DrainLimits { bytes, time })
    }

    pub(crate) fn new(body: B, limits: DrainLimits) -> Option<Self> {
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

impl<B: Body> Future for Drain<B> {
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

impl<B> fmt::Debug for Drain<B> {
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
    async fn a_body_is_read_within_the_limits_that_are_given_or_not_at_all() {
        let time = Duration::from_millis(50);
        let mut drain = task::spawn(Drain::within(Endless, 10, time).unwrap());
        assert_ready!(drain.poll());
        assert!(Drain::within(Endless, 10, Duration::ZERO).is_none());
        let announced = || http_body_util::Full::new(Bytes::from_static(b"12345678901"));
        assert!(Drain::within(announced(), 10, time).is_none());
        assert!(Drain::of(announced()).is_some());
        assert!(Drain::of(http_body_util::Empty::<Bytes>::new()).is_none());
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
