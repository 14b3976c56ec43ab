//! Settings that contradict each other.

use std::{num::NonZeroU32, time::Duration};

use client::{
    Backoff, Client, ClientBuilder, ClientConfig, Exponential, Jitter, PoolConfig, RetryPolicy,
    RetryPolicyBuilder, Timeouts,
    budget::{AwsBudget, FixedBudget, GrpcThrottle, Unlimited},
    lint::{Finding, Severity, Surroundings},
    retry_layer::{
        breaker::{Breaker, SuccessRate},
        hedge::Hedging,
        pause::{Pause, PauseBuilder},
    },
};

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn found(builder: &ClientBuilder) -> Vec<Finding> {
    builder.lint(&Surroundings::new())
}

fn of_policy(policy: RetryPolicyBuilder) -> Vec<Finding> {
    found(&Client::builder().retry(policy))
}

fn of_timeouts(deadline: u64, timeouts: Timeouts) -> Vec<Finding> {
    // What else is too long for a short deadline is not what is looked for.
    let pool = PoolConfig::default().queue_timeout(Duration::from_millis(1));
    let policy = RetryPolicy::builder().max_retry_after(Duration::from_millis(1));
    let builder = Client::builder().pool(pool).retry(policy);
    found(&builder.deadline(secs(deadline)).timeouts(timeouts))
}

fn timeouts(connect: u64, head: u64) -> Timeouts {
    Timeouts::default()
        .connect(secs(connect))
        .head(secs(head))
        .body_idle(Duration::from_millis(1))
}

#[test]
fn the_defaults_contradict_nothing() {
    let surroundings = Surroundings::new().peer_keep_alive(secs(60));
    assert_eq!(Client::builder().lint(&surroundings), []);
}

#[test]
fn an_attempt_as_long_as_the_deadline_leaves_none_after_it() {
    assert_eq!(
        of_timeouts(10, timeouts(1, 10)),
        [Finding::AttemptOutlastsDeadline {
            head: Some(secs(10)),
            deadline: secs(10)
        }]
    );
    let no_timeout = timeouts(1, 1).head(None);
    assert!(matches!(
        *of_timeouts(10, no_timeout),
        [Finding::AttemptOutlastsDeadline { head: None, .. }]
    ));
    assert_eq!(of_timeouts(10, timeouts(1, 3)), []);
}

#[test]
fn a_connect_and_the_wait_after_it_fit_the_deadline() {
    assert_eq!(of_timeouts(10, timeouts(9, 1)), []);
    assert_eq!(
        of_timeouts(10, timeouts(10, 1)),
        [Finding::ConnectOutlastsDeadline {
            connect: secs(10),
            wait: Duration::from_millis(100),
            deadline: secs(10)
        }]
    );
}

#[test]
fn attempts_that_all_run_out_of_time_fit_the_deadline() {
    // Three of them, and waits of 100 and 200 ms.
    assert_eq!(
        of_timeouts(15, timeouts(1, 5)),
        [Finding::RetriesOutlastDeadline {
            needed: Duration::from_millis(15_300),
            deadline: secs(15)
        }]
    );
    assert_eq!(of_timeouts(16, timeouts(1, 5)), []);
}

#[test]
fn a_wait_in_the_queue_fits_the_deadline() {
    let of = |queue: Option<Duration>| {
        let pool = PoolConfig::default().queue_timeout(queue);
        found(&Client::builder().deadline(secs(200)).pool(pool))
    };
    assert_eq!(of(Some(secs(199))), []);
    for queue in [Some(secs(200)), None] {
        let deadline = secs(200);
        assert_eq!(
            of(queue),
            [Finding::QueueOutlastsDeadline { queue, deadline }]
        );
    }
}

#[test]
fn a_wait_that_a_server_asks_for_fits_the_deadline() {
    let of = |policy| found(&Client::builder().deadline(secs(100)).retry(policy));
    assert_eq!(
        of(RetryPolicy::builder()),
        [Finding::RetryAfterOutlastsDeadline {
            max_retry_after: secs(120),
            deadline: secs(100)
        }]
    );
    assert_eq!(of(RetryPolicy::builder().ignore_retry_after()), []);
    assert_eq!(of(RetryPolicy::builder().max_retry_after(secs(100))), []);
}

#[test]
fn a_body_that_stands_still_ends_before_the_deadline() {
    let timeouts = timeouts(1, 1).body_idle(secs(10));
    assert_eq!(
        of_timeouts(10, timeouts),
        [Finding::BodyIdleOutlastsDeadline {
            body_idle: secs(10),
            deadline: secs(10)
        }]
    );
}

#[test]
fn a_call_without_any_limit_is_a_risk() {
    let builder = Client::builder().deadline(None);
    assert_eq!(found(&builder), []);
    let builder = builder.timeouts(Timeouts::default().head(None));
    assert_eq!(found(&builder), [Finding::NothingEndsCall]);
}

#[test]
fn connections_are_given_up_before_the_peer_closes_them() {
    let of = |idle: Option<Duration>| {
        let builder = Client::builder().pool(PoolConfig::default().idle_timeout(idle));
        builder.lint(&Surroundings::new().peer_keep_alive(secs(5)))
    };
    assert_eq!(of(Some(secs(4))), []);
    for idle in [Some(secs(5)), None] {
        let peer = secs(5);
        assert_eq!(of(idle), [Finding::IdleOutlastsPeer { idle, peer }]);
    }
}

#[test]
fn an_idle_timeout_is_not_longer_than_a_connection_lives() {
    let pool = PoolConfig::default().max_lifetime(secs(20));
    assert_eq!(
        found(&Client::builder().pool(pool)),
        [Finding::IdleOutlastsLifetime {
            idle: secs(50),
            lifetime: secs(20)
        }]
    );
}

#[test]
fn retries_at_several_places_multiply() {
    let surroundings = Surroundings::new()
        .attempts_elsewhere(3)
        .attempts_elsewhere(2);
    assert_eq!(
        Client::builder().lint(&surroundings),
        [Finding::NestedRetries {
            attempts: 3,
            in_all: 18
        }]
    );
    let once = RetryPolicy::builder()
        .max_attempts(1)
        .without_transparent_retries();
    assert_eq!(Client::builder().retry(once).lint(&surroundings), []);
}

#[test]
fn a_budget_that_cannot_pay_one_retry_is_named() {
    // A retry costs 14 of these tokens.
    let poor = AwsBudget::v2_1().with_capacity(10).unwrap();
    let findings = of_policy(RetryPolicy::builder().budget(poor));
    assert_eq!(findings, [Finding::BudgetPaysNoRetry]);
    for policy in [
        RetryPolicy::builder().budget(FixedBudget::new(1, 1).unwrap()),
        RetryPolicy::builder().budget(GrpcThrottle::new(10, 100).unwrap()),
    ] {
        let builder = Client::builder().retry(policy);
        // Also after it was looked at once.
        assert_eq!(found(&builder), []);
        assert_eq!(found(&builder), []);
    }
}

#[test]
fn retries_without_a_budget_are_a_risk() {
    let findings = of_policy(RetryPolicy::builder().budget(Unlimited));
    assert_eq!(findings, [Finding::NoBudget]);
}

#[test]
fn waits_without_jitter_are_a_risk() {
    let exponential = Backoff::from(Exponential::new(secs(1)));
    let of = |jitter| of_policy(RetryPolicy::builder().backoff(exponential.clone().jitter(jitter)));
    assert_eq!(of(Jitter::None), [Finding::NoJitter]);
    for jitter in [Jitter::Full, Jitter::Equal, Jitter::Decorrelated] {
        assert_eq!(of(jitter), []);
    }
}

#[test]
fn a_schedule_has_a_wait_for_each_retry() {
    let short = Backoff::schedule([secs(1)]).jitter(Jitter::Full);
    assert_eq!(
        of_policy(RetryPolicy::builder().backoff(short).max_attempts(5)),
        [Finding::ScheduleEndsEarly {
            attempts: 5,
            possible: 2
        }]
    );
}

#[test]
fn repeating_any_method_is_a_risk() {
    let findings = of_policy(RetryPolicy::builder().any_method());
    assert_eq!(findings, [Finding::RepeatsAnyMethod]);
}

#[test]
fn one_body_fits_what_all_may_keep() {
    assert_eq!(
        of_policy(
            RetryPolicy::builder()
                .replay_limit(2_000)
                .replay_memory(1_000)
        ),
        [Finding::ReplayLimitAboveMemory {
            limit: 2_000,
            memory: 1_000
        }]
    );
}

#[test]
fn a_hedge_comes_before_its_attempt_has_ended() {
    let of = |delay, policy| {
        let builder = Client::builder().hedge(Hedging::after(delay)).retry(policy);
        found(&builder)
    };
    assert_eq!(of(secs(29), RetryPolicy::builder()), []);
    assert_eq!(
        of(secs(30), RetryPolicy::builder()),
        [Finding::HedgeOutlastsAttempt {
            delay: secs(30),
            head: secs(30)
        }]
    );
    let once = RetryPolicy::builder().max_attempts(1);
    assert_eq!(of(secs(1), once), [Finding::HedgeHasNoAttempt]);
}

#[test]
fn one_call_does_not_open_a_circuit_for_all() {
    let of = |failures, attempts| {
        let failures = NonZeroU32::new(failures).unwrap();
        let breaker = Breaker::builder().consecutive_failures(failures);
        let policy = RetryPolicy::builder().max_attempts(attempts);
        found(&Client::builder().breaker(breaker).retry(policy))
    };
    assert_eq!(of(4, 3), []);
    assert_eq!(
        of(3, 3),
        [Finding::OneCallOpensCircuit {
            failures: 3,
            attempts: 3
        }]
    );
    // Whoever makes one attempt and opens for one failure means it.
    assert_eq!(of(1, 1), []);
}

#[test]
fn a_success_rate_has_a_sample_to_look_at() {
    let of = |interval| {
        let sample = NonZeroU32::new(31).unwrap();
        let rate = SuccessRate::new(80, secs(10)).min_requests(sample);
        let builder = Client::builder().breaker(Breaker::builder().success_rate(rate));
        builder.lint(&Surroundings::new().call_interval(interval))
    };
    // Ten calls of three attempts.
    assert_eq!(
        of(secs(1)),
        [Finding::SampleNeverReached {
            sample: 31,
            window: secs(10),
            attempts: 30
        }]
    );
    assert_eq!(of(Duration::from_millis(900)), []);
    assert_eq!(of(Duration::ZERO), []);
}

#[test]
fn a_request_can_wait_for_the_end_of_a_pause_without_a_hint() {
    let of = |pause: PauseBuilder| found(&Client::builder().deadline(secs(200)).pause(pause));
    assert_eq!(of(Pause::builder()), []);
    let (pause, wait) = (secs(3), secs(2));
    let short = Pause::builder().without_hint(pause).max_wait(wait);
    assert_eq!(of(short), [Finding::PauseOutlastsWait { pause, wait }]);
    // A request waits no longer than to its deadline either.
    let (pause, wait) = (secs(201), secs(200));
    let long = Pause::builder().without_hint(pause).max_wait(secs(300));
    assert_eq!(of(long), [Finding::PauseOutlastsWait { pause, wait }]);
}

#[test]
fn a_configuration_file_is_checked_as_what_it_sets() {
    let config: ClientConfig = toml::from_str(
        r#"
        deadline = "5s"
        pool = { idle_timeout = "2m" }
        retry = { budget = "none", max_retry_after = "1s" }
        timeouts = { head = "1s", connect = "1s", body_idle = "1s" }
        "#,
    )
    .unwrap();
    let builder = ClientBuilder::from_config(config).unwrap();
    let findings = builder.lint(&Surroundings::new().peer_keep_alive(secs(75)));
    let names: Vec<_> = findings.iter().map(Finding::name).collect();
    assert_eq!(
        names,
        ["queue-outlasts-deadline", "idle-outlasts-peer", "no-budget"]
    );
    let severities = findings.iter().map(Finding::severity);
    let severities: Vec<_> = severities.collect();
    assert_eq!(
        severities,
        [
            Severity::Contradiction,
            Severity::Contradiction,
            Severity::Risk
        ]
    );
    assert!(Severity::Contradiction > Severity::Risk);
}
