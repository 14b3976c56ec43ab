//! What all clones of a breaker share, and what a request does with it.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, SystemTime},
};

use http::{Method, Request, Response, StatusCode, Uri};
use tokio::time::Instant;

use super::{
    BreakerObserver, CircuitKey, CircuitOpen, RequestHead, ServerFailures,
    circuit::{Admission, Change, Ended},
    key::OriginRef,
    settings::Rules,
    signal::Signal,
    table::{Evict, Place, Table, Word},
};
use crate::{classify::Classifier, hint::Hints, named::ServiceError, outcome::Outcome};

pub(super) type KeyBy = Arc<dyn Fn(&RequestHead<'_>) -> Option<CircuitKey> + Send + Sync>;

pub(super) struct Shared {
    pub(super) rules: Rules,
    /// `None`: the default one, which looks at neither method nor URI.
    pub(super) classifier: Option<Arc<dyn Classifier>>,
    pub(super) hints: Hints,
    pub(super) key_by: Option<KeyBy>,
    pub(super) observer: Option<Arc<dyn BreakerObserver>>,
    pub(super) table: Table,
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
        let named = self
            .key_by
            .as_ref()
            .and_then(|key_by| key_by(&RequestHead::of(request)));
        let hash = match &named {
            Some(key) => self.hash_of(key),
            None => OriginRef::of(request.uri()).hash(&self.table.seed).max(1),
        };
        match self.table.find(hash) {
            Some((place, word)) if word.is_closed() => Ok(Some(Permit::pass(place, word))),
            found => {
                let key = named.unwrap_or_else(|| CircuitKey::of(request.uri()));
                self.admit_slowly(hash, key, found)
            }
        }
    }

    #[cold]
    fn admit_slowly(
        &self,
        hash: u64,
        key: CircuitKey,
        found: Option<(Place, Word)>,
    ) -> Result<Option<Permit>, CircuitOpen> {
        let found = found.or_else(|| {
            self.table
                .find_or_add(hash, &key, &self.rules, Evict::Closed)
        });
        let Some((place, word)) = found else {
            return Ok(None);
        };
        if word.is_closed() {
            return Ok(Some(Permit::pass(place, word)));
        }
        let now = Instant::now();
        let admitted = self.table.slot(place).and_then(|slot| {
            slot.change_of(hash, &self.rules, |circuit| {
                let (admission, change) = circuit.admit(now);
                (admission, change, circuit.era())
            })
        });
        // Otherwise another origin has just taken the slot, so the circuit was closed.
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
            Some(classifier) => classifier.is_always_final(status),
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
        let Some(slot) = self.table.slot(permit.place) else {
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
        // The default classifier looks at neither.
        let unknown = (Method::default(), Uri::default());
        let (method, uri) = head.unwrap_or(&unknown);
        let outcome = match result {
            Ok(it) => Outcome::from_response(method, uri, it.status(), it.headers())
                .with_extensions(it.extensions()),
            Err(error) => Outcome::from_error(method, uri, error.as_dyn()),
        };
        let signal = match &self.classifier {
            Some(classifier) => Signal::of(&outcome, &**classifier),
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
        let Some(slot) = self.table.slot(permit.place) else {
            return;
        };
        let ended = Ended {
            era: permit.era,
            signal,
            hint,
            successes: slot.successes.load(Ordering::Relaxed),
            now: Instant::now(),
        };
        let counted = slot.change(&self.rules, |circuit| circuit.record(&ended, &self.rules));
        if let Some((key, Some(change))) = counted {
            self.tell(&key, change);
        }
    }

    /// The attempt was dropped, or told nothing. The next request may probe.
    #[cold]
    fn release(&self, permit: Permit) {
        if let Some(slot) = self.table.slot(permit.place) {
            slot.change(&self.rules, |circuit| circuit.release(permit.era));
        }
    }

    pub(super) fn hash_of(&self, key: &CircuitKey) -> u64 {
        key.hash(&self.table.seed).max(1)
    }

    /// Reports a change. No lock is held here.
    pub(super) fn tell(&self, key: &CircuitKey, change: Change) {
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
        let Some(observer) = &self.observer else {
            return;
        };
        match change {
            Change::Opened { reason, wait } => observer.opened(key, reason, wait),
            Change::HalfOpened => observer.half_opened(key),
            Change::Closed => observer.closed(key),
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
        let head = shared
            .classifier
            .as_ref()
            .map(|_| Box::new((request.method().clone(), request.uri().clone())));
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

impl Drop for Sent {
    #[inline]
    fn drop(&mut self) {
        if self.permit.is_probe {
            self.shared.release(self.permit);
        }
    }
}
