use http::Uri;
use tokio::time::Instant;

use super::{Budget, Cost, MAX_PERCENT, PERCENT, TOKEN, tokens::Tokens};
use crate::error::{BuildError, Problem};

/// One bucket of a fixed size for all origins: it starts full, loses a token with every retry, and
/// gains a share of one with every success.
///
/// It is simple to reason about, but a size that fits a small client leaves a busy one without
/// retries: see [`SuccessBudget`](super::SuccessBudget).
#[derive(Debug)]
pub struct FixedBudget {
    tokens: Tokens,
    deposit: u64,
}

impl FixedBudget {
    const MAX_TOKENS: u32 = 1_000;

    /// A full bucket of `tokens`, to which each success adds `percent` of one.
    ///
    /// # Errors
    ///
    /// If `tokens` or `percent` is 0, or more than 1000.
    pub fn new(tokens: u32, percent: u16) -> Result<Self, BuildError> {
        if tokens == 0 || tokens > Self::MAX_TOKENS {
            return Err(Problem::Budget("a fixed budget holds from 1 to 1000 tokens").into());
        }
        if percent == 0 || percent > MAX_PERCENT {
            return Err(
                Problem::Budget("a success earns from 1 to 1000 percent of a retry").into(),
            );
        }
        Ok(Self {
            tokens: Tokens::full(u64::from(tokens) * TOKEN),
            deposit: u64::from(percent) * PERCENT,
        })
    }

    /// The balance, in thousandths of a token.
    #[must_use]
    pub fn millitokens(&self) -> u64 {
        self.tokens.balance()
    }
}

impl Budget for FixedBudget {
    fn deposit(&self, _uri: &Uri) {
        self.tokens.add(self.deposit);
    }

    fn withdraw(&self, _uri: &Uri, cost: Cost, _now: Instant) -> bool {
        match cost {
            Cost::Hedge => self.tokens.take_of_upper_half(cost.millitokens()),
            Cost::Retry | Cost::Throttled | Cost::TimedOut => self.tokens.take(cost.millitokens()),
        }
    }

    fn refund(&self, _uri: &Uri, cost: Cost) {
        self.tokens.add(cost.millitokens());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_percentages_are_exact() {
        for percent in [1_u16, 3, 7, 10, 30, 33, 70, 150, 999] {
            let budget = FixedBudget::new(1_000, percent).unwrap();
            let uri = Uri::from_static("http://peer/");
            let now = Instant::now();
            assert!((0..1_000).all(|_| budget.withdraw(&uri, Cost::Retry, now)));
            assert!(!budget.withdraw(&uri, Cost::Retry, now));
            (0..100).for_each(|_| budget.deposit(&uri));
            let granted = (0..2_000)
                .filter(|_| budget.withdraw(&uri, Cost::Retry, now))
                .count();
            assert_eq!(granted, usize::from(percent));
            assert_eq!(budget.millitokens(), 0);
        }
    }

    #[test]
    fn a_refund_restores_the_balance() {
        let budget = FixedBudget::new(1, 10).unwrap();
        let uri = Uri::default();
        assert!(budget.withdraw(&uri, Cost::Throttled, Instant::now()));
        assert_eq!(budget.millitokens(), 500);
        budget.refund(&uri, Cost::Throttled);
        assert_eq!(budget.millitokens(), 1_000);
    }

    #[test]
    fn sizes_out_of_range_are_refused() {
        for (tokens, percent) in [(0, 10), (1_001, 10), (10, 0), (10, 1_001)] {
            assert!(FixedBudget::new(tokens, percent).is_err());
        }
    }
}
