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
    /// The last wait, if it was drawn and the next one may be opposite to it.
    drawn: Option<Drawn>,
}

/// A wait that was drawn for itself.
#[derive(Clone, Copy)]
struct Drawn {
    position: Position,
    /// How long its range is.
    span: Duration,
}

impl Drawn {
    /// Whether waits of a range of this length are spread if they are opposite to this one. The sum of the
    /// two is then anywhere in a range as long as the two differ. Where they are alike it would be the same
    /// for all calls, and those that failed together would meet again.
    fn is_spread_by(self, span: Duration) -> bool {
        self.span.abs_diff(span) >= self.span.min(span) / 2
    }
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
        let range = self.jitter.range(spread);
        let wait = self.position(range, random).of(range);
        self.previous = Some(wait);
        Some(wait)
    }

    /// Where in its range the next wait is: anywhere, or opposite to the one before. Two waits that are
    /// each drawn anew may both be short, and then all attempts of a call fall into one blip.
    fn position(&mut self, range: (Duration, Duration), random: &mut Rng) -> Position {
        let (shortest, longest) = range;
        let span = longest.saturating_sub(shortest);
        if let Some(before) = self.drawn.take().filter(|it| it.is_spread_by(span)) {
            return before.position.opposite();
        }
        let position = Position::random(random);
        // A decorrelated wait follows from the one before by its range.
        if self.jitter != Jitter::Decorrelated {
            self.drawn = Some(Drawn { position, span });
        }
        position
    }
}

impl fmt::Debug for Waits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waits")
            .field("previous", &self.previous)
            .finish_non_exhaustive()
    }
}
