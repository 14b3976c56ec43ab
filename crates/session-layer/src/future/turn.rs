use std::time::Duration;

use tokio::time::Instant;

use crate::pool::{Arrival, Ticket};

/// A request's place in the order of arrival, and how much of the queue's timeout it has used up:
/// both stay when the connection that it was given takes no requests, and it waits again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    pub(super) arrival: Arrival,
    pub(super) queued: Duration,
}

/// A [`Turn`] as an exchange keeps it. Hardly any request has waited for its connection, so those
/// that have keep theirs apart: each future of a request, and all that hold it, are the smaller.
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

    /// The turn of an exchange that began at this moment.
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
