//! Cases about how long a call waits if the server asks for nothing.

use std::{mem, ops::RangeInclusive, time::Duration};

use retry_layer::{Backoff, Exponential, Jitter};
use serde_json::Value;

use super::case::CaseValue;

/// A schedule without jitter, and the waits at some of its places.
pub(super) fn without_jitter(input: &Value, expect: &Value) {
    let base = input["base_ms"].millis();
    let cap = input["cap_ms"].optional_millis().unwrap_or(Duration::MAX);
    let backoff = if input["algo"] == "linear" {
        Backoff::linear(base, input["step_ms"].millis()).cap(cap)
    } else {
        let exponential = Exponential::new(base).factor(input["factor"].float());
        Backoff::from(exponential.cap(cap)).jitter(Jitter::None)
    };
    let places: Vec<usize> = match input["indices"].as_array() {
        Some(places) => places.iter().map(CaseValue::integer).collect(),
        None => (0..input["n"].integer()).collect(),
    };
    let waits = places.iter().map(|place| backoff.delays(0).nth(*place));
    let expected = expect["ms"].list().iter().map(CaseValue::optional_millis);
    assert_eq!(waits.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
}

/// A schedule with jitter, and the bounds of one of its waits.
pub(super) fn bounds(input: &Value, expect: &Value) {
    let n: usize = input["n"].optional_integer().unwrap_or(1);
    let base = input["base_ms"].millis();
    let cap = input["cap_ms"].optional_millis().unwrap_or(Duration::MAX);
    let bounds = expect["min_ms"].millis()..=expect["max_ms"].millis();
    let exponential = Backoff::from(Exponential::new(base).cap(cap));
    let doubled = move |n: u32| base.saturating_mul(1 << n);
    let (backoff, place) = match input["algo"].text() {
        "full" if input["exponent"] == "n" => (exponential, n),
        "full" => (exponential, n - 1),
        "grpc" => (exponential.jitter(Jitter::Proportional(20)), n - 1),
        "stripe" => (exponential.jitter(Jitter::Equal), n - 1),
        "polly_constant" => (Backoff::fixed(base).jitter(Jitter::Proportional(25)), 0),
        "r4j" => (Backoff::fixed(base).jitter(Jitter::Proportional(50)), 0),
        // There is no name for this here, but a schedule and a jitter that come to the same.
        "envoy" => {
            let waits = (1..=32).map(move |n| doubled(n).saturating_sub(base));
            let backoff = Backoff::schedule(waits).jitter(Jitter::Full).cap(cap);
            (backoff, n - 1)
        }
        // From the doubled base to a fifth more: a tenth more, and 9 % around that.
        "axios" => {
            let waits = (0..32).map(move |n| doubled(n) / 100 * 110);
            (Backoff::schedule(waits).jitter(Jitter::Proportional(9)), n)
        }
        "decorrelated" => return decorrelated(input, &bounds),
        other => panic!("there is no backoff {other}"),
    };
    for seed in 0..1_000 {
        let wait = backoff.delays(seed).nth(place).unwrap();
        assert!(bounds.contains(&wait), "{wait:?}");
    }
}

/// Such a wait depends on the one before it: looks for waits that follow one of the length that the case has.
fn decorrelated(input: &Value, bounds: &RangeInclusive<Duration>) {
    let previous = input["previous_ms"].millis();
    let exponential = Exponential::new(input["base_ms"].millis()).cap(input["cap_ms"].millis());
    let backoff = Backoff::from(exponential).jitter(Jitter::Decorrelated);
    let mut found = 0;
    for seed in 0..2_000 {
        let waits: Vec<_> = backoff.delays(seed).take(20).collect();
        for pair in waits.windows(2) {
            if pair[0] <= previous && pair[0] * 10 > previous * 9 {
                assert!(bounds.contains(&pair[1]), "{pair:?}");
                found += 1;
            }
        }
    }
    assert!(found > 100, "{found}");
}

/// A schedule with jitter, and its wait for one draw of a random number.
///
/// The random numbers cannot be chosen here. So many waits are drawn, and the share of them that is below the expected one
/// has to be the draw: half of them are below the wait for 0.5.
pub(super) fn quantile(input: &Value, expect: &Value) {
    const DRAWS: u32 = 2_000;
    if let Some(schedule) = schedule(input) {
        return is_played(schedule, &expect["ms"]);
    }
    let base = input["base_ms"].millis();
    let (backoff, place) = match input["algo"].text() {
        "polly_constant" => (Backoff::fixed(base).jitter(Jitter::Proportional(25)), 0),
        "polly_linear" => (
            Backoff::linear(base, base).jitter(Jitter::Proportional(25)),
            input["attempt"].integer(),
        ),
        _ => (
            Backoff::from(Exponential::new(base)),
            input["n"].integer::<usize>() - 1,
        ),
    };
    let expected = expect["ms"].millis();
    let below = (0..u64::from(DRAWS))
        .filter(|seed| backoff.delays(*seed).nth(place).unwrap() < expected)
        .count();
    let share = f64::from(u32::try_from(below).unwrap()) / f64::from(DRAWS);
    let wanted = input["u"].as_f64().unwrap_or(0.5);
    assert!((share - wanted).abs() < 0.05, "{share}");
}

/// The waits of algorithms that have no name here, by their formulas and with the draws of the case.
fn schedule(input: &Value) -> Option<Vec<Duration>> {
    let base = input["base_ms"].float();
    let draw = || input["rng"].float();
    let millis = match input["algo"].text() {
        // Envoy: the remainder of a draw by the interval, which doubles up to its cap.
        "envoy_mod" => vec![
            draw() % base,
            draw() % (2.0 * base).min(input["cap_ms"].float()),
        ],
        // Envoy, when a server says how long to wait.
        "envoy_lower" => vec![base + draw() % (base / 2.0)],
        // Polly: the differences along a smooth curve.
        "polly_decorr_v2" => {
            let mut before = 0.0;
            let draws = (0..).map(f64::from).zip(input["u"].list());
            let wait = |(n, draw): (f64, &Value)| {
                let t = n + draw.float();
                let curve = t.exp2() * (4.0 * t).sqrt().tanh();
                base / 1.4 * (curve - mem::replace(&mut before, curve))
            };
            draws.map(wait).collect()
        }
        _ => return None,
    };
    let wait = |millis: f64| Duration::from_secs_f64(millis / 1_000.0);
    Some(millis.into_iter().map(wait).collect())
}

fn is_played(schedule: Vec<Duration>, expected: &Value) {
    let played: Vec<_> = Backoff::schedule(schedule).delays(0).collect();
    let expected = expected.list();
    assert_eq!(played.len(), expected.len());
    for (played, expected) in played.into_iter().zip(expected) {
        let difference = played.abs_diff(expected.millis());
        assert!(difference <= Duration::from_micros(10), "{played:?}");
    }
}
