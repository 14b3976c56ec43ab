use std::time::Duration;

use tokio::time::Instant;

use super::window::Window;
use crate::budget::{Cost, TOKEN};

/// The balance of one origin.
#[derive(Debug)]
pub(crate) struct Bucket {
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

    pub(super) fn full(rate: u64, now: Instant) -> Self {
        let capacity = Self::capacity(rate);
        Self {
            millitokens: capacity,
            capacity,
            successes: 0,
            // For the first ten seconds, the rate of the client stands for that of the origin.
            window: Window::new(now, 0, Some(rate)),
            trickled: now,
            asked: now,
        }
    }

    fn capacity(rate: u64) -> u64 {
        rate.saturating_mul(TOKEN).max(Self::FLOOR)
    }

    /// How many retries are left.
    pub(crate) fn retries(&self) -> u64 {
        self.millitokens / TOKEN
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
