//! An open connection of an event source, and the times that limit it.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_core::Stream;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::{Error, Event, Events, error::Kind};

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Limits {
    pub(super) max_length: Option<usize>,
    pub(super) max_failures: Option<u32>,
    pub(super) first_event: Option<Duration>,
    pub(super) silence: Option<Duration>,
}

/// A connection on which events may come.
pub(super) struct Open {
    pub(super) events: Events,
    pub(super) clock: Clock,
}

/// The times by which an open connection is limited.
pub(super) struct Clock {
    /// When this connection was opened, until its first event.
    pub(super) opened: Option<Instant>,
    /// When the last line came, a comment's included.
    heard: Instant,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Open {
    /// Gives the next event; `None` at the end of the response.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        limits: &Limits,
    ) -> Poll<Result<Option<Event>, Error>> {
        let event = Pin::new(&mut self.events).poll_next(cx);
        if self.events.take_heard() {
            self.clock.heard = Instant::now();
        }
        // Events first, the clock second.
        let Poll::Ready(event) = event else {
            let (what, limit) = ready!(self.clock.poll(cx, limits));
            return Poll::Ready(Err(self.events.fail(Kind::Silent { what, limit })));
        };
        if let Some(Ok(_)) = event {
            self.clock.opened = None;
        }
        Poll::Ready(event.transpose())
    }
}

impl Clock {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self {
            opened: Some(now),
            heard: now,
            timer: None,
        }
    }

    /// Waits until one of the limits has passed, and says which.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        limits: &Limits,
    ) -> Poll<(&'static str, Duration)> {
        let first = limits.first_event.zip(self.opened);
        let silence = limits.silence.map(|limit| (limit, self.heard));
        // A limit beyond what the clock can express never passes.
        let end = |(limit, since): (Duration, Instant), what| {
            since.checked_add(limit).map(|at| (at, what, limit))
        };
        let first = first.and_then(|it| end(it, "no event"));
        let silence = silence.and_then(|it| end(it, "nothing"));
        let Some((at, what, limit)) = first.into_iter().chain(silence).min() else {
            return Poll::Pending;
        };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if timer.deadline() != at {
            timer.as_mut().reset(at);
        }
        timer.as_mut().poll(cx).map(|()| (what, limit))
    }
}
