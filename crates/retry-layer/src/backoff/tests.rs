use proptest::{prelude::any, prop_assert, proptest};

use super::*;

fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn a_large_retry_number_waits_no_longer_than_the_cap() {
    for factor in [1.5, 2.0, 3.0, 1e300] {
        let waits = Exponential::new(millis(1))
            .factor(factor)
            .cap(millis(300_000));
        for n in [63, 128, 1_000] {
            assert_eq!(
                waits.into_iter().nth(n),
                Some(millis(300_000)),
                "{factor} at {n}"
            );
        }
    }
}

#[test]
fn a_factor_below_one_or_without_end_makes_no_schedule() {
    for (factor, fits) in [
        (1.0, true),
        (1.5, true),
        (0.99, false),
        (-2.0, false),
        (f64::NAN, false),
        (f64::INFINITY, false),
    ] {
        let schedule = Exponential::new(millis(100)).factor(factor);
        assert_eq!(schedule.check().is_ok(), fits, "{factor}");
    }
}

#[test]
fn a_duration_is_a_schedule_that_begins_with_it() {
    let schedule = Exponential::from(millis(7));
    assert_eq!(schedule, Exponential::new(millis(7)));
    assert_eq!(schedule.into_iter().next(), Some(millis(7)));
}

#[test]
fn a_base_below_a_millisecond_is_kept() {
    let waits = Exponential::new(Duration::from_micros(250))
        .into_iter()
        .take(3);
    assert_eq!(
        waits.map(|wait| wait.as_micros()).collect::<Vec<_>>(),
        [250, 500, 1_000]
    );
}

#[test]
fn a_fractional_factor_is_a_factor() {
    let waits = Exponential::new(millis(100))
        .factor(1.5)
        .into_iter()
        .take(3);
    assert_eq!(
        waits.collect::<Vec<_>>(),
        [millis(100), millis(150), millis(225)]
    );
}

#[test]
fn a_throttled_server_is_given_a_second_at_first() {
    let backoff = Backoff::default().jitter(Jitter::None);
    let mut waits = Waits::new(&backoff);
    let mut random = Rng::with_seed(0);
    assert_eq!(
        waits.next(Pressure::Throttled, &mut random),
        Some(millis(1_000))
    );
    assert_eq!(waits.next(Pressure::Normal, &mut random), Some(millis(200)));
    assert_eq!(
        waits.next(Pressure::Throttled, &mut random),
        Some(millis(4_000))
    );
}

#[test]
fn fibonacci_waits_are_the_sums_of_the_two_before() {
    let waits = Backoff::fibonacci(millis(50)).delays(0).take(7);
    let expected = [50, 50, 100, 150, 250, 400, 650].map(millis);
    assert_eq!(waits.collect::<Vec<_>>(), expected);
}

#[test]
fn endless_schedules_do_not_overflow() {
    for backoff in [
        Backoff::fibonacci(millis(1)),
        Backoff::linear(millis(1), Duration::MAX),
    ] {
        for n in [63, 128, 1_000] {
            assert!(backoff.delays(0).nth(n) > Some(millis(1_000_000)));
        }
        let capped = backoff.cap(millis(300_000));
        assert_eq!(capped.delays(0).nth(1_000), Some(millis(300_000)));
    }
}

#[test]
fn a_schedule_that_is_over_gives_no_wait() {
    let backoff = Backoff::schedule(vec![millis(3)]);
    assert_eq!(backoff.delays(0).collect::<Vec<_>>(), [millis(3)]);
}

#[test]
fn a_capped_schedule_stays_below_its_cap() {
    let backoff = Backoff::fixed(millis(30)).cap(millis(20));
    assert_eq!(backoff.delays(0).next(), Some(millis(20)));
}

#[test]
fn an_altered_schedule_keeps_its_jitter_and_brings_its_cap() {
    let backoff = Backoff::from(Exponential::new(millis(1_000))).jitter(Jitter::None);
    let altered = backoff.map_exponential(|schedule| schedule.factor(3).cap(millis(5_000)));
    let waits = altered.delays(0).take(3).collect::<Vec<_>>();
    assert_eq!(waits, [1_000, 3_000, 5_000].map(millis));

    let fixed = Backoff::fixed(millis(7)).cap(millis(8));
    let altered = fixed.map_exponential(|schedule| schedule.base(millis(9)));
    let waits = altered.delays(0).take(2).collect::<Vec<_>>();
    assert_eq!(waits, [9, 18].map(millis));
}

#[test]
fn a_backoff_with_a_setting_out_of_range_is_refused() {
    let exponential = Backoff::from(Exponential::new(millis(20)));
    let fixed = Backoff::fixed(millis(20));
    for backoff in [exponential.clone(), fixed.clone()] {
        let with = |percent| backoff.clone().jitter(Jitter::Proportional(percent));
        assert!(with(100).check().is_ok());
        assert!(with(101).check().is_err());
    }
    assert!(exponential.clone().cap(millis(20)).check().is_ok());
    assert!(exponential.cap(millis(19)).check().is_err());
    assert!(fixed.cap(millis(19)).check().is_ok());
}

#[test]
fn its_debug_output_tells_the_schedule_the_jitter_and_the_cap() {
    let exponential = Exponential::new(millis(20)).cap(millis(700));
    let shown = format!("{:?}", Backoff::from(exponential));
    for part in ["Exponential", "base: 20ms", "jitter: Full", "cap: 700ms"] {
        assert!(shown.contains(part), "{shown}");
    }
    let shown = format!("{:?}", Backoff::fixed(millis(20)));
    assert!(shown.contains("custom"), "{shown}");
}

#[test]
fn the_debug_output_of_waits_tells_the_one_before() {
    let backoff = Backoff::fixed(millis(20));
    assert_eq!(format!("{:?}", backoff.delays(0)), "Delays { .. }");
    let mut waits = Waits::new(&backoff);
    let _ = waits.next(Pressure::Normal, &mut Rng::with_seed(0));
    let shown = format!("{waits:?}");
    assert_eq!(shown, "Waits { previous: Some(20ms), .. }");
}

#[test]
fn no_call_has_two_short_waits() {
    let backoff = Backoff::default();
    for seed in 0..1_000 {
        let waits: Vec<_> = backoff.delays(seed).take(4).collect();
        assert!(waits[0] + waits[1] >= millis(100), "{waits:?}");
        assert!(waits[2] + waits[3] >= millis(400), "{waits:?}");
    }
}

#[test]
fn calls_that_failed_together_do_not_meet_again_after_two_waits() {
    let exponential = Exponential::new(millis(100));
    for (name, backoff) in [
        ("growing", Backoff::default()),
        ("slowly growing", Backoff::from(exponential.factor(1.1))),
        ("constant", Backoff::from(exponential.factor(1))),
        ("capped", Backoff::from(exponential.cap(millis(100)))),
        ("fixed", Backoff::fixed(millis(100))),
        ("linear", Backoff::linear(millis(100), millis(50))),
        ("shrinking", Backoff::schedule([millis(110), millis(100)])),
    ] {
        for jitter in [Jitter::Full, Jitter::Equal, Jitter::Proportional(50)] {
            let backoff = backoff.clone().jitter(jitter);
            let sum = |seed| backoff.delays(seed).take(2).sum::<Duration>();
            let first = (0..1_000).map(sum).min().unwrap();
            let last = (0..1_000).map(sum).max().unwrap();
            // Half of the first range, as long as there are no calls at its very ends.
            assert!(
                last >= first + millis(24),
                "{name} {jitter:?} {first:?} {last:?}"
            );
        }
    }
}

#[test]
fn each_wait_is_anywhere_in_its_range() {
    let backoff = Backoff::default();
    for (place, range) in [100, 200, 400, 800].into_iter().enumerate() {
        let waits = (0..4_000).filter_map(|seed| backoff.delays(seed).nth(place));
        let mut tenths = [0; 10];
        for wait in waits {
            tenths[usize::try_from(wait.as_micros() / (range * 100))
                .unwrap()
                .min(9)] += 1;
        }
        assert!(
            tenths.iter().all(|count| (320..480).contains(count)),
            "{tenths:?}"
        );
    }
}

#[test]
fn a_decorrelated_wait_follows_from_the_one_before_by_its_range_alone() {
    let backoff = Backoff::default().jitter(Jitter::Decorrelated);
    // The shortest possible ones follow each other as often as chance has it.
    let short = |wait: Duration| wait <= millis(200);
    let both = (0..1_000).filter(|seed| backoff.delays(*seed).take(2).all(short));
    // Half of the first waits are so short, and of those that follow them a third at least.
    assert!(both.count() > 150);
}

proptest! {
    #[test]
    fn no_backoff_leaves_its_bounds(
        base in 0_u64..10_000, cap in 0_u64..1_000_000, factor in 1.0_f64..50.0, seed in any::<u64>(),
    ) {
        let cap = cap.max(base);
        let exponential = Exponential::new(millis(base)).factor(factor).cap(millis(cap));
        for jitter in [Jitter::Full, Jitter::Equal, Jitter::Decorrelated, Jitter::Proportional(20), Jitter::None] {
            let backoff = Backoff::from(exponential).jitter(jitter);
            prop_assert!(backoff.check().is_ok());
            for wait in backoff.delays(seed).take(1_001) {
                prop_assert!(wait <= millis(cap));
            }
        }
    }

    #[test]
    fn full_jitter_stays_below_the_doubled_base(base in 1_u64..1_000, seed in any::<u64>()) {
        let delays = Backoff::from(Exponential::new(millis(base))).delays(seed).take(8);
        for (n, wait) in delays.enumerate() {
            prop_assert!(wait <= millis(base << n).min(millis(20_000)));
        }
    }
}

/// The first wait after so many retries that were made before.
fn wait_behind(backoff: &Backoff, retries: u32) -> Option<Duration> {
    let mut random = Rng::with_seed(1);
    Waits::behind(backoff, retries).next(Pressure::Normal, &mut random)
}

#[test]
fn the_waits_of_retries_that_were_made_before_are_left_out() {
    let backoff = Backoff::from(Exponential::new(millis(100))).jitter(Jitter::None);
    assert_eq!(wait_behind(&backoff, 0), Some(millis(100)));
    assert_eq!(wait_behind(&backoff, 3), Some(millis(800)));
    // At the cap all waits are alike, so that no more of them are gone through.
    assert_eq!(wait_behind(&backoff, u32::MAX), Some(millis(20_000)));

    let linear = Backoff::linear(millis(1), millis(3)).jitter(Jitter::None);
    assert_eq!(wait_behind(&linear, 2), Some(millis(7)));
}
