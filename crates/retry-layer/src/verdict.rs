use std::time::Duration;

use http::StatusCode;

use crate::{
    backoff::Pressure,
    class::Class,
    hint::{Advice, Asked, Rule},
    report::WaitReason,
    stop::StopReason,
};

/// What is known when an attempt is over: plain values, so that a decision can be tested.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    pub(crate) class: Class,
    /// The status, if the outcome is a response.
    pub(crate) status: Option<StatusCode>,
    /// Whether the connection went away before the peer processed the request.
    pub(crate) gone_away: bool,
    /// Whether the request may be processed twice.
    pub(crate) idempotent: bool,
    pub(crate) replayable: bool,
    /// Counted attempts, the one that is over included.
    pub(crate) attempts: u32,
    pub(crate) max_attempts: u32,
    pub(crate) resends: Resends,
    /// How many resends the call has made, those of earlier hops included.
    pub(crate) resent: u32,
    pub(crate) pressure: Pressure,
    /// What the server asked for.
    pub(crate) advice: Advice,
    pub(crate) max_retry_after: Duration,
    /// What is left until the deadline, if there is one.
    pub(crate) remaining: Option<Duration>,
}

/// What to do next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use = "a judgement that nobody acts upon leaves the call hanging"]
pub(crate) enum Verdict {
    Return(StopReason),
    Resend { cause: Resend, wait: Duration },
    Retry { wait: Duration, reason: WaitReason },
}

/// The causes for which a request is sent again though no attempt is counted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Resend {
    Refused,
    GoneAway,
    Misdirected,
    TooEarly,
    Stale,
}

/// Which resends a request may still cause.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Resends {
    /// A bit for each [cause](Resend) that grants one.
    once: u8,
    gone_away: u8,
}

impl Resends {
    pub(crate) const ALL: Self = Self {
        once: Self::bit(Resend::Refused)
            | Self::bit(Resend::Misdirected)
            | Self::bit(Resend::TooEarly)
            | Self::bit(Resend::Stale),
        gone_away: Self::GOAWAYS,
    };
    pub(crate) const NONE: Self = Self {
        once: 0,
        gone_away: 0,
    };
    /// Where each connection serves few requests (nginx's `keepalive_requests`), a call among many
    /// meets several that go away before its turn comes, and no server is worse for it.
    const GOAWAYS: u8 = 5;
    /// The most resends of a call, over all its hops: as many as one request may cause.
    const MOST: u32 = 9;

    /// Whether no cause grants a resend.
    pub(crate) fn is_none(self) -> bool {
        self == Self::NONE
    }

    pub(crate) fn use_up(&mut self, cause: Resend) {
        match cause {
            Resend::GoneAway => self.gone_away = self.gone_away.saturating_sub(1),
            Resend::Refused | Resend::Misdirected | Resend::TooEarly | Resend::Stale => {
                self.once &= !Self::bit(cause);
            }
        }
    }

    /// Whether none was made yet for this cause.
    fn is_first(self, cause: Resend) -> bool {
        cause != Resend::GoneAway || self.gone_away == Self::GOAWAYS
    }

    /// The cause for which this outcome grants a resend, if it does.
    fn granted(self, facts: &Facts) -> Option<Resend> {
        if facts.resent >= Self::MOST {
            return None;
        }
        let status = facts.status;
        let cause = match facts.class {
            Class::Unprocessed if facts.gone_away => {
                return (self.gone_away > 0).then_some(Resend::GoneAway);
            }
            Class::Unprocessed if status == Some(StatusCode::TOO_EARLY) => Resend::TooEarly,
            Class::Unprocessed if status.is_some() => Resend::Misdirected,
            Class::Unprocessed => Resend::Refused,
            Class::Stale { .. } => Resend::Stale,
            Class::Final
            | Class::Ambiguous
            | Class::NotSent
            | Class::Throttled { .. }
            | Class::Permanent => return None,
        };
        (self.once & Self::bit(cause) != 0).then_some(cause)
    }

    const fn bit(cause: Resend) -> u8 {
        1 << cause as u8
    }
}

/// Chance and shared state, asked for only once everything else allows a retry.
pub(crate) trait Means {
    /// An attempt failed that another one may follow, and not for free: the first resend of a call
    /// is no failure, a further one is.
    fn failed(&mut self) {}
    /// The next wait of the schedule, or nothing if it is over.
    fn backoff(&mut self) -> Option<Duration>;
    /// The same for a resend that is not the first of its cause.
    fn resend_backoff(&mut self) -> Option<Duration>;
    /// Something to add to a hint of this length, so that clients do not return together.
    fn stagger(&mut self, hint: Duration) -> Duration;
    /// Takes what a retry costs from the budget, if it has that much. A resend that is not the first
    /// of its call costs the same.
    fn withdraw(&mut self) -> bool;
}

/// Decides what follows an attempt. The order is the point: what can never work is said first,
/// and the budget is asked last, so that a retry which is refused for any other reason costs none.
pub(crate) fn judge(facts: &Facts, means: &mut impl Means) -> Verdict {
    if !facts.class.is_retryable() {
        return Verdict::Return(StopReason::of_final(facts.status));
    }
    let resend = facts.resends.granted(facts);
    let is_free = resend.is_some() && facts.resent == 0;
    if !is_free {
        means.failed();
    }
    if let Advice::Stop(reason) = facts.advice {
        return Verdict::Return(reason);
    }
    if !facts.idempotent && !facts.class.is_unprocessed() {
        return Verdict::Return(StopReason::NotIdempotent);
    }
    if !facts.replayable {
        return Verdict::Return(StopReason::BodyNotReplayable);
    }
    let late = facts.remaining.is_some_and(|remaining| remaining.is_zero());
    if let Some(cause) = resend {
        if late {
            return Verdict::Return(StopReason::DeadlineExceeded);
        }
        let wait = if facts.resends.is_first(cause) {
            Some(Duration::ZERO)
        } else {
            means.resend_backoff()
        };
        if let Some(wait) = wait {
            return if facts.outlives(wait) {
                Verdict::Return(StopReason::DeadlineTooClose)
            } else if is_free || means.withdraw() {
                Verdict::Resend { cause, wait }
            } else {
                Verdict::Return(StopReason::BudgetExhausted)
            };
        }
    }
    if facts.attempts >= facts.max_attempts {
        return Verdict::Return(StopReason::AttemptsExhausted);
    }
    let asked = facts.asked();
    // One that is near the backoff anyway is bound by that.
    if asked.is_some_and(|a| a.rule != Rule::Near && a.wait > facts.max_retry_after) {
        return Verdict::Return(StopReason::RetryAfterTooLong);
    }
    if late {
        return Verdict::Return(StopReason::DeadlineExceeded);
    }
    let Some((wait, reason)) = pause(asked, facts.pressure, means) else {
        return Verdict::Return(StopReason::AttemptsExhausted);
    };
    if facts.outlives(wait) {
        return Verdict::Return(StopReason::DeadlineTooClose);
    }
    if !means.withdraw() {
        return Verdict::Return(StopReason::BudgetExhausted);
    }
    Verdict::Retry { wait, reason }
}

impl Facts {
    /// Whether a wait would not end before the deadline.
    fn outlives(&self, wait: Duration) -> bool {
        self.remaining.is_some_and(|remaining| wait >= remaining)
    }

    fn asked(&self) -> Option<Asked> {
        match self.advice {
            Advice::Wait(asked) => Some(asked),
            Advice::Nothing | Advice::Stop(_) => None,
        }
    }
}

/// The wait and its reason, or nothing if the schedule is over.
fn pause(
    asked: Option<Asked>,
    pressure: Pressure,
    means: &mut impl Means,
) -> Option<(Duration, WaitReason)> {
    const NEAR: Duration = Duration::from_secs(5);
    if let Some(Asked {
        wait,
        rule: Rule::Exactly,
        reason,
    }) = asked
    {
        return Some((wait, reason));
    }
    let backoff = means.backoff()?;
    Some(match asked {
        Some(Asked {
            wait, rule, reason, ..
        }) if wait > backoff => {
            let wait = match rule {
                Rule::Near => wait.min(backoff.saturating_add(NEAR)),
                Rule::AtLeast | Rule::Exactly => wait.saturating_add(means.stagger(wait)),
            };
            (wait, reason)
        }
        _ if pressure == Pressure::Throttled => (backoff, WaitReason::Throttled),
        _ => (backoff, WaitReason::Backoff),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Allows everything, and notes whether it was asked for a token and how often an attempt failed.
    struct Plenty {
        backoff: Option<Duration>,
        granted: bool,
        asked: bool,
        failures: u32,
    }

    impl Means for Plenty {
        fn failed(&mut self) {
            self.failures += 1;
        }

        fn backoff(&mut self) -> Option<Duration> {
            self.backoff
        }

        fn resend_backoff(&mut self) -> Option<Duration> {
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
            resends: Resends::ALL,
            resent: 0,
            pressure: Pressure::Normal,
            advice: Advice::Nothing,
            max_retry_after: 120 * SECOND,
            remaining: None,
        }
    }

    fn at_once(cause: Resend) -> Verdict {
        Verdict::Resend {
            cause,
            wait: Duration::ZERO,
        }
    }

    fn asking(wait: Duration, rule: Rule) -> Advice {
        Asked::new(wait, rule, WaitReason::RetryAfter).into()
    }

    #[test]
    fn reasons_come_in_their_order() {
        // Everything speaks against a retry; one obstacle after the other is taken away.
        let mut facts = Facts {
            class: Class::Final,
            idempotent: false,
            replayable: false,
            attempts: 3,
            advice: Advice::Stop(StopReason::ServerSaidNo),
            remaining: Some(Duration::ZERO),
            ..facts()
        };
        let mut means = Plenty {
            backoff: None,
            granted: false,
            asked: false,
            failures: 0,
        };
        let mut stop = |change: fn(&mut Facts, &mut Plenty)| {
            let Verdict::Return(reason) = judge(&facts, &mut means) else {
                panic!("no stop")
            };
            let asked = means.asked;
            change(&mut facts, &mut means);
            (reason, asked)
        };
        assert_eq!(
            stop(|f, _| f.class = Class::Ambiguous).0,
            StopReason::StatusNotRetryable
        );
        assert_eq!(
            stop(|f, _| f.advice = asking(121 * SECOND, Rule::AtLeast)).0,
            StopReason::ServerSaidNo
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
        assert_eq!(judge(&facts, &mut means), retry);
    }

    #[test]
    fn the_first_resend_asks_for_no_token_and_counts_no_attempt() {
        let facts = Facts {
            class: Class::Unprocessed,
            status: None,
            attempts: 3,
            ..facts()
        };
        let mut means = Plenty {
            backoff: None,
            granted: false,
            asked: false,
            failures: 0,
        };
        assert_eq!(judge(&facts, &mut means), at_once(Resend::Refused));
        assert!(!means.asked);
    }

    #[test]
    fn a_further_resend_costs_a_token_whatever_its_cause() {
        for resent in 1..Resends::MOST {
            let facts = Facts {
                class: Class::Unprocessed,
                status: None,
                attempts: 3,
                resent,
                ..facts()
            };
            let mut means = plenty();
            assert_eq!(judge(&facts, &mut means), at_once(Resend::Refused));
            assert!(means.asked);
            means.granted = false;
            let refused = Verdict::Return(StopReason::BudgetExhausted);
            assert_eq!(judge(&facts, &mut means), refused);
        }
    }

    #[test]
    fn a_call_that_has_resent_as_often_as_one_request_may_resends_no_more() {
        let facts = Facts {
            class: Class::Unprocessed,
            status: None,
            resent: Resends::MOST,
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
    fn each_cause_grants_one_resend() {
        for (class, status, cause) in [
            (Class::Unprocessed, None, Resend::Refused),
            (Class::Unprocessed, Some(421), Resend::Misdirected),
            (Class::Unprocessed, Some(425), Resend::TooEarly),
            (Class::Stale { wrote: true }, None, Resend::Stale),
        ] {
            let mut facts = Facts {
                class,
                status: status.map(|code| StatusCode::from_u16(code).unwrap()),
                ..facts()
            };
            assert_eq!(judge(&facts, &mut plenty()), at_once(cause));
            facts.resends.use_up(cause);
            let again = judge(&facts, &mut plenty());
            assert!(matches!(again, Verdict::Retry { .. }), "{again:?}");
            // The other causes have theirs still.
            let mut others = Resends::ALL;
            for other in [
                Resend::Refused,
                Resend::Misdirected,
                Resend::TooEarly,
                Resend::Stale,
            ] {
                if other != cause {
                    others.use_up(other);
                }
            }
            facts.resends = others;
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
    fn all_but_the_first_resend_count_as_failures() {
        let refused = Facts {
            class: Class::Unprocessed,
            status: None,
            ..facts()
        };
        let again = Facts {
            resent: 1,
            ..refused
        };
        for (facts, failures) in [(refused, 0), (again, 1), (facts(), 1)] {
            let mut means = plenty();
            let _ = judge(&facts, &mut means);
            assert_eq!(means.failures, failures, "{facts:?}");
        }
    }

    #[test]
    fn resends_are_none_once_all_are_used_up() {
        let mut resends = Resends::ALL;
        for cause in [
            Resend::Refused,
            Resend::Misdirected,
            Resend::TooEarly,
            Resend::Stale,
            Resend::GoneAway,
            Resend::GoneAway,
            Resend::GoneAway,
            Resend::GoneAway,
            Resend::GoneAway,
        ] {
            assert!(!resends.is_none(), "{cause:?}");
            resends.use_up(cause);
        }
        assert!(resends.is_none());
        assert!(Resends::NONE.is_none());
    }

    #[test]
    fn goaways_grant_five_resends_and_all_but_the_first_wait() {
        let mut facts = Facts {
            class: Class::Unprocessed,
            status: None,
            gone_away: true,
            idempotent: false,
            ..facts()
        };
        let cause = Resend::GoneAway;
        assert_eq!(judge(&facts, &mut plenty()), at_once(cause));
        for _ in 1..5 {
            facts.resends.use_up(cause);
            let wait = SECOND / 2;
            assert_eq!(
                judge(&facts, &mut plenty()),
                Verdict::Resend { cause, wait }
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
        facts.resends.use_up(cause);
        let charged = judge(&facts, &mut plenty());
        assert!(matches!(charged, Verdict::Retry { .. }), "{charged:?}");
    }

    #[test]
    fn unprocessed_requests_pass_the_gate_of_methods() {
        for (class, passes) in [
            (Class::Ambiguous, false),
            (Class::Stale { wrote: true }, false),
            (Class::Stale { wrote: false }, true),
            (Class::NotSent, true),
            (Class::Unprocessed, true),
            (Class::Throttled { refused: false }, false),
            (Class::Throttled { refused: true }, true),
        ] {
            let facts = Facts {
                class,
                status: None,
                idempotent: false,
                ..facts()
            };
            let stopped =
                judge(&facts, &mut plenty()) == Verdict::Return(StopReason::NotIdempotent);
            assert_eq!(!stopped, passes, "{class:?}");
        }
    }
}
