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
    /// Up to when the trickle is paid out.
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
            // Until ten seconds have told the rate of this origin, it is taken to be the client's.
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

    /// One of 64 bits, so that most origins without a bucket can tell by a glance at those of all
    /// buckets together; all of them for the bucket that any origin may have.
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
        match self.millitokens.checked_sub(cost.millitokens()) {
            Some(rest) => {
                self.millitokens = rest;
                true
            }
            None => false,
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
        // What is not worth a whole drop yet stays to be paid out.
        let paid = u32::try_from(drops).map_or(passed, |drops| Self::TRICKLE.saturating_mul(drops));
        self.trickled = self.trickled.checked_add(paid).unwrap_or(now);
    }

    /// Adds, and tells whether the bucket is full now.
    pub(super) fn add(&mut self, amount: u64) -> bool {
        self.millitokens = self.millitokens.saturating_add(amount).min(self.capacity);
        self.millitokens == self.capacity
    }
}

pub(super) fn mark(hash: u64) -> u64 {
    1 << (hash % u64::from(u64::BITS))
}
