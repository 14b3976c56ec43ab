use super::*;
use crate::class::Processed;

/// Allows everything, and notes whether it was asked for a token and how often an attempt failed.
struct Plenty {
    backoff: Option<Duration>,
    granted: bool,
    asked: bool,
    failures: u32,
}

impl RetrySupply for Plenty {
    fn failed(&mut self) {
        self.failures += 1;
    }

    fn backoff(&mut self) -> Option<Duration> {
        self.backoff
    }

    fn transparent_backoff(&mut self) -> Option<Duration> {
        self.backoff.map(|wait| wait / 2)
    }

    fn stagger(&mut self, hint: Duration) -> Duration {
        hint / 10
    }

    fn withdraw(&mut self) -> bool {
        self.asked = true;
        self.granted
    }
}

const SECOND: Duration = Duration::from_secs(1);

fn plenty() -> Plenty {
    Plenty {
        backoff: Some(SECOND),
        granted: true,
        asked: false,
        failures: 0,
    }
}

/// A failed first attempt of a GET, which is retried.
fn facts() -> Facts {
    Facts {
        class: Class::Ambiguous,
        status: Some(StatusCode::SERVICE_UNAVAILABLE),
        gone_away: false,
        idempotent: true,
        replayable: true,
        attempts: 1,
        max_attempts: 3,
        transparent_retries: TransparentRetries::ALL,
        transparent_so_far: 0,
        pressure: Pressure::Normal,
        advice: Advice::Nothing,
        max_retry_after: 120 * SECOND,
        remaining: None,
        held: None,
    }
}

fn at_once(cause: TransparentCause) -> Verdict {
    Verdict::TransparentRetry {
        cause,
        wait: Duration::ZERO,
    }
}

fn asking(wait: Duration, rule: Rule) -> Advice {
    RequestedWait::new(wait, rule, WaitReason::RetryAfter).into()
}

#[test]
fn reasons_come_in_their_order() {
    // Everything speaks against a retry; one obstacle after the other is taken away.
    let mut facts = Facts {
        class: Class::Final,
        idempotent: false,
        replayable: false,
        attempts: 3,
        advice: Advice::Stop(StopReason::RetryForbidden),
        remaining: Some(Duration::ZERO),
        ..facts()
    };
    let mut supply = Plenty {
        backoff: None,
        granted: false,
        asked: false,
        failures: 0,
    };
    let mut stop = |change: fn(&mut Facts, &mut Plenty)| {
        let Verdict::Return(reason) = judge(&facts, &mut supply) else {
            panic!("no stop")
        };
        let asked = supply.asked;
        change(&mut facts, &mut supply);
        (reason, asked)
    };
    assert_eq!(
        stop(|f, _| f.class = Class::Ambiguous).0,
        StopReason::StatusNotRetryable
    );
    assert_eq!(
        stop(|f, _| f.advice = asking(121 * SECOND, Rule::AtLeast)).0,
        StopReason::RetryForbidden
    );
    assert_eq!(
        stop(|f, _| f.idempotent = true).0,
        StopReason::NotIdempotent
    );
    assert_eq!(
        stop(|f, _| f.replayable = true).0,
        StopReason::BodyNotReplayable
    );
    assert_eq!(stop(|f, _| f.attempts = 2).0, StopReason::AttemptsExhausted);
    assert_eq!(
        stop(|f, _| f.advice = Advice::Nothing).0,
        StopReason::RetryAfterTooLong
    );
    assert_eq!(
        stop(|f, _| f.remaining = Some(SECOND)).0,
        StopReason::DeadlineExceeded
    );
    assert_eq!(
        stop(|_, m| m.backoff = Some(SECOND)).0,
        StopReason::AttemptsExhausted
    );
    let last = stop(|f, _| f.remaining = None);
    assert_eq!(
        last,
        (StopReason::DeadlineTooClose, false),
        "no token was asked for"
    );
    assert_eq!(
        stop(|_, m| m.granted = true),
        (StopReason::BudgetExhausted, true)
    );
    let retry = Verdict::Retry {
        wait: SECOND,
        reason: WaitReason::Backoff,
    };
    assert_eq!(judge(&facts, &mut supply), retry);
}

#[test]
fn the_first_transparent_retry_asks_for_no_token_and_counts_no_attempt() {
    let facts = Facts {
        class: Class::Unprocessed,
        status: None,
        attempts: 3,
        ..facts()
    };
    let mut supply = Plenty {
        backoff: None,
        granted: false,
        asked: false,
        failures: 0,
    };
    assert_eq!(
        judge(&facts, &mut supply),
        at_once(TransparentCause::Refused)
    );
    assert!(!supply.asked);
}

#[test]
fn a_further_transparent_retry_costs_a_token_whatever_its_cause() {
    for made in 1..TransparentRetries::MOST {
        let facts = Facts {
            class: Class::Unprocessed,
            status: None,
            attempts: 3,
            transparent_so_far: made,
            ..facts()
        };
        let mut supply = plenty();
        assert_eq!(
            judge(&facts, &mut supply),
            at_once(TransparentCause::Refused)
        );
        assert!(supply.asked);
        supply.granted = false;
        let refused = Verdict::Return(StopReason::BudgetExhausted);
        assert_eq!(judge(&facts, &mut supply), refused);
    }
}

#[test]
fn a_call_makes_no_more_transparent_retries_than_one_request_may() {
    let facts = Facts {
        class: Class::Unprocessed,
        status: None,
        transparent_so_far: TransparentRetries::MOST,
        ..facts()
    };
    let verdict = judge(&facts, &mut plenty());
    assert!(matches!(verdict, Verdict::Retry { .. }), "{verdict:?}");
}

#[test]
fn a_hint_is_a_floor() {
    let wait = |hint: Duration| {
        judge(
            &Facts {
                advice: asking(hint, Rule::AtLeast),
                ..facts()
            },
            &mut plenty(),
        )
    };
    let backoff = Verdict::Retry {
        wait: SECOND,
        reason: WaitReason::Backoff,
    };
    assert_eq!(wait(Duration::ZERO), backoff);
    assert_eq!(wait(SECOND), backoff);
    let staggered = Verdict::Retry {
        wait: 11 * SECOND,
        reason: WaitReason::RetryAfter,
    };
    assert_eq!(wait(10 * SECOND), staggered);
}

#[test]
fn a_near_hint_is_at_most_five_seconds_later_than_the_backoff() {
    for (asked, wait) in [(0, 1), (1, 1), (4, 4), (6, 6), (7, 6), (500, 6)] {
        let facts = Facts {
            advice: asking(asked * SECOND, Rule::Near),
            ..facts()
        };
        let verdict = judge(&facts, &mut plenty());
        let Verdict::Retry { wait: judged, .. } = verdict else {
            panic!("{verdict:?}")
        };
        assert_eq!(judged, wait * SECOND, "{asked}");
    }
}

#[test]
fn a_pushback_takes_the_place_of_the_backoff() {
    let wait = |wait| {
        let advice = asking(wait, Rule::Exactly);
        judge(&Facts { advice, ..facts() }, &mut plenty())
    };
    for asked in [Duration::ZERO, SECOND / 2, 3 * SECOND] {
        let reason = WaitReason::RetryAfter;
        assert_eq!(
            wait(asked),
            Verdict::Retry {
                wait: asked,
                reason
            }
        );
    }
    assert_eq!(
        wait(121 * SECOND),
        Verdict::Return(StopReason::RetryAfterTooLong)
    );
}

#[test]
fn each_cause_grants_one_transparent_retry() {
    for (class, status, cause) in [
        (Class::Unprocessed, None, TransparentCause::Refused),
        (Class::Unprocessed, Some(421), TransparentCause::Misdirected),
        (Class::Unprocessed, Some(425), TransparentCause::TooEarly),
        (
            Class::Stale(Processed::Possibly),
            None,
            TransparentCause::Stale,
        ),
    ] {
        let mut facts = Facts {
            class,
            status: status.map(|code| StatusCode::from_u16(code).unwrap()),
            ..facts()
        };
        assert_eq!(judge(&facts, &mut plenty()), at_once(cause));
        facts.transparent_retries.use_up(cause);
        let again = judge(&facts, &mut plenty());
        assert!(matches!(again, Verdict::Retry { .. }), "{again:?}");
        // The other causes have theirs still.
        let mut others = TransparentRetries::ALL;
        for other in [
            TransparentCause::Refused,
            TransparentCause::Misdirected,
            TransparentCause::TooEarly,
            TransparentCause::Stale,
        ] {
            if other != cause {
                others.use_up(other);
            }
        }
        facts.transparent_retries = others;
        assert_eq!(judge(&facts, &mut plenty()), at_once(cause));
    }
}

#[test]
fn a_hint_of_the_bound_is_waited_for_and_no_longer_one() {
    let judged = |wait| {
        let advice = asking(wait, Rule::AtLeast);
        judge(&Facts { advice, ..facts() }, &mut plenty())
    };
    let bound = facts().max_retry_after;
    let verdict = judged(bound);
    assert!(matches!(verdict, Verdict::Retry { .. }), "{verdict:?}");
    let longer = bound + Duration::from_nanos(1);
    assert_eq!(
        judged(longer),
        Verdict::Return(StopReason::RetryAfterTooLong)
    );
}

#[test]
fn a_wait_tells_that_the_server_is_overloaded() {
    let pressure = Pressure::Throttled;
    let verdict = judge(
        &Facts {
            pressure,
            ..facts()
        },
        &mut plenty(),
    );
    let reason = WaitReason::Throttled;
    let wait = SECOND;
    assert_eq!(verdict, Verdict::Retry { wait, reason });
}

#[test]
fn all_but_the_first_transparent_retry_count_as_failures() {
    let refused = Facts {
        class: Class::Unprocessed,
        status: None,
        ..facts()
    };
    let again = Facts {
        transparent_so_far: 1,
        ..refused
    };
    for (facts, failures) in [(refused, 0), (again, 1), (facts(), 1)] {
        let mut supply = plenty();
        let _ = judge(&facts, &mut supply);
        assert_eq!(supply.failures, failures, "{facts:?}");
    }
}

#[test]
fn transparent_retries_are_none_once_all_are_used_up() {
    let mut transparent_retries = TransparentRetries::ALL;
    for cause in [
        TransparentCause::Refused,
        TransparentCause::Misdirected,
        TransparentCause::TooEarly,
        TransparentCause::Stale,
        TransparentCause::GoneAway,
        TransparentCause::GoneAway,
        TransparentCause::GoneAway,
        TransparentCause::GoneAway,
        TransparentCause::GoneAway,
    ] {
        assert!(!transparent_retries.is_none(), "{cause:?}");
        transparent_retries.use_up(cause);
    }
    assert!(transparent_retries.is_none());
    assert!(TransparentRetries::NONE.is_none());
}

#[test]
fn goaways_grant_five_transparent_retries_and_all_but_the_first_wait() {
    let mut facts = Facts {
        class: Class::Unprocessed,
        status: None,
        gone_away: true,
        idempotent: false,
        ..facts()
    };
    let cause = TransparentCause::GoneAway;
    assert_eq!(judge(&facts, &mut plenty()), at_once(cause));
    for _ in 1..5 {
        facts.transparent_retries.use_up(cause);
        let wait = SECOND / 2;
        assert_eq!(
            judge(&facts, &mut plenty()),
            Verdict::TransparentRetry { cause, wait }
        );
    }
    let close = Facts {
        remaining: Some(SECOND / 2),
        ..facts
    };
    assert_eq!(
        judge(&close, &mut plenty()),
        Verdict::Return(StopReason::DeadlineTooClose)
    );
    facts.transparent_retries.use_up(cause);
    let charged = judge(&facts, &mut plenty());
    assert!(matches!(charged, Verdict::Retry { .. }), "{charged:?}");
}

#[test]
fn unprocessed_requests_pass_the_gate_of_methods() {
    for (class, passes) in [
        (Class::Ambiguous, false),
        (Class::Stale(Processed::Possibly), false),
        (Class::Stale(Processed::Never), true),
        (Class::NotSent, true),
        (Class::Unprocessed, true),
        (Class::Throttled(Processed::Possibly), false),
        (Class::Throttled(Processed::Never), true),
    ] {
        let facts = Facts {
            class,
            status: None,
            idempotent: false,
            ..facts()
        };
        let stopped = judge(&facts, &mut plenty()) == Verdict::Return(StopReason::NotIdempotent);
        assert_eq!(!stopped, passes, "{class:?}");
    }
}
