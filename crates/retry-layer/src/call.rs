use std::{error::Error, fmt, time::Duration};

use bytes::Bytes;
use fastrand::Rng;
use http::{Extensions, HeaderMap, Method, Request, Response, StatusCode, Uri, Version};
use http_body::Body;
use tokio::time::Instant;

use crate::{
    attempt::{Attempt, EarlierResends, Resumption},
    backoff::{Pressure, Waits},
    budget::{Cost, Counted, Withdrawal},
    class::Class,
    deadline::Deadline,
    details::AttemptDetails,
    drain::DrainLimits,
    events::{self, Asked, Decision},
    extras::AttemptNumber,
    hint::Advice,
    jitter,
    key::IDEMPOTENCY_KEY,
    named::{BoxError, ServiceError},
    observer::{Exchange, Observer},
    outcome::Outcome,
    policy::RetryPolicy,
    predicate::{Predicate as _, Standard},
    replay::{Ending, Kept, ReplayBody},
    report::{
        AskedAgain, AttemptOutcome, AttemptRecord, AttemptTimes, RetryReport, Wait, WaitReason,
    },
    stop::StopReason,
    transport,
    verdict::{Facts, Means, Resend, Resends, Verdict, judge},
};

/// One call that may take several attempts: what is kept of the request, and how far it has got.
pub(crate) struct Call<S, B> {
    /// For later attempts; absent once there is none to come.
    pub(crate) service: Option<S>,
    pub(crate) policy: RetryPolicy,
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) version: Version,
    /// Nothing if there are none, which is cheaper to copy and to drop than an empty map.
    pub(crate) headers: Option<HeaderMap>,
    pub(crate) extensions: Extensions,
    pub(crate) body: Kept<B>,
    pub(crate) deadline: Option<Deadline>,
    /// When the call began, if somebody looked at the clock then.
    pub(crate) started: Option<Instant>,
    pub(crate) attempts: u32,
    /// Whether the layer gave the request its key.
    pub(crate) keyed: bool,
    pub(crate) resends: Resends,
    /// Its life is what the budget counts.
    pub(crate) counted: Option<Counted>,
    /// Begun when the first attempt turns out not to be the last word.
    pub(crate) journal: Option<Box<Journal>>,
}

/// What later attempts need, and the report.
pub(crate) struct Journal {
    records: Vec<AttemptRecord>,
    /// When the present attempt was sent; nothing before the second one is.
    sent: Option<Instant>,
    resends: u32,
    /// Those that the call made before this request.
    earlier_resends: u32,
    /// Asked while the head was whole.
    idempotent: bool,
    waits: Waits,
    /// Those of resends, which do not use up the others. Boxed: hardly any call has them.
    resend_waits: Option<Box<Waits>>,
    random: Rng,
    /// Held from the decision until the retry is over; gives its token back if it is never sent.
    withdrawal: Option<Withdrawal>,
    /// What the last retry cost.
    paid: Option<Cost>,
}

/// The wait before the next attempt. It counts from when that was decided on, so that reading a
/// refused response is part of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pause {
    pub(crate) from: Instant,
    pub(crate) wait: Duration,
}

impl RetryPolicy {
    /// When a call begins, if somebody looks at the clock then: its caller, its deadline, or an
    /// observer, to whom the times of the first attempt are told.
    #[inline]
    pub(crate) fn start_of(
        &self,
        extensions: &Extensions,
        now: Option<Instant>,
    ) -> Option<Instant> {
        if now.is_some() {
            return now;
        }
        let settings = self.settings();
        let counts_from_now = settings.deadline.is_some() && extensions.get::<Deadline>().is_none();
        (counts_from_now || self.observer().is_some()).then(Instant::now)
    }

    /// When a call has to be over that begins `now`, if the caller knows when that is, and whose
    /// request has these extensions.
    #[inline]
    pub(crate) fn deadline_of(
        &self,
        extensions: &Extensions,
        now: Option<Instant>,
    ) -> Option<Deadline> {
        if let Some(deadline) = extensions.get::<Deadline>() {
            return Some(*deadline);
        }
        let within = self.settings().deadline?;
        Some(Deadline::after(now.unwrap_or_else(Instant::now), within))
    }
}

impl<S, B> Call<S, B> {
    /// The service that makes the later attempts.
    pub(crate) fn service(&mut self) -> &mut S {
        self.service.as_mut().expect("there until the call ends")
    }

    /// Asks the predicate, unless the status says it all.
    fn classify<R, E>(&self, result: &Result<Response<R>, E>) -> Class
    where
        E: ServiceError,
    {
        if self.is_settled(result) {
            return Class::Final;
        }
        let class = self.policy.predicate().classify(
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

    /// The attempts that are over, and how many of them were resends.
    pub(crate) fn records(&self) -> (Vec<AttemptRecord>, u32) {
        self.journal.as_ref().map_or((Vec::new(), 0), |journal| {
            (journal.records.clone(), journal.resends)
        })
    }

    /// Ends the call if this status, of its first attempt, is final whatever the headers say.
    #[inline]
    pub(crate) fn is_settled_by(&self, status: StatusCode) -> bool {
        let settled = self.journal.is_none() && self.policy.is_always_final(status);
        if settled {
            self.release(status);
            self.policy.budget().deposit(&self.uri);
        }
        settled
    }

    fn is_settled<R, E>(&self, result: &Result<Response<R>, E>) -> bool {
        result
            .as_ref()
            .is_ok_and(|response| self.policy.is_always_final(response.status()))
    }

    /// Lets go of what is kept of the body, unless it may be sent once more, elsewhere.
    #[inline]
    fn release(&self, status: StatusCode) {
        if !status.is_redirection() {
            self.body.release();
        }
    }

    /// The request as it entered the layer. A key that it got here is for its own attempts alone.
    pub(crate) fn request_again(&self) -> Request<()> {
        let mut request = self.copy(());
        if self.keyed {
            request.headers_mut().remove(IDEMPOTENCY_KEY);
        }
        request
    }

    /// Moves out what is left of the request when it was answered, if it had no body.
    pub(crate) fn take_head(&mut self) -> Option<(HeaderMap, Extensions)> {
        if !matches!(self.body, Kept::Empty) {
            return None;
        }
        let mut headers = self.headers.take().unwrap_or_default();
        if self.keyed {
            headers.remove(IDEMPOTENCY_KEY);
        }
        Some((headers, std::mem::take(&mut self.extensions)))
    }

    fn copy<T>(&self, body: T) -> Request<T> {
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.version_mut() = self.version;
        if let Some(headers) = &self.headers {
            *request.headers_mut() = headers.clone();
        }
        *request.extensions_mut() = self.extensions.clone();
        request
    }

    pub(crate) fn body_again(&self) -> Option<ReplayBody<B>>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<BoxError>,
    {
        self.body
            .supersede(Ending::Answered)
            .then(|| self.body.rewind())
    }

    /// Whether a final result is a success for the budget.
    fn is_success<R, E>(&self, result: &Result<Response<R>, E>) -> bool {
        let predicate = self.policy.predicate();
        let is_success = |response| predicate.is_success(&self.view(Ok(response)));
        self.is_settled(result) || result.as_ref().is_ok_and(is_success)
    }

    /// Tells the budget of a final response that is no success, and with which the server forbids
    /// to ask again.
    fn heed_pushback<R, E>(&self, result: &Result<Response<R>, E>) {
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

    /// Counts the attempts that were made before a request for the rest of a body, when the first
    /// attempt at that is not the last word; gives how many there were.
    fn count_earlier_attempts(&mut self) -> u32 {
        let resumption = self.extensions.get::<Resumption>();
        let Some(earlier) = resumption.filter(|_| self.journal.is_none()) else {
            return 0;
        };
        self.attempts = self.attempts.saturating_add(earlier.attempts);
        earlier.attempts
    }

    /// Ends the call with this result, or says how long to wait for the next attempt.
    pub(crate) fn settle<R, E>(&mut self, result: &mut Result<Response<R>, E>) -> Option<Pause>
    where
        E: ServiceError,
    {
        let earlier = self.count_earlier_attempts();
        let class = self.classify(result);
        let status = result.as_ref().ok().map(Response::status);
        let outcome = status.map_or(AttemptOutcome::Error(class), AttemptOutcome::Status);
        if !class.is_retryable() {
            self.heed_pushback(result);
            self.finish(result, outcome, class, StopReason::of_final(status));
            return None;
        }
        let now = Instant::now();
        let record = self.record(result, outcome, class, now);
        let next = match self.judge(result, class, now, earlier) {
            Verdict::Return(stop) => {
                self.finish_as(result, Some(record), class, stop);
                return None;
            }
            Verdict::Resend { cause, wait } => Next::Resend { cause, wait },
            Verdict::Retry { wait, reason } => Next::Retry { wait, reason },
        };
        let wait = self.go_on(record, next);
        Some(Pause { from: now, wait })
    }

    /// Decides what follows a result that another attempt may mend.
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
            // The wall clock is read here only, to make a duration of a date.
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
        let journal = self.journal.get_or_insert_with(|| {
            Box::new(Journal {
                records: Vec::new(),
                sent: None,
                resends: 0,
                earlier_resends: self.extensions.get().map_or(0, EarlierResends::count),
                idempotent: self.policy.is_idempotent(
                    &self.method,
                    self.headers.as_ref(),
                    &self.extensions,
                ),
                waits: Waits::behind(&settings.backoff, earlier_attempts),
                resend_waits: None,
                random: self.policy.random(),
                withdrawal: None,
                paid: None,
            })
        });
        // The retry that this was is over, before anybody asks for another.
        journal.withdrawal = None;
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
            resends: self.resends,
            resent: journal.resends.saturating_add(journal.earlier_resends),
            pressure,
            advice,
            max_retry_after: settings.max_retry_after,
            remaining: self.deadline.map(|deadline| deadline.remaining_at(now)),
        };
        let mut chances = Chances {
            journal,
            policy: &self.policy,
            uri: &self.uri,
            attempts: self.attempts,
            pressure,
            cost,
            now,
        };
        let verdict = judge(&facts, &mut chances);
        if matches!(verdict, Verdict::Return(_)) || self.body.supersede(ending) {
            return verdict;
        }
        // The last attempt has read on in the meantime; what the retry would have cost is given
        // back.
        if let Some(journal) = &mut self.journal {
            journal.withdrawal = None;
            journal.paid = None;
        }
        Verdict::Return(StopReason::BodyNotReplayable)
    }

    /// What there is to say of an attempt that is over.
    fn record<R, E>(
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
        let details = self.policy.predicate().describe(&view);
        AttemptRecord::new(outcome)
            .described(details.unwrap_or_else(|| AttemptDetails::of(&view)))
            .asked_again(self.asked_again(&view, class))
            .timed(AttemptTimes::new(self.started, self.sent(), now))
    }

    /// Whether a response is retried, or would be, because the policy's predicate wants that.
    fn asked_again(&self, view: &Outcome<'_>, class: Class) -> AskedAgain {
        let Some((status, headers)) = view.response() else {
            return AskedAgain::No;
        };
        let is_retried = class.is_retryable()
            && !self.policy.settings().hints.invites(status, headers)
            && !Standard::default().classify(view).is_retryable();
        if is_retried {
            AskedAgain::ByPredicate
        } else {
            AskedAgain::No
        }
    }

    /// When the present attempt was sent, where that is known.
    fn sent(&self) -> Option<Instant> {
        match &self.journal {
            Some(journal) if !journal.records.is_empty() => journal.sent,
            Some(_) | None => self.started,
        }
    }

    /// The times of an attempt that is cut off now.
    pub(crate) fn times_so_far(&self) -> AttemptTimes {
        AttemptTimes::new(self.started, self.sent(), Instant::now())
    }

    /// Writes down an attempt that another one follows, and says how long that one has to wait.
    fn go_on(&mut self, record: AttemptRecord, next: Next) -> Duration {
        let wait = match next {
            Next::Resend { cause, wait } => {
                self.resends.use_up(cause);
                Wait::new(wait, WaitReason::Resend)
            }
            Next::Retry { wait, reason } => {
                self.attempts = self.attempts.saturating_add(1);
                Wait::new(wait, reason)
            }
        };
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
            if let Next::Resend { .. } = next {
                journal.resends = journal.resends.saturating_add(1);
            }
        }
        wait.delay()
    }

    /// The request of the next attempt; call it when the service is ready.
    pub(crate) fn next_request(&mut self) -> Request<ReplayBody<B>>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<BoxError>,
    {
        // The last attempt, too, leaves a copy: a redirect may answer it.
        let mut request = self.copy(self.body.rewind());
        if let Some(journal) = &mut self.journal {
            journal.sent = Some(Instant::now());
            if let Some(withdrawal) = &mut journal.withdrawal {
                withdrawal.spend();
            }
            if let Some(record) = journal.records.last() {
                request.extensions_mut().insert(Attempt {
                    number: self.attempts,
                    resends: journal.resends,
                    previous: record.outcome(),
                });
            }
            let number = AttemptNumber {
                attempt: self.attempts,
                resends: journal.resends,
            };
            self.policy.decorate(&mut request, number, self.deadline);
        }
        request
    }

    /// How much of a refused response is read before this pause.
    pub(crate) fn drain_limits(&self, pause: Pause) -> DrainLimits {
        let mut limits = self.policy.settings().drain;
        if let Some(deadline) = self.deadline {
            // It may take all of the wait, or half of what is left: the rest is the attempt's.
            let left = deadline.remaining_at(pause.from) / 2;
            limits.time = limits.time.min(left.max(pause.wait));
        }
        limits
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
                .is_some_and(|wait| wait.reason() == WaitReason::Resend)
            {
                journal.resends = journal.resends.saturating_sub(1);
            }
            Some(record)
        });
        if let Some(record) = record {
            let stop = StopReason::DeadlineExceeded;
            self.finish_as(result, Some(record.last()), Class::Ambiguous, stop);
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
        let is_told = result.is_err() || self.journal.is_some() || self.observer().is_some();
        let record = is_told.then(|| self.record(result, outcome, class, Instant::now()));
        self.finish_as(result, record, class, stop);
    }

    /// The same, with what there is to say of the last attempt, if anybody is told of it.
    fn finish_as<R, E>(
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
        let (mut records, resends) = match self.journal.take() {
            Some(journal) => (journal.records, journal.resends),
            None if result.is_ok() => return,
            None => (Vec::new(), 0),
        };
        events::attempt_ended(
            &self.asked(),
            &record,
            &Decision::Stop {
                reason: stop,
                attempts: records.len().saturating_add(1),
                resends,
            },
        );
        records.push(record);
        let report = RetryReport::new(records, resends, stop);
        match result {
            Ok(response) => {
                response.extensions_mut().insert(report);
            }
            Err(error) => self.policy.predicate().annotate(error.as_dyn_mut(), report),
        }
    }

    fn view<'a, R>(
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
        outcome.with_key(self.keyed)
    }

    fn observer(&self) -> Option<&dyn Observer> {
        self.policy.observer()
    }

    /// Tells the observer, if there is one, of the attempt that has ended.
    fn observe(&self, record: &AttemptRecord, tell: impl FnOnce(&dyn Observer, &Exchange<'_>)) {
        if let Some(observer) = self.observer() {
            let exchange = Exchange {
                method: &self.method,
                uri: &self.uri,
                number: self.exchange(),
                record,
            };
            tell(observer, &exchange);
        }
    }

    /// What events say of the request.
    fn asked(&self) -> Asked<'_> {
        Asked {
            method: &self.method,
            uri: &self.uri,
            paths: self.policy.paths(),
        }
    }

    /// The number of the exchange that is under way, or has just ended: from 1, resends counted.
    fn exchange(&self) -> u32 {
        let before = self
            .journal
            .as_ref()
            .map_or(0, |journal| journal.records.len());
        u32::try_from(before).unwrap_or(u32::MAX).saturating_add(1)
    }
}

impl<S: fmt::Debug, B> fmt::Debug for Call<S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("service", &self.service)
            .field("method", &self.method)
            .field("body", &self.body)
            .field("attempts", &self.attempts)
            .finish_non_exhaustive()
    }
}

/// An attempt that is to follow.
#[derive(Clone, Copy, Debug)]
enum Next {
    Resend { cause: Resend, wait: Duration },
    Retry { wait: Duration, reason: WaitReason },
}

fn is_gone_away<R, E: ServiceError>(result: &Result<R, E>) -> bool {
    let error = result.as_ref().err();
    error.is_some_and(|error| transport::is_go_away(error.as_dyn()))
}

struct Chances<'a> {
    journal: &'a mut Journal,
    policy: &'a RetryPolicy,
    uri: &'a Uri,
    attempts: u32,
    pressure: Pressure,
    cost: Cost,
    now: Instant,
}

impl Means for Chances<'_> {
    fn failed(&mut self) {
        let budget = self.policy.budget();
        budget.failure(self.uri, self.attempts);
    }

    fn backoff(&mut self) -> Option<Duration> {
        self.journal
            .waits
            .next(self.pressure, &mut self.journal.random)
    }

    fn resend_backoff(&mut self) -> Option<Duration> {
        let backoff = &self.policy.settings().backoff;
        let waits = self
            .journal
            .resend_waits
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
