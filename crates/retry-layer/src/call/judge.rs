use std::time::Duration;

use http::{Response, StatusCode, Uri};
use tokio::time::Instant;

use crate::{
    attempt::{EarlierTransparentRetries, Resumption},
    backoff::{Pressure, Waits},
    budget::{Cost, Withdrawal},
    class::Class,
    classify::Classifier as _,
    events::{self, Decision},
    hedge::HedgedCall,
    hint::Advice,
    jitter,
    named::ServiceError,
    pause::Throttled,
    policy::RetryPolicy,
    replay::Ending,
    report::{AttemptOutcome, AttemptRecord, Role, Wait, WaitReason},
    stop::StopReason,
    transport,
    verdict::{Facts, Held, RetrySupply, Verdict, judge},
};

use super::{Call, Journal, Pause};
impl<S, B> Call<S, B> {
    /// Asks the classifier, unless every response of this status is final.
    pub(super) fn classify<R, E>(&self, result: &Result<Response<R>, E>) -> Class
    where
        E: ServiceError,
    {
        if self.is_always_final(result) {
            return Class::Final;
        }
        let class = self.policy.classify(
            &self
                .view(result.as_ref().map_err(ServiceError::as_dyn))
                .at_attempt(self.attempts),
        );
        let hints = self.policy.settings().hints;
        match result {
            Ok(response)
                if class == Class::Final
                    && hints.invites(response.status(), response.headers()) =>
            {
                Class::Ambiguous
            }
            Ok(_) | Err(_) => class,
        }
    }

    /// Ends the call if the first attempt was answered with a status that is always final, and had no
    /// hedges, which are reported. Returns whether it did.
    #[inline]
    pub(crate) fn settle_at_once(&self, status: StatusCode) -> bool {
        let was_hedged = || self.hedged.as_ref().is_some_and(HedgedCall::was_hedged);
        let settled =
            self.journal.is_none() && self.policy.is_always_final(status) && !was_hedged();
        if settled {
            self.release(status);
            self.policy.budget().deposit(&self.uri);
        }
        settled
    }

    pub(super) fn is_always_final<R, E>(&self, result: &Result<Response<R>, E>) -> bool {
        result
            .as_ref()
            .is_ok_and(|response| self.policy.is_always_final(response.status()))
    }

    /// Drops what is kept of the body, unless the response is a redirect: a layer above may then send
    /// the body again.
    #[inline]
    pub(super) fn release(&self, status: StatusCode) {
        if !status.is_redirection() {
            self.body.release();
        }
    }

    /// Whether a final result is a success for the budget.
    pub(super) fn is_success<R, E>(&self, result: &Result<Response<R>, E>) -> bool {
        let classifier = self.policy.classifier();
        let is_success = |response| classifier.is_success(&self.view(Ok(response)));
        self.is_always_final(result) || result.as_ref().is_ok_and(is_success)
    }

    /// Reports a failure to the budget if a final response is no success and forbids a retry.
    pub(super) fn report_pushback<R, E>(&self, result: &Result<Response<R>, E>) {
        let Ok(response) = result else { return };
        if self.is_success(result) {
            return;
        }
        let settings = self.policy.settings();
        let clock = std::time::SystemTime::now;
        if let Advice::Stop(_) = settings.hints.advice(response.headers(), clock) {
            self.policy.budget().failure(&self.uri, self.attempts);
        }
    }

    /// For a request that resumes a body: adds the attempts that were made before it, when its first
    /// attempt has failed. Returns how many there were.
    fn count_earlier_attempts(&mut self) -> u32 {
        let resumption = self.extensions.get::<Resumption>();
        let Some(earlier) = resumption.filter(|_| self.journal.is_none()) else {
            return 0;
        };
        self.attempts = self.attempts.saturating_add(earlier.attempts);
        earlier.attempts
    }

    /// Ends the call with this result, or says how long to wait for the next attempt.
    pub(crate) fn conclude_or_pause<R, E>(
        &mut self,
        result: &mut Result<Response<R>, E>,
    ) -> Option<Pause>
    where
        E: ServiceError,
    {
        let earlier = self.count_earlier_attempts();
        self.count_hedges(earlier);
        let class = self.classify(result);
        let status = result.as_ref().ok().map(Response::status);
        let outcome = status.map_or(AttemptOutcome::Error(class), AttemptOutcome::Status);
        if !class.is_retryable() {
            self.report_pushback(result);
            self.finish(result, outcome, class, StopReason::of_final(status));
            return None;
        }
        let now = Instant::now();
        let record = self.record(result, outcome, class, now);
        let wait = match self.judge(result, class, now, earlier) {
            Verdict::Return(stop) => {
                self.finish_with(result, Some(record), class, stop);
                return None;
            }
            Verdict::TransparentRetry { cause, wait } => {
                self.transparent_retries.use_up(cause);
                Wait::new(wait, WaitReason::TransparentRetry)
            }
            Verdict::Retry { wait, reason } => {
                self.attempts = self.attempts.saturating_add(1);
                Wait::new(wait, reason)
            }
        };
        self.go_on(record, wait);
        Some(Pause {
            from: now,
            wait: wait.delay(),
        })
    }

    /// The journal of a call of which another request has made so many attempts.
    pub(super) fn begin_journal(&self, earlier_attempts: u32) -> Box<Journal> {
        let settings = self.policy.settings();
        Box::new(Journal {
            records: Vec::new(),
            sent: None,
            role: Role::Attempt,
            transparent_retries: 0,
            earlier_transparent_retries: self
                .extensions
                .get()
                .map_or(0, EarlierTransparentRetries::count),
            idempotent: self.policy.is_idempotent(
                &self.method,
                self.headers.as_ref(),
                &self.extensions,
            ),
            waits: Waits::behind(&settings.backoff, earlier_attempts),
            transparent_waits: None,
            random: self.policy.random(),
            asked: None,
            withdrawal: None,
            place: None,
            paid: None,
        })
    }

    /// Decides what follows a result of a class that may be retried.
    fn judge<R, E>(
        &mut self,
        result: &Result<Response<R>, E>,
        class: Class,
        now: Instant,
        earlier_attempts: u32,
    ) -> Verdict
    where
        E: ServiceError,
    {
        let settings = self.policy.settings();
        let status = result.as_ref().ok().map(Response::status);
        let advice = match result {
            // The wall clock turns a date into a duration; nothing else reads it.
            Ok(response) => settings
                .hints
                .advice(response.headers(), std::time::SystemTime::now),
            Err(_) => Advice::Nothing,
        };
        let pressure = match status {
            _ if class.is_throttled() => Pressure::Throttled,
            Some(StatusCode::TOO_MANY_REQUESTS) => Pressure::Throttled,
            Some(StatusCode::SERVICE_UNAVAILABLE) if advice != Advice::Nothing => {
                Pressure::Throttled
            }
            _ => Pressure::Normal,
        };
        let cost = match result {
            _ if pressure == Pressure::Throttled => Cost::Throttled,
            Err(error) if transport::is_timeout(error.as_dyn()) => Cost::TimedOut,
            Ok(_) | Err(_) => Cost::Retry,
        };
        let deadline = self.deadline();
        if self.journal.is_none() {
            self.journal = Some(self.begin_journal(earlier_attempts));
        }
        let Some(journal) = &mut self.journal else {
            unreachable!("begun above")
        };
        let advice = advice.or_longer(journal.asked.take());
        // The retry that has just ended is settled with the budget before another one asks for a token.
        journal.withdrawal = None;
        let throttled = result
            .as_ref()
            .ok()
            .and_then(|response| response.extensions().get::<Throttled>());
        // A call whose next attempt is throttled too keeps its place.
        journal.place = throttled.map(|it| it.place).or(journal.place);
        let ending = match result {
            Ok(_) => Ending::Answered,
            Err(_) => Ending::Failed,
        };
        let facts = Facts {
            class,
            status,
            gone_away: class == Class::Unprocessed && is_gone_away(result),
            idempotent: journal.idempotent,
            replayable: self.body.is_replayable(ending),
            attempts: self.attempts,
            max_attempts: settings.max_attempts,
            transparent_retries: self.transparent_retries,
            transparent_so_far: journal
                .transparent_retries
                .saturating_add(journal.earlier_transparent_retries),
            pressure,
            advice,
            max_retry_after: settings.max_retry_after,
            remaining: deadline.map(|deadline| deadline.remaining_at(now)),
            held: throttled.map(|it| Held {
                wait: it.wait,
                max_wait: it.max_wait,
            }),
        };
        let mut supply = CallSupply {
            journal,
            policy: &self.policy,
            uri: &self.uri,
            attempts: self.attempts,
            pressure,
            cost,
            now,
        };
        let verdict = judge(&facts, &mut supply);
        if matches!(verdict, Verdict::Return(_)) || self.body.supersede(ending) {
            return verdict;
        }
        // The last attempt has read more of the body in the meantime, so it cannot be sent again. The
        // token of the retry is given back.
        if let Some(journal) = &mut self.journal {
            journal.withdrawal = None;
            journal.paid = None;
        }
        Verdict::Return(StopReason::BodyNotReplayable)
    }

    /// Records an attempt that another one follows after this wait.
    fn go_on(&mut self, record: AttemptRecord, wait: Wait) {
        let record = record.followed_after(wait);
        events::attempt_ended(
            &self.asked(),
            &record,
            &Decision::Again {
                wait,
                attempt: self.attempts,
                sent: self.exchange(),
            },
        );
        self.observe(&record, |observer, exchange| {
            observer.sends_again(exchange, wait);
        });
        if let Some(journal) = &mut self.journal {
            journal.records.push(record);
            journal.sent = None;
            journal.role = Role::Attempt;
            if wait.reason() == WaitReason::TransparentRetry {
                journal.transparent_retries = journal.transparent_retries.saturating_add(1);
            }
        }
    }
}

fn is_gone_away<R, E: ServiceError>(result: &Result<R, E>) -> bool {
    let error = result.as_ref().err();
    error.is_some_and(|error| transport::is_go_away(error.as_dyn()))
}

struct CallSupply<'a> {
    journal: &'a mut Journal,
    policy: &'a RetryPolicy,
    uri: &'a Uri,
    attempts: u32,
    pressure: Pressure,
    cost: Cost,
    now: Instant,
}

impl RetrySupply for CallSupply<'_> {
    fn failed(&mut self) {
        let budget = self.policy.budget();
        budget.failure(self.uri, self.attempts);
    }

    fn backoff(&mut self) -> Option<Duration> {
        self.journal
            .waits
            .next(self.pressure, &mut self.journal.random)
    }

    fn transparent_backoff(&mut self) -> Option<Duration> {
        let backoff = &self.policy.settings().backoff;
        let waits = self
            .journal
            .transparent_waits
            .get_or_insert_with(|| Box::new(Waits::new(backoff)));
        waits.next(Pressure::Normal, &mut self.journal.random)
    }

    fn stagger(&mut self, hint: Duration) -> Duration {
        const LONGEST: Duration = Duration::from_secs(5);
        jitter::pick(
            (Duration::ZERO, (hint / 10).min(LONGEST)),
            &mut self.journal.random,
        )
    }

    fn withdraw(&mut self) -> bool {
        let budget = self.policy.budget();
        self.journal.withdrawal = Withdrawal::take(budget, self.uri, self.cost, self.now);
        let granted = self.journal.withdrawal.is_some();
        if granted {
            self.journal.paid = Some(self.cost);
        }
        granted
    }
}
