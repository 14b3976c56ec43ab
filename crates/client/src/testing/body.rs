use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use session_layer::{Error, Phase, testing::Failure};
use tokio::time::{Sleep, sleep};

use super::answer::Ending;

/// The body of a faked response.
pub(super) struct FakeBody {
    bytes: Bytes,
    ending: Ending,
    idle_timeout: Option<Duration>,
    timer: Option<Pin<Box<Sleep>>>,
    failed: bool,
}

impl FakeBody {
    pub(super) fn new(bytes: Bytes, ending: Ending, idle_timeout: Option<Duration>) -> Self {
        Self {
            bytes,
            ending,
            idle_timeout,
            timer: None,
            failed: false,
        }
    }

    /// Waits until nothing has come for longer than the idle timeout.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        let Some(idle_timeout) = self.idle_timeout else {
            return Poll::Pending;
        };
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(sleep(idle_timeout)));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Failure::Timeout(Phase::Body, idle_timeout).into())
    }
}

impl Body for FakeBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if !self.bytes.is_empty() {
            let bytes = std::mem::take(&mut self.bytes);
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        if self.failed {
            return Poll::Ready(None);
        }
        let error = match self.ending {
            Ending::Whole => return Poll::Ready(None),
            Ending::BreaksOff => Failure::ResponseBody.into(),
            Ending::Stalls => ready!(self.poll_idle(cx)),
        };
        self.failed = true;
        Poll::Ready(Some(Err(error)))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_empty() && (self.failed || self.ending == Ending::Whole)
    }

    fn size_hint(&self) -> SizeHint {
        let rest = u64::try_from(self.bytes.len()).unwrap_or(u64::MAX);
        match self.ending {
            Ending::Whole => SizeHint::with_exact(rest),
            Ending::BreaksOff | Ending::Stalls => SizeHint::new(),
        }
    }
}
