//! Budgets: how many retries all calls together may make.
//!
//! ```
//! use retry_layer::{RetryPolicy, budget::FixedBudget};
//!
//! // Ten retries at once; afterwards one for every ten calls that succeed.
//! let policy = RetryPolicy::builder().budget(FixedBudget::new(10, 10)?).build()?;
//! # Ok::<(), retry_layer::BuildError>(())
//! ```
//!
//! Backoff spreads retries over time, but each failed call still adds some. For an overloaded
//! service they are more load on top of the load under which it fails, and it may never recover. A
//! budget ties the retries to the successes: while calls succeed, nearly every failure may be
//! retried; when most of them fail, hardly any.
//!
//! A retry takes its token before its wait, so that calls which wait at the same time cannot overdraw
//! the budget. The token is given back if the call is dropped before the retry was sent.
//!
//! A request that was provably not processed, or that met a connection which its peer had closed,
//! is sent again without counting as an attempt: a transparent retry. The first one of a call is
//! free; each further one is paid for like a retry, and if the budget has nothing left, the call
//! ends with [`BudgetExhausted`](crate::StopReason::BudgetExhausted). So a server that refuses all
//! requests gets at most two for each call once the budget is empty, by whatever means it refuses.
//!
//! A call that may be sent only once, by its policy or by [`NoRetry`](crate::NoRetry), neither takes
//! from a budget nor adds to it.
//!
//! A [hedge](crate::hedge) takes a token as a retry does, and is refused while less than half of them are
//! left.
//!
//! # Which one
//!
//! | budget | retries are bound by | kept for | |
//! |---|---|---|---|
//! | [`SuccessBudget`] | successes: 0.2 for each, up to a second's worth | each origin, or all | the default |
//! | [`FixedBudget`] | successes, up to a fixed number | all | for a known load |
//! | [`GrpcThrottle`] | failures: none while half of the tokens are gone | all | gRFC A6 |
//! | [`AwsBudget`] | successes, up to 500 | all | the AWS SDKs 2.0 and 2.1 |
//! | [`FinagleBudget`] | calls of the last seconds, and a reserve | all | Finagle, Linkerd |
//! | [`ConcurrencyShare`] | calls under way | all | Envoy |
//! | `TowerBudget` | what a budget of tower says | all | feature `tower` |
//! | [`Unlimited`] | nothing | | for tests |
//!
//! # How this differs from `tower::retry::budget`
//!
//! `TpsBudget` grants a number of retries per second even if no call succeeds, in a fleet of a
//! hundred clients a hundred times that number, and it reads the clock with every success. The
//! budgets here grow by successes alone, up to a slow trickle.

mod aws;
mod concurrency;
mod finagle;
mod fixed;
mod grpc;
#[cfg(all(test, retry_loom))]
mod loom;
mod success;
#[cfg(test)]
mod tests;
mod tokens;
#[cfg(feature = "tower")]
mod tower;
mod unlimited;

use std::{fmt, sync::Arc};

use http::Uri;
use tokio::time::Instant;

pub(crate) use self::success::{Bucket, SuccessCounts};
#[cfg(feature = "tower")]
pub use self::tower::TowerBudget;
pub use self::{
    aws::AwsBudget, concurrency::ConcurrencyShare, finagle::FinagleBudget, fixed::FixedBudget,
    grpc::GrpcThrottle, success::SuccessBudget, unlimited::Unlimited,
};

/// A bound on the retries of many calls together.
///
/// `uri` is that of the request when it enters the layer. A budget per origin uses its scheme and
/// authority.
pub trait Budget: fmt::Debug + Send + Sync + 'static {
    /// A call got a response that is final and a
    /// [success](crate::Classifier::is_success). Runs on the path of every successful call.
    fn deposit(&self, uri: &Uri);

    /// Takes the cost of a retry or a hedge, or takes nothing and returns `false`. A
    /// [hedge](Cost::Hedge) is to be refused while less than half of what the budget holds is left.
    fn withdraw(&self, uri: &Uri, cost: Cost, now: Instant) -> bool;

    /// Gives the cost back of a retry that was never sent, or that [continued a
    /// body](crate::resume) and brought bytes of it.
    fn refund(&self, uri: &Uri, cost: Cost);

    /// Called in place of [`deposit`](Self::deposit) for a call that was retried; `last` is the
    /// cost of its last retry. Default: calls `deposit`.
    fn deposit_after_retry(&self, uri: &Uri, last: Cost) {
        let _ = last;
        self.deposit(uri);
    }

    /// An attempt failed in a way that may be retried, whether it is retried or not. The attempts
    /// are counted from 1. Not called for the attempt before the first transparent retry of a call.
    /// Does nothing unless implemented.
    fn failure(&self, uri: &Uri, attempt: u32) {
        let _ = (uri, attempt);
    }

    /// The attempt of a retry that was paid for and sent is over, or was dropped. Does nothing
    /// unless implemented.
    fn settle(&self, uri: &Uri, cost: Cost) {
        let _ = (uri, cost);
    }

    /// Whether [`enter`](Self::enter) and [`leave`](Self::leave) have to be called for each call.
    /// Called once, when the policy is built; `false` unless implemented.
    fn counts_calls(&self) -> bool {
        false
    }

    /// Whether it ever refuses a retry: what a check of the settings asks. `true` unless implemented.
    fn is_bounded(&self) -> bool {
        true
    }

    /// A call begins that may take several attempts.
    fn enter(&self) {}

    /// A call is over, or was dropped.
    fn leave(&self) {}
}

impl<T> Budget for Arc<T>
where
    T: Budget + ?Sized,
{
    fn deposit(&self, uri: &Uri) {
        (**self).deposit(uri);
    }

    fn withdraw(&self, uri: &Uri, cost: Cost, now: Instant) -> bool {
        (**self).withdraw(uri, cost, now)
    }

    fn refund(&self, uri: &Uri, cost: Cost) {
        (**self).refund(uri, cost);
    }

    fn deposit_after_retry(&self, uri: &Uri, last: Cost) {
        (**self).deposit_after_retry(uri, last);
    }

    fn failure(&self, uri: &Uri, attempt: u32) {
        (**self).failure(uri, attempt);
    }

    fn settle(&self, uri: &Uri, cost: Cost) {
        (**self).settle(uri, cost);
    }

    fn counts_calls(&self) -> bool {
        (**self).counts_calls()
    }

    fn is_bounded(&self) -> bool {
        (**self).is_bounded()
    }

    fn enter(&self) {
        (**self).enter();
    }

    fn leave(&self) {
        (**self).leave();
    }
}

/// What a retry costs.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Cost {
    /// One token.
    Retry,
    /// Half a token: the server says that it is overloaded, so its refusal was cheap, and the wait
    /// is longer.
    Throttled,
    /// One token, for an attempt that [ran out of time](crate::transport::is_timeout): a variant of
    /// its own, for budgets that take more for it.
    TimedOut,
    /// One token, for a [hedge](crate::hedge): a second attempt beside the first, before that has failed.
    /// A budget refuses it while less than half of its tokens are left, so that the other half is for
    /// retries, which follow a failure.
    Hedge,
}

impl Cost {
    /// The cost in thousandths of a token.
    #[must_use]
    pub const fn millitokens(self) -> u64 {
        match self {
            Self::Retry | Self::TimedOut | Self::Hedge => TOKEN,
            Self::Throttled => TOKEN / 2,
        }
    }
}

/// One token, in the unit that balances are kept in: whole numbers, so that ten tenths are one.
const TOKEN: u64 = 1_000;

/// Millitokens for each success, at one percent.
const PERCENT: u64 = TOKEN / 100;

/// The most that one success may earn, in percent of a retry.
const MAX_PERCENT: u16 = 1_000;

/// The token of a retry. It is given back if this is dropped before the retry was sent; afterwards the
/// drop reports that the retry has ended.
#[must_use = "dropped, it gives the token back"]
pub(crate) struct Withdrawal {
    budget: Arc<dyn Budget>,
    uri: Uri,
    cost: Cost,
    stage: Stage,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    Waiting,
    Sent,
    /// It resumed a body and read more than the token is worth.
    PaidOff,
}

impl Withdrawal {
    pub(crate) fn take(
        budget: &Arc<dyn Budget>,
        uri: &Uri,
        cost: Cost,
        now: Instant,
    ) -> Option<Self> {
        budget.withdraw(uri, cost, now).then(|| Self {
            budget: Arc::clone(budget),
            uri: uri.clone(),
            cost,
            stage: Stage::Waiting,
        })
    }

    /// The retry was sent. Keep this until its attempt has ended.
    pub(crate) fn spend(&mut self) {
        self.stage = Stage::Sent;
    }

    /// Gives the token back, because the retry brought bytes of a body that had broken.
    pub(crate) fn pay_off(mut self) {
        self.stage = Stage::PaidOff;
    }
}

impl Drop for Withdrawal {
    fn drop(&mut self) {
        match self.stage {
            Stage::Sent => self.budget.settle(&self.uri, self.cost),
            Stage::PaidOff => self.budget.refund(&self.uri, self.cost),
            Stage::Waiting => {
                self.budget.refund(&self.uri, self.cost);
                let reason = crate::StopReason::Cancelled.as_str();
                tracing::debug!(
                    host = self.uri.host(),
                    reason,
                    "a retry was given up before it was sent"
                );
            }
        }
    }
}
