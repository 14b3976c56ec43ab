use tokio::time::Instant;

use super::{PartitionKey, partition::Partition};
use crate::breaker::CircuitState;

/// What is known of a partition at one moment: what [`Ledger::health`](super::Ledger::health) returns.
#[derive(Clone, Debug)]
pub struct Health {
    key: PartitionKey,
    circuit: CircuitState,
    paused_until: Option<Instant>,
    waiting: usize,
    retries_left: Option<u64>,
}

impl Health {
    pub(super) fn healthy(key: PartitionKey) -> Self {
        Self {
            key,
            circuit: CircuitState::Closed,
            paused_until: None,
            waiting: 0,
            retries_left: None,
        }
    }

    pub(super) fn of(partition: &Partition, now: Instant) -> Self {
        let line = partition.line.as_ref();
        Self {
            key: partition.key.clone(),
            circuit: partition.circuit.state(now),
            paused_until: line.and_then(|line| line.paused_until(now)),
            waiting: line.map_or(0, |line| line.waiting()),
            retries_left: partition.bucket.as_ref().map(|bucket| bucket.retries()),
        }
    }

    /// Of whom it is told.
    #[must_use]
    pub fn key(&self) -> &PartitionKey {
        &self.key
    }

    /// The state of the circuit. Where its wait is over it is [`HalfOpen`](CircuitState::HalfOpen),
    /// though no probe was sent yet. Without a [breaker](crate::breaker) it is always closed.
    #[must_use]
    pub fn circuit(&self) -> CircuitState {
        self.circuit
    }

    /// Until when requests are [paused](crate::pause); `None` if they are not.
    #[must_use]
    pub fn paused_until(&self) -> Option<Instant> {
        self.paused_until
    }

    /// How many requests wait for their turn, during a pause and after it.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// How many retries the [budget](crate::budget::SuccessBudget) has left for the origin. `None` while it
    /// has all: nothing was retried lately, or enough has succeeded since. Of a part of an origin it is
    /// always `None`, since a budget is for all requests to a server.
    #[must_use]
    pub fn retries_left(&self) -> Option<u64> {
        self.retries_left
    }

    /// Whether requests pass at once.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.circuit == CircuitState::Closed && self.paused_until.is_none() && self.waiting == 0
    }
}
