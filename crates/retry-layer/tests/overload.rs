//! A fleet of clients and a server that loses most of its capacity for ten seconds.
//!
//! A hundred clients make eight calls a second each, at random; the server takes one request after
//! the other, a thousand in a second, also those whose caller has given up after a second; its
//! capacity falls by 70 percent for ten seconds. Without a budget the retries keep it overloaded
//! for good.
//!
//! A binary of its own, since it calculates for long: `tests/mutants/run` runs all others for each change of the code.
#![allow(clippy::unwrap_used, reason = "a test fails by its panic")]

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Empty;
use overload::{Figures, Storm, Trouble};
use retry_layer::{
    Class, Classifier, EarlierTransparentRetries, Outcome, Processed, ReplayBody, Retry,
    RetryLayer, RetryPolicy, RetryPolicyBuilder, Standard,
    breaker::{Breaker, BreakerLayer},
    budget::Unlimited,
    classifier_fn,
    health::Ledger,
    pause::{Pause, PauseLayer},
};
use tokio::time::{Instant, sleep};
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};

const CALLS_PER_SECOND: f64 = 8.0;

fn storm(builder: &RetryPolicyBuilder) -> Figures {
    Storm::default().run(|server, seed| {
        // Each client has a budget of its own, as in a fleet.
        Retry::new(server, builder.clone().seed(seed).build().unwrap())
    })
}

#[test]
fn the_default_budget_lets_an_overloaded_service_recover() {
    let figures = storm(&RetryPolicy::builder());
    let (recovered, peak) = (figures.recovery(), figures.amplification());
    println!("recovered after {recovered:?} s, peak load {peak:.2}");
    assert!(
        recovered.is_some_and(|seconds| seconds <= 24),
        "{recovered:?}"
    );
    assert!(peak <= 1.55, "{peak}");
}

fn breaker(seed: u64) -> BreakerLayer {
    let ledger = Ledger::builder().seed(seed).build().unwrap();
    BreakerLayer::new(Breaker::builder().ledger(ledger).build().unwrap())
}

fn pause(seed: u64) -> PauseLayer {
    let ledger = Ledger::builder().seed(seed).build().unwrap();
    PauseLayer::new(Pause::builder().ledger(ledger).build().unwrap())
}

fn retry(seed: u64) -> RetryLayer {
    RetryLayer::new(RetryPolicy::builder().seed(seed).build().unwrap())
}

#[test]
fn with_a_breaker_it_recovers_within_seconds() {
    let figures = Storm::default().run(|server, seed| {
        let stack = ServiceBuilder::new().layer(retry(seed));
        stack.layer(breaker(seed)).service(server)
    });
    let (recovered, peak) = (figures.recovery(), figures.amplification());
    println!("recovered after {recovered:?} s, peak load {peak:.2}");
    assert!(
        recovered.is_some_and(|seconds| seconds <= 8),
        "{recovered:?}"
    );
    assert!(peak <= 1.55, "{peak}");
}

#[test]
fn with_pauses_fewer_calls_to_a_server_that_sheds_load_are_lost() {
    let storm = Storm {
        trouble: Trouble::Shedding {
            status: StatusCode::SERVICE_UNAVAILABLE,
            percent: 30,
            limit: Duration::from_millis(500),
            retry_after: 2,
        },
        ..Storm::default()
    };
    let without = storm.run(|server, seed| retry(seed).layer(server));
    let with = storm.run(|server, seed| {
        let stack = ServiceBuilder::new().layer(retry(seed));
        stack.layer(pause(seed)).service(server)
    });
    for figures in [&without, &with] {
        println!(
            "recovered after {:?} s, peak load {:.2}, {:.3} of the calls lost",
            figures.recovery(),
            figures.amplification(),
            figures.lost()
        );
    }
    assert!(with.recovery().is_some_and(|seconds| seconds <= 10));
    assert!(with.lost() < without.lost() / 2.0);
    assert!(with.amplification() < without.amplification());
    // Half of the requests while the server is in trouble.
    let load = |figures: &Figures| -> u32 {
        let seconds = &figures.seconds[figures.trouble()];
        seconds.iter().map(|second| second.attempts).sum()
    };
    assert!(load(&with) * 2 < load(&without));
}

#[test]
fn a_blip_opens_no_circuit_and_begins_no_pause() {
    for seed in 0..10 {
        let blip = Storm {
            clients: 10,
            rate: 100.0,
            capacity: 2_000.0,
            trouble: Trouble::Refusing,
            begins: Duration::from_secs(3),
            lasts: Duration::from_millis(100),
            afterwards: Duration::from_secs(1),
            seed,
            ..Storm::default()
        };
        let figures = blip.run(|server, seed| {
            let stack = ServiceBuilder::new().layer(retry(seed));
            let stack = stack.layer(breaker(seed)).layer(pause(seed));
            stack.service(server)
        });
        println!("{:.3} of the calls lost", figures.lost());
        assert!(figures.lost_in_trouble() <= 0.07);
        assert!(figures.lost() <= 0.01);
    }
}

#[test]
fn without_a_budget_it_stays_overloaded() {
    let figures = storm(&RetryPolicy::builder().budget(Unlimited));
    let (recovered, peak) = (figures.recovery(), figures.amplification());
    println!("recovered after {recovered:?} s, peak load {peak:.2}");
    assert_eq!(recovered, None);
    assert!(peak > 2.5, "{peak}");
}

/// The share of calls that succeed, of `count` calls made one after the other.
async fn script(policy: RetryPolicy, count: u32, pause: Duration, failing: f64) -> f64 {
    let random = Arc::new(Mutex::new(fastrand::Rng::with_seed(3)));
    let peer = service_fn(move |_: Request<ReplayBody<Empty<Bytes>>>| {
        let fails = random.lock().unwrap().f64() < failing;
        let mut response = Response::new(Empty::<Bytes>::new());
        if fails {
            *response.status_mut() = StatusCode::BAD_GATEWAY;
        }
        std::future::ready(Ok::<_, std::convert::Infallible>(response))
    });
    let retry = Retry::new(peer, policy);
    let mut successes = 0;
    for _ in 0..count {
        let request = Request::get("http://peer/").body(Empty::new()).unwrap();
        successes += u32::from(retry.clone().oneshot(request).await.unwrap().status() == 200);
        sleep(pause).await;
    }
    f64::from(successes) / f64::from(count)
}

#[tokio::test(start_paused = true)]
async fn a_script_that_calls_rarely_has_its_retries() {
    for (failing, expected) in [(0.1, 0.998), (0.3, 0.9)] {
        let policy = RetryPolicy::builder().seed(1).build().unwrap();
        let share = script(policy, 5_000, Duration::from_secs(10), failing).await;
        println!("{share:.4} of the calls succeed at {failing} failures");
        assert!(share >= expected, "{share}");
    }
}

/// What is counted of the calls of a fleet.
#[derive(Clone, Copy, Default)]
struct Counts {
    calls: u32,
    successes: u32,
    attempts: u32,
}

/// What a fleet of clients that call a server which fails at random sees, from its first call on.
struct Fleet {
    /// The share of calls that succeed.
    successes: f64,
    /// Attempts for each call.
    load: f64,
}

async fn fleet(builder: RetryPolicyBuilder, failing: f64) -> Fleet {
    const CLIENTS: u64 = 10;
    const SECONDS: u64 = 120;
    let counts = Arc::new(Mutex::new(Counts::default()));
    let end = Instant::now() + Duration::from_secs(SECONDS);
    let clients: Vec<_> = (0..CLIENTS)
        .map(|seed| {
            let policy = builder.clone().seed(seed).build().unwrap();
            let counts = Arc::clone(&counts);
            tokio::spawn(async move {
                let mut random = fastrand::Rng::with_seed(seed);
                let chance = Arc::new(Mutex::new(random.fork()));
                let attempts = Arc::clone(&counts);
                let peer = service_fn(move |_: Request<ReplayBody<Empty<Bytes>>>| {
                    attempts.lock().unwrap().attempts += 1;
                    let mut response = Response::new(Empty::<Bytes>::new());
                    if chance.lock().unwrap().f64() < failing {
                        *response.status_mut() = StatusCode::BAD_GATEWAY;
                    }
                    std::future::ready(Ok::<_, std::convert::Infallible>(response))
                });
                let retry = Retry::new(peer, policy);
                while Instant::now() < end {
                    let pause = -(1.0 - random.f64()).ln() / CALLS_PER_SECOND;
                    sleep(Duration::from_secs_f64(pause)).await;
                    let (retry, counts) = (retry.clone(), Arc::clone(&counts));
                    tokio::spawn(async move {
                        counts.lock().unwrap().calls += 1;
                        let request = Request::get("http://peer/").body(Empty::new()).unwrap();
                        let response = retry.oneshot(request).await.unwrap();
                        counts.lock().unwrap().successes += u32::from(response.status() == 200);
                    });
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    sleep(Duration::from_secs(20)).await;
    let counts = *counts.lock().unwrap();
    let calls = f64::from(counts.calls);
    Fleet {
        successes: f64::from(counts.successes) / calls,
        load: f64::from(counts.attempts) / calls,
    }
}

#[tokio::test(start_paused = true)]
async fn failures_now_and_then_are_retried_nearly_all() {
    let fleet = fleet(RetryPolicy::builder(), 0.1).await;
    println!("{:.4} of the calls succeed", fleet.successes);
    assert!(fleet.successes >= 0.998_5, "{}", fleet.successes);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_down_gets_hardly_more_than_the_calls() {
    let fleet = fleet(RetryPolicy::builder(), 1.0).await;
    println!("load {:.4}", fleet.load);
    assert!(fleet.load <= 1.010, "{}", fleet.load);
}

/// How many of the calls that a busy client makes during a blip are lost.
async fn blip(policy: RetryPolicy) -> usize {
    const BLIP: Duration = Duration::from_millis(100);
    let begin = Instant::now() + Duration::from_secs(11);
    let peer = service_fn(move |_: Request<ReplayBody<Empty<Bytes>>>| {
        let mut response = Response::new(Empty::<Bytes>::new());
        if (begin..begin + BLIP).contains(&Instant::now()) {
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        }
        std::future::ready(Ok::<_, std::convert::Infallible>(response))
    });
    let retry = Retry::new(peer, policy);
    let mut calls = Vec::new();
    while Instant::now() < begin + BLIP {
        let retry = retry.clone();
        calls.push(tokio::spawn(async move {
            let request = Request::get("http://peer/").body(Empty::new()).unwrap();
            retry.oneshot(request).await.unwrap().status()
        }));
        sleep(Duration::from_millis(1)).await;
    }
    let mut lost = 0;
    for call in calls {
        lost += usize::from(call.await.unwrap() != 200);
    }
    lost
}

#[tokio::test(start_paused = true)]
async fn a_busy_client_rides_out_a_blip_as_if_it_had_no_budget() {
    let (mut lost, mut lost_without) = (0, 0);
    for seed in 0..10 {
        let builder = RetryPolicy::builder().seed(seed);
        lost += blip(builder.clone().build().unwrap()).await;
        lost_without += blip(builder.budget(Unlimited).build().unwrap()).await;
    }
    println!("{lost} of 1000 calls lost, {lost_without} without a budget");
    // The two waits of a call take longer together than the blip.
    assert_eq!((lost, lost_without), (0, 0));
}

/// What a server turns a request away with, so that it is sent again without counting as an attempt.
#[derive(Clone, Copy, Debug)]
enum TurnedAway {
    Refused,
    Stale,
}

impl std::fmt::Display for TurnedAway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("turned away")
    }
}

impl std::error::Error for TurnedAway {}

/// How many requests a server gets that turns away each of so many calls, a second apart, by
/// another cause each time.
async fn turned_away(builder: RetryPolicyBuilder, calls: u32, earlier: Option<u32>) -> u32 {
    let standard = Standard::default();
    let classifier =
        classifier_fn(
            move |outcome: &Outcome<'_>| match outcome.find_error::<TurnedAway>() {
                Some(TurnedAway::Refused) => Class::Unprocessed,
                Some(TurnedAway::Stale) => Class::Stale(Processed::Possibly),
                None => standard.classify(outcome),
            },
        );
    let sent = Arc::new(AtomicU32::new(0));
    let peer = {
        let sent = Arc::clone(&sent);
        service_fn(move |_: Request<ReplayBody<Empty<Bytes>>>| {
            let number = sent.fetch_add(1, Ordering::Relaxed) + 1;
            let mut misdirected = Response::new(Empty::<Bytes>::new());
            *misdirected.status_mut() = StatusCode::MISDIRECTED_REQUEST;
            std::future::ready(match number % 3 {
                0 => Ok(misdirected),
                1 => Err(TurnedAway::Refused),
                _ => Err(TurnedAway::Stale),
            })
        })
    };
    let retry = Retry::new(peer, builder.classifier(classifier).build().unwrap());
    for _ in 0..calls {
        let mut request = Request::get("http://peer/").body(Empty::new()).unwrap();
        if let Some(earlier) = earlier {
            request
                .extensions_mut()
                .insert(EarlierTransparentRetries::from(earlier));
        }
        let _ = retry.clone().oneshot(request).await;
        sleep(Duration::from_millis(10)).await;
    }
    sent.load(Ordering::Relaxed)
}

#[tokio::test(start_paused = true)]
async fn a_server_that_refuses_all_gets_two_requests_a_call_and_the_budgets() {
    const CALLS: u32 = 1_000;
    let sent = turned_away(RetryPolicy::builder(), CALLS, None).await;
    println!("{sent} requests for {CALLS} calls");
    // The bucket of a client without successes holds five; one comes in 30 seconds.
    assert!((2 * CALLS + 5..=2 * CALLS + 6).contains(&sent), "{sent}");
}

#[tokio::test(start_paused = true)]
async fn a_later_hop_gets_no_free_transparent_retry_if_the_call_has_made_one() {
    const CALLS: u32 = 1_000;
    let sent = turned_away(RetryPolicy::builder(), CALLS, Some(1)).await;
    println!("{sent} requests for {CALLS} calls");
    assert!((CALLS + 5..=CALLS + 6).contains(&sent), "{sent}");
}
