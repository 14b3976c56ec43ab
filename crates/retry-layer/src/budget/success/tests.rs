use std::{sync::atomic::Ordering, time::Duration};

use http::Uri;
use tokio::time::Instant;

use super::{
    SuccessBudget,
    bucket::Bucket,
    counts::{SuccessCounts, mark},
    window::Window,
};
use crate::budget::{Budget as _, Cost};

const PEER: &str = "http://peer/";

fn uri(text: &'static str) -> Uri {
    Uri::from_static(text)
}

fn granted(budget: &SuccessBudget, uri: &Uri, now: Instant) -> usize {
    (0..5_000)
        .take_while(|_| budget.withdraw(uri, Cost::Retry, now))
        .count()
}

fn after(start: Instant, seconds: u64) -> Instant {
    start + Duration::from_secs(seconds)
}

#[tokio::test(start_paused = true)]
async fn the_rate_is_that_of_the_last_ten_seconds_however_long_nobody_asked() {
    let uri = uri(PEER);
    let budget = SuccessBudget::default();
    let second = Duration::from_secs(1);
    let busy = async |seconds: u32| {
        for _ in 0..seconds {
            for _ in 0..1_000 {
                budget.deposit(&uri);
            }
            tokio::time::advance(second).await;
        }
    };
    tokio::time::advance(6 * 3_600 * second).await;
    busy(11).await;
    let tokens = granted(&budget, &uri, Instant::now());
    assert!((900..=1_100).contains(&tokens), "{tokens}");

    let budget = SuccessBudget::default();
    for _ in 0..3_600 {
        for _ in 0..1_000 {
            budget.deposit(&uri);
        }
        tokio::time::advance(second).await;
    }
    tokio::time::advance(3_600 * second).await;
    assert_eq!(granted(&budget, &uri, Instant::now()), 5);
}

#[tokio::test(start_paused = true)]
async fn an_origin_in_trouble_is_forgotten_when_nobody_asks_for_it_any_more() {
    let budget = SuccessBudget::default();
    assert!(budget.withdraw(&uri("http://dead/"), Cost::Retry, Instant::now()));
    tokio::time::advance(SuccessCounts::IDLE).await;
    for _ in 0..Window::ROLLED_EVERY {
        budget.deposit(&uri(PEER));
    }
    assert_eq!(budget.counts().buckets(), 0);
}

#[test]
fn the_marks_are_those_of_the_buckets_that_are_left() {
    let budget = SuccessBudget::default();
    let start = Instant::now();
    let marks = || {
        let mut left = 0;
        budget.ledger.change_all(|hash, partition| {
            left |= partition.bucket.as_ref().map_or(0, |_| mark(hash));
        });
        if budget.counts().common().shared.is_some() {
            left = u64::MAX;
        }
        assert_eq!(budget.counts().marks.load(Ordering::Relaxed), left);
        left
    };
    let uris: Vec<Uri> = (0..32)
        .map(|host| format!("http://host-{host}/").parse().unwrap())
        .collect();
    for uri in &uris {
        assert!(budget.withdraw(uri, Cost::Retry, start));
        marks();
    }
    for uri in &uris[1..] {
        (0..5).for_each(|_| budget.deposit(uri));
        marks();
    }
    assert_eq!(marks().count_ones(), 1);
    (0..5).for_each(|_| budget.deposit(&uris[0]));
    assert_eq!(marks(), 0);
    // Requests without a host share the bucket of the origins beyond the limit.
    budget.withdraw(&uri("/relative"), Cost::Retry, start);
    assert_eq!(marks(), u64::MAX);
    (0..5).for_each(|_| budget.deposit(&uri("/elsewhere")));
    assert_eq!(marks(), 0);
}

#[test]
fn no_success_is_missed_while_the_buckets_of_others_come_and_go() {
    let budget = SuccessBudget::default();
    let now = Instant::now();
    assert_eq!(granted(&budget, &uri(PEER), now), 5);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let budget = &budget;
            scope.spawn(move || {
                let other: Uri = format!("http://other-{thread}/").parse().unwrap();
                for _ in 0..6 {
                    assert!(budget.withdraw(&other, Cost::Retry, now));
                    budget.deposit(&uri(PEER));
                    (0..5).for_each(|_| budget.deposit(&other));
                }
            });
        }
    });
    // 24 successes are 4.8 tokens.
    assert_eq!(granted(&budget, &uri(PEER), now), 4);
    assert_eq!(budget.counts().buckets(), 1);
}

#[tokio::test(start_paused = true)]
async fn made_up_hosts_share_one_bucket_beyond_a_bound() {
    let budget = SuccessBudget::default();
    let now = Instant::now();
    let mut granted = 0;
    for host in 0..20_000 {
        let uri: Uri = format!("http://host-{host}/").parse().unwrap();
        granted += usize::from(budget.withdraw(&uri, Cost::Retry, now));
    }
    // The ledger has room for so many origins, and all others share one.
    let most = 4_096;
    assert_eq!(budget.counts().buckets(), most + 1);
    assert_eq!(granted, most + 5);
}

#[test]
fn a_quiet_client_starts_with_five_tokens() {
    let budget = SuccessBudget::default();
    assert_eq!(granted(&budget, &uri(PEER), Instant::now()), 5);
}

#[test]
fn a_busy_client_starts_with_a_second_of_its_successes() {
    let budget = SuccessBudget::default();
    let start = Instant::now();
    (0..20_000).for_each(|_| budget.deposit(&uri(PEER)));
    let tokens = granted(&budget, &uri(PEER), after(start, 20));
    assert!((999..=1_000).contains(&tokens), "{tokens}");
}

#[test]
fn a_fifth_of_the_successes_may_be_retried() {
    let budget = SuccessBudget::default();
    let now = Instant::now();
    granted(&budget, &uri(PEER), now);
    (0..20).for_each(|_| budget.deposit(&uri(PEER)));
    assert_eq!(granted(&budget, &uri(PEER), now), 4);
}

#[test]
fn a_bucket_vanishes_when_it_is_full() {
    let budget = SuccessBudget::default();
    assert!(budget.withdraw(&uri(PEER), Cost::Retry, Instant::now()));
    assert_eq!(budget.counts().buckets(), 1);
    (0..5).for_each(|_| budget.deposit(&uri(PEER)));
    assert_eq!(budget.counts().buckets(), 0);
}

#[test]
fn origins_do_not_share_a_bucket() {
    let budget = SuccessBudget::default();
    let now = Instant::now();
    assert_eq!(granted(&budget, &uri(PEER), now), 5);
    assert_eq!(granted(&budget, &uri("http://PEER/elsewhere"), now), 0);
    assert_eq!(granted(&budget, &uri("http://peer:81/"), now), 5);
}

#[test]
fn a_shared_budget_has_one_bucket_for_all_origins() {
    let budget = SuccessBudget::default().shared();
    let now = Instant::now();
    assert_eq!(granted(&budget, &uri(PEER), now), 5);
    assert_eq!(granted(&budget, &uri("http://other/"), now), 0);
    (0..5).for_each(|_| budget.deposit(&uri("http://third/")));
    assert_eq!(granted(&budget, &uri(PEER), now), 1);
    budget.refund(&uri("http://third/"), Cost::Retry);
    assert_eq!(granted(&budget, &uri(PEER), now), 1);
}

#[test]
fn a_token_comes_by_itself_in_thirty_seconds_and_two_at_most() {
    let budget = SuccessBudget::default();
    let start = Instant::now();
    granted(&budget, &uri(PEER), start);
    assert_eq!(granted(&budget, &uri(PEER), after(start, 29)), 0);
    assert_eq!(granted(&budget, &uri(PEER), after(start, 30)), 1);
    assert_eq!(granted(&budget, &uri(PEER), after(start, 3_600)), 2);
}

#[test]
fn the_trickle_keeps_what_is_less_than_a_drop() {
    let mut bucket = Bucket::full(0, Instant::now());
    bucket.millitokens = 0;
    let start = bucket.trickled;
    (1..=30).for_each(|ms| bucket.trickle(start + Duration::from_millis(ms)));
    assert_eq!(bucket.millitokens, 1);
}

#[tokio::test(start_paused = true)]
async fn the_clock_is_read_with_every_256th_success_only() {
    let budget = SuccessBudget::default();
    let start = budget.counts().common().window.start;
    tokio::time::advance(Window::LENGTH).await;
    (0..255).for_each(|_| budget.deposit(&uri(PEER)));
    assert_eq!(budget.counts().common().window.start, start);
    budget.deposit(&uri(PEER));
    assert_eq!(
        budget.counts().common().window.start,
        start + Window::LENGTH
    );
}

#[test]
fn a_mark_is_one_of_sixty_four_bits() {
    let marks = [0, 1, 63, 64].map(mark);
    assert_eq!(marks, [1, 1 << 1, 1 << 63, 1]);
}

#[test]
fn its_debug_output_counts_origins_and_names_none() {
    let budget = SuccessBudget::default();
    budget.withdraw(
        &uri("http://user:secret@peer/"),
        Cost::Retry,
        Instant::now(),
    );
    let shown = format!("{budget:?}");
    assert!(shown.contains("deposit_millitokens: 200"), "{shown}");
    assert!(shown.contains("troubled_origins: 1"), "{shown}");
    assert!(!shown.contains("peer"), "{shown}");
}

#[test]
fn a_refund_restores_the_balance() {
    let budget = SuccessBudget::default();
    let now = Instant::now();
    assert_eq!(granted(&budget, &uri(PEER), now), 5);
    budget.refund(&uri(PEER), Cost::Throttled);
    assert!(!budget.withdraw(&uri(PEER), Cost::Retry, now));
    assert!(budget.withdraw(&uri(PEER), Cost::Throttled, now));
}

#[test]
fn origins_nobody_asks_for_are_forgotten() {
    let budget = SuccessBudget::default();
    let start = Instant::now();
    for n in 0..128 {
        let uri: Uri = format!("http://host-{n}/").parse().unwrap();
        budget.withdraw(&uri, Cost::Retry, start);
    }
    budget.withdraw(&uri(PEER), Cost::Retry, after(start, 601));
    assert_eq!(budget.counts().buckets(), 1);
}
