mod counted;
mod hedged;
mod judge;
mod report;

use std::{fmt, mem, time::Duration};

use bytes::Bytes;
use fastrand::Rng;
use http::{Extensions, HeaderMap, Method, Request, Uri, Version};
use http_body::Body;
use tokio::time::Instant;

pub(crate) use self::counted::Counted;
use crate::{
    attempt::Attempt,
    backoff::Waits,
    budget::{Cost, Withdrawal},
    deadline::Deadline,
    drain::DrainLimits,
    extras::AttemptNumber,
    hedge::HedgedCall,
    hint::RequestedWait,
    key::IDEMPOTENCY_KEY,
    named::BoxError,
    pause::CallPlace,
    policy::RetryPolicy,
    replay::{KeptBody, ReplayBody, ReplaySource},
    report::{AttemptRecord, AttemptTimes, Role},
    verdict::TransparentRetries,
};

/// A call that may take several attempts: what is kept of its request, and its state.
pub(crate) struct Call<S, B> {
    /// For later attempts; `None` when no attempt can follow.
    pub(crate) service: Option<S>,
    pub(crate) policy: RetryPolicy,
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) version: Version,
    /// `None` if there are none, which is cheaper to clone and to drop than an empty map.
    pub(crate) headers: Option<HeaderMap>,
    pub(crate) extensions: Extensions,
    /// What a layer below shares with the call that hedges it, if it may be hedged.
    pub(crate) hedged: Option<HedgedCall>,
    pub(crate) body: ReplaySource<B>,
    /// When the call began, if the clock was read then.
    pub(crate) started: Option<Instant>,
    pub(crate) attempts: u32,
    /// Whether the layer generated the request's `Idempotency-Key`.
    pub(crate) has_generated_key: bool,
    pub(crate) transparent_retries: TransparentRetries,
    /// Makes the budget count this call until it is dropped.
    pub(crate) counted: Option<Counted>,
    /// `None` until another attempt, or the reason for none, is considered.
    pub(crate) journal: Option<Box<Journal>>,
}

/// What later attempts need, and the report.
pub(crate) struct Journal {
    records: Vec<AttemptRecord>,
    /// When the present attempt was sent; nothing before the second one is.
    sent: Option<Instant>,
    /// As what that attempt was sent whose outcome is judged: a hedge may have been answered first.
    role: Role,
    transparent_retries: u32,
    /// Those that the call made before this request.
    earlier_transparent_retries: u32,
    /// Determined while the head was whole.
    idempotent: bool,
    waits: Waits,
    /// Those of transparent retries, which do not use up the others. Boxed: hardly any call has them.
    transparent_waits: Option<Box<Waits>>,
    random: Rng,
    /// The longest wait that an attempt asked for which was sent beside the one that is judged.
    asked: Option<RequestedWait>,
    /// Held from the decision until the retry is over; gives its token back if it is never sent.
    withdrawal: Option<Withdrawal>,
    /// What the last retry cost.
    paid: Option<Cost>,
    /// The place of the call in the line of a partition that is paused.
    place: Option<CallPlace>,
}

/// The wait before the next attempt. It counts from when that was decided on, so that reading a
/// refused response is part of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pause {
    pub(crate) from: Instant,
    pub(crate) wait: Duration,
}

impl<S, B> Call<S, B> {
    /// The service that makes the later attempts.
    pub(crate) fn service(&mut self) -> &mut S {
        self.service.as_mut().expect("there until the call ends")
    }

    /// The attempts that are over, and how many of them were transparent retries.
    pub(crate) fn records(&self) -> (Vec<AttemptRecord>, u32) {
        self.journal.as_ref().map_or((Vec::new(), 0), |journal| {
            (journal.records.clone(), journal.transparent_retries)
        })
    }

    /// Moves out the request as it entered the layer; `None` if that was done before. A key that it got
    /// here is for its own attempts alone.
    pub(crate) fn take_request(&mut self) -> Option<Request<KeptBody<B>>> {
        let body = mem::replace(&mut self.body, ReplaySource::Taken);
        if matches!(body, ReplaySource::Taken) {
            return None;
        }
        let mut request = Request::new(KeptBody::new(body));
        // These two stay known.
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.version_mut() = self.version;
        if let Some(mut headers) = self.headers.take() {
            if self.has_generated_key {
                headers.remove(IDEMPOTENCY_KEY);
            }
            *request.headers_mut() = headers;
        }
        *request.extensions_mut() = mem::take(&mut self.extensions);
        Some(request)
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

    /// When the present attempt was sent, where that is known.
    pub(super) fn sent(&self) -> Option<Instant> {
        match &self.journal {
            Some(journal) if !journal.records.is_empty() => journal.sent,
            Some(_) | None => self.started,
        }
    }

    /// The times of an attempt that is cut off now.
    pub(crate) fn times_so_far(&self) -> AttemptTimes {
        AttemptTimes::new(self.started, self.sent(), Instant::now())
    }

    /// The deadline of the call. Computed when it is asked for: most calls end without.
    pub(crate) fn deadline(&self) -> Option<Deadline> {
        self.policy.deadline_of(&self.extensions, self.started)
    }

    /// The request of the next attempt; call it when the service is ready.
    pub(crate) fn next_request(&mut self) -> Request<ReplayBody<B>>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<BoxError>,
    {
        // The last attempt, too, leaves a copy: a redirect may answer it.
        let mut request = self.copy(self.body.rewind());
        if let Some(hedged) = &self.hedged {
            request.extensions_mut().insert(hedged.clone());
        }
        let deadline = self.deadline();
        if let Some(journal) = &mut self.journal {
            journal.sent = Some(Instant::now());
            if let Some(withdrawal) = &mut journal.withdrawal {
                withdrawal.spend();
            }
            if let Some(record) = journal.records.last() {
                request.extensions_mut().insert(Attempt {
                    number: self.attempts,
                    transparent_retries: journal.transparent_retries,
                    previous: record.outcome(),
                    hedge: 0,
                    deadline,
                    place: journal.place,
                });
            }
            let number = AttemptNumber {
                attempt: self.attempts,
                transparent_retries: journal.transparent_retries,
            };
            self.policy.decorate(&mut request, number, deadline);
        }
        request
    }

    /// How much of a refused response is read before this pause.
    pub(crate) fn drain_limits(&self, pause: Pause) -> DrainLimits {
        let mut limits = self.policy.settings().drain;
        if let Some(deadline) = self.deadline() {
            // It may take all of the wait, or half of what is left: the rest is the attempt's.
            let left = deadline.remaining_at(pause.from) / 2;
            limits.time = limits.time.min(left.max(pause.wait));
        }
        limits
    }

    /// The number of the exchange that is under way, or has just ended: from 1, transparent retries counted.
    pub(super) fn exchange(&self) -> u32 {
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
