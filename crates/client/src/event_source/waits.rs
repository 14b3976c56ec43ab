use std::time::Duration;

use retry_layer::{Backoff, Exponential, backoff::Delays};

use crate::id;

/// The longest wait that a server can ask for.
const LONGEST: Duration = Duration::from_secs(3_600);

/// How long to wait before the next connection.
///
/// The standard has a reconnection time, which the server may set, and lets a client wait longer
/// where connections fail. Here the backoff is added from the first reconnection on, so that the
/// clients of a server that restarts do not come back all at once.
#[derive(Debug)]
pub(super) struct Waits {
    reconnection_time: Duration,
    backoff: Backoff,
    delays: Option<Delays>,
    failures: u32,
}

impl Waits {
    pub(super) fn new() -> Self {
        let backoff = Exponential::new(Duration::from_secs(1)).cap(Duration::from_secs(60));
        Self {
            reconnection_time: Duration::from_secs(3),
            backoff: backoff.into(),
            delays: None,
            failures: 0,
        }
    }

    pub(super) fn set_backoff(&mut self, backoff: Backoff) {
        self.backoff = backoff;
    }

    /// Sets the reconnection time to what the caller or the server asks for.
    pub(super) fn set_reconnection_time(&mut self, time: Duration) {
        self.reconnection_time = time.min(LONGEST);
    }

    /// How many connections in a row have brought no event.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// Counts a connection that has ended, and returns the wait before the next; `asked` is the
    /// wait that the server's response asked for.
    pub(super) fn next(&mut self, has_progressed: bool, asked: Option<Duration>) -> Duration {
        if has_progressed {
            self.failures = 0;
            self.delays = None;
        } else {
            self.failures = self.failures.saturating_add(1);
        }
        let delays = self
            .delays
            .get_or_insert_with(|| self.backoff.delays(id::seed()));
        let backoff = delays.next().unwrap_or_default();
        let wait = self.reconnection_time.saturating_add(backoff);
        wait.max(asked.unwrap_or_default().min(LONGEST))
    }
}

#[cfg(test)]
mod tests {
    use retry_layer::Jitter;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn waits() -> Waits {
        let mut waits = Waits::new();
        let backoff = Exponential::new(SECOND).cap(10 * SECOND);
        waits.set_backoff(Backoff::from(backoff).jitter(Jitter::None));
        waits
    }

    #[test]
    fn the_backoff_adds_to_the_reconnection_time_and_restarts_after_an_event() {
        let mut waits = waits();
        let failing: Vec<_> = (0..6).map(|_| waits.next(false, None).as_secs()).collect();
        assert_eq!(failing, [4, 5, 7, 11, 13, 13]);
        assert_eq!(waits.failures(), 6);
        assert_eq!(waits.next(true, None), 4 * SECOND);
        assert_eq!(waits.failures(), 0);
        assert_eq!(waits.next(false, None), 5 * SECOND);
    }

    #[test]
    fn a_reconnection_time_of_nothing_still_backs_off() {
        let mut waits = waits();
        waits.set_reconnection_time(Duration::ZERO);
        assert_eq!(waits.next(false, None), SECOND);
        assert_eq!(waits.next(false, None), 2 * SECOND);
    }

    #[test]
    fn the_server_can_ask_for_a_longer_wait_but_not_for_days() {
        let mut waits = waits();
        assert_eq!(waits.next(false, Some(60 * SECOND)), 60 * SECOND);
        assert_eq!(waits.next(false, Some(SECOND)), 5 * SECOND);
        assert_eq!(waits.next(false, Some(Duration::MAX)), LONGEST);
        waits.set_reconnection_time(Duration::MAX);
        assert_eq!(waits.next(true, None), LONGEST + SECOND);
    }

    #[test]
    fn the_default_spreads_the_clients_of_a_server_that_restarts() {
        for _ in 0..100 {
            let wait = Waits::new().next(true, None);
            assert!(wait >= 3 * SECOND && wait <= 4 * SECOND, "{wait:?}");
        }
    }
}
