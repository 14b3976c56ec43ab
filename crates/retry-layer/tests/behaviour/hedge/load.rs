//! What hedging brings, and what it costs the server.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use fastrand::Rng;
use retry_layer::{
    Attempt, Class,
    budget::{FixedBudget, Unlimited},
    hedge::Hedging,
};
use tokio::{task::JoinSet, time::sleep};

use super::{Stack, get, hedging, ms, policy, send, stack};
use crate::support::timed::{Answer, TimedPeer, after};

/// Sends so many calls, 10 ms apart, and returns how long each took, sorted.
async fn calls(stack: &Stack, count: usize) -> Vec<Duration> {
    let mut tasks = JoinSet::new();
    for _ in 0..count {
        let stack = stack.clone();
        tasks.spawn(async move { send(&stack, get()).await.took });
        sleep(ms(10)).await;
    }
    let mut took = tasks.join_all().await;
    took.sort_unstable();
    took
}

fn quantile(sorted: &[Duration], thousandths: usize) -> Duration {
    sorted[(sorted.len() * thousandths).div_ceil(1_000) - 1]
}

/// 5 to 15 ms, and one in a hundred a second: by chance, so that hedges may be slow too.
fn one_slow_in_a_hundred(number: usize) -> Answer {
    let mut random = Rng::with_seed(u64::try_from(number).unwrap().wrapping_mul(0x9E37_79B9));
    random.u64(..);
    if random.u32(..100) == 0 {
        after(1_000)
    } else {
        after(random.u64(5..15))
    }
}

#[tokio::test(start_paused = true)]
async fn the_slowest_hundredth_is_five_times_faster_at_a_twentieth_of_load() {
    const CALLS: usize = 10_000;
    let without = TimedPeer::new(one_slow_in_a_hundred);
    let plain = stack(&without, retry_layer::RetryPolicy::builder());
    let slow = calls(&plain, CALLS).await;
    let with = TimedPeer::new(one_slow_in_a_hundred);
    let hedged = stack(&with, policy(Hedging::learned()));
    let fast = calls(&hedged, CALLS).await;

    // A little above the hundredth that is slow, so that it is among the slow ones without hedges.
    let (before, now) = (quantile(&slow, 992), quantile(&fast, 992));
    assert!(before >= now * 5, "{before:?} -> {now:?}");
    assert!(quantile(&fast, 990) * 5 <= Duration::from_secs(1));
    let load = with.seen().len();
    assert_eq!(without.seen().len(), CALLS);
    assert!(
        load * 100 <= CALLS * 105,
        "{load} requests for {CALLS} calls"
    );
    println!(
        "p99.2 {before:?} -> {now:?}, p99.9 {:?} -> {:?}, load {load}",
        quantile(&slow, 999),
        quantile(&fast, 999)
    );
    assert_eq!(with.alive(), 0);
}

#[tokio::test(start_paused = true)]
async fn hedges_of_a_server_that_is_slow_for_all_stop_by_the_budget() {
    // First it is fast; then each answer takes a second.
    let is_slow = Arc::new(AtomicBool::new(false));
    let flag = is_slow.clone();
    let peer = TimedPeer::new(move |_| {
        after(if flag.load(Ordering::Relaxed) {
            1_000
        } else {
            10
        })
    });
    let stack = stack(&peer, policy(Hedging::learned()));
    calls(&stack, 1_000).await;
    let before = peer.seen().len();
    assert!(before <= 1_050, "{before}");
    is_slow.store(true, Ordering::Relaxed);
    calls(&stack, 1_000).await;
    let load = peer.seen().len() - before;
    // Half of a second's worth of successes, and a fifth of a token for each that comes.
    assert!(load <= 1_260, "{load} requests for 1000 calls");
    assert_eq!(peer.alive(), 0);
}

#[tokio::test(start_paused = true)]
async fn with_errors_the_retries_have_the_budget_and_the_hedges_stop() {
    // 5 % fail, and all take longer than the delay: hedges alone would double the load.
    let peer = TimedPeer::new(|number| after(150).status(if number % 20 == 7 { 503 } else { 200 }));
    let budget = Arc::new(FixedBudget::new(10, 20).unwrap());
    let stack = stack(&peer, policy(hedging()).budget(budget.clone()));
    calls(&stack, 2_000).await;
    let load = peer.seen().len();
    assert!(load <= 2_450, "{load} requests for 2000 calls");
    // A fifth of a token for each success, and 20 hedges or retries for each hundred of them.
    assert!(load >= 2_200, "{load}");
}

#[tokio::test(start_paused = true)]
async fn in_an_outage_hedges_stop_before_the_retries_do() {
    for failing in [after(150).status(503), after(150).error(Class::Ambiguous)] {
        let peer = TimedPeer::new(move |_| failing.clone());
        let budget = Arc::new(FixedBudget::new(10, 10).unwrap());
        let stack = stack(&peer, policy(hedging()).budget(budget.clone()));
        calls(&stack, 1_000).await;
        let seen = peer.seen();
        // Ten tokens in all, of which some cost half of one.
        assert!(seen.len() <= 1_020, "{} requests", seen.len());
        let hedges = seen
            .iter()
            .filter(|it| it.attempt.is_some_and(|it| it.hedge().is_some()));
        assert!(hedges.count() <= 6);
        assert!(budget.millitokens() < 1_000);
        assert_eq!(peer.alive(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_is_hedged_than_the_percentile_says_though_fast_hedges_win() {
    const CALLS: usize = 4_000;
    // Evenly spread over seven octaves, so that a hedge is often faster than what is left of its attempt.
    let peer = TimedPeer::new(|number| {
        let mut random = Rng::with_seed(u64::try_from(number).unwrap().wrapping_mul(0x9E37_79B9));
        random.u64(..);
        let least = 20_u64 << random.u64(..7);
        after(least + random.u64(..least))
    });
    let median = policy(Hedging::learned().percentile(50)).budget(Unlimited);
    calls(&stack(&peer, median), CALLS).await;
    let hedges = peer.seen().len() - CALLS;
    assert!(hedges * 100 <= CALLS * 52, "{hedges} hedges");
}

#[tokio::test(start_paused = true)]
async fn what_is_slow_more_often_than_the_percentile_allows_is_soon_not_hedged_any_more() {
    // One request in ten takes a second, until it is answered or fails: by the answers that are waited for,
    // which are all fast, each of them would be hedged for ever.
    for status in [200, 503] {
        let peer = TimedPeer::new(move |number| {
            if number % 10 == 3 {
                after(1_000).status(status)
            } else {
                after(20)
            }
        });
        let learned = policy(Hedging::learned()).budget(Unlimited);
        let stack = stack(&peer, learned);
        calls(&stack, 10_000).await;
        let before = hedges(&peer);
        assert!(before <= 1_000, "{before} hedges");
        calls(&stack, 2_000).await;
        let late = hedges(&peer) - before;
        assert!(late <= 20, "{before} hedges, then {late}");
    }
}

#[tokio::test(start_paused = true)]
async fn refusals_that_come_fast_do_not_make_the_delay_shorter() {
    let peer = TimedPeer::new(|number| {
        if number % 2 == 0 {
            after(1).status(503)
        } else {
            after(100)
        }
    });
    calls(
        &stack(&peer, policy(Hedging::learned()).budget(Unlimited)),
        2_000,
    )
    .await;
    assert_eq!(hedges(&peer), 0);
}

fn hedges(peer: &TimedPeer) -> usize {
    let seen = peer.seen();
    let is_hedge = |attempt: Option<Attempt>| attempt.is_some_and(|it| it.hedge().is_some());
    seen.iter().filter(|it| is_hedge(it.attempt)).count()
}
