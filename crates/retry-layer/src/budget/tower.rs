use std::fmt;

use http::Uri;
use tokio::time::Instant;
use tower::retry::budget::Budget as Inner;

use super::{Budget, Cost};

/// A budget of [`tower::retry::budget`], one for all origins.
///
/// ```
/// use std::time::Duration;
/// use retry_layer::{RetryPolicy, budget::TowerBudget};
/// use tower::retry::budget::TpsBudget;
///
/// let budget = TpsBudget::new(Duration::from_secs(10), 5, 0.2);
/// let policy = RetryPolicy::builder().budget(TowerBudget::new(budget)).build()?;
/// # Ok::<(), retry_layer::BuildError>(())
/// ```
///
/// Such a budget has one price and no refund: a retry of a throttled call costs as much as any
/// other, and a retry that is given up during its wait is not refunded.
#[derive(Clone, Copy, Debug)]
pub struct TowerBudget<B> {
    inner: B,
}

impl<B> TowerBudget<B> {
    /// Wraps the budget.
    pub const fn new(inner: B) -> Self {
        Self { inner }
    }

    /// The inner budget.
    pub const fn get_ref(&self) -> &B {
        &self.inner
    }

    /// The inner budget.
    pub fn into_inner(self) -> B {
        self.inner
    }
}

impl<B> Budget for TowerBudget<B>
where
    B: Inner + fmt::Debug + Send + Sync + 'static,
{
    fn deposit(&self, _uri: &Uri) {
        self.inner.deposit();
    }

    fn withdraw(&self, _uri: &Uri, _cost: Cost, _now: Instant) -> bool {
        self.inner.withdraw()
    }

    fn refund(&self, _uri: &Uri, _cost: Cost) {}
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ::tower::retry::budget::TpsBudget;

    use super::*;

    #[test]
    fn a_budget_of_tower_decides() {
        let budget = TowerBudget::new(TpsBudget::new(Duration::from_secs(10), 0, 0.5));
        let uri = Uri::default();
        let granted = |count: usize| {
            (0..count)
                .filter(|_| budget.withdraw(&uri, Cost::Retry, Instant::now()))
                .count()
        };
        assert_eq!(granted(5), 0);
        (0..10).for_each(|_| budget.deposit(&uri));
        assert_eq!(granted(10), 5);
    }
}
