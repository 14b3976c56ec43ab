//! The state machine of one circuit.

use std::{num::NonZeroU32, time::Duration};

use fastrand::Rng;
use proptest::prelude::*;
use tokio::time::Instant;

use super::{
    CircuitState, OpenReason, SuccessRate,
    circuit::{Admission, Change, Circuit, Ended},
    settings::Rules,
    signal::Signal,
    wait::Waits,
};

const MIN: Duration = Duration::from_secs(1);
const MAX: Duration = Duration::from_secs(8);

fn rules(consecutive_failures: u32) -> Rules {
    Rules {
        consecutive_failures: NonZeroU32::new(consecutive_failures),
        failing_for: Duration::ZERO,
        success_rate: None,
        waits: Waits {
            min: MIN,
            max: MAX,
            jitter_percent: 0,
            max_retry_after: Duration::from_secs(120),
        },
    }
}

/// A circuit with its own clock.
struct Bench {
    circuit: Circuit,
    rules: Rules,
    now: Instant,
    successes: u64,
}

impl Bench {
    fn new(rules: Rules) -> Self {
        let now = Instant::now();
        Self {
            circuit: Circuit::closed(0, now, 0, Rng::with_seed(1)),
            rules,
            now,
            successes: 0,
        }
    }

    fn after(&mut self, wait: Duration) -> &mut Self {
        self.now += wait;
        self
    }

    fn admit(&mut self) -> Admission {
        self.circuit.admit(self.now).0
    }

    fn ends(&mut self, signal: Signal) -> Option<Change> {
        self.ends_in(self.circuit.era(), signal, None)
    }

    fn ends_in(&mut self, era: u64, signal: Signal, hint: Option<Duration>) -> Option<Change> {
        if signal == Signal::Success {
            self.successes += 1;
        }
        let ended = Ended {
            era,
            signal,
            hint,
            successes: self.successes,
            now: self.now,
        };
        self.circuit.record(&ended, &self.rules)
    }

    fn state(&self) -> CircuitState {
        self.circuit.state(self.now)
    }
}

fn opened(reason: OpenReason, wait: Duration) -> Change {
    Change::Opened {
        reason,
        wait: Some(wait),
    }
}

#[test]
fn as_many_failures_in_a_row_as_are_set_open_a_circuit() {
    let mut bench = Bench::new(rules(3));
    for signal in [Signal::Failure, Signal::Failure, Signal::Success] {
        assert_eq!(bench.ends(signal), None);
    }
    assert_eq!(bench.ends(Signal::Failure), None);
    assert_eq!(bench.ends(Signal::Neutral), None);
    assert_eq!(bench.ends(Signal::Failure), None);
    let change = bench.ends(Signal::Failure);
    assert_eq!(change, Some(opened(OpenReason::ConsecutiveFailures, MIN)));
    assert_eq!(bench.admit(), Admission::Refuse(Some(MIN)));
}

/// Seven failures in a row that have gone on for half a second.
fn linger() -> Rules {
    Rules {
        failing_for: MIN / 2,
        ..rules(7)
    }
}

#[test]
fn failures_of_one_moment_open_no_circuit_of_an_origin_that_worked() {
    let mut bench = Bench::new(linger());
    bench.ends(Signal::Success);
    // All requests that are under way fail, such as those of one connection.
    bench.after(MIN);
    for _ in 0..100 {
        assert_eq!(bench.ends(Signal::Failure), None);
    }
    bench.after(MIN / 2);
    let change = bench.ends(Signal::Failure);
    assert_eq!(change, Some(opened(OpenReason::ConsecutiveFailures, MIN)));
}

#[test]
fn an_origin_that_never_worked_is_given_no_time_to_fail() {
    let mut bench = Bench::new(linger());
    bench.after(10 * MIN);
    for _ in 0..6 {
        assert_eq!(bench.ends(Signal::Failure), None);
    }
    assert!(bench.ends(Signal::Failure).is_some());
}

#[test]
fn an_origin_that_fails_again_is_given_as_long_as_it_worked() {
    let mut bench = Bench::new(linger());
    for _ in 0..7 {
        bench.ends(Signal::Failure);
    }
    bench.after(MIN);
    assert_eq!(bench.admit(), Admission::Probe);
    assert_eq!(bench.ends(Signal::Success), Some(Change::Closed));
    bench.after(MIN / 10);
    for _ in 0..7 {
        assert_eq!(bench.ends(Signal::Failure), None);
    }
    bench.after(MIN / 10);
    assert!(bench.ends(Signal::Failure).is_some());
}

#[test]
fn a_429_ends_a_run_of_failures_and_lowers_the_success_rate() {
    let mut bench = Bench::new(rules(2));
    for signal in [Signal::Failure, Signal::Throttled, Signal::Failure] {
        assert_eq!(bench.ends(signal), None);
    }
    let rate = SuccessRate::new(50, MAX).min_requests(NonZeroU32::MIN);
    let mut bench = Bench::new(Rules {
        success_rate: Some(rate),
        ..rules(9)
    });
    let change = bench.ends(Signal::Throttled);
    assert_eq!(change, Some(opened(OpenReason::SuccessRate, MIN)));
}

#[test]
fn a_low_success_rate_opens_a_circuit_once_there_is_a_sample() {
    let ten = NonZeroU32::new(10).unwrap();
    let rate = SuccessRate::new(80, Duration::from_secs(10)).min_requests(ten);
    let mut bench = Bench::new(Rules {
        success_rate: Some(rate),
        ..rules(0)
    });
    for _ in 0..2 {
        assert_eq!(bench.ends(Signal::Failure), None);
    }
    for _ in 0..10 {
        assert_eq!(bench.ends(Signal::Success), None);
    }
    // 10 of 13 is below 80 percent.
    let change = bench.ends(Signal::Failure);
    assert_eq!(change, Some(opened(OpenReason::SuccessRate, MIN)));
}

#[test]
fn a_probe_is_sent_when_the_wait_is_over_and_alone() {
    let mut bench = Bench::new(rules(1));
    bench.ends(Signal::Failure);
    bench.after(Duration::from_millis(999));
    assert_eq!(bench.state(), CircuitState::Open);
    assert_eq!(
        bench.admit(),
        Admission::Refuse(Some(Duration::from_millis(1)))
    );
    bench.after(Duration::from_millis(1));
    assert_eq!(bench.state(), CircuitState::HalfOpen);
    let (admission, change) = bench.circuit.admit(bench.now);
    assert_eq!(
        (admission, change),
        (Admission::Probe, Some(Change::HalfOpened))
    );
    assert_eq!(bench.admit(), Admission::Refuse(Some(MIN)));
    assert_eq!(bench.ends(Signal::Success), Some(Change::Closed));
    assert_eq!(bench.admit(), Admission::Pass);
}

#[test]
fn each_probe_that_fails_doubles_the_wait_and_a_success_resets_it() {
    let mut bench = Bench::new(rules(1));
    bench.ends(Signal::Failure);
    for (signal, wait) in [
        (Signal::Failure, 2),
        (Signal::Throttled, 4),
        (Signal::Failure, 8),
        (Signal::Failure, 8),
    ] {
        bench.after(MAX);
        assert_eq!(bench.admit(), Admission::Probe);
        let wait = Duration::from_secs(wait);
        assert_eq!(bench.ends(signal), Some(opened(OpenReason::Probe, wait)));
    }
    bench.after(MAX);
    assert_eq!(bench.admit(), Admission::Probe);
    bench.ends(Signal::Success);
    let change = bench.ends(Signal::Failure);
    assert_eq!(change, Some(opened(OpenReason::ConsecutiveFailures, MIN)));
}

#[test]
fn a_probe_that_tells_nothing_makes_room_for_the_next() {
    let mut bench = Bench::new(rules(1));
    bench.ends(Signal::Failure);
    bench.after(MIN);
    assert_eq!(bench.admit(), Admission::Probe);
    assert_eq!(bench.ends(Signal::Neutral), None);
    assert_eq!(bench.admit(), Admission::Probe);
    let era = bench.circuit.era();
    let now = bench.now;
    bench.circuit.release(era, now);
    assert_eq!(bench.admit(), Admission::Probe);
    // One that is dropped late does not free the place of the next one.
    bench.circuit.release(era, now);
    assert_ne!(bench.admit(), Admission::Probe);
}

#[test]
fn a_probe_that_hangs_is_followed_by_another_after_the_wait() {
    let mut bench = Bench::new(rules(1));
    bench.ends(Signal::Failure);
    bench.after(MIN);
    assert_eq!(bench.admit(), Admission::Probe);
    let hanging = bench.circuit.era();
    bench.after(MIN);
    assert_eq!(bench.admit(), Admission::Probe);
    assert_eq!(bench.ends_in(hanging, Signal::Failure, None), None);
    assert_eq!(bench.state(), CircuitState::HalfOpen);
    assert_eq!(bench.ends(Signal::Success), Some(Change::Closed));
}

#[test]
fn what_was_sent_before_a_change_decides_nothing_after_it() {
    let mut bench = Bench::new(rules(1));
    let early = bench.circuit.era();
    bench.ends(Signal::Failure);
    assert_eq!(bench.ends_in(early, Signal::Success, None), None);
    assert_eq!(bench.state(), CircuitState::Open);
    bench.after(MIN);
    bench.admit();
    assert_eq!(bench.ends_in(early, Signal::Success, None), None);
    bench.ends(Signal::Success);
    assert_eq!(bench.ends_in(early, Signal::Failure, None), None);
    assert_eq!(bench.state(), CircuitState::Closed);
}

#[test]
fn a_hint_lengthens_the_wait() {
    let mut bench = Bench::new(rules(1));
    let era = bench.circuit.era();
    let hint = Some(Duration::from_secs(30));
    let change = bench.ends_in(era, Signal::Failure, hint);
    let Some(Change::Opened {
        wait: Some(wait), ..
    }) = change
    else {
        panic!("{change:?}");
    };
    assert!(wait >= Duration::from_secs(30), "{wait:?}");
}

#[test]
fn one_that_is_opened_by_hand_stays_open_until_it_is_closed() {
    let mut bench = Bench::new(rules(1));
    assert!(bench.circuit.open_by_hand().is_some());
    assert_eq!(bench.circuit.open_by_hand(), None);
    bench.after(Duration::from_secs(1 << 30));
    assert_eq!(bench.admit(), Admission::Refuse(None));
    let now = bench.now;
    let closed = bench.circuit.close_by_hand(now, 0);
    assert_eq!(closed, Some(Change::Closed));
    assert_eq!(bench.circuit.close_by_hand(now, 0), None);
    assert_eq!(bench.admit(), Admission::Pass);
}

/// The same rules, written down as simply as possible and without eras: of a probe and of each
/// request in a closed circuit the outcome follows at once.
#[derive(Debug)]
enum Model {
    Closed { in_a_row: u32 },
    Open { until: u64, wait: u64 },
    Probing { since: u64, wait: u64 },
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Wait(u64),
    Request(Option<Signal>),
    HandOpen,
    HandClose,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let signal = prop_oneof![
        3 => Just(Some(Signal::Failure)),
        2 => Just(Some(Signal::Success)),
        1 => Just(Some(Signal::Throttled)),
        1 => Just(Some(Signal::Neutral)),
        // It never ends.
        1 => Just(None),
    ];
    let act = prop_oneof![
        3 => (0_u64..3_000).prop_map(Act::Wait),
        8 => signal.prop_map(Act::Request),
        1 => Just(Act::HandOpen),
        2 => Just(Act::HandClose),
    ];
    prop::collection::vec(act, 1..80)
}

proptest! {
    #[test]
    fn a_circuit_does_what_a_simple_model_does(acts in acts()) {
        const MILLIS: u64 = 1_000;
        const FOREVER: u64 = u64::MAX;
        let start = Instant::now();
        let mut bench = Bench::new(rules(3));
        let mut model = Model::Closed { in_a_row: 0 };
        for act in acts {
            let now = u64::try_from((bench.now - start).as_millis()).unwrap();
            match act {
                Act::Wait(millis) => { bench.after(Duration::from_millis(millis)); }
                Act::HandOpen => {
                    bench.circuit.open_by_hand();
                    // A wait survives an opening by hand, which shows only after a probe.
                    model = Model::Open { until: FOREVER, wait: 0 };
                }
                Act::HandClose => {
                    let at = bench.now;
                    bench.circuit.close_by_hand(at, 0);
                    model = Model::Closed { in_a_row: 0 };
                }
                Act::Request(signal) => {
                    let probe_wait = match model {
                        Model::Closed { .. } => None,
                        Model::Open { until, wait } => Some((now >= until, wait)),
                        Model::Probing { since, wait } => Some((now >= since.saturating_add(wait), wait)),
                    };
                    let expected = match probe_wait {
                        None => "pass",
                        Some((true, _)) => "probe",
                        Some((false, _)) => "refuse",
                    };
                    let admission = match bench.admit() {
                        Admission::Pass => "pass",
                        Admission::Probe => "probe",
                        Admission::Refuse(_) => "refuse",
                    };
                    prop_assert_eq!(admission, expected, "{:?} at {}", model, now);
                    if expected == "refuse" {
                        continue;
                    }
                    if let Some(signal) = signal {
                        bench.ends(signal);
                    }
                    model = match (probe_wait, signal, model) {
                        (None, Some(Signal::Failure), Model::Closed { in_a_row: 2 }) => {
                            Model::Open { until: now + MILLIS, wait: MILLIS }
                        }
                        (None, Some(Signal::Failure), Model::Closed { in_a_row }) => {
                            Model::Closed { in_a_row: in_a_row + 1 }
                        }
                        (None, Some(Signal::Success | Signal::Throttled), _) => {
                            Model::Closed { in_a_row: 0 }
                        }
                        (None, _, model) => model,
                        (Some(_), Some(Signal::Success), _) => Model::Closed { in_a_row: 0 },
                        (Some((_, wait)), Some(Signal::Failure | Signal::Throttled), _) => {
                            let wait = (wait * 2).min(8 * MILLIS);
                            Model::Open { until: now + wait, wait }
                        }
                        // At once there may be another probe.
                        (Some((_, wait)), Some(Signal::Neutral), _) => {
                            Model::Open { until: now, wait }
                        }
                        (Some((_, wait)), None, _) => Model::Probing { since: now, wait },
                    };
                }
            }
        }
    }
}
