use std::{fmt, time::Duration};

use fastrand::Rng;

use super::{
    Backoff, BoxedWaits, Schedule,
    exponential::{ExponentialIter, Pressure},
};
use crate::jitter::{Jitter, Position, Spread};

/// The waits of one call, made by [`Backoff::delays`].
pub struct Delays {
    pub(super) waits: Waits,
    pub(super) random: Rng,
}

impl Iterator for Delays {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.waits.next(Pressure::Normal, &mut self.random)
    }
}

impl fmt::Debug for Delays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delays").finish_non_exhaustive()
    }
}

/// Where one call stands in its schedule.
pub(crate) struct Waits {
    source: Source,
    jitter: Jitter,
    cap: Duration,
    previous: Option<Duration>,
    /// Where the last wait was in its range, if the next one is opposite to it.
    drawn: Option<Position>,
}

enum Source {
    Exponential(ExponentialIter),
    Custom(BoxedWaits),
}

impl Waits {
    pub(crate) fn new(backoff: &Backoff) -> Self {
        let source = match &backoff.schedule {
            Schedule::Exponential(exponential) => Source::Exponential(exponential.into_iter()),
            Schedule::Custom(waits) => Source::Custom(waits()),
        };
        Self {
            source,
            jitter: backoff.jitter,
            cap: backoff.cap,
            previous: None,
            drawn: None,
        }
    }

    /// The schedule without the waits of so many retries, which were made before.
    pub(crate) fn behind(backoff: &Backoff, retries: u32) -> Self {
        let mut waits = Self::new(backoff);
        for _ in 0..retries {
            if !waits.skip() {
                break;
            }
        }
        waits
    }

    /// Skips the next wait. Returns whether the one after it can be different.
    fn skip(&mut self) -> bool {
        match &mut self.source {
            Source::Exponential(waits) => {
                let base = waits.schedule.base_for(Pressure::Normal);
                waits.next_from(base) < self.cap
            }
            Source::Custom(waits) => waits.next().is_some(),
        }
    }

    /// The next wait, or nothing if the schedule is over.
    pub(crate) fn next(&mut self, pressure: Pressure, random: &mut Rng) -> Option<Duration> {
        let (delay, base) = match &mut self.source {
            Source::Exponential(waits) => {
                let base = waits.schedule.base_for(pressure);
                (waits.next_from(base), base)
            }
            Source::Custom(waits) => {
                let delay = waits.next()?.min(self.cap);
                (delay, delay)
            }
        };
        let previous = self.previous.unwrap_or(base);
        let spread = Spread {
            delay,
            base,
            previous,
            cap: self.cap,
        };
        let wait = self.position(random).of(self.jitter.range(spread));
        self.previous = Some(wait);
        Some(wait)
    }

    /// Where in its range the next wait is: anywhere, or opposite to the one before. Two waits that are
    /// each drawn anew may both be short, and then all attempts of a call fall into one blip.
    fn position(&mut self, random: &mut Rng) -> Position {
        if let Some(before) = self.drawn.take() {
            return before.opposite();
        }
        let drawn = Position::random(random);
        // A decorrelated wait follows from the one before by its range.
        if self.jitter != Jitter::Decorrelated {
            self.drawn = Some(drawn);
        }
        drawn
    }
}

impl fmt::Debug for Waits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waits")
            .field("previous", &self.previous)
            .finish_non_exhaustive()
    }
}
