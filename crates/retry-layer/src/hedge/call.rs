use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::{Extensions, HeaderMap, Method, Request, Response, Uri, Version};
use tokio::time::Instant;

use super::{Hedging, events};
use crate::{
    attempt::Attempt,
    budget::{Cost, Withdrawal},
    class::Class,
    deadline::Deadline,
    details::{AttemptDetails, FailureKind},
    extras::AttemptNumber,
    hint::{Advice, RequestedWait},
    named::ServiceError,
    observer::SentHedge,
    outcome::Outcome,
    policy::RetryPolicy,
    report::{AttemptOutcome, AttemptRecord, AttemptTimes, Role},
};

/// What the retry layer and a [`Hedge`](super::Hedge) below it share of one call: a request extension.
#[derive(Clone)]
pub(crate) struct HedgedCall {
    shared: Arc<Shared>,
}

struct Shared {
    policy: RetryPolicy,
    hedging: Hedging,
    /// The request as it entered the retry layer.
    head: Head,
    deadline: Option<Deadline>,
    started: Option<Instant>,
    has_generated_key: bool,
    /// What the retry layer has not heard yet.
    news: Mutex<News>,
}

struct Head {
    method: Method,
    uri: Uri,
    version: Version,
    /// `None` if there are none, which is cheaper to clone and to drop than an empty map.
    headers: Option<HeaderMap>,
    extensions: Extensions,
}

#[derive(Default)]
struct News {
    /// When the hedges of the present attempt were sent.
    sent: Vec<Instant>,
    ended: Option<Ended>,
}

/// What became of an attempt that was hedged.
#[derive(Clone)]
pub(crate) struct Ended {
    /// How many hedges were sent.
    pub(crate) hedges: u32,
    /// The attempts whose outcome is not returned.
    pub(crate) others: Vec<AttemptRecord>,
    /// When that attempt was sent whose outcome is returned.
    pub(crate) sent: Instant,
    /// As what that was sent.
    pub(crate) role: Role,
    /// The longest wait that a response of the others asks for.
    pub(crate) asked: Option<RequestedWait>,
}

/// How an attempt failed.
pub(super) struct Failure {
    pub(super) record: AttemptRecord,
    may_be_retried: bool,
    /// The wait that its response asks for.
    pub(super) asked: Option<RequestedWait>,
}

/// What the retry layer knows of a call when it begins.
#[derive(Clone, Copy)]
pub(crate) struct CallStart {
    pub(crate) deadline: Option<Deadline>,
    pub(crate) started: Option<Instant>,
    pub(crate) has_generated_key: bool,
}

impl HedgedCall {
    /// With a copy of the request's head, before anything is done to it for its first attempt.
    pub(crate) fn new<B>(
        policy: RetryPolicy,
        hedging: Hedging,
        request: &Request<B>,
        start: CallStart,
    ) -> Self {
        let headers = request.headers();
        // One literal: what is put together in steps is copied in each of them.
        Self {
            shared: Arc::new(Shared {
                policy,
                hedging,
                head: Head {
                    method: request.method().clone(),
                    uri: request.uri().clone(),
                    version: request.version(),
                    headers: (!headers.is_empty()).then(|| headers.clone()),
                    extensions: request.extensions().clone(),
                },
                deadline: start.deadline,
                started: start.started,
                has_generated_key: start.has_generated_key,
                news: Mutex::default(),
            }),
        }
    }

    /// Takes it out of a request.
    #[inline]
    pub(super) fn take(extensions: &mut Extensions) -> Option<Self> {
        extensions.remove::<Self>()
    }

    /// Removes what another call has left in a request.
    pub(crate) fn forget(extensions: &mut Extensions) {
        if extensions.get::<Self>().is_some() {
            extensions.remove::<Self>();
        }
    }

    /// Whether the attempt that has just ended had hedges.
    pub(crate) fn was_hedged(&self) -> bool {
        self.news().ended.is_some()
    }

    /// What became of the hedges of the attempt that has just ended; nothing if there were none.
    pub(crate) fn take_ended(&self) -> Option<Ended> {
        let mut news = self.news();
        news.sent.clear();
        news.ended.take()
    }

    /// What became of the hedges of an attempt whose outcome the retry layer has not seen: a layer between
    /// them reads the body.
    pub(crate) fn ended(&self) -> Option<Ended> {
        self.news().ended.clone()
    }

    /// The hedges that are under way, as attempts that are cut off now.
    pub(crate) fn cut_off(&self) -> Vec<AttemptRecord> {
        let now = Instant::now();
        let sent = self.news().sent.clone();
        let records = sent.into_iter().map(|sent| {
            let details = AttemptDetails::default()
                .kind(FailureKind::DEADLINE)
                .cause("cut off at the deadline of the call");
            AttemptRecord::new(AttemptOutcome::Error(Class::Ambiguous))
                .described(details)
                .timed(self.times(sent, now))
                .sent_as(Role::Hedge)
        });
        records.collect()
    }

    pub(super) fn hedging(&self) -> &Hedging {
        &self.shared.hedging
    }

    pub(super) fn policy(&self) -> &RetryPolicy {
        &self.shared.policy
    }

    /// The URI of the request as it entered the retry layer: budget and latency go by its origin.
    pub(super) fn uri(&self) -> &Uri {
        &self.shared.head.uri
    }

    pub(super) fn deadline(&self) -> Option<Deadline> {
        self.shared.deadline
    }

    /// Takes the token of a hedge.
    pub(super) fn pay(&self, now: Instant) -> Option<Withdrawal> {
        Withdrawal::take(self.policy().budget(), self.uri(), Cost::Hedge, now)
    }

    /// The request of a hedge.
    pub(super) fn request<B>(&self, body: B, attempt: Attempt) -> Request<B> {
        let Head {
            method,
            uri,
            version,
            headers,
            extensions,
        } = &self.shared.head;
        let mut request = Request::new(body);
        *request.method_mut() = method.clone();
        *request.uri_mut() = uri.clone();
        *request.version_mut() = *version;
        if let Some(headers) = headers {
            *request.headers_mut() = headers.clone();
        }
        *request.extensions_mut() = extensions.clone();
        request.extensions_mut().insert(attempt);
        let number = AttemptNumber {
            attempt: attempt.number(),
            transparent_retries: attempt.transparent_retries(),
        };
        self.policy()
            .decorate(&mut request, number, self.shared.deadline);
        request
    }

    /// Takes note of a hedge, and tells of it.
    pub(super) fn sent(&self, sent: &SentHedge<'_>, at: Instant) {
        self.news().sent.push(at);
        events::sent(sent, self.policy().paths());
        if let Some(observer) = self.policy().observer() {
            observer.hedges(sent);
        }
    }

    /// What an observer is told of a hedge.
    pub(super) fn hedge(&self, number: u32, after: std::time::Duration) -> SentHedge<'_> {
        SentHedge {
            method: &self.shared.head.method,
            uri: self.uri(),
            number,
            after,
        }
    }

    /// Tells why no hedge was sent that was due.
    pub(super) fn not_sent(&self, reason: &'static str) {
        events::not_sent(self.uri(), reason);
    }

    /// Tells the retry layer what has become of the attempt.
    pub(super) fn end(&self, ended: Ended) {
        self.news().ended = Some(ended);
    }

    /// What there is to say of an attempt that gives way to another one: it has failed, or its response is
    /// refused. `None` if it is the answer.
    pub(super) fn failure<R, E>(
        &self,
        result: &Result<Response<R>, E>,
        attempt: u32,
        sent: Instant,
    ) -> Option<Failure>
    where
        E: ServiceError,
    {
        if let Ok(response) = result {
            if self.policy().is_always_final(response.status()) {
                return None;
            }
        }
        let hints = self.policy().settings().hints;
        let view = self.view(result, attempt);
        let class = self.policy().classify(&view);
        let (outcome, may_be_retried, asked) = match result {
            Ok(response) => {
                let (status, headers) = (response.status(), response.headers());
                let invites = class == Class::Final && hints.invites(status, headers);
                if !invites && !class.is_retryable() {
                    return None;
                }
                let asked = match hints.advice(headers, std::time::SystemTime::now) {
                    Advice::Wait(asked) => Some(asked),
                    Advice::Nothing | Advice::Stop(_) => None,
                };
                (AttemptOutcome::Status(status), true, asked)
            }
            Err(_) => (AttemptOutcome::Error(class), class.is_retryable(), None),
        };
        let record = AttemptRecord::new(outcome)
            .described(self.policy().describe(&view))
            .timed(self.times(sent, Instant::now()));
        Some(Failure {
            record,
            may_be_retried,
            asked,
        })
    }

    /// The same of an attempt whose body broke before its first byte.
    pub(super) fn broken(&self, sent: Instant) -> Failure {
        let details = AttemptDetails::default()
            .kind(FailureKind::BROKEN)
            .cause("the body broke before its first byte");
        let record = AttemptRecord::new(AttemptOutcome::Error(Class::Ambiguous))
            .described(details)
            .timed(self.times(sent, Instant::now()));
        Failure {
            record,
            may_be_retried: true,
            asked: None,
        }
    }

    /// Reports an attempt to the budget that has failed and whose outcome the retry layer does not judge.
    pub(super) fn report(&self, failure: &Failure, attempt: u32) {
        if failure.may_be_retried {
            self.policy().budget().failure(self.uri(), attempt);
        }
    }

    /// What there is to say of an attempt that was given up for another's answer.
    pub(super) fn unanswered(&self, sent: Instant, now: Instant) -> AttemptRecord {
        AttemptRecord::new(AttemptOutcome::Unanswered).timed(self.times(sent, now))
    }

    fn times(&self, sent: Instant, now: Instant) -> AttemptTimes {
        AttemptTimes::new(self.shared.started, Some(sent), now)
    }

    fn view<'a, R, E>(&'a self, result: &'a Result<Response<R>, E>, attempt: u32) -> Outcome<'a>
    where
        E: ServiceError,
    {
        let Head { method, uri, .. } = &self.shared.head;
        let view = match result {
            Ok(response) => {
                Outcome::from_response(method, uri, response.status(), response.headers())
                    .with_extensions(response.extensions())
            }
            Err(error) => Outcome::from_error(method, uri, error.as_dyn()),
        };
        let view = view.at_attempt(attempt);
        if self.shared.has_generated_key {
            view.with_generated_key()
        } else {
            view
        }
    }

    // Nothing foreign runs under the lock.
    fn news(&self) -> MutexGuard<'_, News> {
        self.shared
            .news
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
