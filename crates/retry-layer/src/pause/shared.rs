//! What all clones of a pause share, and what a request does with it.

use std::{
    sync::Arc,
    task::Waker,
    time::{Duration, SystemTime},
};

use http::{Request, Response, StatusCode};
use tokio::time::Instant;

use super::{
    Paused, PausedReason,
    held::{CallPlace, Throttled},
    line::{Arrival, Change, Refusal, Seat, Turn},
    pace::{Asked, Ended, Limit},
};
use crate::{
    attempt::Attempt,
    deadline::Deadline,
    health::{Bad, Evict, Ledger, Lookup, PartitionKey, Place},
    hint::Hints,
};

#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) hints: Hints,
    pub(super) without_hint: Option<Duration>,
    pub(super) max_pause: Duration,
    pub(super) max_wait: Duration,
    pub(super) max_waiting: usize,
}

pub(super) struct Shared {
    pub(super) settings: Settings,
    pub(super) ledger: Ledger,
}

/// Where a request stands in the ledger.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot {
    pub(super) hash: u64,
    place: Place,
}

/// What becomes of a request.
pub(super) enum Admission {
    /// It passes, and nothing is learned of it, since the ledger has no room for its partition.
    Unknown,
    Pass(Pass),
    Wait(Waiting),
    Refuse(Paused),
}

/// The right to send one request, and the duty to tell how it ended.
pub(super) struct Pass {
    shared: Arc<Shared>,
    spot: Spot,
    /// The number of the pause in which it was released; 0 for one that passed freely.
    released_in: u32,
    /// The place of the call in the line, if it had to wait.
    place: Option<u64>,
}

/// A place in the line. It is left when this is dropped.
pub(super) struct Waiting {
    shared: Arc<Shared>,
    spot: Spot,
    /// `None` once its turn has come.
    seat: Option<Seat>,
    pub(super) until: Instant,
    since: Instant,
}

impl Shared {
    /// Decides whether a request may be sent.
    #[inline]
    pub(super) fn admit<B>(self: &Arc<Self>, request: &Request<B>) -> Admission {
        let lookup = self.ledger.find(request);
        match lookup.found {
            Some((place, word)) if !word.is_paused() => {
                let hash = lookup.hash;
                Admission::Pass(self.pass(Spot { hash, place }, 0, None))
            }
            _ => self.admit_slowly(lookup, request),
        }
    }

    #[cold]
    fn admit_slowly<B>(self: &Arc<Self>, lookup: Lookup, request: &Request<B>) -> Admission {
        let (hash, found) = (lookup.hash, lookup.found);
        let key = lookup.into_key(request.uri());
        let Some((place, _)) = found.or_else(|| self.ledger.find_or_add(&key, Evict::Healthy))
        else {
            return Admission::Unknown;
        };
        let now = Instant::now();
        let attempt = request.extensions().get::<Attempt>();
        let arrival = Arrival {
            place: attempt
                .and_then(|it| it.place)
                .filter(|it| it.hash == hash)
                .map(|it| it.number),
            limit: self.limit(request, now),
            max_waiting: self.settings.max_waiting,
            now,
        };
        let spot = Spot { hash, place };
        let arrived = self.ledger.slot(place).and_then(|slot| {
            slot.change_of(hash, |it| {
                let line = it.line.as_mut()?;
                let (turn, change) = line.arrive(&arrival);
                Some((turn, change, line.paused_until(now)))
            })
        });
        let Some(Some((turn, change, until))) = arrived else {
            return Admission::Pass(self.pass(spot, 0, None));
        };
        if let Some(change) = change {
            self.tell(&key, change, Duration::ZERO);
        }
        match turn {
            Turn::Go { pause } => Admission::Pass(self.pass(spot, pause, arrival.place)),
            Turn::Wait { seat, until } => Admission::Wait(Waiting {
                shared: Arc::clone(self),
                spot,
                seat: Some(seat),
                until,
                since: now,
            }),
            Turn::Refuse(refusal) => Admission::Refuse(Paused {
                key,
                reason: reason_of(refusal),
                retry_after: until.map_or(Duration::ZERO, |it| it.saturating_duration_since(now)),
                waited: Duration::ZERO,
            }),
        }
    }

    /// Until when a request can wait.
    fn limit<B>(&self, request: &Request<B>, now: Instant) -> Option<Instant> {
        let extensions = request.extensions();
        let deadline = extensions
            .get::<Attempt>()
            .and_then(|it| it.deadline)
            .or_else(|| extensions.get::<Deadline>().copied());
        let left = deadline.map_or(Duration::MAX, |deadline| deadline.remaining_at(now));
        now.checked_add(left.min(self.settings.max_wait))
    }

    #[inline]
    fn pass(self: &Arc<Self>, spot: Spot, released_in: u32, place: Option<u64>) -> Pass {
        Pass {
            shared: Arc::clone(self),
            spot,
            released_in,
            place,
        }
    }

    /// How long a response asks to pause, and why, if it does.
    fn asked<T>(&self, response: &Response<T>) -> Option<(Duration, Limit)> {
        // The wall clock turns a date into a duration; nothing else reads it.
        let hint = self
            .settings
            .hints
            .wait(response.headers(), SystemTime::now());
        let (wait, limit) = match response.status() {
            StatusCode::TOO_MANY_REQUESTS => (hint.or(self.settings.without_hint), Limit::Quota),
            StatusCode::SERVICE_UNAVAILABLE => (hint, Limit::Overload),
            _ => return None,
        };
        wait.map(|wait| (wait.min(self.settings.max_pause), limit))
    }

    /// Passes requests freely again. No lock is held here.
    pub(super) fn resume(&self, key: &PartitionKey) {
        let now = Instant::now();
        let resumed = self
            .ledger
            .change_known(key, |it| Some(it.line.as_mut()?.resume(now)));
        let Some(Some((wakers, change))) = resumed else {
            return;
        };
        wakers.wake();
        if let Some(change) = change {
            self.tell(key, change, Duration::ZERO);
        }
    }

    /// Reports a change. No lock is held here.
    fn tell(&self, key: &PartitionKey, change: Change, wait: Duration) {
        match change {
            Change::Paused => {
                tracing::info!(partition = %key, ?wait, "requests are paused");
            }
            Change::Resumed => {
                tracing::debug!(partition = %key, "a pause is over");
            }
        }
        let Some(observer) = self.ledger.observer() else {
            return;
        };
        match change {
            Change::Paused => observer.paused(key, wait),
            Change::Resumed => observer.resumed(key),
        }
    }
}

impl Pass {
    /// The request was answered. A response that asks for a pause begins it.
    #[inline]
    pub(super) fn answered<T>(mut self, response: &mut Response<T>) {
        let status = response.status();
        if status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::SERVICE_UNAVAILABLE {
            self.look_at(response);
        } else if self.released_in != 0 {
            self.end(Ended::Admitted);
        }
    }

    #[cold]
    fn look_at<T>(&mut self, response: &mut Response<T>) {
        let Some((wait, limit)) = self.shared.asked(response) else {
            return self.end(Ended::Unknown);
        };
        let (shared, now) = (Arc::clone(&self.shared), Instant::now());
        let asked = Asked {
            wait,
            limit,
            released_in: std::mem::take(&mut self.released_in),
            now,
        };
        let place = self.place;
        let changed = shared.ledger.slot(self.spot.place).and_then(|slot| {
            slot.change_of(self.spot.hash, |it| {
                it.recent_or_new().count(Bad::Throttled, now);
                let line = it.line_or_new();
                let (late, change) = line.throttle(&asked);
                // The place of a call that passed freely is the next one: it came before all others
                // that will.
                let place = place.unwrap_or_else(|| line.place());
                (
                    late,
                    change,
                    place,
                    line.expected(place, now),
                    it.key.clone(),
                )
            })
        });
        let Some((late, change, number, wait, key)) = changed else {
            return;
        };
        late.wake();
        if let Some(change) = change {
            shared.tell(&key, change, wait);
        }
        response.extensions_mut().insert(Throttled {
            wait,
            max_wait: shared.settings.max_wait,
            place: CallPlace {
                hash: self.spot.hash,
                number,
            },
        });
    }

    #[cold]
    fn end(&mut self, ended: Ended) {
        let released_in = std::mem::take(&mut self.released_in);
        if released_in == 0 {
            return;
        }
        let now = Instant::now();
        let slot = self.shared.ledger.slot(self.spot.place);
        let wakers = slot.and_then(|slot| {
            slot.change_of(self.spot.hash, |it| {
                Some(it.line.as_mut()?.ended(released_in, ended, now))
            })
        });
        if let Some(Some(wakers)) = wakers {
            wakers.wake();
        }
    }
}

impl Drop for Pass {
    #[inline]
    fn drop(&mut self) {
        if self.released_in != 0 {
            self.end(Ended::Unknown);
        }
    }
}

/// What a waiting request is told.
pub(super) enum Asking {
    Go(Pass),
    Wait,
    Refuse(Paused),
}

impl Waiting {
    /// Asks whether the turn of this request has come; else it has to ask again when it is woken, and
    /// [then](Self::until).
    pub(super) fn ask(&mut self, waker: &Waker) -> Asking {
        let now = Instant::now();
        let Some(seat) = self.seat else {
            return Asking::Go(self.shared.pass(self.spot, 0, None));
        };
        // Before the lock is taken: it may run any code.
        let waker = waker.clone();
        let slot = self.shared.ledger.slot(self.spot.place);
        let asked = slot.and_then(|slot| {
            slot.change_of(self.spot.hash, |it| {
                let line = it.line.as_mut()?;
                let (turn, wakers) = line.ask(seat, now, waker);
                Some((turn, wakers, line.paused_until(now), it.key.clone()))
            })
        });
        let Some(Some((turn, wakers, until, key))) = asked else {
            self.seat = None;
            return Asking::Go(self.shared.pass(self.spot, 0, None));
        };
        wakers.wake();
        match turn {
            Turn::Go { pause } => {
                self.seat = None;
                Asking::Go(self.shared.pass(self.spot, pause, Some(seat.number)))
            }
            Turn::Wait { until, .. } => {
                self.until = until;
                Asking::Wait
            }
            Turn::Refuse(refusal) => {
                self.seat = None;
                Asking::Refuse(Paused {
                    key,
                    reason: reason_of(refusal),
                    retry_after: until
                        .map_or(Duration::ZERO, |it| it.saturating_duration_since(now)),
                    waited: self.waited(),
                })
            }
        }
    }

    /// For how long this request has waited.
    pub(super) fn waited(&self) -> Duration {
        self.since.elapsed()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let Some(seat) = self.seat.take() else {
            return;
        };
        let now = Instant::now();
        let slot = self.shared.ledger.slot(self.spot.place);
        let wakers = slot.and_then(|slot| {
            slot.change_of(self.spot.hash, |it| {
                Some(it.line.as_mut()?.leave(seat.number, now))
            })
        });
        if let Some(Some(wakers)) = wakers {
            wakers.wake();
        }
    }
}

fn reason_of(refusal: Refusal) -> PausedReason {
    match refusal {
        Refusal::TooLong => PausedReason::TooLong,
        Refusal::Full => PausedReason::LineFull,
    }
}
