use http::Uri;
use tokio::time::Instant;

use super::{Budget, Cost, tokens::Tokens};
use crate::error::{BuildError, Problem};

/// The retry quota of the AWS SDKs, one for all origins: a bucket of 500 that starts full.
///
/// | | [2.1](Self::v2_1) | [2.0](Self::v2_0) |
/// |---|---|---|
/// | a retry, or a hedge, costs | 14 | 5 |
/// | after a throttling response | 5 | 5 |
/// | after a timeout | 14 | 10 |
/// | a call that succeeds at once gives back | 1 | 1 |
/// | a call that succeeds after retries gives back | what the last of them cost | the same |
///
/// The bucket has the same size for a client with one call a minute and for one with a thousand a
/// second. In an outage a busy client uses it up within a tenth of a second, and a quiet one never.
/// See [`SuccessBudget`](super::SuccessBudget) for one that scales.
#[derive(Debug)]
pub struct AwsBudget {
    tokens: Tokens,
    prices: Prices,
}

#[derive(Clone, Copy, Debug)]
struct Prices {
    retry: u64,
    throttled: u64,
    timed_out: u64,
}

impl AwsBudget {
    const CAPACITY: u64 = 500;
    const MAX_CAPACITY: u32 = 1_000_000;

    /// The quota of retry behaviour 2.1.
    #[must_use]
    pub fn v2_1() -> Self {
        Self {
            tokens: Tokens::full(Self::CAPACITY),
            prices: Prices {
                retry: 14,
                throttled: 5,
                timed_out: 14,
            },
        }
    }

    /// The quota of retry behaviour 2.0, called "standard".
    #[must_use]
    pub fn v2_0() -> Self {
        Self {
            prices: Prices {
                retry: 5,
                throttled: 5,
                timed_out: 10,
            },
            ..Self::v2_1()
        }
    }

    /// The same prices with a full bucket of this size, in place of 500.
    ///
    /// # Errors
    ///
    /// If it is 0, or more than a million.
    pub fn with_capacity(self, capacity: u32) -> Result<Self, BuildError> {
        if capacity == 0 || capacity > Self::MAX_CAPACITY {
            return Err(Problem::Budget("an AWS budget holds from 1 to 1000000 tokens").into());
        }
        Ok(Self {
            tokens: Tokens::full(u64::from(capacity)),
            ..self
        })
    }

    /// The balance.
    #[must_use]
    pub fn tokens(&self) -> u64 {
        self.tokens.balance()
    }

    fn price(&self, cost: Cost) -> u64 {
        match cost {
            Cost::Retry | Cost::Hedge => self.prices.retry,
            Cost::Throttled => self.prices.throttled,
            Cost::TimedOut => self.prices.timed_out,
        }
    }
}

impl Budget for AwsBudget {
    fn deposit(&self, _uri: &Uri) {
        self.tokens.add(1);
    }

    fn withdraw(&self, _uri: &Uri, cost: Cost, _now: Instant) -> bool {
        match cost {
            Cost::Hedge => self.tokens.take_of_upper_half(self.price(cost)),
            Cost::Retry | Cost::Throttled | Cost::TimedOut => self.tokens.take(self.price(cost)),
        }
    }

    fn refund(&self, _uri: &Uri, cost: Cost) {
        self.tokens.add(self.price(cost));
    }

    fn deposit_after_retry(&self, _uri: &Uri, last: Cost) {
        self.tokens.add(self.price(last));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_follow_the_version() {
        let uri = Uri::default();
        for (budget, prices) in [
            (AwsBudget::v2_1(), [14, 5, 14]),
            (AwsBudget::v2_0(), [5, 5, 10]),
        ] {
            for (cost, price) in [Cost::Retry, Cost::Throttled, Cost::TimedOut]
                .into_iter()
                .zip(prices)
            {
                assert!(budget.withdraw(&uri, cost, Instant::now()));
                assert_eq!(budget.tokens(), 500 - price);
                budget.refund(&uri, cost);
                assert_eq!(budget.tokens(), 500);
            }
        }
    }

    #[test]
    fn a_call_that_succeeds_gives_back_one_or_what_its_last_retry_cost() {
        let uri = Uri::default();
        let budget = AwsBudget::v2_1().with_capacity(100).unwrap();
        assert_eq!(budget.tokens(), 100);
        assert!((0..7).all(|_| budget.withdraw(&uri, Cost::Retry, Instant::now())));
        assert!(!budget.withdraw(&uri, Cost::Retry, Instant::now()));
        assert_eq!(budget.tokens(), 2);
        budget.deposit(&uri);
        assert_eq!(budget.tokens(), 3);
        budget.deposit_after_retry(&uri, Cost::Throttled);
        assert_eq!(budget.tokens(), 8);
    }

    #[test]
    fn sizes_out_of_range_are_refused() {
        for capacity in [1, 1_000_000] {
            let budget = AwsBudget::v2_1().with_capacity(capacity).unwrap();
            assert_eq!(budget.tokens(), u64::from(capacity));
        }
        assert!(AwsBudget::v2_1().with_capacity(0).is_err());
        assert!(AwsBudget::v2_1().with_capacity(1_000_001).is_err());
    }
}
