use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

use crate::runtime::{self, Id};

/// How late a look may be. If it is later, the program is taken to have stood still. Where half a
/// part of the window is longer, that is the limit.
const LATE: Duration = Duration::from_millis(100);

/// The moments at which a meter is looked at, and the time between them.
///
/// A look that comes far too late shows that nothing ran here meanwhile: the program was suspended, a
/// runtime was blocked, or the future was not polled. What had come by then may not even have been
/// read, so that time is not counted.
#[derive(Debug, Default)]
pub(super) struct Looks {
    timer: Option<Pin<Box<Sleep>>>,
    /// The runtime on which that timer was made.
    runtime: Option<Id>,
    /// When it was looked last; `None` while no wait goes on.
    since: Option<Instant>,
}

impl Looks {
    /// Whether a wait goes on.
    pub(super) fn is_running(&self) -> bool {
        self.since.is_some()
    }

    /// Begins to wait.
    pub(super) fn begin(&mut self, now: Instant) {
        self.drop_foreign_timer();
        self.since = Some(now);
    }

    /// Drops a timer of another runtime: it fires only while that is driven, and panics if that has
    /// ended.
    fn drop_foreign_timer(&mut self) {
        if self.timer.is_some() && self.runtime != runtime::current() {
            self.timer = None;
        }
    }

    /// Ends the wait; returns how long it was since the last look, as far as that is known.
    pub(super) fn end(&mut self, slot: Duration) -> Option<Duration> {
        let since = self.since.take()?;
        self.observed(since, Instant::now(), slot)
    }

    /// Waits for the moment of the next look. On another runtime than before it is due at once.
    pub(super) fn poll_due(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.drop_foreign_timer();
        match &mut self.timer {
            Some(timer) => timer.as_mut().poll(cx),
            None => Poll::Ready(()),
        }
    }

    /// Looks; returns the time since the last look, unless nothing ran meanwhile.
    pub(super) fn look(&mut self, now: Instant, slot: Duration) -> Option<Duration> {
        let since = self.since.replace(now)?;
        self.observed(since, now, slot)
    }

    fn observed(&self, since: Instant, now: Instant, slot: Duration) -> Option<Duration> {
        let due = self.timer.as_ref().map_or(since, |timer| timer.deadline());
        let late = now.saturating_duration_since(due.max(since));
        (late <= LATE.max(slot / 2)).then(|| now.saturating_duration_since(since))
    }

    /// Looks again after this time at the latest. A timer that fires before is left as it is: to look
    /// early costs less than to set a timer for every piece.
    pub(super) fn look_within(&mut self, now: Instant, time: Duration) {
        // A time of centuries is as good as none.
        let at = now.checked_add(time).unwrap_or_else(|| now + FAR);
        match &mut self.timer {
            None => {
                self.timer = Some(Box::pin(sleep_until(at)));
                self.runtime = runtime::current();
            }
            Some(timer)
                if timer.is_elapsed() || timer.deadline() <= now || timer.deadline() > at =>
            {
                timer.as_mut().reset(at);
            }
            Some(_) => {}
        }
    }
}

const FAR: Duration = Duration::from_secs(365 * 24 * 3600);
