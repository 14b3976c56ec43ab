use http::Uri;
use tokio::time::Instant;

use super::{Budget, Cost, TOKEN, tokens::Tokens};
use crate::error::{BuildError, Problem};

/// gRPC's retry throttling (gRFC A6, "Throttling Retry Attempts and Hedged RPCs"), for one server
/// or for all.
///
/// Each failed attempt takes a token, whether it is retried or not; each call that succeeds gives a
/// share of one back; retries are made while more than half of the tokens are left. The policy's
/// classifier says what a failure is: with [`Grpc`](crate::grpc::Grpc), a code that is retried, and
/// any code with a pushback that forbids retries. Codes such as `NOT_FOUND` neither take nor give.
#[derive(Debug)]
pub struct GrpcThrottle {
    tokens: Tokens,
    deposit: u64,
}

impl GrpcThrottle {
    const MAX_TOKENS: u16 = 1_000;

    /// `maxTokens` of a service config, and its `tokenRatio` in thousandths: 100 for 0.1.
    ///
    /// # Errors
    ///
    /// If `max_tokens` is 0 or more than 1000, or if the ratio is 0.
    pub fn new(max_tokens: u16, ratio_thousandths: u32) -> Result<Self, BuildError> {
        if max_tokens == 0 || max_tokens > Self::MAX_TOKENS {
            return Err(Problem::Budget("gRPC throttling has from 1 to 1000 tokens").into());
        }
        if ratio_thousandths == 0 {
            return Err(Problem::Budget("the token ratio of gRPC throttling is above 0").into());
        }
        Ok(Self {
            tokens: Tokens::full(u64::from(max_tokens) * TOKEN),
            deposit: u64::from(ratio_thousandths),
        })
    }

    /// The balance, in thousandths of a token.
    #[must_use]
    pub fn millitokens(&self) -> u64 {
        self.tokens.balance()
    }
}

impl Budget for GrpcThrottle {
    fn deposit(&self, _uri: &Uri) {
        self.tokens.add(self.deposit);
    }

    fn withdraw(&self, _uri: &Uri, _cost: Cost, _now: Instant) -> bool {
        self.tokens.balance() > self.tokens.capacity() / 2
    }

    fn refund(&self, _uri: &Uri, _cost: Cost) {
        // Here only a failure costs a token, and not a retry.
    }

    fn failure(&self, _uri: &Uri, _attempt: u32) {
        self.tokens.lose(TOKEN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_end_at_half_of_the_tokens() {
        let budget = GrpcThrottle::new(10, 500).unwrap();
        let uri = Uri::default();
        let allowed = || budget.withdraw(&uri, Cost::Retry, Instant::now());
        (0..4).for_each(|_| budget.failure(&uri, 1));
        assert!(allowed());
        budget.failure(&uri, 1);
        assert!(!allowed(), "5 of 10 is not more than half");
        budget.deposit(&uri);
        assert!(allowed());
    }

    #[test]
    fn tokens_do_not_fall_below_none() {
        let budget = GrpcThrottle::new(1, 1).unwrap();
        (0..5).for_each(|_| budget.failure(&Uri::default(), 1));
        assert_eq!(budget.millitokens(), 0);
        budget.deposit(&Uri::default());
        assert_eq!(budget.millitokens(), 1);
    }

    #[test]
    fn sizes_out_of_range_are_refused() {
        for (tokens, ratio) in [(0, 100), (1_001, 100), (10, 0)] {
            assert!(GrpcThrottle::new(tokens, ratio).is_err());
        }
    }
}
