use std::time::Duration;

use tokio::time::Instant;

use super::window::Window;
use crate::budget::{
    Cost, TOKEN,
    origin::{Origin, OwnedOrigin},
};

/// The balance of one origin.
pub(super) struct Bucket {
    origin: OwnedOrigin,
    pub(super) millitokens: u64,
    capacity: u64,
    pub(super) successes: u64,
    window: Window,
    /// The time up to which the trickle was added.
    pub(super) trickled: Instant,
    pub(super) asked: Instant,
}

impl Bucket {
    const FLOOR: u64 = 5 * TOKEN;
    const TRICKLE_LIMIT: u64 = 2 * TOKEN;
    /// One token in 30 seconds.
    const TRICKLE: Duration = Duration::from_millis(30);

    pub(super) fn full(origin: Origin<'_>, rate: u64, now: Instant) -> Self {
        let capacity = Self::capacity(rate);
        Self {
            origin: origin.to_owned(),
            millitokens: capacity,
            capacity,
            successes: 0,
            // For the first ten seconds, the rate of the client stands for that of the origin.
            window: Window::new(now, 0, Some(rate)),
            trickled: now,
            asked: now,
        }
    }

    pub(super) fn hash(&self) -> u64 {
        self.origin.hash()
    }

    pub(super) fn is_of(&self, origin: Origin<'_>) -> bool {
        origin.is(&self.origin)
    }

    /// One of 64 bits. An origin whose bit is not among those of all buckets has no bucket, which
    /// is true of most origins. The bucket that several origins share has all 64.
    pub(super) fn mark(&self) -> u64 {
        if self.origin.is_any() {
            u64::MAX
        } else {
            mark(self.hash())
        }
    }

    fn capacity(rate: u64) -> u64 {
        rate.saturating_mul(TOKEN).max(Self::FLOOR)
    }

    pub(super) fn withdraw(&mut self, cost: Cost, now: Instant) -> bool {
        self.asked = now;
        self.capacity = Self::capacity(self.window.rate(self.successes, now));
        self.millitokens = self.millitokens.min(self.capacity);
        self.trickle(now);
        // The lower half is for the retries.
        let is_open = cost != Cost::Hedge || self.millitokens >= self.capacity.div_ceil(2);
        match self.millitokens.checked_sub(cost.millitokens()) {
            Some(rest) if is_open => {
                self.millitokens = rest;
                true
            }
            Some(_) | None => false,
        }
    }

    pub(super) fn trickle(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.trickled);
        if passed < Self::TRICKLE {
            return;
        }
        let drops = passed.as_millis() / Self::TRICKLE.as_millis();
        if self.millitokens < Self::TRICKLE_LIMIT {
            let earned = u64::try_from(drops).unwrap_or(u64::MAX);
            self.millitokens = self
                .millitokens
                .saturating_add(earned)
                .min(Self::TRICKLE_LIMIT);
        }
        // The rest of the time, which is less than one drop takes, counts for the next one.
        let paid = u32::try_from(drops).map_or(passed, |drops| Self::TRICKLE.saturating_mul(drops));
        self.trickled = self.trickled.checked_add(paid).unwrap_or(now);
    }

    /// Adds so many millitokens. Returns whether the bucket is full now.
    pub(super) fn add(&mut self, amount: u64) -> bool {
        self.millitokens = self.millitokens.saturating_add(amount).min(self.capacity);
        self.millitokens == self.capacity
    }
}

pub(super) fn mark(hash: u64) -> u64 {
    1 << (hash % u64::from(u64::BITS))
}
