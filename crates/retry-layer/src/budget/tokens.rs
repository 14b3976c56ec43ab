#[cfg(not(all(test, retry_loom)))]
use std::sync::atomic::{AtomicU64, Ordering};

#[cfg(all(test, retry_loom))]
use loom::sync::atomic::{AtomicU64, Ordering};

/// A balance between nothing and its capacity, for many threads.
///
/// Relaxed throughout: the balance guards no other memory, and each change is one step.
#[derive(Debug)]
pub(super) struct Tokens {
    balance: AtomicU64,
    capacity: u64,
}

impl Tokens {
    pub(super) fn full(capacity: u64) -> Self {
        Self {
            balance: AtomicU64::new(capacity),
            capacity,
        }
    }

    pub(super) fn capacity(&self) -> u64 {
        self.capacity
    }

    pub(super) fn balance(&self) -> u64 {
        self.balance.load(Ordering::Relaxed)
    }

    /// Adds as much as there is room for.
    pub(super) fn add(&self, amount: u64) {
        // The usual case writes nothing, so that no core takes the line from another.
        if self.balance() == self.capacity {
            return;
        }
        let _ = self
            .balance
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |balance| {
                Some(balance.saturating_add(amount).min(self.capacity))
            });
    }

    /// Takes this much, or nothing.
    pub(super) fn take(&self, amount: u64) -> bool {
        self.balance
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |balance| {
                balance.checked_sub(amount)
            })
            .is_ok()
    }

    /// Takes this much while at least half of the capacity is there, or nothing.
    pub(super) fn take_of_upper_half(&self, amount: u64) -> bool {
        self.balance
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |balance| {
                let is_half = balance >= self.capacity.div_ceil(2);
                balance.checked_sub(amount).filter(|_| is_half)
            })
            .is_ok()
    }

    /// Takes this much, or all that is left.
    pub(super) fn lose(&self, amount: u64) {
        let _ = self
            .balance
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |balance| {
                Some(balance.saturating_sub(amount))
            });
    }
}
