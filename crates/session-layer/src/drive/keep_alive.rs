//! When an HTTP/2 connection asks its peer whether it is alive, by a PING
//! ([RFC 9113, section 6.7](https://www.rfc-editor.org/rfc/rfc9113#section-6.7)). Pure: times are
//! parameters.

use std::time::Duration;

use tokio::time::Instant;

/// How many PINGs may be sent out of doubt while the peer sends nothing but answers to them. gRPC
/// servers end a connection at the third PING that comes within five minutes of the one before,
/// where they have sent neither data nor headers meanwhile (gRFC A8, "Server Enforcement").
const MAX_DOUBTS: u8 = 2;

/// How long an idle connection waits for an answer at most: another request may need its permit,
/// and a new connection is as good.
const IDLE_TIMEOUT: Duration = Duration::from_secs(1);

/// The length of a PING frame.
const PING: u64 = 17;

/// What is known of whether the peer of a connection is alive.
#[derive(Debug)]
pub(super) struct KeepAlive {
    interval: Option<Duration>,
    timeout: Duration,
    /// How long a round trip to the peer takes at most, as far as is known.
    round_trip: Duration,
    /// When the peer was last heard of.
    heard: Instant,
    /// When the PING was sent after which nothing has come.
    asked: Option<Instant>,
    /// Since when the peer is in doubt: a request was given up, and nothing has come since it
    /// began.
    doubted: Option<Instant>,
    /// How many PINGs were sent out of doubt since the peer last sent anything but answers to PINGs.
    doubts: u8,
}

/// What to do about a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Act {
    /// Do nothing before this moment.
    Wait(Option<Instant>),
    /// Send a PING, and pause the connection until bytes come.
    Ask,
    /// Drain the connection: the peer may be alive, but must not be asked again.
    Leave,
    /// The peer did not answer: close it.
    Close,
}

impl KeepAlive {
    pub(super) fn new(
        interval: Option<Duration>,
        timeout: Duration,
        round_trip: Duration,
        now: Instant,
    ) -> Self {
        Self {
            interval,
            timeout,
            round_trip,
            heard: now,
            asked: None,
            doubted: None,
            doubts: 0,
        }
    }

    /// Notes that bytes have come from the peer; returns whether a PING was waiting for an answer.
    pub(super) fn heard(&mut self, bytes: u64, now: Instant) -> bool {
        self.heard = now;
        self.doubted = None;
        let asked = self.asked.take().is_some();
        if !asked || bytes > PING {
            self.doubts = 0;
        }
        asked
    }

    /// Notes that a request was given up, if nothing has come since it began.
    ///
    /// A peer is in doubt only after it had the time of a round trip: a call that is dropped at
    /// once has not waited long enough to know.
    pub(super) fn doubt(&mut self, began: Instant) {
        if self.heard > began {
            return;
        }
        let from = began.checked_add(self.round_trip).unwrap_or(began);
        let first = self.doubted.into_iter().chain([from]).min();
        self.doubted = first;
    }

    /// Whether the peer is in doubt, and has not been heard of since.
    pub(super) fn is_doubted(&self, now: Instant) -> bool {
        self.doubted.is_some_and(|from| from <= now)
    }

    /// Decides what to do now, while this many requests are under way.
    pub(super) fn next(&mut self, now: Instant, requests: usize) -> Act {
        let busy = requests > 0;
        if let Some(asked) = self.asked {
            let idle = asked.checked_add(self.timeout.min(IDLE_TIMEOUT));
            let by = asked.checked_add(self.timeout);
            let waits_until = if busy { by } else { idle };
            if waits_until.is_some_and(|until| until <= now) {
                return Act::Close;
            }
            // The connection may be idle by then.
            return Act::Wait(idle.filter(|idle| *idle > now).or(by));
        }
        if self.is_doubted(now) {
            if self.doubts == MAX_DOUBTS {
                return Act::Leave;
            }
            self.doubts += 1;
            self.asked = Some(now);
            return Act::Ask;
        }
        let due = self
            .interval
            .filter(|_| busy)
            .and_then(|interval| self.heard.checked_add(interval));
        if due.is_some_and(|due| due <= now) {
            self.asked = Some(now);
            return Act::Ask;
        }
        Act::Wait(self.doubted.into_iter().chain(due).min())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn new(now: Instant) -> KeepAlive {
        KeepAlive::new(Some(100 * SECOND), 10 * SECOND, SECOND, now)
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_is_asked_only_while_something_is_under_way_and_it_is_silent() {
        let start = Instant::now();
        let mut it = new(start);
        let at = |seconds: u32| start + seconds * SECOND;
        assert_eq!(it.next(at(1000), 0), Act::Wait(None));
        it.heard(50, at(1000));
        assert_eq!(it.next(at(1099), 1), Act::Wait(Some(at(1100))));
        assert_eq!(it.next(at(1100), 1), Act::Ask);
        assert_eq!(it.next(at(1109), 1), Act::Wait(Some(at(1110))));
        it.heard(PING, at(1109));
        assert_eq!(it.next(at(1109), 1), Act::Wait(Some(at(1209))));
        assert_eq!(it.next(at(1209), 1), Act::Ask);
        assert_eq!(it.next(at(1219), 1), Act::Close);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_given_up_in_silence_asks_at_once() {
        let start = Instant::now();
        let mut it = new(start);
        let at = |seconds: u32| start + seconds * SECOND;
        it.doubt(at(2));
        assert!(it.is_doubted(at(3)));
        assert_eq!(it.next(at(4), 0), Act::Ask);
        // An idle connection may be closed without loss.
        assert_eq!(it.next(at(4), 1), Act::Wait(Some(at(5))));
        assert_eq!(it.next(at(5), 1), Act::Wait(Some(at(14))));
        assert_eq!(it.next(at(5), 0), Act::Close);
        it.heard(PING, at(5));
        assert!(!it.is_doubted(at(5)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_given_up_sooner_than_a_round_trip_is_looked_at_later() {
        let start = Instant::now();
        let mut it = new(start);
        it.doubt(start);
        assert!(!it.is_doubted(start));
        assert_eq!(it.next(start, 0), Act::Wait(Some(start + SECOND)));
        it.heard(9, start + SECOND / 2);
        assert_eq!(it.next(start + SECOND, 0), Act::Wait(None));
    }

    #[tokio::test(start_paused = true)]
    async fn what_began_before_the_last_byte_raises_no_doubt() {
        let start = Instant::now();
        let mut it = new(start);
        it.heard(9, start + 2 * SECOND);
        it.doubt(start + SECOND);
        assert!(!it.is_doubted(start + 50 * SECOND));
    }

    #[tokio::test(start_paused = true)]
    async fn doubt_asks_twice_and_then_leaves_unless_data_came() {
        let start = Instant::now();
        let mut it = new(start);
        let mut now = start;
        let mut doubt = |it: &mut KeepAlive, bytes| {
            now += 2 * SECOND;
            it.doubt(now);
            now += 2 * SECOND;
            let act = it.next(now, 1);
            it.heard(bytes, now);
            act
        };
        assert_eq!(doubt(&mut it, PING), Act::Ask);
        assert_eq!(doubt(&mut it, 100), Act::Ask);
        assert_eq!(doubt(&mut it, PING), Act::Ask);
        assert_eq!(doubt(&mut it, PING), Act::Ask);
        assert_eq!(doubt(&mut it, PING), Act::Leave);
    }
}
