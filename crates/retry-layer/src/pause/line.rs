//! The requests of one partition that wait for their turn.

use std::{collections::BTreeMap, task::Waker, time::Duration};

use fastrand::Rng;
use tokio::time::Instant;

use super::pace::{Asked, Ended, Pace, Release, later};

/// A pause, and the line of requests that wait for its end: first come, first served.
///
/// A request that is sent again has the place of its call: it keeps the number that it got when it came
/// first. So one that is throttled does not go to the end of the line.
#[derive(Debug)]
pub(crate) struct Line {
    pace: Option<Pace>,
    waiting: BTreeMap<u64, Waiter>,
    /// The number of the next request that comes.
    next: u64,
    /// That of the next pause.
    pauses: u32,
    /// What the last pause has shown of the rate that the server admits, and when it was over.
    known_rate: Option<(f64, Instant)>,
    /// No waiting request gives up before this moment.
    first_limit: Option<Instant>,
    random: Rng,
}

#[derive(Debug)]
struct Waiter {
    /// `None` until it has waited for the first time, and from when it was woken until it asks.
    waker: Option<Waker>,
    /// Until when it can wait.
    limit: Option<Instant>,
    /// When it asks again at the latest, if its task is polled.
    asks_at: Instant,
}

/// A place in the line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Seat {
    pub(super) number: u64,
    /// Until when the request can wait.
    pub(super) limit: Option<Instant>,
}

/// Wakers that are woken, or only dropped, when no lock is held any more: either may run any code.
#[derive(Debug, Default)]
#[must_use = "a request that is not woken may wait for too long"]
pub(super) struct Wakers {
    to_wake: Vec<Waker>,
    to_drop: Vec<Waker>,
}

impl Wakers {
    pub(super) fn wake(self) {
        self.to_wake.into_iter().for_each(Waker::wake);
    }
}

/// What becomes of a request that comes or asks again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Turn {
    /// It may be sent, with the number of the pause in which it was released; 0 for none.
    Go { pause: u32 },
    /// It waits at this place, and asks again when it is woken, or at this moment.
    Wait { seat: Seat, until: Instant },
    /// It cannot wait for as long as it would have to.
    Refuse(Refusal),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Refusal {
    /// It would wait longer than it may.
    TooLong,
    /// As many wait as may.
    Full,
}

/// A request that comes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    /// The place of its call, if it has one.
    pub(super) place: Option<u64>,
    /// Until when it can wait.
    pub(super) limit: Option<Instant>,
    pub(super) max_waiting: usize,
    pub(super) now: Instant,
}

/// What has changed, for an observer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Change {
    Paused,
    Resumed,
}

impl Line {
    /// For how long a rate that is known holds.
    const KNOWN_FOR: Duration = Duration::from_secs(60);
    /// A request that does not ask for so long, though it is its turn, is passed over: its task is not
    /// polled.
    const PATIENCE: Duration = Duration::from_secs(1);

    pub(crate) fn new(random: Rng) -> Self {
        Self {
            pace: None,
            waiting: BTreeMap::new(),
            next: 0,
            pauses: 0,
            known_rate: None,
            first_limit: None,
            random,
        }
    }

    /// Whether requests have to come here before they are sent.
    pub(crate) fn is_paused(&self) -> bool {
        self.pace.is_some()
    }

    /// Until when nothing is sent, if that is later than now.
    pub(crate) fn paused_until(&self, now: Instant) -> Option<Instant> {
        let until = self.pace.as_ref()?.until();
        Some(until).filter(|until| *until > now)
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nothing would be missed if this were forgotten.
    pub(crate) fn is_idle(&self, now: Instant) -> bool {
        self.waiting.is_empty() && self.pace.as_ref().is_none_or(|pace| pace.is_over(now))
    }

    /// A place in the order of arrival, for a call that has none.
    pub(super) fn place(&mut self) -> u64 {
        let number = self.next;
        self.next = self.next.saturating_add(1);
        number
    }

    /// How long a request at this place would wait.
    pub(super) fn expected(&self, number: u64, now: Instant) -> Duration {
        let ahead = match self.waiting.last_key_value() {
            // One that comes anew is the last.
            Some((last, _)) if *last >= number => self.waiting.range(..number).count(),
            Some(_) | None => self.waiting.len(),
        };
        self.pace
            .as_ref()
            .map_or_else(Default::default, |pace| pace.expected(ahead, now))
    }

    /// A request comes.
    pub(super) fn arrive(&mut self, arrival: &Arrival) -> (Turn, Option<Change>) {
        let Arrival { limit, now, .. } = *arrival;
        let Some(pace) = &mut self.pace else {
            return (Turn::Go { pause: 0 }, None);
        };
        if self.waiting.is_empty() {
            if pace.is_over(now) {
                return (Turn::Go { pause: 0 }, self.resume(now).1);
            }
            if let Release::Now { pause } = pace.release(now, &mut self.random) {
                return (Turn::Go { pause }, None);
            }
        }
        if self.waiting.len() >= arrival.max_waiting {
            return (Turn::Refuse(Refusal::Full), None);
        }
        let kept = arrival.place;
        // Two requests never share a place: the one that comes second gets another.
        let kept = kept.filter(|kept| !self.waiting.contains_key(kept));
        let number = kept.unwrap_or_else(|| self.place());
        let expected = now.checked_add(self.expected(number, now));
        if limit.is_some_and(|limit| expected.is_none_or(|expected| expected > limit)) {
            return (Turn::Refuse(Refusal::TooLong), None);
        }
        let seat = Seat { number, limit };
        self.sit_down(seat, now);
        (Turn::Wait { seat, until: now }, None)
    }

    fn sit_down(&mut self, seat: Seat, now: Instant) {
        let Seat { number, limit } = seat;
        self.first_limit = match (self.first_limit, limit) {
            (Some(first), Some(limit)) => Some(first.min(limit)),
            (first, limit) => first.or(limit),
        };
        let waiter = Waiter {
            waker: None,
            limit,
            asks_at: now,
        };
        self.waiting.insert(number, waiter);
    }

    /// A request at this place asks whether its turn has come. Where it is over with it, it leaves the
    /// line. One that was passed over takes its place again.
    pub(super) fn ask(&mut self, seat: Seat, now: Instant, waker: Waker) -> (Turn, Wakers) {
        let Seat { number, limit } = seat;
        if self.pace.is_none() {
            return (Turn::Go { pause: 0 }, self.leave(number, now));
        }
        if !self.waiting.contains_key(&number) {
            self.sit_down(seat, now);
        }
        let mut wakers = self.pass_over_absent(number, now);
        let watch = self.watch(number);
        let Some(pace) = &mut self.pace else {
            return (Turn::Go { pause: 0 }, wakers);
        };
        pace.crowd(now);
        // The pause may have become longer since it came.
        if limit.is_some_and(|limit| now >= limit || pace.until() > limit) {
            self.leave_with(number, now, &mut wakers);
            return (Turn::Refuse(Refusal::TooLong), wakers);
        }
        let until = match watch {
            Some(watch) => watch,
            None => match pace.release(now, &mut self.random) {
                Release::Now { pause } => {
                    self.leave_with(number, now, &mut wakers);
                    return (Turn::Go { pause }, wakers);
                }
                Release::At(moment) => moment,
            },
        };
        let until = limit.map_or(until, |limit| limit.min(until));
        if let Some(waiter) = self.waiting.get_mut(&number) {
            wakers.to_drop.extend(waiter.waker.replace(waker));
            waiter.asks_at = until;
        }
        (Turn::Wait { seat, until }, wakers)
    }

    /// When a request that is not the first has to look whether those before it still ask. Of a long
    /// line those at its head do so more often than the others.
    fn watch(&self, number: u64) -> Option<Instant> {
        const OFTEN: u64 = 64;
        const MOST: u64 = 4;
        let (first, waiter) = self.waiting.first_key_value()?;
        let behind = (number.saturating_sub(*first) / OFTEN).min(MOST);
        let factor = u32::try_from(behind).unwrap_or_default().saturating_add(1);
        let patience = Self::PATIENCE.saturating_mul(factor);
        (*first != number).then(|| later(waiter.asks_at, patience))
    }

    /// Takes those from the head of the line who had to ask long ago: nobody polls them, such as the
    /// requests of a runtime that is not driven, and the others must not wait for them.
    fn pass_over_absent(&mut self, number: u64, now: Instant) -> Wakers {
        let mut wakers = Wakers::default();
        while let Some(first) = self.waiting.first_entry() {
            let is_late = later(first.get().asks_at, Self::PATIENCE) <= now;
            if *first.key() == number || !is_late {
                break;
            }
            wakers.to_wake.extend(first.remove().waker);
        }
        if !wakers.to_wake.is_empty() && !self.is_first(number) {
            self.wake_first(now, &mut wakers);
        }
        wakers
    }

    /// Requests pass freely from now on. All that wait are woken.
    pub(super) fn resume(&mut self, now: Instant) -> (Wakers, Option<Change>) {
        let mut wakers = Wakers::default();
        let Some(pace) = self.pace.take() else {
            return (wakers, None);
        };
        self.known_rate = pace.lasting_rate().map(|rate| (rate, now));
        let waiting = self.waiting.values_mut();
        wakers.to_wake = waiting.filter_map(|it| it.called(now)).collect();
        (wakers, Some(Change::Resumed))
    }

    /// A request leaves the line. The one whose turn is next is woken.
    pub(super) fn leave(&mut self, number: u64, now: Instant) -> Wakers {
        let mut wakers = Wakers::default();
        self.leave_with(number, now, &mut wakers);
        wakers
    }

    fn leave_with(&mut self, number: u64, now: Instant, wakers: &mut Wakers) {
        let was_first = self.is_first(number);
        let Some(left) = self.waiting.remove(&number) else {
            return;
        };
        wakers.to_drop.extend(left.waker);
        if self.waiting.is_empty() {
            self.first_limit = None;
        }
        if was_first {
            self.wake_first(now, wakers);
        }
    }

    /// A request that passed is over, and was not throttled.
    pub(super) fn ended(&mut self, pause: u32, ended: Ended, now: Instant) -> Wakers {
        let mut wakers = Wakers::default();
        if let Some(pace) = &mut self.pace {
            pace.ended(pause, ended);
            self.wake_first(now, &mut wakers);
        }
        wakers
    }

    /// A response asks for a pause. Those that cannot wait for its end are woken.
    pub(super) fn throttle(&mut self, asked: &Asked) -> (Wakers, Option<Change>) {
        let mut wakers = Wakers::default();
        let begins = if let Some(pace) = &mut self.pace {
            pace.throttle(asked, &mut self.random)
        } else {
            let known = self.known_rate.take();
            let recent = known.filter(|(_, at)| later(*at, Self::KNOWN_FOR) > asked.now);
            let rate = recent.map(|(rate, _)| rate);
            let pace = Pace::begin(self.pauses, asked, rate, &mut self.random);
            self.pace = Some(pace);
            true
        };
        let Some(pace) = &self.pace else {
            return (wakers, None);
        };
        self.pauses = pace.number().wrapping_add(1);
        let until = pace.until();
        let change = begins.then_some(Change::Paused);
        if self.first_limit.is_none_or(|first| until <= first) {
            return (wakers, change);
        }
        let mut first_limit = None;
        for waiter in self.waiting.values_mut() {
            let Some(limit) = waiter.limit else {
                continue;
            };
            if until > limit {
                wakers.to_wake.extend(waiter.called(asked.now));
            } else {
                first_limit = Some(first_limit.map_or(limit, |first: Instant| first.min(limit)));
            }
        }
        self.first_limit = first_limit;
        (wakers, change)
    }

    fn is_first(&self, number: u64) -> bool {
        let first = self.waiting.first_key_value();
        first.is_some_and(|(first, _)| *first == number)
    }

    fn wake_first(&mut self, now: Instant, wakers: &mut Wakers) {
        if let Some(mut first) = self.waiting.first_entry() {
            wakers.to_wake.extend(first.get_mut().called(now));
        }
    }
}

impl Waiter {
    /// Returns its waker: it has to ask now.
    fn called(&mut self, now: Instant) -> Option<Waker> {
        self.asks_at = self.asks_at.min(now);
        self.waker.take()
    }
}
