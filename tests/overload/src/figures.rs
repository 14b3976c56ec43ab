use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::storm::Storm;

/// What happened in one second.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Second {
    /// Calls that began.
    pub calls: u32,
    /// Those of them that succeeded, then or later.
    pub successes: u32,
    /// Requests that the server got.
    pub attempts: u32,
    /// Calls that succeeded in this second, whenever they began.
    pub good: u32,
}

/// What came of a storm.
#[derive(Clone, Debug, PartialEq)]
pub struct Figures {
    /// One second after the other.
    pub seconds: Vec<Second>,
    begins: usize,
    ends: usize,
    usual: f64,
    /// Requests in the busiest tenth of a second.
    busiest: u32,
    /// Calls that began while the trouble lasted, and those of them that failed.
    in_trouble: u32,
    lost_in_trouble: u32,
}

/// How many seconds in a row have to be good for a service to have recovered.
const WINDOW: usize = 5;

/// The parts of a second in which bursts are looked for.
const PARTS: u32 = 10;

#[derive(Debug)]
pub(crate) struct Counts {
    storm: Storm,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    seconds: Vec<Second>,
    parts: Vec<u32>,
    in_trouble: u32,
    good_in_trouble: u32,
}

impl Counts {
    pub(crate) fn new(storm: &Storm) -> Self {
        let seconds = index(storm.end(), 1) + 1;
        let parts = index(storm.end(), PARTS) + 1;
        Self {
            storm: storm.clone(),
            inner: Mutex::new(Inner {
                seconds: vec![Second::default(); seconds],
                parts: vec![0; parts],
                in_trouble: 0,
                good_in_trouble: 0,
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn attempt(&self, at: Duration) {
        let mut inner = self.lock();
        note(&mut inner.seconds, at, |second| second.attempts += 1);
        if let Some(part) = inner.parts.get_mut(index(at, PARTS)) {
            *part += 1;
        }
    }

    pub(crate) fn call(&self, at: Duration) {
        let mut inner = self.lock();
        note(&mut inner.seconds, at, |second| second.calls += 1);
        inner.in_trouble += u32::from(self.storm.trouble_range().contains(&at));
    }

    pub(crate) fn success(&self, began: Duration, now: Duration) {
        let mut inner = self.lock();
        note(&mut inner.seconds, began, |second| second.successes += 1);
        note(&mut inner.seconds, now, |second| second.good += 1);
        inner.good_in_trouble += u32::from(self.storm.trouble_range().contains(&began));
    }

    pub(crate) fn figures(&self) -> Figures {
        let inner = self.lock();
        let trouble = self.storm.trouble_range();
        // The last one is not whole.
        let seconds = inner.seconds.iter().take(index(self.storm.end(), 1));
        Figures {
            seconds: seconds.copied().collect(),
            begins: index(trouble.start, 1),
            ends: index(trouble.end + Duration::from_millis(999), 1),
            usual: self.storm.calls_per_second(),
            busiest: inner.parts.iter().copied().max().unwrap_or_default(),
            in_trouble: inner.in_trouble,
            lost_in_trouble: inner.in_trouble - inner.good_in_trouble,
        }
    }
}

/// In which part of a second a moment is, counted from the start.
fn index(at: Duration, parts: u32) -> usize {
    let index = at.as_millis() * u128::from(parts) / 1_000;
    usize::try_from(index).unwrap_or(usize::MAX)
}

fn note(seconds: &mut [Second], at: Duration, change: impl FnOnce(&mut Second)) {
    if let Some(second) = seconds.get_mut(index(at, 1)) {
        change(second);
    }
}

impl Figures {
    /// How many seconds after the trouble calls succeed again, 99 of 100 for five seconds; `None` if never.
    #[must_use]
    pub fn recovery(&self) -> Option<usize> {
        let good = |second: &Second| second.successes * 100 >= second.calls * 99;
        let after = self.seconds.get(self.ends..).unwrap_or_default();
        after
            .windows(WINDOW)
            .position(|window| window.iter().all(good))
    }

    /// Requests for each call, in the worst second.
    #[must_use]
    pub fn amplification(&self) -> f64 {
        let load = |second: &Second| f64::from(second.attempts) / f64::from(second.calls.max(1));
        self.seconds.iter().map(load).fold(0.0, f64::max)
    }

    /// The requests of the busiest tenth of a second, as a multiple of the calls in one on average.
    #[must_use]
    pub fn burst(&self) -> f64 {
        f64::from(self.busiest * PARTS) / self.usual
    }

    /// The share of the calls that failed, of those that began from the trouble on.
    #[must_use]
    pub fn lost(&self) -> f64 {
        let after = self.seconds.get(self.begins..).unwrap_or_default();
        let calls: u32 = after.iter().map(|second| second.calls).sum();
        let good: u32 = after.iter().map(|second| second.successes).sum();
        f64::from(calls - good) / f64::from(calls.max(1))
    }

    /// The share of the calls that failed, of those that began while the trouble lasted.
    #[must_use]
    pub fn lost_in_trouble(&self) -> f64 {
        f64::from(self.lost_in_trouble) / f64::from(self.in_trouble.max(1))
    }

    /// The seconds of the trouble.
    #[must_use]
    pub fn trouble(&self) -> std::ops::Range<usize> {
        self.begins..self.ends
    }
}
