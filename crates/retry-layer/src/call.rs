use std::{error::Error, fmt, mem, time::Duration};

use bytes::Bytes;
use fastrand::Rng;
use http::{Extensions, HeaderMap, Method, Request, Response, StatusCode, Uri, Version};
use http_body::Body;
use tokio::time::Instant;

use crate::{
    attempt::Attempt,
    backoff::{Pressure, Waits},
    budget::{Cost, Withdrawal},
    deadline::Deadline,
    jitter,
    named::{BoxError, ServiceError},
    outcome::Outcome,
    policy::{Hints, RetryPolicy},
    predicate::Class,
    replay::{Ending, Kept, ReplayBody},
    report::{AttemptOutcome, AttemptRecord, RetryReport, Wait, WaitReason},
    retry_after,
    verdict::{Facts, Means, Resend, Resends, StopReason, Verdict, judge},
};

/// One call that may take several attempts: what is kept of the request, and how far it has got.
pub(crate) struct Call<S, B> {
    pub(crate) service: S,
    policy: RetryPolicy,
    head: Head,
    body: Kept<B>,
    deadline: Option<Deadline>,
    attempts: u32,
    resends: Resends,
    /// Begun when the first attempt turns out not to be the last word.
    journal: Option<Box<Journal>>,
}

/// What later attempts need, and the report.
struct Journal {
    records: Vec<AttemptRecord>,
    resends: u32,
    /// Asked while the head was whole.
    idempotent: bool,
    waits: Waits,
    random: Rng,
    /// Held from the decision until the retry is sent; gives its token back if it never is.
    withdrawal: Option<Withdrawal>,
}

/// What is to be done before the next attempt.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pause {
    Nothing,
    Until(Instant),
    /// Longer than the clock can say.
    For(Duration),
}

impl RetryPolicy {
    /// Splits a request into its first attempt and what is kept for the others.
    #[inline]
    pub(crate) fn begin<S, B>(
        self,
        request: Request<B>,
        service: S,
    ) -> (Request<ReplayBody<B>>, Call<S, B>)
    where
        B: Body<Data = Bytes>,
        B::Error: Into<BoxError>,
    {
        let settings = self.settings();
        let head = Head::of(&request);
        let deadline = match request.extensions().get::<Deadline>() {
            Some(deadline) => Some(*deadline),
            None => settings.deadline.map(Deadline::within),
        };
        let (limit, resends) = (settings.replay_limit, settings.resends);
        let mut kept = Kept::Empty;
        let request = request.map(|body| {
            let recorded;
            (kept, recorded) = Kept::record(body, limit);
            recorded
        });
        let call = Call {
            service,
            policy: self,
            head,
            body: kept,
            deadline,
            attempts: 1,
            resends,
            journal: None,
        };
        (request, call)
    }
}

impl<S, B> Call<S, B> {
    pub(crate) fn policy(&self) -> &RetryPolicy {
        &self.policy
    }

    /// Decides what follows this result.
    pub(crate) fn judge<R, E>(
        &mut self,
        result: &Result<Response<R>, E>,
    ) -> (AttemptOutcome, Class, Verdict)
    where
        E: ServiceError,
    {
        let settings = self.policy.settings();
        let class = self.policy.predicate().classify(
            &self
                .view(result.as_ref().map_err(ServiceError::as_dyn))
                .at_attempt(self.attempts),
        );
        let status = result.as_ref().ok().map(Response::status);
        let outcome = status.map_or(AttemptOutcome::Error(class), AttemptOutcome::Status);
        if !class.is_retryable() {
            return (
                outcome,
                class,
                Verdict::Return(StopReason::of_final(status)),
            );
        }
        let hint = match (settings.hints, result) {
            // The wall clock is read here only, to make a duration of a date.
            (Hints::Heard, Ok(response)) => {
                retry_after::parse(response.headers(), std::time::SystemTime::now())
            }
            (Hints::Heard, Err(_)) | (Hints::Ignored, _) => None,
        };
        let pressure = match status {
            Some(StatusCode::TOO_MANY_REQUESTS) => Pressure::Throttled,
            Some(StatusCode::SERVICE_UNAVAILABLE) if hint.is_some() => Pressure::Throttled,
            _ => Pressure::Normal,
        };
        let journal = self.journal.get_or_insert_with(|| {
            Box::new(Journal {
                records: Vec::new(),
                resends: 0,
                idempotent: self.head.is_idempotent(&self.policy),
                waits: Waits::new(&settings.backoff),
                random: self.policy.random(),
                withdrawal: None,
            })
        });
        let facts = Facts {
            class,
            status,
            idempotent: journal.idempotent,
            replayable: self.body.is_replayable(match result {
                Ok(_) => Ending::Answered,
                Err(_) => Ending::Failed,
            }),
            attempts: self.attempts,
            max_attempts: settings.max_attempts,
            resends: self.resends,
            pressure,
            hint,
            max_retry_after: settings.max_retry_after,
            remaining: self.deadline.map(|deadline| deadline.remaining()),
        };
        let mut chances = Chances {
            journal,
            policy: &self.policy,
            uri: &self.head.uri,
            pressure,
        };
        (outcome, class, judge(&facts, &mut chances))
    }

    /// Writes down an attempt that another one follows, and says what comes before that one.
    pub(crate) fn go_on(&mut self, outcome: AttemptOutcome, next: Next) -> Pause {
        let (wait, pause) = match next {
            Next::Resend(cause) => {
                self.resends.use_up(cause);
                (
                    Wait::new(Duration::ZERO, WaitReason::Resend),
                    Pause::Nothing,
                )
            }
            Next::Retry { wait, reason } => {
                self.attempts = self.attempts.saturating_add(1);
                (Wait::new(wait, reason), Pause::of(wait))
            }
        };
        tracing::debug!(
            method = %self.head.method,
            host = self.head.uri.host(),
            %outcome,
            wait = ?wait.delay(),
            reason = wait.reason().as_str(),
            attempt = self.attempts,
            "sending again",
        );
        if let Some(journal) = &mut self.journal {
            journal
                .records
                .push(AttemptRecord::new(outcome, Some(wait)));
            if let Next::Resend(_) = next {
                journal.resends = journal.resends.saturating_add(1);
            }
        }
        pause
    }

    /// The request of the next attempt; call it when the service is ready.
    pub(crate) fn next_request(&mut self) -> Request<ReplayBody<B>> {
        let last = self.attempts >= self.policy.max_attempts() && !self.resends.any_left();
        let mut request = Request::new(self.body.rewind());
        *request.method_mut() = self.head.method.clone();
        *request.uri_mut() = self.head.uri.clone();
        *request.version_mut() = self.head.version;
        let (headers, extensions) = if last {
            (
                self.head.headers.take(),
                mem::take(&mut self.head.extensions),
            )
        } else {
            (self.head.headers.clone(), self.head.extensions.clone())
        };
        *request.headers_mut() = headers.unwrap_or_default();
        *request.extensions_mut() = extensions;
        if let Some(journal) = &mut self.journal {
            if let Some(withdrawal) = journal.withdrawal.take() {
                withdrawal.spend();
            }
            if let Some(record) = journal.records.last() {
                request.extensions_mut().insert(Attempt {
                    number: self.attempts,
                    resends: journal.resends,
                    previous: record.outcome(),
                });
            }
        }
        request
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
        self.body.release();
        if result.is_ok() && !class.is_retryable() {
            self.policy.settings().budget.deposit(&self.head.uri);
        }
        let (mut records, resends) = match self.journal.take() {
            Some(journal) => (journal.records, journal.resends),
            None if result.is_ok() => return,
            None => (Vec::new(), 0),
        };
        records.push(AttemptRecord::new(outcome, None));
        tracing::debug!(
            method = %self.head.method,
            host = self.head.uri.host(),
            %outcome,
            attempts = records.len(),
            resends,
            reason = stop.as_str(),
            "not sending again",
        );
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
        let Head { method, uri, .. } = &self.head;
        match result {
            Ok(response) => {
                Outcome::from_response(method, uri, response.status(), response.headers())
            }
            Err(error) => Outcome::from_error(method, uri, error),
        }
    }
}

impl<S: fmt::Debug, B> fmt::Debug for Call<S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("service", &self.service)
            .field("method", &self.head.method)
            .field("body", &self.body)
            .field("attempts", &self.attempts)
            .finish_non_exhaustive()
    }
}

/// An attempt that is to follow.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Next {
    Resend(Resend),
    Retry { wait: Duration, reason: WaitReason },
}

impl Pause {
    fn of(wait: Duration) -> Self {
        if wait.is_zero() {
            return Self::Nothing;
        }
        // From now on, so that reading a refused response is part of the wait.
        Instant::now()
            .checked_add(wait)
            .map_or(Self::For(wait), Self::Until)
    }
}

/// The request without its body.
struct Head {
    method: Method,
    uri: Uri,
    version: Version,
    /// Nothing if there are none, which is cheaper to copy and to drop than an empty map.
    headers: Option<HeaderMap>,
    extensions: Extensions,
}

impl Head {
    #[inline]
    fn of<B>(request: &Request<B>) -> Self {
        let headers = request.headers();
        Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            version: request.version(),
            headers: (!headers.is_empty()).then(|| headers.clone()),
            extensions: request.extensions().clone(),
        }
    }

    fn is_idempotent(&self, policy: &RetryPolicy) -> bool {
        policy.is_idempotent(&self.method, self.headers.as_ref(), &self.extensions)
    }
}

struct Chances<'a> {
    journal: &'a mut Journal,
    policy: &'a RetryPolicy,
    uri: &'a Uri,
    pressure: Pressure,
}

impl Means for Chances<'_> {
    fn backoff(&mut self) -> Option<Duration> {
        self.journal
            .waits
            .next(self.pressure, &mut self.journal.random)
    }

    fn stagger(&mut self, hint: Duration) -> Duration {
        const LONGEST: Duration = Duration::from_secs(5);
        jitter::pick(
            (Duration::ZERO, (hint / 10).min(LONGEST)),
            &mut self.journal.random,
        )
    }

    fn withdraw(&mut self) -> bool {
        let cost = match self.pressure {
            Pressure::Normal => Cost::Retry,
            Pressure::Throttled => Cost::Throttled,
        };
        let budget = &self.policy.settings().budget;
        self.journal.withdrawal = Withdrawal::take(budget, self.uri, cost);
        self.journal.withdrawal.is_some()
    }
}
