use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http::Uri;
use tokio::time::Instant;

use super::{Budget, Cost};
use crate::error::{BuildError, Problem};

/// Finagle's `RetryBudget`, one for all origins: a share of the calls of the last seconds, and a
/// reserve.
///
/// Every call deposits, whether it succeeds or not. Deposits and withdrawals expire after the time
/// to live. Finagle's default is a time to live of 10 s, 10 retries a second in reserve, and 20 %.
/// Each client has its own reserve: the reserves of a hundred clients may be enough to keep a
/// service overloaded. Set it to 0 for a large fleet.
///
/// A call that succeeds reads the clock and takes a lock, which no other budget here does.
#[derive(Debug)]
pub struct FinagleBudget {
    deposit: i64,
    reserve: i64,
    window: Mutex<Window>,
}

impl FinagleBudget {
    // What a retry costs if a call that deposits one hundredth of a percent counts one.
    const PRICE: i64 = 10_000;
    const LONGEST: Duration = Duration::from_secs(60);
    const MAX_BASIS_POINTS: u32 = 10_000_000;

    /// A budget with a reserve of retries per second, and a share of the calls in hundredths of a
    /// percent: 2000 for 20 %.
    ///
    /// # Errors
    ///
    /// If the time to live is not from 1 to 60 seconds, as in Finagle, or if the share is more
    /// than a thousand retries for each call.
    pub fn new(
        time_to_live: Duration,
        reserve_per_second: u32,
        basis_points: u32,
    ) -> Result<Self, BuildError> {
        if !(Duration::from_secs(1)..=Self::LONGEST).contains(&time_to_live) {
            let range = "the time to live of a Finagle budget is from 1 to 60 seconds";
            return Err(Problem::Budget(range).into());
        }
        if basis_points > Self::MAX_BASIS_POINTS {
            let range = "a Finagle budget grants at most 1000 retries for a call";
            return Err(Problem::Budget(range).into());
        }
        let millis = i64::try_from(time_to_live.as_millis()).unwrap_or(i64::MAX);
        Ok(Self {
            deposit: i64::from(basis_points),
            reserve: i64::from(reserve_per_second)
                .saturating_mul(Self::PRICE)
                .saturating_mul(millis)
                / 1_000,
            window: Mutex::new(Window::new(time_to_live)),
        })
    }

    /// How many retries could be made at once now.
    #[must_use]
    pub fn balance(&self) -> u64 {
        let balance = self
            .window()
            .sum(Instant::now())
            .saturating_add(self.reserve);
        u64::try_from(balance / Self::PRICE).unwrap_or_default()
    }

    fn call(&self) {
        if self.deposit > 0 {
            self.window().add(self.deposit, Instant::now());
        }
    }

    // Only arithmetic runs under the lock: a panic cannot leave a balance half changed.
    fn window(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Budget for FinagleBudget {
    fn deposit(&self, _uri: &Uri) {
        self.call();
    }

    fn withdraw(&self, _uri: &Uri, _cost: Cost, now: Instant) -> bool {
        let mut window = self.window();
        let granted = window.sum(now).saturating_add(self.reserve) >= Self::PRICE;
        if granted {
            window.add(-Self::PRICE, now);
        }
        granted
    }

    fn refund(&self, _uri: &Uri, _cost: Cost) {
        self.window().add(Self::PRICE, Instant::now());
    }

    fn failure(&self, _uri: &Uri, attempt: u32) {
        if attempt == 1 {
            self.call();
        }
    }

    fn deposit_after_retry(&self, _uri: &Uri, _last: Cost) {
        // The call has deposited at its first failure.
    }
}

/// A sum over the last seconds, in ten slices as Finagle has it.
#[derive(Debug)]
struct Window {
    slices: [i64; Self::SLICES],
    current: usize,
    /// When the current slice ends.
    until: Instant,
    width: Duration,
}

impl Window {
    const SLICES: usize = 10;

    fn new(length: Duration) -> Self {
        let width = length / 10;
        Self {
            slices: [0; Self::SLICES],
            current: 0,
            until: Instant::now() + width,
            width,
        }
    }

    fn add(&mut self, amount: i64, now: Instant) {
        self.advance(now);
        if let Some(slice) = self.slices.get_mut(self.current) {
            *slice = slice.saturating_add(amount);
        }
    }

    fn sum(&mut self, now: Instant) -> i64 {
        self.advance(now);
        self.slices
            .iter()
            .fold(0, |sum, s| i64::saturating_add(sum, *s))
    }

    fn advance(&mut self, now: Instant) {
        let Some(late) = now.checked_duration_since(self.until) else {
            return;
        };
        let passed = late.as_nanos() / self.width.as_nanos() + 1;
        for _ in 0..passed.min(10) {
            self.current = (self.current + 1) % Self::SLICES;
            if let Some(slice) = self.slices.get_mut(self.current) {
                *slice = 0;
            }
        }
        let whole = u32::try_from(passed).unwrap_or(u32::MAX);
        self.until = self
            .until
            .checked_add(self.width.saturating_mul(whole))
            .unwrap_or(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN: Duration = Duration::from_secs(10);

    fn granted(budget: &FinagleBudget, now: Instant) -> usize {
        (0..1_000)
            .take_while(|_| budget.withdraw(&Uri::default(), Cost::Retry, now))
            .count()
    }

    #[tokio::test(start_paused = true)]
    async fn a_reserve_comes_back_when_what_was_taken_is_forgotten() {
        let budget = FinagleBudget::new(TEN, 2, 0).unwrap();
        assert_eq!(granted(&budget, Instant::now()), 20);
        tokio::time::advance(Duration::from_secs(8)).await;
        assert_eq!(granted(&budget, Instant::now()), 0);
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(granted(&budget, Instant::now()), 20);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_taken_counts_for_exactly_the_time_to_live() {
        let budget = FinagleBudget::new(TEN, 1, 0).unwrap();
        assert_eq!(granted(&budget, Instant::now()), 10);
        tokio::time::advance(Duration::from_millis(9_999)).await;
        assert_eq!(budget.balance(), 0);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(budget.balance(), 10);
    }

    #[test]
    fn a_refund_restores_the_balance() {
        let budget = FinagleBudget::new(TEN, 1, 0).unwrap();
        assert_eq!(granted(&budget, Instant::now()), 10);
        budget.refund(&Uri::default(), Cost::Retry);
        assert_eq!(budget.balance(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn deposits_are_forgotten_after_the_time_to_live() {
        let budget = FinagleBudget::new(TEN, 0, 2_000).unwrap();
        (0..50).for_each(|_| budget.deposit(&Uri::default()));
        assert_eq!(budget.balance(), 10);
        tokio::time::advance(Duration::from_secs(11)).await;
        assert_eq!(budget.balance(), 0);
        tokio::time::advance(Duration::from_secs(1_000_000)).await;
        assert_eq!(granted(&budget, Instant::now()), 0);
    }

    #[test]
    fn a_call_deposits_once_however_often_it_is_tried() {
        let budget = FinagleBudget::new(TEN, 0, 10_000).unwrap();
        let uri = Uri::default();
        budget.failure(&uri, 1);
        assert!(budget.withdraw(&uri, Cost::Retry, Instant::now()));
        budget.failure(&uri, 2);
        budget.deposit_after_retry(&uri, Cost::Retry);
        assert_eq!(budget.balance(), 0);
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        for ttl in [0, 999, 60_001] {
            assert!(FinagleBudget::new(Duration::from_millis(ttl), 10, 2_000).is_err());
        }
        assert!(FinagleBudget::new(TEN, 10, 10_000_001).is_err());
    }
}
