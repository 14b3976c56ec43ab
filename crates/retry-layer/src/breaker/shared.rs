//! What all clones of a breaker share, and what a request does with it.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, SystemTime},
};

use http::{Method, Request, Response, StatusCode, Uri};
use tokio::time::Instant;

use super::{
    CircuitOpen, ServerFailures,
    circuit::{Admission, Change, Ended},
    settings::Rules,
    signal::Signal,
};
use crate::{
    classify::Classifier,
    health::{Bad, Evict, Ledger, Lookup, PartitionKey, Place, Word},
    hint::Hints,
    named::ServiceError,
    outcome::Outcome,
};

pub(super) struct Shared {
    pub(super) rules: Rules,
    /// `None`: the default one.
    pub(super) classifier: Option<Judge>,
    pub(super) hints: Hints,
    pub(super) ledger: Ledger,
}

/// A classifier in place of the default one.
pub(super) enum Judge {
    Any(Arc<dyn Classifier>),
    /// It looks at neither method nor URI, which the default one does not either.
    OfOutcomes(Arc<dyn Classifier>),
}

impl Judge {
    fn classifier(&self) -> &dyn Classifier {
        match self {
            Self::Any(classifier) | Self::OfOutcomes(classifier) => &**classifier,
        }
    }
}

/// The right to send one request, and the duty to tell how it ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Permit {
    place: Place,
    era: u64,
    is_probe: bool,
}

impl Shared {
    /// Decides whether a request may be sent. A permit is missing where the origin has no circuit.
    #[inline]
    pub(super) fn admit<B>(&self, request: &Request<B>) -> Result<Option<Permit>, CircuitOpen> {
        let lookup = self.ledger.find(request);
        match lookup.found {
            Some((place, word)) if word.is_closed() => Ok(Some(Permit::pass(place, word))),
            _ => self.admit_slowly(lookup, request.uri()),
        }
    }

    #[cold]
    fn admit_slowly(&self, lookup: Lookup, uri: &Uri) -> Result<Option<Permit>, CircuitOpen> {
        let (hash, found) = (lookup.hash, lookup.found);
        let key = lookup.into_key(uri);
        let found = found.or_else(|| self.ledger.find_or_add(&key, Evict::Healthy));
        let Some((place, word)) = found else {
            return Ok(None);
        };
        if word.is_closed() {
            return Ok(Some(Permit::pass(place, word)));
        }
        let now = Instant::now();
        let admitted = self.ledger.slot(place).and_then(|slot| {
            slot.change_of(hash, |it| {
                let (admission, change) = it.circuit.admit(now);
                (admission, change, it.circuit.era())
            })
        });
        // Otherwise another partition has just taken the slot, so the circuit was closed.
        let Some((admission, change, era)) = admitted else {
            return Ok(None);
        };
        if let Some(change) = change {
            self.tell(&key, change);
        }
        match admission {
            Admission::Pass | Admission::Probe => Ok(Some(Permit {
                place,
                era,
                is_probe: admission == Admission::Probe,
            })),
            Admission::Refuse(retry_after) => Err(CircuitOpen::new(key, retry_after)),
        }
    }

    /// Whether every response of this status is a success.
    #[inline]
    fn is_plain_success(&self, status: StatusCode) -> bool {
        match &self.classifier {
            Some(judge) => judge.classifier().is_always_final(status),
            None => status.as_u16() < 400,
        }
    }

    /// Counts how an attempt ended. The method and URI are those of the request, if there is a
    /// classifier that may look at them.
    #[inline]
    fn record<T, E: ServiceError>(
        &self,
        permit: Permit,
        head: Option<&(Method, Uri)>,
        result: &Result<Response<T>, E>,
    ) {
        match result {
            Ok(response) if self.is_plain_success(response.status()) => self.succeeded(permit),
            Ok(_) | Err(_) => self.classify(permit, head, result),
        }
    }

    #[inline]
    fn succeeded(&self, permit: Permit) {
        let Some(slot) = self.ledger.slot(permit.place) else {
            return;
        };
        let word = slot.word();
        if word.era() != permit.era {
            return;
        }
        if self.rules.success_rate.is_some() {
            slot.successes.fetch_add(1, Ordering::Relaxed);
        }
        if !word.is_clean() {
            self.count(permit, Signal::Success, None);
        }
    }

    #[cold]
    fn classify<T, E: ServiceError>(
        &self,
        permit: Permit,
        head: Option<&(Method, Uri)>,
        result: &Result<Response<T>, E>,
    ) {
        // Where they are unknown the classifier looks at neither.
        let unknown = (Method::default(), Uri::default());
        let (method, uri) = head.unwrap_or(&unknown);
        let outcome = match result {
            Ok(it) => Outcome::from_response(method, uri, it.status(), it.headers())
                .with_extensions(it.extensions()),
            Err(error) => Outcome::from_error(method, uri, error.as_dyn()),
        };
        let signal = match &self.classifier {
            Some(judge) => Signal::of(&outcome, judge.classifier()),
            None => Signal::of(&outcome, &ServerFailures::new()),
        };
        let hint = match signal {
            Signal::Success => return self.succeeded(permit),
            Signal::Neutral => None,
            // The wall clock turns a date into a duration; nothing else reads it.
            Signal::Failure | Signal::Throttled => outcome
                .headers()
                .and_then(|headers| self.hints.wait(headers, SystemTime::now())),
        };
        self.count(permit, signal, hint);
    }

    #[cold]
    fn count(&self, permit: Permit, signal: Signal, hint: Option<Duration>) {
        let Some(slot) = self.ledger.slot(permit.place) else {
            return;
        };
        let ended = Ended {
            era: permit.era,
            signal,
            hint,
            successes: slot.successes.load(Ordering::Relaxed),
            now: Instant::now(),
        };
        let counted = slot.change_any(|it| {
            // An outcome of the partition that had the slot before is none of this one.
            if signal == Signal::Failure && permit.era == it.circuit.era() {
                it.recent_or_new().count(Bad::Failure, ended.now);
            }
            let change = it.circuit.record(&ended, &self.rules);
            (it.key.clone(), change)
        });
        if let Some((key, Some(change))) = counted {
            self.tell(&key, change);
        }
    }

    /// The attempt was dropped, or told nothing. The next request may probe.
    #[cold]
    fn release(&self, permit: Permit) {
        let now = Instant::now();
        if let Some(slot) = self.ledger.slot(permit.place) {
            slot.change_any(|it| it.circuit.release(permit.era, now));
        }
    }

    /// Reports a change. No lock is held here.
    pub(super) fn tell(&self, key: &PartitionKey, change: Change) {
        match change {
            Change::Opened { reason, wait } => {
                let reason_name = reason.as_str();
                tracing::info!(circuit = %key, reason = reason_name, ?wait, "a circuit opened");
            }
            Change::HalfOpened => {
                tracing::debug!(circuit = %key, "a circuit is probed");
            }
            Change::Closed => {
                tracing::info!(circuit = %key, "a circuit closed");
            }
        }
        let Some(observer) = self.ledger.observer() else {
            return;
        };
        match change {
            Change::Opened { reason, wait } => observer.circuit_opened(key, reason, wait),
            Change::HalfOpened => observer.circuit_half_opened(key),
            Change::Closed => observer.circuit_closed(key),
        }
    }
}

impl Permit {
    #[inline]
    fn pass(place: Place, word: Word) -> Self {
        Self {
            place,
            era: word.era(),
            is_probe: false,
        }
    }
}

/// One attempt that was sent. A drop before its end gives a probe's place back.
pub(super) struct Sent {
    shared: Arc<Shared>,
    permit: Permit,
    /// In a box, so that the future of a request without it stays small.
    head: Option<Box<(Method, Uri)>>,
}

impl Sent {
    #[inline]
    pub(super) fn new<B>(shared: &Arc<Shared>, permit: Permit, request: &Request<B>) -> Self {
        let head = match shared.classifier {
            Some(Judge::Any(_)) => Some(Box::new(head_of(request))),
            Some(Judge::OfOutcomes(_)) | None => None,
        };
        Self {
            shared: Arc::clone(shared),
            permit,
            head,
        }
    }

    #[inline]
    pub(super) fn ended<T, E: ServiceError>(mut self, result: &Result<Response<T>, E>) {
        let permit = self.permit;
        self.permit.is_probe = false;
        self.shared.record(permit, self.head.as_deref(), result);
    }
}

#[cold]
fn head_of<B>(request: &Request<B>) -> (Method, Uri) {
    (request.method().clone(), request.uri().clone())
}

impl Drop for Sent {
    #[inline]
    fn drop(&mut self) {
        if self.permit.is_probe {
            self.shared.release(self.permit);
        }
    }
}
