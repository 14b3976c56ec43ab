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
//! Backoff spreads retries over time, but each failed call still adds its own. When a service is
//! overloaded, that is load on top of the load that it fails under, and it may never recover. A
//! budget ties the retries to the successes: while calls succeed, nearly every failure may be
//! retried; when most of them fail, hardly any.
//!
//! A retry is paid for before its wait, so that calls which wait together cannot overdraw it
//! together, and is paid back if the call is dropped before the retry was sent. Free resends cost
//! nothing. A call that may be sent only once, by its policy or by [`NoRetry`](crate::NoRetry),
//! neither takes from a budget nor adds to it.
//!
//! # How this differs from `tower::retry::budget`
//!
//! `TpsBudget` grants a number of retries per second whether anything succeeds or not, which in a
//! fleet of a hundred clients is a hundred times that number, and it reads the clock with every
//! success. The budgets here grow by successes alone, up to a slow trickle.

mod fixed;
mod success;
mod unlimited;

use std::{fmt, sync::Arc};

use http::Uri;
use tokio::time::Instant;

pub use self::{fixed::FixedBudget, success::SuccessBudget, unlimited::Unlimited};

/// A bound on the retries of many calls together.
///
/// `uri` is that of the request as it entered the layer: a budget that keeps origins apart takes
/// its scheme and authority.
pub trait Budget: fmt::Debug + Send + Sync + 'static {
    /// A call got a response that is final. Runs on the path of every successful call.
    fn deposit(&self, uri: &Uri);

    /// Takes what a retry costs, or leaves everything as it is and returns `false`.
    fn withdraw(&self, uri: &Uri, cost: Cost, now: Instant) -> bool;

    /// Gives back what was taken for a retry that was never sent.
    fn refund(&self, uri: &Uri, cost: Cost);
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
}

/// What a retry costs.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Cost {
    /// One token.
    Retry,
    /// Half a token: the server says that it is overloaded, so it turned the request away cheaply,
    /// and the wait is longer.
    Throttled,
}

impl Cost {
    /// The cost in thousandths of a token.
    #[must_use]
    pub const fn millitokens(self) -> u64 {
        match self {
            Self::Retry => TOKEN,
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

/// A retry that is paid for but not sent. Dropped before it is sent, it is paid back.
#[must_use = "dropped, it gives the token back"]
pub(crate) struct Withdrawal {
    unsent: Option<(Arc<dyn Budget>, Uri, Cost)>,
}

impl Withdrawal {
    pub(crate) fn take(budget: &Arc<dyn Budget>, uri: &Uri, cost: Cost) -> Option<Self> {
        budget.withdraw(uri, cost, Instant::now()).then(|| Self {
            unsent: Some((Arc::clone(budget), uri.clone(), cost)),
        })
    }

    /// The retry is sent.
    pub(crate) fn spend(mut self) {
        self.unsent = None;
    }
}

impl Drop for Withdrawal {
    fn drop(&mut self) {
        if let Some((budget, uri, cost)) = self.unsent.take() {
            budget.refund(&uri, cost);
            let reason = crate::StopReason::Cancelled.as_str();
            tracing::debug!(
                host = uri.host(),
                reason,
                "a retry was given up before it was sent"
            );
        }
    }
}
