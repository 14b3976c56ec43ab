use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use http::Response;
use tokio::time::{Sleep, sleep};

use crate::deadline::Deadline;

/// The result of the last attempt, which a call returns if its deadline passes before the service is
/// ready for the next one.
pub(crate) struct Fallback<R, E> {
    pub(crate) result: Result<Response<R>, E>,
    deadline: Deadline,
    // Armed when the service turns out not to be ready.
    timer: Option<Pin<Box<Sleep>>>,
}

impl<R, E> Fallback<R, E> {
    pub(crate) fn new(result: Result<Response<R>, E>, deadline: Deadline) -> Box<Self> {
        Box::new(Self {
            result,
            deadline,
            timer: None,
        })
    }

    /// Whether the deadline has passed.
    pub(crate) fn is_due(&self) -> bool {
        self.deadline.remaining().is_zero()
    }

    /// Ready when the deadline has passed.
    pub(crate) fn poll_due(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = self.deadline;
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(sleep(deadline.remaining())));
        timer.as_mut().poll(cx)
    }
}
