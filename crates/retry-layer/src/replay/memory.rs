use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// The memory that all calls together may use to keep bodies for further attempts.
#[derive(Debug)]
pub(crate) struct ReplayMemory {
    limit: usize,
    used: AtomicUsize,
}

impl ReplayMemory {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            used: AtomicUsize::new(0),
        })
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    fn take(&self, bytes: usize) -> bool {
        // Relaxed: no other memory depends on this number.
        let take = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= self.limit);
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
            .is_ok()
    }
}

/// The share of one call, given back when it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Share {
    memory: Option<Arc<ReplayMemory>>,
    bytes: usize,
}

impl Share {
    /// A share of this memory, or of one without a bound.
    pub(crate) fn of(memory: Option<&Arc<ReplayMemory>>) -> Self {
        Self {
            memory: memory.cloned(),
            bytes: 0,
        }
    }

    /// Whether there is a bound.
    pub(crate) fn is_bound(&self) -> bool {
        self.memory.is_some()
    }

    /// Takes so many bytes more, or none.
    pub(crate) fn grow(&mut self, bytes: usize) -> bool {
        let Some(memory) = &self.memory else {
            return true;
        };
        let granted = memory.take(bytes);
        if granted {
            self.bytes = self.bytes.saturating_add(bytes);
        }
        granted
    }

    pub(crate) fn give_back(&mut self) {
        if let Some(memory) = &self.memory {
            memory.used.fetch_sub(self.bytes, Ordering::Relaxed);
        }
        self.bytes = 0;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.give_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_never_exceed_the_limit_and_are_given_back() {
        let memory = ReplayMemory::new(10);
        let (mut one, mut other) = (Share::of(Some(&memory)), Share::of(Some(&memory)));
        assert!(one.grow(6) && !other.grow(5) && other.grow(4) && !one.grow(1));
        drop(one);
        assert!(other.grow(6));
        other.give_back();
        assert_eq!(memory.used.load(Ordering::Relaxed), 0);
        assert!(!other.grow(usize::MAX));
    }

    #[test]
    fn without_a_bound_everything_is_granted() {
        assert!(Share::of(None).grow(usize::MAX));
    }
}
