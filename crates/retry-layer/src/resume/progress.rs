//! Decides how often and when the rest of a body is requested, and keeps the report.

use std::{error::Error, fmt, mem, time::Duration};

use http::{Extensions, Method, Request, StatusCode, Uri};
use tokio::time::Instant;

use crate::{
    attempt::Resumption,
    backoff::{Pressure, Waits},
    budget::{Cost, Withdrawal},
    class::Class,
    deadline::Deadline,
    details::{AttemptDetails, AttemptPhase, FailureKind},
    hint::Advice,
    observer::{EndedAttempt, RetryObserver},
    outcome::Outcome,
    policy::RetryPolicy,
    report::{AttemptOutcome, AttemptRecord, AttemptTimes, RetryReport, Wait, WaitReason},
    stop::StopReason,
    transport,
    verdict::{Facts, RetrySupply, TransparentRetries, Verdict, judge},
};

/// A request for the rest costs a server a connection and two heads, about as much as sending this
/// many bytes of a body. Once it has brought more than that, its token goes back to the budget.
const PAID_OFF: u64 = 4 * 1024;

/// The attempts at one body.
pub(super) struct Progress {
    policy: RetryPolicy,
    method: Method,
    uri: Uri,
    /// The deadline: the request's, or else the policy's, which counts from when the body broke. It
    /// bounds the waits and requests for the rest, and not a body that is being read.
    deadline: Option<Deadline>,
    of_request: Option<Deadline>,
    idempotent: bool,
    /// How many exchanges there were since the last one that brought bytes of the body, the present
    /// one included.
    attempts: u32,
    /// How many bytes of the body the present exchange has read.
    brought: u64,
    /// The records of all exchanges of the call; the present one is the last. Empty until the body breaks.
    records: Vec<AttemptRecord>,
    /// The report of the exchanges up to the head of the response, if there were several.
    report: Option<RetryReport>,
    status: StatusCode,
    stop: StopReason,
    /// When the rest was requested.
    asked: Option<Instant>,
    /// Held until the exchange that it pays for has read enough, or has ended.
    withdrawal: Option<Withdrawal>,
}

/// How the body of an exchange ended too early.
pub(super) enum Break<'a> {
    /// It gave an error.
    Error(&'a (dyn Error + 'static)),
    /// It ended before all of the announced length was read.
    Early,
    /// It was a part that was read whole, but is not all of the rest.
    Short,
}

impl Progress {
    pub(super) fn new<B>(
        policy: RetryPolicy,
        request: &Request<B>,
        status: StatusCode,
        extensions: &Extensions,
    ) -> Self {
        let idempotent = policy.is_idempotent(
            request.method(),
            Some(request.headers()),
            request.extensions(),
        );
        Self {
            policy,
            method: request.method().clone(),
            uri: request.uri().clone(),
            deadline: None,
            of_request: request.extensions().get().copied(),
            idempotent,
            attempts: 1,
            brought: 0,
            records: Vec::new(),
            report: extensions.get().cloned(),
            status,
            stop: StopReason::Answered,
            asked: None,
            withdrawal: None,
        }
    }

    /// Counts bytes of the present exchange that are returned to the reader.
    #[inline]
    pub(super) fn bring(&mut self, bytes: u64) {
        self.brought = self.brought.saturating_add(bytes);
        if self.withdrawal.is_some() && self.brought >= PAID_OFF {
            self.pay_off();
        }
    }

    /// The body has come to its end.
    pub(super) fn complete(&mut self) {
        self.pay_off();
    }

    fn pay_off(&mut self) {
        if let Some(withdrawal) = self.withdrawal.take() {
            withdrawal.pay_off();
        }
    }

    /// Returns how long to wait before the rest is requested, or why it is not.
    pub(super) fn broke(&mut self, how: &Break<'_>, offset: u64) -> Result<Duration, StopReason> {
        let now = Instant::now();
        if mem::take(&mut self.brought) > 0 {
            self.attempts = 1;
            self.deadline = None;
        }
        let deadline = self.of_request.or(self.deadline).or_else(|| {
            let within = self.policy.deadline()?;
            Some(Deadline::after(now, within))
        });
        self.deadline = deadline;
        // The retry that has just ended is settled with the budget.
        self.withdrawal = None;
        let class = self.class(how);
        let verdict = self.judge(how, class, now);
        let record = self.record(how, class, now);
        match verdict {
            Ok((wait, withdrawal)) => {
                self.withdrawal = withdrawal;
                let wait = match how {
                    Break::Error(_) | Break::Early => wait,
                    // Nothing has failed.
                    Break::Short => Duration::ZERO,
                };
                let reason = if class.is_throttled() {
                    WaitReason::Throttled
                } else {
                    WaitReason::Backoff
                };
                let wait = Wait::new(wait, reason);
                let record = record.followed_after(wait);
                tracing::debug!(
                    target: "retry_layer",
                    host = self.uri.host(),
                    "error.type" = record.kind().map(FailureKind::as_str),
                    cause = record.cause(),
                    offset,
                    wait = ?wait.delay(),
                    attempt = self.attempts.saturating_add(1),
                    "asking for the rest of a body that broke",
                );
                self.replace_last(record);
                self.observe(|observer, exchange| observer.sends_again(exchange, wait));
                Ok(wait.delay())
            }
            Err(stop) => {
                self.replace_last(record);
                self.end(stop);
                Err(stop)
            }
        }
    }

    fn class(&self, how: &Break<'_>) -> Class {
        let Break::Error(error) = how else {
            return Class::Ambiguous;
        };
        let view = Outcome::from_error(&self.method, &self.uri, *error).at_attempt(self.attempts);
        match self.policy.classify(&view) {
            class if !class.is_retryable() || class.is_throttled() => class,
            // The server has begun to answer, so no transparent retry is allowed.
            _ => Class::Ambiguous,
        }
    }

    fn judge(
        &self,
        how: &Break<'_>,
        class: Class,
        now: Instant,
    ) -> Result<(Duration, Option<Withdrawal>), StopReason> {
        if !class.is_retryable() {
            // The caller has the head already, and no attempt can change that the body is refused.
            return Err(StopReason::ErrorNotRetryable);
        }
        let pressure = if class.is_throttled() {
            Pressure::Throttled
        } else {
            Pressure::Normal
        };
        let settings = self.policy.settings();
        let facts = Facts {
            class,
            status: None,
            gone_away: false,
            idempotent: self.idempotent,
            replayable: true,
            attempts: self.attempts,
            max_attempts: settings.max_attempts,
            transparent_retries: TransparentRetries::NONE,
            transparent_so_far: 0,
            pressure,
            advice: Advice::Nothing,
            max_retry_after: settings.max_retry_after,
            remaining: self.deadline.map(|deadline| deadline.remaining_at(now)),
            held: None,
        };
        let cost = match how {
            _ if class.is_throttled() => Cost::Throttled,
            Break::Error(error) if transport::is_timeout(*error) => Cost::TimedOut,
            Break::Error(_) | Break::Early | Break::Short => Cost::Retry,
        };
        let mut supply = ResumeSupply {
            progress: self,
            how,
            pressure,
            cost,
            now,
            withdrawal: None,
        };
        match judge(&facts, &mut supply) {
            Verdict::Return(stop) => Err(stop),
            Verdict::TransparentRetry { wait, .. } | Verdict::Retry { wait, .. } => {
                Ok((wait, supply.withdrawal))
            }
        }
    }

    /// The record of the exchange whose body broke.
    fn record(&self, how: &Break<'_>, class: Class, now: Instant) -> AttemptRecord {
        let details = match how {
            Break::Error(error) => {
                let view = Outcome::from_error(&self.method, &self.uri, *error);
                self.policy.describe(&view)
            }
            Break::Early => AttemptDetails::default()
                .kind(FailureKind::BROKEN)
                .cause("the body ended early"),
            Break::Short => AttemptDetails::default(),
        };
        let outcome = match how {
            Break::Error(_) | Break::Early => AttemptOutcome::Error(class),
            Break::Short => AttemptOutcome::Status(self.status),
        };
        let mut record = AttemptRecord::new(outcome).described(details.phase(AttemptPhase::Body));
        if let Some(asked) = self.asked {
            record = record.timed(AttemptTimes::new(None, Some(asked), now));
        }
        match self.records.last().and_then(AttemptRecord::resumed_at) {
            Some(offset) => record.resuming(offset),
            None => record,
        }
    }

    /// Replaces the record that was made of the exchange's head.
    fn replace_last(&mut self, record: AttemptRecord) {
        if let Some(report) = self.report.take().filter(|_| self.records.is_empty()) {
            self.records.extend_from_slice(report.attempts());
        }
        self.records.pop();
        self.records.push(record);
    }

    /// The request for the rest is sent now.
    pub(super) fn ask<B>(&mut self, request: &mut Request<B>, offset: u64) {
        self.asked = Some(Instant::now());
        if let Some(withdrawal) = &mut self.withdrawal {
            withdrawal.spend();
        }
        let exchanges = u32::try_from(self.records.len()).unwrap_or(u32::MAX);
        let extensions = request.extensions_mut();
        extensions.insert(Resumption {
            offset,
            attempts: self.attempts,
            exchanges,
        });
        if let Some(deadline) = self.deadline {
            extensions.insert(deadline);
        }
    }

    /// The request for the rest was answered.
    pub(super) fn answered(&mut self, status: StatusCode, extensions: &Extensions, offset: u64) {
        self.status = status;
        let Some(report) = extensions.get::<RetryReport>() else {
            let times = AttemptTimes::new(None, self.asked, Instant::now());
            let record = AttemptRecord::new(AttemptOutcome::Status(status)).timed(times);
            self.records.push(record.resuming(offset));
            self.attempts = self.attempts.saturating_add(1);
            return;
        };
        let records = report.attempts().iter().cloned();
        self.records.extend(records.map(|it| it.resuming(offset)));
        let transparent_retries =
            usize::try_from(report.transparent_retries()).unwrap_or(usize::MAX);
        // The redirects that the service followed are no attempts of their own.
        let is_hop = |it: &&AttemptRecord| match it.outcome() {
            AttemptOutcome::Status(status) => status.is_redirection(),
            _ => false,
        };
        let hops = report.attempts().iter().filter(is_hop).count();
        let counted = report.attempts().len().saturating_sub(transparent_retries);
        let counted = counted.saturating_sub(hops);
        let counted = u32::try_from(counted).unwrap_or(u32::MAX);
        self.attempts = self.attempts.saturating_add(counted.max(1));
    }

    /// The request for the rest failed.
    pub(super) fn failed(&mut self, error: &(dyn Error + 'static), offset: u64) {
        let view = Outcome::from_error(&self.method, &self.uri, error);
        let class = self.policy.classify(&view);
        let details = self.policy.describe(&view);
        let record = AttemptRecord::new(AttemptOutcome::Error(class))
            .described(details)
            .timed(AttemptTimes::new(None, self.asked, Instant::now()));
        self.records.push(record.resuming(offset));
    }

    /// No further request for the rest is sent.
    pub(super) fn end(&mut self, stop: StopReason) {
        self.stop = stop;
        self.withdrawal = None;
        let record = self.records.last();
        tracing::debug!(
            target: "retry_layer",
            host = self.uri.host(),
            "error.type" = record
                .and_then(AttemptRecord::kind)
                .map(FailureKind::as_str),
            cause = record.and_then(AttemptRecord::cause),
            attempts = self.records.len(),
            reason = stop.as_str(),
            "not continuing a body that broke",
        );
        self.observe(|observer, exchange| observer.stops(exchange, stop));
    }

    /// Puts the report into the error.
    pub(super) fn annotate(&self, error: &mut (dyn Error + 'static)) {
        if let Some(report) = self.report() {
            self.policy.annotate(error, report);
        }
    }

    pub(super) fn exchanges(&self) -> usize {
        self.records.len()
    }

    /// The report so far; `None` until the body broke.
    pub(super) fn report(&self) -> Option<RetryReport> {
        if self.records.is_empty() {
            return None;
        }
        let is_transparent_retry = |record: &&AttemptRecord| {
            let wait = record.wait();
            wait.is_some_and(|wait| wait.reason() == WaitReason::TransparentRetry)
        };
        let transparent_retries = self.records.iter().filter(is_transparent_retry).count();
        let transparent_retries = u32::try_from(transparent_retries).unwrap_or(u32::MAX);
        Some(RetryReport::new(
            self.records.clone(),
            transparent_retries,
            self.stop,
        ))
    }

    /// As `report`, for an error that arises before the body broke.
    pub(super) fn report_or_plain(&self) -> RetryReport {
        self.report().unwrap_or_else(|| {
            let record = AttemptRecord::new(AttemptOutcome::Status(self.status));
            RetryReport::single(record, self.stop)
        })
    }

    /// Passes the last exchange to the observer, if there is one.
    fn observe(&self, tell: impl FnOnce(&dyn RetryObserver, &EndedAttempt<'_>)) {
        let (Some(observer), Some(record)) = (self.policy.observer(), self.records.last()) else {
            return;
        };
        let exchange = EndedAttempt {
            method: &self.method,
            uri: &self.uri,
            number: u32::try_from(self.records.len()).unwrap_or(u32::MAX),
            record,
        };
        tell(observer, &exchange);
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Progress")
            .field("attempts", &self.attempts)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

/// The random waits and the budget, for one decision.
struct ResumeSupply<'a> {
    progress: &'a Progress,
    how: &'a Break<'a>,
    pressure: Pressure,
    cost: Cost,
    now: Instant,
    withdrawal: Option<Withdrawal>,
}

impl RetrySupply for ResumeSupply<'_> {
    fn failed(&mut self) {
        let Progress {
            policy,
            uri,
            attempts,
            ..
        } = self.progress;
        if !matches!(self.how, Break::Short) {
            policy.budget().failure(uri, *attempts);
        }
    }

    fn backoff(&mut self) -> Option<Duration> {
        let Progress {
            policy, attempts, ..
        } = self.progress;
        let backoff = &policy.settings().backoff;
        let mut waits = Waits::behind(backoff, attempts.saturating_sub(1));
        waits.next(self.pressure, &mut policy.random())
    }

    fn transparent_backoff(&mut self) -> Option<Duration> {
        None
    }

    fn stagger(&mut self, _: Duration) -> Duration {
        Duration::ZERO
    }

    fn withdraw(&mut self) -> bool {
        let Progress { policy, uri, .. } = self.progress;
        self.withdrawal = Withdrawal::take(policy.budget(), uri, self.cost, self.now);
        self.withdrawal.is_some()
    }
}
