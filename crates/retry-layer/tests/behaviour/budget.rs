//! Every budget against an exact model of itself, over random calls of many clones.

use std::{sync::Arc, time::Duration};

use http::Uri;
use proptest::prelude::*;
use retry_layer::budget::{
    AwsBudget, Budget, ConcurrencyShare, Cost, FinagleBudget, FixedBudget, GrpcThrottle,
    SuccessBudget,
};
use tokio::time::Instant;

/// What happens to a budget.
#[derive(Clone, Copy, Debug)]
enum Op {
    Succeed,
    SucceedAfterRetry(Cost),
    Withdraw(Cost),
    /// Gives back the oldest retry that was granted and not sent.
    Refund,
    Fail,
    /// Milliseconds pass.
    Pass(u64),
}

fn cost() -> impl Strategy<Value = Cost> {
    prop_oneof![
        Just(Cost::Retry),
        Just(Cost::Throttled),
        Just(Cost::TimedOut)
    ]
}

fn ops() -> impl Strategy<Value = Vec<(usize, Op)>> {
    let op = prop_oneof![
        4 => Just(Op::Succeed),
        1 => cost().prop_map(Op::SucceedAfterRetry),
        6 => cost().prop_map(Op::Withdraw),
        2 => Just(Op::Refund),
        2 => Just(Op::Fail),
        1 => (0_u64..20_000).prop_map(Op::Pass),
    ];
    prop::collection::vec((0_usize..CLONES, op), 0..200)
}

const CLONES: usize = 3;
const CASES: u32 = 64;

/// Does the same with a budget, by one of its clones after the other, and with its model; each
/// must grant what the other grants.
fn compare<M: Model>(budget: impl Budget, mut model: M, ops: &[(usize, Op)]) {
    let uri = Uri::from_static("http://peer/");
    let budget = Arc::new(budget);
    let clones = [(); CLONES].map(|()| Arc::clone(&budget));
    let mut granted = std::collections::VecDeque::new();
    let start = Instant::now();
    let mut now = Duration::ZERO;
    for (clone, op) in ops {
        let budget = clones.get(*clone).unwrap();
        match *op {
            Op::Succeed => {
                budget.deposit(&uri);
                model.deposit();
            }
            Op::SucceedAfterRetry(last) => {
                budget.deposit_after_retry(&uri, last);
                model.deposit_after_retry(last);
            }
            Op::Withdraw(cost) => {
                let allowed = budget.withdraw(&uri, cost, start + now);
                assert_eq!(allowed, model.withdraw(cost, now), "{op:?} at {now:?}");
                if allowed {
                    granted.push_back(cost);
                }
            }
            Op::Refund => {
                if let Some(cost) = granted.pop_front() {
                    budget.refund(&uri, cost);
                    model.refund(cost);
                }
            }
            Op::Fail => {
                budget.failure(&uri, 1);
                model.fail();
            }
            Op::Pass(millis) => now += Duration::from_millis(millis),
        }
    }
}

/// A budget as its documentation has it, in numbers without bounds.
trait Model {
    fn deposit(&mut self);
    fn withdraw(&mut self, cost: Cost, now: Duration) -> bool;
    fn refund(&mut self, cost: Cost);
    fn deposit_after_retry(&mut self, _last: Cost) {
        self.deposit();
    }
    fn fail(&mut self) {}
}

/// Thousandths of a token.
fn millitokens(cost: Cost) -> i128 {
    match cost {
        Cost::Throttled => 500,
        _ => 1_000,
    }
}

struct Fixed {
    balance: i128,
    capacity: i128,
    deposit: i128,
}

impl Fixed {
    fn add(&mut self, amount: i128) {
        self.balance = (self.balance + amount).min(self.capacity);
    }

    fn take(&mut self, amount: i128) -> bool {
        let enough = self.balance >= amount;
        self.balance -= if enough { amount } else { 0 };
        enough
    }
}

impl Model for Fixed {
    fn deposit(&mut self) {
        self.add(self.deposit);
    }

    fn withdraw(&mut self, cost: Cost, _: Duration) -> bool {
        self.take(millitokens(cost))
    }

    fn refund(&mut self, cost: Cost) {
        self.add(millitokens(cost));
    }
}

struct Grpc(Fixed);

impl Model for Grpc {
    fn deposit(&mut self) {
        self.0.deposit();
    }

    fn withdraw(&mut self, _: Cost, _: Duration) -> bool {
        self.0.balance * 2 > self.0.capacity
    }

    fn refund(&mut self, _: Cost) {}

    fn fail(&mut self) {
        self.0.balance = (self.0.balance - 1_000).max(0);
    }
}

struct Aws {
    bucket: Fixed,
    /// Of a retry, of a throttled one, of one after a timeout.
    prices: [i128; 3],
}

impl Aws {
    fn price(&self, cost: Cost) -> i128 {
        let [retry, throttled, timed_out] = self.prices;
        match cost {
            Cost::Throttled => throttled,
            Cost::TimedOut => timed_out,
            _ => retry,
        }
    }
}

impl Model for Aws {
    fn deposit(&mut self) {
        self.bucket.add(1);
    }

    fn deposit_after_retry(&mut self, last: Cost) {
        self.bucket.add(self.price(last));
    }

    fn withdraw(&mut self, cost: Cost, _: Duration) -> bool {
        self.bucket.take(self.price(cost))
    }

    fn refund(&mut self, cost: Cost) {
        self.bucket.add(self.price(cost));
    }
}

/// Keeps every success with its origin's history, and works everything out anew.
#[derive(Default)]
struct Success {
    successes: u64,
    all: Rate,
    bucket: Option<Bucket>,
}

#[derive(Default)]
struct Rate {
    since: Duration,
    count: u64,
    known: Option<u64>,
}

impl Rate {
    /// What happened in a second: over the last ten or more if that much has passed, else what was
    /// known before, else what has happened so far.
    fn at(&mut self, count: u64, now: Duration) -> u64 {
        let millis = u64::try_from(now.saturating_sub(self.since).as_millis()).unwrap();
        let rate = (count - self.count) * 1_000 / millis.max(1_000);
        if millis < 10_000 {
            return self.known.unwrap_or(rate);
        }
        *self = Self {
            since: now,
            count,
            known: Some(rate),
        };
        rate
    }
}

struct Bucket {
    tokens: Fixed,
    successes: u64,
    rate: Rate,
    trickled: Duration,
}

impl Model for Success {
    fn deposit(&mut self) {
        self.successes += 1;
        if let Some(bucket) = &mut self.bucket {
            bucket.successes += 1;
            bucket.tokens.add(200);
            if bucket.tokens.balance == bucket.tokens.capacity {
                self.bucket = None;
            }
        }
    }

    fn withdraw(&mut self, cost: Cost, now: Duration) -> bool {
        let capacity = |rate: u64| i128::from(rate.max(5)) * 1_000;
        let all = self.all.at(self.successes, now);
        let bucket = self.bucket.get_or_insert_with(|| Bucket {
            tokens: Fixed {
                balance: capacity(all),
                capacity: capacity(all),
                deposit: 200,
            },
            successes: 0,
            rate: Rate {
                since: now,
                count: 0,
                known: Some(all),
            },
            trickled: now,
        });
        bucket.tokens.capacity = capacity(bucket.rate.at(bucket.successes, now));
        bucket.tokens.balance = bucket.tokens.balance.min(bucket.tokens.capacity);
        // One thousandth of a token in 30 ms, up to two tokens.
        let drops = now.saturating_sub(bucket.trickled).as_millis() / 30;
        bucket.trickled += Duration::from_millis(30 * u64::try_from(drops).unwrap());
        if bucket.tokens.balance < 2_000 {
            let drops = i128::try_from(drops).unwrap();
            bucket.tokens.balance = (bucket.tokens.balance + drops).min(2_000);
        }
        bucket.tokens.take(millitokens(cost))
    }

    fn refund(&mut self, cost: Cost) {
        if let Some(bucket) = &mut self.bucket {
            bucket.tokens.add(millitokens(cost));
        }
    }
}

/// A reserve and a share of the calls, as long as nothing is forgotten.
struct Finagle {
    balance: i128,
    share: i128,
}

impl Model for Finagle {
    fn deposit(&mut self) {
        self.balance += self.share;
    }

    fn deposit_after_retry(&mut self, _: Cost) {}

    fn withdraw(&mut self, _: Cost, _: Duration) -> bool {
        let enough = self.balance >= 10_000;
        self.balance -= if enough { 10_000 } else { 0 };
        enough
    }

    fn refund(&mut self, _: Cost) {
        self.balance += 10_000;
    }

    fn fail(&mut self) {
        self.deposit();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    #[test]
    fn a_fixed_budget_is_exact(tokens in 1_u32..20, percent in 1_u16..1_000, ops in ops()) {
        let capacity = i128::from(tokens) * 1_000;
        let model = Fixed { balance: capacity, capacity, deposit: i128::from(percent) * 10 };
        compare(FixedBudget::new(tokens, percent).unwrap(), model, &ops);
    }

    #[test]
    fn grpc_throttling_is_exact(tokens in 1_u16..20, ratio in 1_u32..3_000, ops in ops()) {
        let capacity = i128::from(tokens) * 1_000;
        let model = Grpc(Fixed { balance: capacity, capacity, deposit: i128::from(ratio) });
        compare(GrpcThrottle::new(tokens, ratio).unwrap(), model, &ops);
    }

    #[test]
    fn an_aws_budget_is_exact(capacity in 1_u32..200, newer in any::<bool>(), ops in ops()) {
        let (budget, prices) = if newer {
            (AwsBudget::v2_1(), [14, 5, 14])
        } else {
            (AwsBudget::v2_0(), [5, 5, 10])
        };
        let full = i128::from(capacity);
        let bucket = Fixed { balance: full, capacity: full, deposit: 1 };
        compare(budget.with_capacity(capacity).unwrap(), Aws { bucket, prices }, &ops);
    }

    #[test]
    fn a_finagle_budget_is_exact(reserve in 0_u32..3, share in 0_u32..20_000, ops in ops()) {
        // Its clock is tokio's, which stands still here but for the passing of the test itself.
        let ops: Vec<_> = ops.into_iter().filter(|(_, op)| !matches!(op, Op::Pass(_))).collect();
        let balance = i128::from(reserve) * 60 * 10_000;
        let model = Finagle { balance, share: i128::from(share) };
        let budget = FinagleBudget::new(Duration::from_secs(60), reserve, share).unwrap();
        compare(budget, model, &ops);
    }

    #[test]
    fn a_share_of_the_calls_is_never_exceeded(
        percent in 0_u8..=100, least in 1_u32..5, steps in prop::collection::vec(0_u8..4, 0..300),
    ) {
        let share = ConcurrencyShare::new(percent, least).unwrap();
        let uri = Uri::default();
        let (mut calls, mut retries) = (0_u64, 0_u64);
        for step in steps {
            match step {
                0 => {
                    share.enter();
                    calls += 1;
                }
                1 if calls > 0 => {
                    share.leave();
                    calls -= 1;
                }
                2 if retries > 0 => {
                    share.settle(&uri, Cost::Retry);
                    retries -= 1;
                }
                _ => {
                    let limit = (calls * u64::from(percent) / 100).max(u64::from(least));
                    let granted = share.withdraw(&uri, Cost::Retry, Instant::now());
                    prop_assert_eq!(granted, retries < limit);
                    retries += u64::from(granted);
                }
            }
            prop_assert_eq!(share.active(), retries);
        }
    }
}

/// The budget notes when it was made: only a paused clock makes that the start of the model too.
#[test]
fn the_success_budget_is_exact() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let _guard = runtime.enter();
    let config = ProptestConfig::with_cases(CASES);
    proptest!(config, |(ops in ops())| compare(SuccessBudget::default(), Success::default(), &ops));
}

#[test]
fn threads_do_not_lose_or_make_tokens() {
    const ROUNDS: u64 = 20_000;
    let budget = Arc::new(FixedBudget::new(1_000, 70).unwrap());
    let uri = Uri::from_static("http://peer/");
    while budget.withdraw(&uri, Cost::Retry, Instant::now()) {}
    let threads: Vec<_> = (0..4)
        .map(|n| {
            let (budget, uri) = (Arc::clone(&budget), uri.clone());
            std::thread::spawn(move || {
                let mut kept = 0_u64;
                for round in 0..ROUNDS {
                    if round % 100 == n {
                        budget.deposit(&uri);
                    }
                    if budget.withdraw(&uri, Cost::Retry, Instant::now()) {
                        if round % 2 == 0 {
                            budget.refund(&uri, Cost::Retry);
                        } else {
                            kept += 1_000;
                        }
                    }
                }
                kept
            })
        })
        .collect();
    let kept: u64 = threads
        .into_iter()
        .map(|thread| thread.join().unwrap())
        .sum();
    assert_eq!(kept + budget.millitokens(), 4 * ROUNDS / 100 * 700);
}
