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
    /// `None` until it has waited for the first time.
    waker: Option<Waker>,
    /// Until when it can wait.
    limit: Option<Instant>,
}

/// What becomes of a request that comes or asks again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Turn {
    /// It may be sent, with the number of the pause in which it was released; 0 for none.
    Go { pause: u32 },
    /// It waits at this place, and asks again when it is woken, or at this moment.
    Wait { place: u64, until: Instant },
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
        let ahead = self.waiting.range(..number).count();
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
        self.first_limit = match (self.first_limit, limit) {
            (Some(first), Some(limit)) => Some(first.min(limit)),
            (first, limit) => first.or(limit),
        };
        self.waiting.insert(number, Waiter { waker: None, limit });
        let turn = Turn::Wait {
            place: number,
            until: now,
        };
        (turn, None)
    }

    /// A request at this place asks whether its turn has come. Where it is over with it, it leaves the
    /// line. Returns the waker of the request whose turn is next, if that has changed.
    pub(super) fn ask(
        &mut self,
        number: u64,
        now: Instant,
        waker: &Waker,
    ) -> (Turn, Option<Waker>) {
        let is_first = self.is_first(number);
        let Some(waiter) = self.waiting.get_mut(&number) else {
            return (Turn::Go { pause: 0 }, None);
        };
        let Some(pace) = &mut self.pace else {
            return (Turn::Go { pause: 0 }, self.leave(number));
        };
        pace.crowd(now);
        let limit = waiter.limit;
        // The pause may have become longer since it came.
        if limit.is_some_and(|limit| now >= limit || pace.until() > limit) {
            return (Turn::Refuse(Refusal::TooLong), self.leave(number));
        }
        let mut until = limit;
        if is_first {
            match pace.release(now, &mut self.random) {
                Release::Now { pause } => return (Turn::Go { pause }, self.leave(number)),
                Release::At(moment) => until = Some(limit.map_or(moment, |it| it.min(moment))),
            }
        }
        match &mut waiter.waker {
            Some(kept) => kept.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
        let until = until.unwrap_or_else(|| later(now, Duration::MAX));
        let turn = Turn::Wait {
            place: number,
            until,
        };
        (turn, None)
    }

    /// Requests pass freely from now on. Returns whom to wake: each wakes the next.
    pub(super) fn resume(&mut self, now: Instant) -> (Option<Waker>, Option<Change>) {
        let Some(pace) = self.pace.take() else {
            return (None, None);
        };
        self.known_rate = pace.admitted_rate().map(|rate| (rate, now));
        (self.first_waker(), Some(Change::Resumed))
    }

    /// A request leaves the line. Returns the waker of the one whose turn is next now.
    pub(super) fn leave(&mut self, number: u64) -> Option<Waker> {
        let was_first = self.is_first(number);
        self.waiting.remove(&number)?;
        if self.waiting.is_empty() {
            self.first_limit = None;
        }
        if was_first { self.first_waker() } else { None }
    }

    /// A request that passed is over, and was not throttled. Returns whom to wake.
    pub(super) fn ended(&mut self, pause: u32, ended: Ended) -> Option<Waker> {
        self.pace.as_mut()?.ended(pause, ended);
        self.first_waker()
    }

    /// A response asks for a pause. Returns whom to wake, since they cannot wait for its end.
    pub(super) fn throttle(&mut self, asked: &Asked) -> (Vec<Waker>, Option<Change>) {
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
            return (Vec::new(), None);
        };
        self.pauses = pace.number().wrapping_add(1);
        let until = pace.until();
        let change = begins.then_some(Change::Paused);
        if self.first_limit.is_none_or(|first| until <= first) {
            return (Vec::new(), change);
        }
        let (late, others): (Vec<_>, Vec<_>) = self
            .waiting
            .values()
            .partition(|it| it.limit.is_some_and(|limit| until > limit));
        self.first_limit = others.iter().filter_map(|it| it.limit).min();
        let late = late.iter().filter_map(|it| it.waker.clone()).collect();
        (late, change)
    }

    fn is_first(&self, number: u64) -> bool {
        let first = self.waiting.first_key_value();
        first.is_some_and(|(first, _)| *first == number)
    }

    fn first_waker(&self) -> Option<Waker> {
        let (_, first) = self.waiting.first_key_value()?;
        first.waker.clone()
    }
}
