use std::time::Duration;

use tokio::time::Instant;

use crate::pool::{Arrival, Ticket};

/// A request's place in the order of arrival, and how much of the queue's timeout it has used up.
/// It keeps both if the connection that it was given is unusable, and it waits again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    pub(super) arrival: Arrival,
    pub(super) queued: Duration,
}

/// A [`Turn`] as an exchange keeps it. Its times are whole microseconds before the exchange began,
/// up to 71 minutes, which makes the future of every request smaller.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeptTurn {
    ticket: Ticket,
    waited: u32,
    queued: u32,
}

impl KeptTurn {
    /// Keeps the turn of a request that has not waited.
    #[inline]
    pub(super) fn at_once(ticket: Ticket) -> Self {
        Self {
            ticket,
            waited: 0,
            queued: 0,
        }
    }

    pub(super) fn new(turn: Turn, began: Instant) -> Self {
        let waited = began.saturating_duration_since(turn.arrival.since);
        Self {
            ticket: turn.arrival.ticket,
            waited: micros(waited),
            queued: micros(turn.queued),
        }
    }

    /// The turn of an exchange that has begun at this moment.
    pub(super) fn get(self, began: Instant) -> Turn {
        let since = began.checked_sub(self.waited());
        Turn {
            arrival: Arrival {
                ticket: self.ticket,
                since: since.unwrap_or(began),
            },
            queued: Duration::from_micros(self.queued.into()),
        }
    }

    /// How long it took until the exchange began.
    #[inline]
    pub(super) fn waited(self) -> Duration {
        Duration::from_micros(self.waited.into())
    }
}

fn micros(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}
