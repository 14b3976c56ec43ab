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

/// A [`Turn`] as an exchange keeps it. Few requests wait for a connection, so only those have it in
/// a box of its own, which makes the future of every request smaller.
pub(super) enum KeptTurn {
    AtOnce(Ticket),
    Waited(Box<Turn>),
}

impl KeptTurn {
    pub(super) fn new(turn: Turn, began: Instant) -> Self {
        if turn.arrival.since == began {
            Self::AtOnce(turn.arrival.ticket)
        } else {
            Self::Waited(Box::new(turn))
        }
    }

    /// The turn of an exchange that has begun at this moment.
    pub(super) fn get(&self, began: Instant) -> Turn {
        match self {
            Self::AtOnce(ticket) => Turn {
                arrival: Arrival {
                    ticket: *ticket,
                    since: began,
                },
                queued: Duration::ZERO,
            },
            Self::Waited(turn) => **turn,
        }
    }

    /// How long it took until the exchange began.
    #[inline]
    pub(super) fn waited(&self, began: Instant) -> Duration {
        match self {
            Self::AtOnce(_) => Duration::ZERO,
            Self::Waited(turn) => began.saturating_duration_since(turn.arrival.since),
        }
    }
}
