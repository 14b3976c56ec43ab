//! The checks. They take settings, and return what contradicts what.

use std::{num::NonZeroU32, time::Duration};

use http::{Method, Request, Uri};
use http_body_util::Empty;
use retry_layer::{
    Idempotence, RetryPolicy, breaker::BreakerBuilder, hedge::Hedging, pause::PauseBuilder,
};
use session_layer::{PoolConfig, Timeouts};

use super::{Finding, Surroundings};
use crate::ClientBuilder;

/// The settings that are compared.
pub(super) struct Checked<'a> {
    deadline: Option<Duration>,
    timeouts: &'a Timeouts,
    pool: &'a PoolConfig,
    policy: Option<&'a RetryPolicy>,
    hedging: Option<&'a Hedging>,
    breaker: Option<&'a BreakerBuilder>,
    pause: Option<&'a PauseBuilder>,
    uri: Uri,
}

impl ClientBuilder {
    pub(super) fn settings_to_check(&self) -> Checked<'_> {
        let uri = self.base.as_ref().and_then(|base| base.origin().ok());
        Checked {
            deadline: self.deadline,
            timeouts: &self.timeouts,
            pool: &self.pool,
            policy: self.retry.as_ref().ok(),
            hedging: self.hedging.as_ref().ok().and_then(Option::as_ref),
            breaker: self.breaker.as_ref(),
            pause: self.pause.as_ref(),
            uri: uri.unwrap_or_else(|| Uri::from_static("http://localhost/")),
        }
    }
}

/// What the retry policy says, as far as it is compared.
struct Retries<'a> {
    policy: &'a RetryPolicy,
    attempts: u32,
    waits: Vec<Duration>,
}

impl Checked<'_> {
    pub(super) fn check(&self, surroundings: &Surroundings) -> Vec<Finding> {
        let mut findings = Vec::new();
        let retries = self.retries();
        self.deadline(retries.as_ref(), &mut findings);
        self.connections(surroundings, &mut findings);
        self.hedging(&mut findings);
        let attempts = retries.as_ref().map_or(1, |retries| retries.attempts);
        self.breaker(attempts, surroundings, &mut findings);
        self.pause(&mut findings);
        if let Some(retries) = &retries {
            self.policy(retries, &mut findings);
            nested(retries.attempts, surroundings, &mut findings);
        }
        findings
    }

    /// `None` where nothing is repeated.
    fn retries(&self) -> Option<Retries<'_>> {
        let policy = self.policy?;
        let request = Request::new(Empty::<bytes::Bytes>::new());
        let rules = policy.rules_for(&request);
        (rules.once().is_none() && rules.max_attempts() > 1).then(|| Retries {
            policy,
            attempts: rules.max_attempts(),
            waits: rules.waits().to_vec(),
        })
    }

    fn deadline(&self, retries: Option<&Retries<'_>>, findings: &mut Vec<Finding>) {
        let head = self.timeouts.head_timeout();
        let Some(deadline) = self.deadline else {
            if head.is_none() {
                findings.push(Finding::NothingEndsCall);
            }
            return;
        };
        let connect = self.timeouts.connect_timeout();
        if let Some(retries) = retries {
            let is_too_long = head.is_none_or(|head| head >= deadline);
            if is_too_long {
                findings.push(Finding::AttemptOutlastsDeadline { head, deadline });
            }
            let wait = retries.waits.first().copied().unwrap_or_default();
            if let Some(connect) = connect.filter(|it| it.saturating_add(wait) >= deadline) {
                findings.push(Finding::ConnectOutlastsDeadline {
                    connect,
                    wait,
                    deadline,
                });
            }
            let needed = head.map(|head| retries.needed(head));
            if let Some(needed) = needed.filter(|needed| !is_too_long && *needed > deadline) {
                findings.push(Finding::RetriesOutlastDeadline { needed, deadline });
            }
            let asked = retries.policy.max_retry_after();
            if let Some(max_retry_after) = asked.filter(|it| *it > deadline) {
                findings.push(Finding::RetryAfterOutlastsDeadline {
                    max_retry_after,
                    deadline,
                });
            }
        }
        let queue = self.pool.longest_queue_wait();
        if queue.is_none_or(|queue| queue >= deadline) {
            findings.push(Finding::QueueOutlastsDeadline { queue, deadline });
        }
        let body_idle = self.timeouts.body_idle_timeout();
        if let Some(body_idle) = body_idle.filter(|it| *it >= deadline) {
            findings.push(Finding::BodyIdleOutlastsDeadline {
                body_idle,
                deadline,
            });
        }
    }

    fn connections(&self, surroundings: &Surroundings, findings: &mut Vec<Finding>) {
        let idle = self.pool.longest_idle_time();
        if let Some(peer) = surroundings.peer_keep_alive {
            if idle.is_none_or(|idle| idle >= peer) {
                findings.push(Finding::IdleOutlastsPeer { idle, peer });
            }
        }
        if let (Some(idle), Some(lifetime)) = (idle, self.pool.longest_lifetime()) {
            if idle > lifetime {
                findings.push(Finding::IdleOutlastsLifetime { idle, lifetime });
            }
        }
    }

    fn hedging(&self, findings: &mut Vec<Finding>) {
        let hedging = self.hedging.or(self.policy.and_then(RetryPolicy::hedging));
        let Some(hedging) = hedging else {
            return;
        };
        if self.policy.is_some_and(|it| it.max_attempts() == 1) {
            findings.push(Finding::HedgeHasNoAttempt);
        }
        // A learned delay is not known before anything was sent.
        if let (Some(delay), Some(head)) = (hedging.delay(&self.uri), self.timeouts.head_timeout())
        {
            if delay >= head {
                findings.push(Finding::HedgeOutlastsAttempt { delay, head });
            }
        }
    }

    fn breaker(&self, attempts: u32, surroundings: &Surroundings, findings: &mut Vec<Finding>) {
        let Some(breaker) = self.breaker else {
            return;
        };
        let failures = breaker.failures_in_a_row().map(NonZeroU32::get);
        if let Some(failures) = failures.filter(|failures| attempts > 1 && *failures <= attempts) {
            findings.push(Finding::OneCallOpensCircuit { failures, attempts });
        }
        if let Some((rate, interval)) = breaker.rate().zip(surroundings.call_interval) {
            let (sample, window) = (rate.smallest_sample().get(), rate.window());
            let calls = window.as_nanos() / interval.as_nanos().max(1);
            let most = calls.saturating_mul(attempts.into());
            // If it does not fit, it is more than any sample.
            if let Some(attempts) = u32::try_from(most).ok().filter(|most| *most < sample) {
                findings.push(Finding::SampleNeverReached {
                    sample,
                    window,
                    attempts,
                });
            }
        }
    }

    fn pause(&self, findings: &mut Vec<Finding>) {
        let Some(settings) = self.pause else {
            return;
        };
        let wait = settings.longest_wait();
        let wait = self.deadline.map_or(wait, |deadline| wait.min(deadline));
        if let Some(pause) = settings.pause_without_hint().filter(|pause| *pause > wait) {
            findings.push(Finding::PauseOutlastsWait { pause, wait });
        }
    }

    fn policy(&self, retries: &Retries<'_>, findings: &mut Vec<Finding>) {
        let policy = retries.policy;
        if !policy.has_budget() {
            findings.push(Finding::NoBudget);
        } else if !policy.can_pay_retry(&self.uri) {
            findings.push(Finding::BudgetPaysNoRetry);
        }
        if retries.has_equal_waits() {
            findings.push(Finding::NoJitter);
        }
        let possible = u32::try_from(retries.waits.len()).unwrap_or(u32::MAX);
        let possible = possible.saturating_add(1);
        // Of an endless schedule only the first waits are listed.
        let lists_all = retries.waits.len() < LISTED;
        if lists_all && possible < retries.attempts {
            findings.push(Finding::ScheduleEndsEarly {
                attempts: retries.attempts,
                possible,
            });
        }
        let mut post = Request::new(Empty::<bytes::Bytes>::new());
        *post.method_mut() = Method::POST;
        if policy.rules_for(&post).idempotence() == Idempotence::Method {
            findings.push(Finding::RepeatsAnyMethod);
        }
        if let (limit, Some(memory)) = policy.replay_limits() {
            if limit > memory {
                findings.push(Finding::ReplayLimitAboveMemory { limit, memory });
            }
        }
    }
}

/// How many waits [`rules_for`](RetryPolicy::rules_for) lists.
const LISTED: usize = 100;

impl Retries<'_> {
    /// How long all attempts take if each ends by its head timeout.
    fn needed(&self, head: Duration) -> Duration {
        let attempts = head.saturating_mul(self.attempts);
        let waits = self.waits.iter().copied();
        waits.fold(attempts, Duration::saturating_add)
    }

    /// Whether all calls wait for the same times. A wait of 0 is no wait.
    fn has_equal_waits(&self) -> bool {
        const CALLS: std::ops::Range<u64> = 1..5;
        let count = self.waits.len().min(4);
        let of = |seed| self.policy.backoff().delays(seed).take(count);
        let waits: Vec<_> = of(0).collect();
        waits.iter().any(|wait| !wait.is_zero())
            && CALLS
                .into_iter()
                .all(|seed| of(seed).eq(waits.iter().copied()))
    }
}

fn nested(attempts: u32, surroundings: &Surroundings, findings: &mut Vec<Finding>) {
    let elsewhere = surroundings.attempts_elsewhere.iter();
    let in_all = elsewhere.fold(attempts, |product, it| product.saturating_mul(*it));
    if in_all > attempts {
        findings.push(Finding::NestedRetries { attempts, in_all });
    }
}
