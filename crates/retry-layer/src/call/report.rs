use std::error::Error;

use http::Response;
use tokio::time::Instant;

use crate::{
    causes::chain,
    class::Class,
    classify::{Classifier as _, Standard},
    events::{self, Decision, EventRequest},
    named::ServiceError,
    observer::{EndedAttempt, RetryObserver},
    outcome::Outcome,
    pause::{HeldBack, Paused},
    report::{AskedAgain, AttemptOutcome, AttemptRecord, AttemptTimes, RetryReport, WaitReason},
    stop::StopReason,
};

use super::Call;
impl<S, B> Call<S, B> {
    /// What there is to say of an attempt that is over.
    pub(super) fn record<R, E>(
        &self,
        result: &Result<Response<R>, E>,
        outcome: AttemptOutcome,
        class: Class,
        now: Instant,
    ) -> AttemptRecord
    where
        E: ServiceError,
    {
        let view = self
            .view(result.as_ref().map_err(ServiceError::as_dyn))
            .at_attempt(self.attempts);
        let details = self.policy.describe(&view);
        let held_back = match result {
            Ok(response) => response.extensions().get().map(HeldBack::waited),
            Err(error) => chain(error.as_dyn())
                .find_map(|cause| cause.downcast_ref().map(Paused::waited))
                .filter(|waited| !waited.is_zero()),
        };
        AttemptRecord::new(outcome)
            .described(details)
            .held_back_for(held_back)
            .asked_again(self.asked_again(&view, class))
            .sent_as(self.role())
            .timed(AttemptTimes::new(self.started, self.sent(), now))
    }

    /// Whether a response is retried, or would be, only because the policy's classifier says so.
    fn asked_again(&self, view: &Outcome<'_>, class: Class) -> AskedAgain {
        let Some((status, headers)) = view.response() else {
            return AskedAgain::No;
        };
        let is_retried = class.is_retryable()
            && !self.policy.settings().hints.invites(status, headers)
            && !Standard::default().classify(view).is_retryable();
        if is_retried {
            AskedAgain::ByClassifier
        } else {
            AskedAgain::No
        }
    }

    /// Ends the call with the result of the attempt that another was to follow.
    pub(crate) fn expire<R, E>(&mut self, result: &mut Result<Response<R>, E>)
    where
        E: ServiceError,
    {
        let record = self.journal.as_mut().and_then(|journal| {
            let record = journal.records.pop()?;
            if record
                .wait()
                .is_some_and(|wait| wait.reason() == WaitReason::TransparentRetry)
            {
                journal.transparent_retries = journal.transparent_retries.saturating_sub(1);
            }
            Some(record)
        });
        if let Some(record) = record {
            let stop = StopReason::DeadlineExceeded;
            self.finish_with(result, Some(record.last()), Class::Ambiguous, stop);
        }
    }

    /// Ends the call with this result, and puts the report where it belongs.
    pub(crate) fn finish<R, E>(
        &mut self,
        result: &mut Result<Response<R>, E>,
        outcome: AttemptOutcome,
        class: Class,
        stop: StopReason,
    ) where
        E: ServiceError,
    {
        let has_report = result.is_err() || self.journal.is_some() || self.observer().is_some();
        let record = has_report.then(|| self.record(result, outcome, class, Instant::now()));
        self.finish_with(result, record, class, stop);
    }

    /// As `finish`, with the record of the last attempt; `None` if there is neither a report nor an
    /// observer to receive it.
    pub(super) fn finish_with<R, E>(
        &mut self,
        result: &mut Result<Response<R>, E>,
        record: Option<AttemptRecord>,
        class: Class,
        stop: StopReason,
    ) where
        E: ServiceError,
    {
        match result {
            Ok(response) => self.release(response.status()),
            Err(_) => self.body.release(),
        }
        self.service = None;
        self.counted = None;
        if !class.is_retryable() && self.is_success(result) {
            let (budget, uri) = (self.policy.budget(), &self.uri);
            match self.journal.as_ref().and_then(|journal| journal.paid) {
                Some(cost) => budget.deposit_after_retry(uri, cost),
                None => budget.deposit(uri),
            }
        }
        let Some(record) = record else { return };
        self.observe(&record, |observer, exchange| {
            observer.stops(exchange, stop);
        });
        let (mut records, transparent_retries) = match self.journal.take() {
            Some(journal) => (journal.records, journal.transparent_retries),
            None if result.is_ok() => return,
            None => (Vec::new(), 0),
        };
        events::attempt_ended(
            &self.asked(),
            &record,
            &Decision::Stop {
                reason: stop,
                attempts: records.len().saturating_add(1),
                transparent_retries,
            },
        );
        records.push(record);
        let report = RetryReport::new(records, transparent_retries, stop);
        match result {
            Ok(response) => {
                response.extensions_mut().insert(report);
            }
            Err(error) => self.policy.annotate(error.as_dyn_mut(), report),
        }
    }

    pub(super) fn view<'a, R>(
        &'a self,
        result: Result<&'a Response<R>, &'a (dyn Error + 'static)>,
    ) -> Outcome<'a> {
        let Self { method, uri, .. } = self;
        let outcome = match result {
            Ok(response) => {
                Outcome::from_response(method, uri, response.status(), response.headers())
                    .with_extensions(response.extensions())
            }
            Err(error) => Outcome::from_error(method, uri, error),
        };
        if self.has_generated_key {
            outcome.with_generated_key()
        } else {
            outcome
        }
    }

    pub(super) fn observer(&self) -> Option<&dyn RetryObserver> {
        self.policy.observer()
    }

    /// Passes the attempt that has ended to the observer, if there is one.
    pub(super) fn observe(
        &self,
        record: &AttemptRecord,
        tell: impl FnOnce(&dyn RetryObserver, &EndedAttempt<'_>),
    ) {
        if let Some(observer) = self.observer() {
            let exchange = EndedAttempt {
                method: &self.method,
                uri: &self.uri,
                number: self.exchange(),
                record,
            };
            tell(observer, &exchange);
        }
    }

    /// What events say of the request.
    pub(super) fn asked(&self) -> EventRequest<'_> {
        EventRequest {
            method: &self.method,
            uri: &self.uri,
            paths: self.policy.paths(),
        }
    }
}
