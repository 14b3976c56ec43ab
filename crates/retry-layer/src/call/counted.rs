use crate::policy::RetryPolicy;

/// A call that the budget of its policy counts until this is dropped.
#[must_use = "the budget stops counting the call when this is dropped"]
pub(crate) struct Counted(RetryPolicy);

impl Counted {
    /// Counts a call, if the budget wants that.
    #[inline]
    pub(crate) fn enter(policy: &RetryPolicy) -> Option<Self> {
        policy.counts_calls().then(|| {
            policy.budget().enter();
            Self(policy.clone())
        })
    }
}

impl Drop for Counted {
    // Not where calls are dropped, which hardly ever have one.
    #[cold]
    fn drop(&mut self) {
        self.0.budget().leave();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::budget::ConcurrencyShare;

    #[test]
    fn a_call_is_counted_as_long_as_it_lives() {
        // As many retries as calls, and one at least.
        let share = Arc::new(ConcurrencyShare::new(100, 1).unwrap());
        let policy = RetryPolicy::builder().budget(share.clone());
        let policy = policy.build().unwrap();
        let counted: Vec<_> = (0..3).map(|_| Counted::enter(&policy)).collect();
        assert_eq!(share.limit(), 3);
        drop(counted);
        assert_eq!(share.limit(), 1);
        assert!(Counted::enter(&RetryPolicy::default()).is_none());
    }
}
