use std::time::Duration;

use tokio::time::Instant;

use super::{
    PartitionKey,
    partition::Partition,
    recent::{Bad, Recent},
};
use crate::{
    breaker::CircuitState,
    hedge::{Latency, Quantiles},
};

/// What is known of a partition at one moment: what [`Ledger::health`](super::Ledger::health) returns.
#[derive(Clone, Debug)]
pub struct Health {
    key: PartitionKey,
    circuit: CircuitState,
    paused_until: Option<Instant>,
    waiting: usize,
    retries_left: Option<u64>,
    failures_in_a_row: u32,
    recent_failures: u32,
    recent_throttled: u32,
    last_failure: Option<Instant>,
    latency: Option<LatencyQuantiles>,
}

/// How long the answers of an origin took in the last 25 to 30 seconds, as far as [hedging](crate::hedge) has
/// learned it: to the [first byte](crate::hedge#what-an-answer-is) of their bodies, and up to an eighth more
/// than in truth.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct LatencyQuantiles {
    /// How many answers there were.
    pub answers: u64,
    /// Half of them took no longer.
    pub p50: Duration,
    /// 95 of 100 took no longer.
    pub p95: Duration,
    /// 99 of 100 took no longer.
    pub p99: Duration,
}

impl LatencyQuantiles {
    fn of(latency: &Latency, start: Instant, now: Instant) -> Option<Self> {
        let time = Latency::time(start, now);
        let Quantiles { answers, within } = latency.quantiles(time, [50, 95, 99])?;
        let [p50, p95, p99] = within;
        Some(Self {
            answers,
            p50,
            p95,
            p99,
        })
    }
}

impl Health {
    pub(super) fn healthy(key: PartitionKey) -> Self {
        Self {
            key,
            circuit: CircuitState::Closed,
            paused_until: None,
            waiting: 0,
            retries_left: None,
            failures_in_a_row: 0,
            recent_failures: 0,
            recent_throttled: 0,
            last_failure: None,
            latency: None,
        }
    }

    /// What is known of a partition. `start` is the zero of the times of latencies.
    pub(super) fn of(partition: &Partition, start: Instant, now: Instant) -> Self {
        let line = partition.line.as_ref();
        let recent = partition.recent();
        let count = |bad| recent.map_or(0, |recent| recent.of(bad, now));
        let latency = partition.latency.as_deref();
        Self {
            key: partition.key.clone(),
            circuit: partition.circuit.state(now),
            paused_until: line.and_then(|line| line.paused_until(now)),
            waiting: line.map_or(0, |line| line.waiting()),
            retries_left: partition.bucket.as_ref().map(|bucket| bucket.retries()),
            failures_in_a_row: partition.circuit.failures_in_a_row(),
            recent_failures: count(Bad::Failure),
            recent_throttled: count(Bad::Throttled),
            last_failure: recent.and_then(Recent::last_failure),
            latency: latency.and_then(|it| LatencyQuantiles::of(it, start, now)),
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

    /// How many attempts have failed since the last one that did not, as a [breaker](crate::breaker)
    /// counts them. 0 without one, and where its circuit is not closed.
    #[must_use]
    pub fn failures_in_a_row(&self) -> u32 {
        self.failures_in_a_row
    }

    /// How many attempts of the last ten seconds failed, as a [breaker](crate::breaker) counts them; 0
    /// without one. Successes are not counted, so that one touches nothing.
    #[must_use]
    pub fn recent_failures(&self) -> u32 {
        self.recent_failures
    }

    /// How many responses of the last ten seconds have asked for a [pause](crate::pause); 0 without
    /// pauses.
    #[must_use]
    pub fn recent_throttled(&self) -> u32 {
        self.recent_throttled
    }

    /// When the last attempt failed, as a [breaker](crate::breaker) counts them.
    #[must_use]
    pub fn last_failure(&self) -> Option<Instant> {
        self.last_failure
    }

    /// How long the origin takes to answer. `None` unless [hedges](crate::hedge) with a learned delay keep
    /// it in this [ledger](crate::hedge::HedgingBuilder::ledger), and of a part of an origin.
    #[must_use]
    pub fn latency(&self) -> Option<LatencyQuantiles> {
        self.latency
    }

    /// Whether requests pass at once.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.circuit == CircuitState::Closed && self.paused_until.is_none() && self.waiting == 0
    }
}
