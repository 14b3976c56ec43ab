use std::sync::Arc;

use fastrand::Rng;
use tokio::time::Instant;

use super::{PartitionKey, recent::Recent};
use crate::{breaker::Circuit, budget::Bucket, hedge::Latency, pause::Line};

/// What is known of one partition: everything that a request changes under the lock of its slot.
///
/// Each part decides by itself and knows none of the others: the circuit of a
/// [breaker](crate::breaker), the line of requests that wait for the end of a [pause](crate::pause), the
/// tokens of a [budget](crate::budget::SuccessBudget), the latencies that a [hedge's](crate::hedge) delay is
/// learned from.
/// What a request has to know before it takes the lock stands in the [`Word`] beside it.
#[derive(Debug)]
pub(crate) struct Partition {
    pub(super) hash: u64,
    pub(crate) key: PartitionKey,
    pub(crate) circuit: Circuit,
    /// `None` until it is paused for the first time.
    pub(crate) line: Option<Box<Line>>,
    /// `None` while the origin has all its retries.
    pub(crate) bucket: Option<Box<Bucket>>,
    /// `None` until a hedge delay is learned of it.
    pub(crate) latency: Option<Arc<Latency>>,
    /// What went wrong lately; `None` until something does.
    recent: Option<Box<Recent>>,
    random: Rng,
}

/// What a request needs to know of a partition: the era of its circuit, and what it has to take the
/// lock for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Word(u64);

/// Which partitions may make room for another.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Evict {
    /// Of which nothing is known that would be missed.
    Healthy,
    /// Also those with a circuit that opened by itself.
    NotByHand,
}

impl Partition {
    /// A healthy one. `before` is what had the slot until now.
    pub(super) fn new(
        hash: u64,
        key: PartitionKey,
        before: Option<&Self>,
        successes: u64,
        mut random: Rng,
    ) -> Self {
        // An outcome of the partition that had the slot before is one of an earlier era.
        let era = before.map_or(0, |it| it.circuit.era().wrapping_add(1));
        Self {
            hash,
            key,
            circuit: Circuit::closed(era, Instant::now(), successes, random.fork()),
            line: None,
            bucket: None,
            latency: None,
            recent: None,
            random,
        }
    }

    /// Whether it may make room for another.
    pub(super) fn may_go(&self, evict: Evict) -> bool {
        match evict {
            Evict::Healthy => {
                let (line, now) = (self.line.as_ref(), Instant::now());
                self.circuit.is_idle(now)
                    && self.bucket.is_none()
                    && line.is_none_or(|line| line.is_idle(now))
            }
            Evict::NotByHand => {
                let line = self.line.as_ref();
                !self.circuit.is_open_by_hand()
                    && self.bucket.is_none()
                    && line.is_none_or(|line| line.waiting() == 0)
            }
        }
    }

    pub(crate) fn line_or_new(&mut self) -> &mut Line {
        let random = &mut self.random;
        self.line
            .get_or_insert_with(|| Box::new(Line::new(random.fork())))
    }

    /// What went wrong lately.
    pub(super) fn recent(&self) -> Option<&Recent> {
        self.recent.as_deref()
    }

    pub(crate) fn recent_or_new(&mut self) -> &mut Recent {
        self.recent.get_or_insert_with(Box::default)
    }

    pub(super) fn word(&self) -> Word {
        let circuit = if !self.circuit.is_closed() {
            Word::NOT_CLOSED
        } else if self.circuit.awaits_success() {
            Word::AWAITS_SUCCESS
        } else {
            0
        };
        let line = match &self.line {
            Some(line) if line.is_paused() => Word::PAUSED,
            Some(_) | None => 0,
        };
        Word(self.circuit.era() << Word::FLAGS | line | circuit)
    }
}

impl Word {
    const AWAITS_SUCCESS: u64 = 1;
    const NOT_CLOSED: u64 = 1 << 1;
    const PAUSED: u64 = 1 << 2;
    /// How many bits the flags have.
    const FLAGS: u32 = 4;

    pub(super) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(super) const fn bits(self) -> u64 {
        self.0
    }

    /// The era of the circuit.
    #[inline]
    pub(crate) fn era(self) -> u64 {
        self.0 >> Self::FLAGS
    }

    /// Whether the circuit is closed.
    #[inline]
    pub(crate) fn is_closed(self) -> bool {
        self.0 & Self::NOT_CLOSED == 0
    }

    /// Whether the circuit is closed, and a success changes nothing.
    #[inline]
    pub(crate) fn is_clean(self) -> bool {
        self.0 & (Self::NOT_CLOSED | Self::AWAITS_SUCCESS) == 0
    }

    /// Whether requests have to wait for their turn.
    #[inline]
    pub(crate) fn is_paused(self) -> bool {
        self.0 & Self::PAUSED != 0
    }
}
