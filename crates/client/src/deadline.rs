//! The deadline of a call, which most calls need no timer for.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

use crate::{Error, error::Kind};

/// When a call has to be over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    pub(crate) at: Instant,
    /// How long that was from the start of the call.
    within: Duration,
}

impl Limit {
    /// A limit that lies beyond what the clock can express is none.
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

/// How long the session lets a call wait for one thing, which says when a deadline needs a timer.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Unwatched {
    patience: Option<Duration>,
    /// The deadline that most calls have, and how often these may wait.
    usual: Option<(Duration, u32)>,
}

/// Ends a call at its deadline.
///
/// Whatever a call waits for in the session, a timeout of the session ends that wait. So a call
/// that has found `n` times that it has to wait is no older than `n` such waits: as long as that is
/// within its deadline, the deadline cannot pass unseen, and to start a timer can wait. Most calls
/// are over by then.
///
/// The clock is not read for it. So a call that is made, or woken, and then left unpolled for long
/// may end as much later than at its deadline.
#[derive(Debug)]
pub(crate) struct Watch {
    limit: Option<Limit>,
    /// How often it may yet wait without a timer.
    unwatched: u32,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Unwatched {
    pub(crate) fn new(patience: Option<Duration>, usual: Option<Duration>) -> Self {
        let mut unwatched = Self {
            patience,
            usual: None,
        };
        unwatched.usual = usual.map(|usual| (usual, unwatched.count(usual)));
        unwatched
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
        let Some(patience) = self.patience.filter(|patience| !patience.is_zero()) else {
            return 0;
        };
        let mut waits = 0;
        let mut passed = patience;
        // More than a few are of no use: such a call has become a long one.
        while passed <= within && waits < 4 {
            waits += 1;
            passed = passed.saturating_add(patience);
        }
        waits
    }
}

impl Watch {
    #[inline]
    pub(crate) fn new(limit: Option<Limit>, unwatched: &Unwatched) -> Self {
        Self {
            unwatched: limit.map_or(0, |limit| unwatched.waits(limit.within())),
            limit,
            timer: None,
        }
    }

    pub(crate) fn limit(&self) -> Option<Limit> {
        self.limit
    }

    /// Has a timer from the next wait on.
    pub(crate) fn at_once(&mut self) {
        self.unwatched = 0;
    }

    /// Whether a call may wait once more without a timer.
    #[inline]
    pub(crate) fn lets_wait(&mut self) -> bool {
        let lets = self.unwatched > 0;
        self.unwatched = self.unwatched.saturating_sub(1);
        lets
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
            let unwatched = Unwatched::new(Some(seconds(100)), usual);
            for (within, waits) in [(0, 0), (99, 0), (100, 1), (299, 2), (300, 3), (9_999, 4)] {
                assert_eq!(unwatched.waits(seconds(within)), waits, "{within} s");
            }
            for patience in [None, Some(Duration::ZERO)] {
                let unwatched = Unwatched::new(patience, usual);
                assert_eq!(unwatched.waits(seconds(300)), 0);
                assert_eq!(unwatched.waits(seconds(299)), 0);
            }
        }
    }
}
