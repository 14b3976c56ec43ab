//! The state of one circuit: what decides, without a clock, a lock or a timer.

use std::time::Duration;

use fastrand::Rng;
use tokio::time::Instant;

use super::{OpenReason, settings::Rules, signal::Signal, window::Window};

/// Whether requests pass.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum CircuitState {
    /// Requests pass.
    Closed,
    /// Requests are refused.
    Open,
    /// One request at a time may pass, to probe whether the origin works again.
    HalfOpen,
}

/// One circuit.
///
/// Each request that passes has the number of its *era*. A new era begins with every change of the
/// state and with every probe, and an outcome of an earlier era is ignored. So what was sent before
/// the circuit opened decides nothing after it, and only the outcome of the latest probe decides.
#[derive(Debug)]
pub(crate) struct Circuit {
    era: u64,
    phase: Phase,
    /// How often it has opened since it was closed.
    openings: u32,
    /// The latest wait.
    wait: Duration,
    /// When this state of it began, and how many successes there had been by then.
    since: (Instant, u64),
    /// When the first request succeeded since it was closed.
    works_since: Option<Instant>,
    /// Made with the first failure, where there is a rule about the success rate.
    window: Option<Box<Window>>,
    /// Its own, so that no two circuits wait for each other.
    random: Rng,
}

#[derive(Debug)]
enum Phase {
    /// With the failures in a row.
    Closed { run: Run },
    /// `None`: until it is closed by hand.
    Open { until: Option<Instant> },
    /// With the time until which the place of the probe is taken.
    HalfOpen { probe: Option<Instant> },
}

/// Failures in a row.
#[derive(Clone, Copy, Debug, Default)]
struct Run {
    failures: u32,
    /// When the first of them was.
    since: Option<Instant>,
}

/// Whether a request may be sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Admission {
    Pass,
    Probe,
    /// After how long a probe may be sent, if that is known.
    Refuse(Option<Duration>),
}

/// What an observer is told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Change {
    Opened {
        reason: OpenReason,
        wait: Option<Duration>,
    },
    HalfOpened,
    Closed,
}

/// How an attempt ended, and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    pub(super) era: u64,
    pub(super) signal: Signal,
    pub(super) hint: Option<Duration>,
    /// How many successes the circuit has counted in all.
    pub(super) successes: u64,
    pub(super) now: Instant,
}

impl Run {
    /// Whether it has gone on for so long, or for as long as the origin had worked before it. So one
    /// that has never worked, or fails again right after a probe, is given no such time.
    fn is_long(&self, now: Instant, works_since: Option<Instant>, failing_for: Duration) -> bool {
        let began = self.since.unwrap_or(now);
        let worked = works_since.map(|since| began.saturating_duration_since(since));
        now.saturating_duration_since(began) >= failing_for.min(worked.unwrap_or_default())
    }
}

impl Circuit {
    pub(crate) fn closed(era: u64, now: Instant, successes: u64, random: Rng) -> Self {
        Self {
            era,
            phase: Phase::Closed {
                run: Run::default(),
            },
            openings: 0,
            wait: Duration::ZERO,
            since: (now, successes),
            works_since: None,
            window: None,
            random,
        }
    }

    pub(crate) fn era(&self) -> u64 {
        self.era
    }

    pub(crate) fn failures_in_a_row(&self) -> u32 {
        match self.phase {
            Phase::Closed { run } => run.failures,
            Phase::Open { .. } | Phase::HalfOpen { .. } => 0,
        }
    }

    pub(crate) fn is_open_by_hand(&self) -> bool {
        matches!(self.phase, Phase::Open { until: None })
    }

    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed { .. })
    }

    /// Whether nothing would be missed if this were forgotten: it is closed, or nobody has probed it for
    /// long though its wait is over.
    pub(crate) fn is_idle(&self, now: Instant) -> bool {
        const KEPT_FOR: Duration = Duration::from_secs(60);
        let due = match self.phase {
            Phase::Closed { .. } => return true,
            Phase::Open { until } => until,
            Phase::HalfOpen { probe } => probe,
        };
        let kept_until = due.and_then(|due| due.checked_add(self.wait.max(KEPT_FOR)));
        kept_until.is_some_and(|kept_until| kept_until <= now)
    }

    /// Whether a success has to be noted, since it is the first one or ends a run of failures.
    pub(crate) fn awaits_success(&self) -> bool {
        match &self.phase {
            Phase::Closed { run } => run.failures > 0 || self.works_since.is_none(),
            Phase::Open { .. } | Phase::HalfOpen { .. } => true,
        }
    }

    pub(crate) fn state(&self, now: Instant) -> CircuitState {
        match self.phase {
            Phase::Closed { .. } => CircuitState::Closed,
            Phase::Open { until } if until.is_none_or(|until| now < until) => CircuitState::Open,
            Phase::Open { .. } | Phase::HalfOpen { .. } => CircuitState::HalfOpen,
        }
    }

    /// Whether a request that comes now would pass.
    pub(super) fn admits(&self, now: Instant) -> bool {
        match self.phase {
            Phase::Closed { .. } => true,
            Phase::Open { until } => until.is_some_and(|until| until <= now),
            Phase::HalfOpen { probe } => probe.is_none_or(|until| until <= now),
        }
    }

    pub(super) fn admit(&mut self, now: Instant) -> (Admission, Option<Change>) {
        let change = match self.phase {
            Phase::Closed { .. } => return (Admission::Pass, None),
            Phase::Open { until } => match until.map(|until| remaining(until, now)) {
                Some(Duration::ZERO) => Some(Change::HalfOpened),
                left => return (Admission::Refuse(left), None),
            },
            Phase::HalfOpen { probe } => match probe.map(|until| remaining(until, now)) {
                // Without this a probe that hangs would keep the circuit from ever closing.
                None | Some(Duration::ZERO) => None,
                left => return (Admission::Refuse(left), None),
            },
        };
        self.begin(Phase::HalfOpen {
            probe: now.checked_add(self.wait),
        });
        (Admission::Probe, change)
    }

    pub(super) fn record(&mut self, ended: &Ended, rules: &Rules) -> Option<Change> {
        if ended.era != self.era {
            return None;
        }
        match (&mut self.phase, ended.signal) {
            (Phase::Closed { run }, Signal::Success) => {
                *run = Run::default();
                self.works_since.get_or_insert(ended.now);
                None
            }
            (Phase::Closed { run }, Signal::Throttled) => {
                // The server answers by itself: it is alive.
                *run = Run::default();
                self.count_failure(Run::default(), ended, rules)
            }
            (Phase::Closed { run }, Signal::Failure) => {
                // Where there is no rule about them, a success need not end their run.
                if rules.consecutive_failures.is_some() {
                    run.failures = run.failures.saturating_add(1);
                    run.since = run.since.or(Some(ended.now));
                }
                let run = *run;
                self.count_failure(run, ended, rules)
            }
            (Phase::HalfOpen { .. }, Signal::Success) => Some(self.close(ended)),
            (Phase::HalfOpen { .. }, Signal::Throttled | Signal::Failure) => {
                Some(self.open(OpenReason::Probe, ended, rules))
            }
            (Phase::HalfOpen { probe }, Signal::Neutral) => {
                *probe = Some(ended.now);
                None
            }
            (Phase::Closed { .. }, Signal::Neutral) | (Phase::Open { .. }, _) => None,
        }
    }

    fn count_failure(&mut self, run: Run, ended: &Ended, rules: &Rules) -> Option<Change> {
        let (since, successes) = self.since;
        let sample = rules.success_rate.map(|rate| {
            let window = self
                .window
                .get_or_insert_with(|| Box::new(Window::new(rate.window, since, successes)));
            window.add_failure(ended.now, ended.successes)
        });
        let allowed = rules.consecutive_failures;
        let enough = allowed.is_some_and(|allowed| run.failures >= allowed.get());
        if enough && run.is_long(ended.now, self.works_since, rules.failing_for) {
            return Some(self.open(OpenReason::ConsecutiveFailures, ended, rules));
        }
        let (rate, sample) = rules.success_rate.zip(sample)?;
        let suffices = sample.total() >= u64::from(rate.min_requests.get());
        (suffices && sample.is_below(rate.percent))
            .then(|| self.open(OpenReason::SuccessRate, ended, rules))
    }

    fn open(&mut self, reason: OpenReason, ended: &Ended, rules: &Rules) -> Change {
        self.wait = rules
            .waits
            .next(self.openings, ended.hint, &mut self.random);
        self.openings = self.openings.saturating_add(1);
        // A wait that is longer than the clock can tell lasts until it is ended by hand.
        let until = ended.now.checked_add(self.wait);
        self.begin(Phase::Open { until });
        Change::Opened {
            reason,
            wait: until.map(|_| self.wait),
        }
    }

    fn close(&mut self, ended: &Ended) -> Change {
        self.close_at(ended.now, ended.successes);
        self.works_since = Some(ended.now);
        Change::Closed
    }

    /// The attempt of this era is over, and nothing is known of its outcome.
    pub(super) fn release(&mut self, era: u64, now: Instant) {
        if let Phase::HalfOpen { probe } = &mut self.phase {
            if era == self.era {
                *probe = Some(now);
            }
        }
    }

    pub(crate) fn open_by_hand(&mut self) -> Option<Change> {
        if let Phase::Open { until: None } = self.phase {
            return None;
        }
        self.begin(Phase::Open { until: None });
        Some(Change::Opened {
            reason: OpenReason::ByHand,
            wait: None,
        })
    }

    /// Closes it, and forgets its failures.
    pub(super) fn close_by_hand(&mut self, now: Instant, successes: u64) -> Option<Change> {
        let was_closed = self.is_closed();
        self.close_at(now, successes);
        (!was_closed).then_some(Change::Closed)
    }

    fn close_at(&mut self, now: Instant, successes: u64) {
        let (era, random) = (self.era.wrapping_add(1), self.random.clone());
        *self = Self::closed(era, now, successes, random);
    }

    fn begin(&mut self, phase: Phase) {
        self.era = self.era.wrapping_add(1);
        self.phase = phase;
    }
}

fn remaining(until: Instant, now: Instant) -> Duration {
    until.saturating_duration_since(now)
}

#[cfg(test)]
impl Circuit {
    /// Fails, and opens for a minute.
    pub(crate) fn trip(&mut self, now: Instant) {
        let minute = Duration::from_secs(60);
        let rules = Rules {
            consecutive_failures: Some(std::num::NonZeroU32::MIN),
            failing_for: Duration::ZERO,
            success_rate: None,
            waits: super::wait::Waits {
                min: minute,
                max: minute,
                jitter_percent: 0,
                max_retry_after: minute,
            },
        };
        let ended = Ended {
            era: self.era,
            signal: Signal::Failure,
            hint: None,
            successes: 0,
            now,
        };
        assert!(self.record(&ended, &rules).is_some());
    }
}
