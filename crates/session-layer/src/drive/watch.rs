//! The timer of a connection, and the check of an exchange's timeouts.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::{
    Timeouts,
    config::{Config, OwnTimeout},
    exchange::{Cause, ExchangePhase, ExchangeState},
};

pin_project! {
    /// Keeps the timeouts of one connection with one timer.
    ///
    /// A request starts no timer. It notes its moments on the exchange's state. When the timer
    /// fires, the state is checked, and the timer is set for the next deadline. It never sleeps for
    /// longer than the shortest timeout, so that no timeout which begins meanwhile can run out
    /// unseen.
    pub(super) struct Watch {
        #[pin]
        timer: Timer,
        longest_sleep: Option<Duration>,
    }
}

pin_project! {
    #[project = TimerProj]
    enum Timer {
        // With the first deadline, if it was set before there was a timer.
        Unset { first: Option<Instant> },
        Set { #[pin] sleep: Sleep },
    }
}

impl Timer {
    /// The timer, if there is one.
    fn sleep(self: Pin<&mut Self>) -> Option<Pin<&mut Sleep>> {
        match self.project() {
            TimerProj::Set { sleep } => Some(sleep),
            TimerProj::Unset { .. } => None,
        }
    }
}

impl Watch {
    pub(super) fn new(config: &Config, also: Option<Duration>) -> Self {
        let longest_sleep = [
            config.timeouts.head,
            config.timeouts.body_idle,
            config.pool.idle_timeout,
            config.pool.max_lifetime,
            also,
        ]
        .into_iter()
        .flatten()
        .min();
        Self {
            timer: Timer::Unset { first: None },
            longest_sleep,
        }
    }

    /// Adds a timeout that may be shorter than those it was made with.
    pub(super) fn shorten(self: Pin<&mut Self>, time: Duration) {
        let this = self.project();
        if this.longest_sleep.is_some_and(|longest| longest <= time) {
            return;
        }
        *this.longest_sleep = Some(time);
        let at = Instant::now().checked_add(time);
        if let (Some(at), Some(timer)) = (at, this.timer.sleep()) {
            if timer.deadline() > at {
                timer.reset(at);
            }
        }
    }

    /// Looks at this moment at the latest; it does so once.
    pub(super) fn look_by(self: Pin<&mut Self>, at: Instant) {
        let this = self.project();
        match this.timer.project() {
            TimerProj::Set { sleep } if sleep.deadline() > at => sleep.reset(at),
            TimerProj::Set { .. } => {}
            TimerProj::Unset { first } => *first = Some(first.map_or(at, |first| first.min(at))),
        }
    }

    /// Has the timer wake this task, which may be another than the one that has polled last.
    pub(super) fn register(self: Pin<&mut Self>, cx: &mut Context<'_>) {
        if let Some(timer) = self.project().timer.sleep() {
            let _ = timer.poll(cx);
        }
    }

    /// Calls `look` when the timer fires; ends with the cause when a timeout has run out.
    #[inline]
    pub(super) fn poll(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        look: impl FnMut(Instant) -> Look,
    ) -> Poll<Cause> {
        // A timer has to be polled once after it was set, so that it knows its task. After that,
        // `is_elapsed` is enough.
        if matches!(&self.timer, Timer::Set { sleep } if !sleep.is_elapsed()) {
            return Poll::Pending;
        }
        self.poll_timer(cx, look)
    }

    /// The same when the timer has fired, or there is none yet.
    #[cold]
    fn poll_timer(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut look: impl FnMut(Instant) -> Look,
    ) -> Poll<Cause> {
        let mut this = self.project();
        let longest_sleep = *this.longest_sleep;
        if let Timer::Unset { first } = &*this.timer {
            let longest = longest_sleep.and_then(|it| Instant::now().checked_add(it));
            let Some(at) = first.iter().copied().chain(longest).min() else {
                return Poll::Pending;
            };
            let sleep = sleep_until(at);
            this.timer.set(Timer::Set { sleep });
        }
        loop {
            match this.timer.as_mut().sleep() {
                Some(timer) => ready!(timer.poll(cx)),
                None => return Poll::Pending,
            }
            let now = Instant::now();
            let at = match look(now) {
                Look::Abort(cause) => return Poll::Ready(cause),
                Look::Again(at) => at,
            };
            let longest = longest_sleep.and_then(|longest_sleep| now.checked_add(longest_sleep));
            let Some(at) = at.into_iter().chain(longest).min() else {
                this.timer.set(Timer::Unset { first: None });
                return Poll::Pending;
            };
            if let Some(timer) = this.timer.as_mut().sleep() {
                timer.reset(at);
            }
        }
    }
}

pub(super) enum Look {
    /// A timeout has run out.
    Abort(Cause),
    /// Look again at this moment; `None` if no timeout runs.
    Again(Option<Instant>),
}

/// Checks the timeouts of one exchange.
pub(super) fn look_at_exchange(
    exchange: &ExchangeState,
    timeouts: &Timeouts,
    now: Instant,
) -> Look {
    let after = |since: Option<Instant>, timeout: Option<Duration>| {
        since
            .zip(timeout)
            .and_then(|(since, timeout)| since.checked_add(timeout))
    };
    let own = exchange.own_times();
    // A request without a head timeout of its own is still limited while the peer takes nothing of
    // its body.
    let blocked_for = own.head.finite().or(timeouts.head);
    let (deadline, cause) = match exchange.phase() {
        ExchangePhase::Idle => return Look::Again(None),
        // A write has failed: what the peer has sent before comes within this time.
        ExchangePhase::Sending | ExchangePhase::Head
            if exchange.has_write_failed() && !exchange.is_answered() =>
        {
            (exchange.failed_write_deadline(), Cause::Broken)
        }
        ExchangePhase::Sending => (
            after(exchange.write_blocked(), blocked_for),
            Cause::HeadTimeout,
        ),
        // The head has come and the request was not polled since; or there is no limit.
        ExchangePhase::Head if own.head == OwnTimeout::NONE || exchange.is_answered() => {
            (None, Cause::HeadTimeout)
        }
        // A body that hyper has taken whole may still be written, and while bytes leave, the
        // deadline moves. A request without a body has a fixed deadline.
        ExchangePhase::Head => {
            let uploads = exchange.request_body_bytes() > 0;
            let blocked = exchange.write_blocked().filter(|_| uploads);
            let blocked = after(blocked, blocked_for);
            let moved = after(exchange.wrote_at(), blocked_for);
            let deadline = blocked.or_else(|| exchange.head_deadline().max(moved));
            (deadline, Cause::HeadTimeout)
        }
        ExchangePhase::Body => (
            after(
                exchange.wanted_since(),
                own.body_idle.or(timeouts.body_idle),
            ),
            Cause::BodyTimeout,
        ),
        ExchangePhase::Draining => (exchange.head_deadline(), Cause::Dropped),
        ExchangePhase::Orphan => (
            after(exchange.write_blocked(), timeouts.head),
            Cause::Unclean,
        ),
    };
    match deadline {
        Some(deadline) if deadline <= now => Look::Abort(cause),
        at => Look::Again(at),
    }
}
