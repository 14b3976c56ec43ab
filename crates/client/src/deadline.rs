//! The deadline of a call, and the timer that ends the call then.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

use crate::{Error, error::Kind};

/// The deadline of a call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    pub(crate) at: Instant,
    /// The time from the start of the call to its deadline.
    within: Duration,
}

impl Limit {
    /// A deadline beyond what the clock can express is no deadline.
    pub(crate) fn new(now: Instant, within: Duration) -> Option<Self> {
        let at = now.checked_add(within)?;
        Some(Self { at, within })
    }

    #[inline]
    pub(crate) fn within(&self) -> Duration {
        self.within
    }

    pub(crate) fn exceeded(&self) -> Error {
        Error::new(Kind::Deadline(self.within))
    }
}

/// How often a call may wait for the session before its deadline needs a timer.
///
/// A timer is an entry in the runtime's timer wheel, made and removed under a lock, and hardly any call lives
/// until its deadline. But each wait of a call for the session ends by one of the session's timeouts. So after
/// `n` polls that were pending no more than `n` times the longest of these has passed; as long as that is
/// within the deadline, no timer is needed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TimerDeferral {
    /// The upper bound of one wait: the sum of the session's timeouts.
    longest_wait: Option<Duration>,
    /// The deadline that most calls have, and how often these may wait.
    usual: Option<(Duration, u32)>,
}

/// Ends a call at its deadline. The timer starts when [`TimerDeferral`] allows no further wait without it.
///
/// Until then the clock is not read. A call that is woken, or made, and not polled for long, may
/// therefore end later than its deadline, by as long as it was not polled.
#[derive(Debug)]
pub(crate) struct DeadlineTimer {
    limit: Option<Limit>,
    /// How often the call may still wait without a timer.
    untimed_waits: u32,
    timer: Option<Pin<Box<Sleep>>>,
}

impl TimerDeferral {
    pub(crate) fn new(longest_wait: Option<Duration>, usual: Option<Duration>) -> Self {
        let mut deferral = Self {
            longest_wait,
            usual: None,
        };
        deferral.usual = usual.map(|usual| (usual, deferral.count(usual)));
        deferral
    }

    /// How often a call may wait before this time can have passed.
    #[inline]
    fn waits(&self, within: Duration) -> u32 {
        match self.usual {
            Some((usual, waits)) if usual == within => waits,
            _ => self.count(within),
        }
    }

    fn count(&self, within: Duration) -> u32 {
        let Some(longest) = self.longest_wait.filter(|longest| !longest.is_zero()) else {
            return 0;
        };
        let mut waits = 0;
        let mut passed = longest;
        // A call that waits more than four times takes long, so one timer costs little in
        // comparison.
        while passed <= within && waits < 4 {
            waits += 1;
            passed = passed.saturating_add(longest);
        }
        waits
    }
}

impl DeadlineTimer {
    #[inline]
    pub(crate) fn new(limit: Option<Limit>, deferral: &TimerDeferral) -> Self {
        Self {
            untimed_waits: limit.map_or(0, |limit| deferral.waits(limit.within())),
            limit,
            timer: None,
        }
    }

    pub(crate) fn limit(&self) -> Option<Limit> {
        self.limit
    }

    /// Starts the timer at the next wait.
    pub(crate) fn arm(&mut self) {
        self.untimed_waits = 0;
    }

    /// Takes one of the waits without a timer; false if none is left.
    #[inline]
    pub(crate) fn take_untimed_wait(&mut self) -> bool {
        let is_left = self.untimed_waits > 0;
        self.untimed_waits = self.untimed_waits.saturating_sub(1);
        is_left
    }

    /// Waits for the deadline; ready when it has passed.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Limit> {
        let Some(limit) = self.limit else {
            return Poll::Pending;
        };
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(sleep_until(limit.at)));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_waits_without_a_timer_only_where_its_waits_fit_the_deadline() {
        let seconds = Duration::from_secs;
        for usual in [None, Some(seconds(299))] {
            let deferral = TimerDeferral::new(Some(seconds(100)), usual);
            for (within, waits) in [(0, 0), (99, 0), (100, 1), (299, 2), (300, 3), (9_999, 4)] {
                assert_eq!(deferral.waits(seconds(within)), waits, "{within} s");
            }
            for longest in [None, Some(Duration::ZERO)] {
                let deferral = TimerDeferral::new(longest, usual);
                assert_eq!(deferral.waits(seconds(300)), 0);
                assert_eq!(deferral.waits(seconds(299)), 0);
            }
        }
    }
}
