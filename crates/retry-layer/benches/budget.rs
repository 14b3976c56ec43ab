//! What the budgets take in time: a deposit is on the path of every successful call.
//!
//! ```text
//! cargo bench -p retry-layer --bench budget
//! ```
#![allow(clippy::unwrap_used, reason = "a benchmark fails by its panic")]
#![allow(missing_docs, reason = "criterion's macros make functions without")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use http::Uri;
use retry_layer::budget::{Budget, Cost, SuccessBudget};
use tokio::time::Instant;
use tower::retry::budget::{Budget as _, TpsBudget};

criterion_group!(benches, deposit, withdraw);
criterion_main!(benches);

fn deposit(criterion: &mut Criterion) {
    let uri = uri("http://example.com/path");
    let budget = SuccessBudget::default();
    criterion.bench_function("budget/deposit", |bench| {
        bench.iter(|| budget.deposit(black_box(&uri)));
    });

    // Retries that are not paid back: its bucket is there all the while.
    let budget = SuccessBudget::default();
    let elsewhere = self::uri("http://example.org/");
    budget.withdraw(&elsewhere, Cost::Retry, Instant::now());
    criterion.bench_function("budget/deposit while another origin fails", |bench| {
        bench.iter(|| budget.deposit(black_box(&uri)));
    });

    let budget = TpsBudget::default();
    criterion.bench_function("budget/deposit of tower's TpsBudget", |bench| {
        bench.iter(|| budget.deposit());
    });
}

fn withdraw(criterion: &mut Criterion) {
    let uri = uri("http://example.com/path");
    let budget = SuccessBudget::default();
    criterion.bench_function("budget/withdraw", |bench| {
        bench.iter(|| {
            let now = Instant::now();
            if budget.withdraw(black_box(&uri), Cost::Retry, now) {
                budget.refund(&uri, Cost::Retry);
            }
        });
    });
}

fn uri(text: &str) -> Uri {
    text.parse().unwrap()
}
