//! The circuit breaker and the pauses of a client.

use std::{num::NonZeroU32, time::Duration};

use client::{
    Client, ClientBuilder, ClientConfig, ErrorKind, RetryPolicy, StopReason,
    retry_layer::{
        breaker::{Breaker, CircuitState},
        health::{Ledger, PartitionKey},
        hedge::Hedging,
        pause::Pause,
    },
    testing::{Answer, Fake},
};
use http::{StatusCode, Uri};
use test_support::{MemoryConnector, Reply, answer};
use tokio::time::{Instant, sleep};

const SECOND: Duration = Duration::from_secs(1);
const PEER: &str = "http://peer/";

fn key(url: &'static str) -> PartitionKey {
    PartitionKey::of(&Uri::from_static(url))
}

fn once() -> RetryPolicy {
    let policy = RetryPolicy::builder().max_attempts(1);
    policy.build().unwrap()
}

fn throttled(seconds: u64) -> Answer {
    Answer::new(429).header("retry-after", seconds.to_string())
}

async fn fetch(client: &Client) -> StatusCode {
    client.get(PEER).fetch().await.unwrap().status()
}

#[tokio::test(start_paused = true)]
async fn hedges_learn_in_the_ledger_of_the_client() {
    let hedged = Client::builder().hedge(Hedging::learned());
    let client = hedged.ledger(Ledger::default());
    let client = client.build_with_fake(&Fake::new([200; 3])).unwrap();
    for _ in 0..3 {
        assert_eq!(fetch(&client).await, 200);
    }
    let health = client.ledger().unwrap().health(&key(PEER));
    assert_eq!(health.latency().map(|it| it.answers), Some(3));
}

#[tokio::test(start_paused = true)]
async fn an_open_circuit_refuses_a_call_by_an_error_that_names_it() {
    let fake = Fake::new([503; 7]);
    let builder = Client::builder().retry(once()).breaker(Breaker::builder());
    let client = builder.build_with_fake(&fake).unwrap();
    for _ in 0..7 {
        assert_eq!(fetch(&client).await, 503);
    }
    let error = client.get(PEER).fetch().await.unwrap_err();
    assert!(error.is_circuit_open());
    assert_eq!(error.kind(), ErrorKind::CircuitOpen);
    assert_eq!(error.gateway_status(), 503);
    let open = error.circuit_open().unwrap();
    assert_eq!(open.key(), &key(PEER));
    assert!(open.retry_after().unwrap() >= SECOND);
    assert_eq!(fake.requests().len(), 7);
    assert_eq!(
        client.breaker().unwrap().state(&key(PEER)),
        CircuitState::Open
    );
    assert_eq!(client.ledger().unwrap().unhealthy().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_to_an_open_circuit_is_not_retried() {
    let fake = Fake::new([503; 3]);
    let breaker = Breaker::builder().consecutive_failures(NonZeroU32::MIN);
    let builder = Client::builder().breaker(breaker);
    let client = builder.build_with_fake(&fake).unwrap();
    let begun = Instant::now();
    // The first attempt opens it, and the second is refused.
    let error = client.get(PEER).fetch().await.unwrap_err();
    assert!(error.is_circuit_open());
    let report = error.retry_report().unwrap();
    assert_eq!(report.attempts().len(), 2);
    assert_eq!(report.stop(), StopReason::ErrorNotRetryable);
    assert!(begun.elapsed() < SECOND);
    assert_eq!(fake.requests().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_whose_circuit_is_open_is_passed_over_at_no_cost() {
    let connector = MemoryConnector::new(answer(|request| {
        Reply::status(if request.header("host") == Some("a") {
            503
        } else {
            200
        })
    }));
    let breaker = Breaker::builder()
        .consecutive_failures(NonZeroU32::MIN)
        .min_wait(3_600 * SECOND)
        .max_wait(3_600 * SECOND);
    let client = Client::builder()
        .breaker(breaker)
        .endpoints(["http://a/", "http://b/"])
        .unwrap()
        .build_with_connector(connector.clone())
        .unwrap();
    // Far more than the budget would pay for, if each took a retry.
    for _ in 0..200 {
        assert_eq!(client.get("x").fetch().await.unwrap().status(), 200);
    }
    let to_a = |it: &&test_support::Request| it.header("host") == Some("a");
    assert_eq!(connector.log().requests.iter().filter(to_a).count(), 1);
    let states = ["http://a/", "http://b/"].map(|url| client.breaker().unwrap().state(&key(url)));
    assert_eq!(states, [CircuitState::Open, CircuitState::Closed]);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_is_being_probed_is_passed_over_too() {
    let probed = Answer::new(200).after(SECOND / 2);
    let fake = Fake::new([503.into(), 200.into(), probed, 200.into()]);
    let breaker = Breaker::builder()
        .consecutive_failures(NonZeroU32::MIN)
        .jitter_percent(0);
    let client = Client::builder()
        .breaker(breaker)
        .endpoints(["http://a/", "http://b/"])
        .unwrap()
        .build_with_fake(&fake)
        .unwrap();
    client.get("x").fetch().await.unwrap();
    sleep(2 * SECOND).await;
    let probe = client.get("x").fetch();
    let other = async {
        sleep(SECOND / 10).await;
        let response = client.get("x").fetch().await.unwrap();
        response.retry_report().attempts().len()
    };
    let (probe, attempts) = tokio::join!(probe, other);
    assert_eq!(probe.unwrap().retry_report().attempts().len(), 1);
    assert_eq!(attempts, 1);
    let requests = fake.requests();
    let hosts = requests.iter().map(|it| it.uri().host().unwrap());
    assert_eq!(hosts.collect::<Vec<_>>(), ["a", "b", "a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_holds_back_all_calls_of_its_origin() {
    let fake = Fake::new([throttled(3), Answer::new(200), Answer::new(200)]);
    let builder = Client::builder().retry(once()).pause(Pause::builder());
    let client = builder.build_with_fake(&fake).unwrap();
    assert_eq!(fetch(&client).await, 429);
    let begun = Instant::now();
    let response = client.get(PEER).fetch().await.unwrap();
    assert!(begun.elapsed() >= 3 * SECOND);
    let held = response.retry_report().attempts()[0].held_back();
    assert!(held.unwrap() >= 3 * SECOND);
    // Another origin is not concerned.
    let begun = Instant::now();
    client.get("http://other/").fetch().await.unwrap();
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_cannot_wait_for_the_end_of_a_pause_fails_at_once() {
    for (builder, of_call) in [
        (Client::builder().deadline(5 * SECOND), None),
        (Client::builder(), Some(5 * SECOND)),
    ] {
        let fake = Fake::new([throttled(10)]);
        let builder = builder.retry(once()).pause(Pause::builder());
        let client = builder.build_with_fake(&fake).unwrap();
        assert_eq!(fetch(&client).await, 429);
        let begun = Instant::now();
        let request = client.get(PEER);
        let request = match of_call {
            Some(timeout) => request.timeout(timeout),
            None => request,
        };
        let error = request.fetch().await.unwrap_err();
        assert_eq!(begun.elapsed(), Duration::ZERO);
        assert!(error.is_paused());
        assert_eq!(error.kind(), ErrorKind::Paused);
        assert!(error.paused().unwrap().retry_after() >= 10 * SECOND);
        assert_eq!(fake.requests().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_holds_while_a_call_waits_for_its_turn() {
    // The line is too long, which is not known when the call comes.
    let answers = [throttled(1), Answer::never(), Answer::never()];
    let fake = Fake::new(answers);
    let builder = Client::builder()
        .retry(once())
        .deadline(2 * SECOND)
        .pause(Pause::builder());
    let client = builder.build_with_fake(&fake).unwrap();
    assert_eq!(fetch(&client).await, 429);
    let begun = Instant::now();
    let call = || client.get(PEER).fetch();
    let (first, second) = tokio::join!(call(), call());
    assert_eq!(begun.elapsed(), 2 * SECOND);
    assert!(first.unwrap_err().is_deadline());
    let last = second.unwrap_err();
    // Both end at the same moment.
    assert!(last.is_deadline() || last.is_paused(), "{last:?}");
}

#[tokio::test(start_paused = true)]
async fn clients_with_one_ledger_hear_what_the_other_was_told() {
    let ledger = Ledger::default();
    let build = |answers: Vec<Answer>| {
        let builder = Client::builder().retry(once()).ledger(ledger.clone());
        let builder = builder.pause(Pause::builder());
        builder.build_with_fake(&Fake::new(answers)).unwrap()
    };
    let (one, other) = (build(vec![throttled(3)]), build(vec![Answer::new(200)]));
    assert_eq!(fetch(&one).await, 429);
    let begun = Instant::now();
    assert_eq!(fetch(&other).await, 200);
    assert!(begun.elapsed() >= 3 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_the_breaker_refuses_does_not_wait_for_a_pause() {
    let fake = Fake::new([throttled(30)]);
    let breaker = Breaker::builder();
    let builder = Client::builder().retry(once()).breaker(breaker);
    let client = builder
        .pause(Pause::builder())
        .build_with_fake(&fake)
        .unwrap();
    assert_eq!(fetch(&client).await, 429);
    client.breaker().unwrap().open(&key(PEER));
    let begun = Instant::now();
    let error = client.get(PEER).fetch().await.unwrap_err();
    assert!(error.is_circuit_open());
    assert_eq!(begun.elapsed(), Duration::ZERO);
    // By hand both are ended.
    client.breaker().unwrap().close(&key(PEER));
    client.pauses().unwrap().resume(&key(PEER));
    assert!(client.ledger().unwrap().unhealthy().is_empty());
}

fn configured(builder: ClientBuilder, text: &str) -> ClientBuilder {
    let config: ClientConfig = toml::from_str(text).unwrap();
    builder.config(config).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_configuration_turns_both_on_and_off() {
    let text = "
        [breaker]
        consecutive_failures = 2
        success_rate = { percent = 80, window = '10s', min_requests = 50 }
        min_wait = '30s'
        max_wait = '1m'
        max_retry_after = '2m'

        [pause]
        max_pause = '1m'
        max_wait = '10s'
        without_hint = 'none'
        max_waiting = 100
    ";
    let fake = Fake::new([429, 503, 503]);
    let builder = configured(Client::builder().retry(once()), text);
    let client = builder.build_with_fake(&fake).unwrap();
    for status in [429, 503, 503] {
        assert_eq!(fetch(&client).await, status);
    }
    let error = client.get(PEER).fetch().await.unwrap_err();
    assert!(error.circuit_open().unwrap().retry_after().unwrap() >= 30 * SECOND);

    let presets = "breaker = 'default'\npause = 'default'";
    let client = configured(Client::builder(), presets).build().unwrap();
    assert!(client.breaker().is_some() && client.pauses().is_some());
    let off = "breaker = 'none'\npause = 'none'";
    let client = configured(configured(Client::builder(), presets), off)
        .build()
        .unwrap();
    assert!(client.breaker().is_none() && client.pauses().is_none());
}

#[test]
fn settings_of_either_that_make_no_sense_are_errors_of_the_builder() {
    let breaker = Breaker::builder().min_wait(Duration::ZERO);
    let pause = Pause::builder().max_wait(Duration::ZERO);
    for (builder, name) in [
        (Client::builder().breaker(breaker), "breaker"),
        (Client::builder().pause(pause), "pause"),
    ] {
        let error = builder.build().unwrap_err();
        assert!(error.is_builder());
        assert!(error.to_string().contains(name), "{error}");
    }
}
