//! Failover: another server for each attempt of a call.

use std::num::NonZeroU32;

use client::{
    Attempt, Class, Classifier, Client, ClientBuilder, OriginFailures, Outcome, RetryPolicy,
    Standard, classifier_fn,
    retry_layer::{
        breaker::{Breaker, BreakerLayer, CircuitOpen, CircuitState},
        health::{Ledger, PartitionKey},
    },
};
use http::Uri;
use test_support::{Connect, MemoryConnector, Reply, answer};

fn over(connector: &MemoryConnector, endpoints: &[&str]) -> Client {
    build(connector, Client::builder(), endpoints)
}

fn build(connector: &MemoryConnector, builder: ClientBuilder, endpoints: &[&str]) -> Client {
    builder
        .endpoints(endpoints)
        .expect("they are URLs")
        .build_with_connector(connector.clone())
        .expect("the settings are valid")
}

/// A peer at all hosts whose names are alive.
fn alive(hosts: &'static [&'static str]) -> MemoryConnector {
    MemoryConnector::new(answer(move |request| {
        let host = request.header("host").expect("there is one");
        let status = if hosts.contains(&host) { 200 } else { 503 };
        Reply::status(status).body(request.target.clone())
    }))
}

#[tokio::test(start_paused = true)]
async fn each_attempt_goes_to_the_next_endpoint_and_the_last_one_repeats() {
    let connector = alive(&[]);
    let client = over(&connector, &["http://a/v1/", "https://b:8443/api/v1/"]);
    let response = client
        .get("orders?x=1")
        .header("x-own", "1")
        .fetch()
        .await
        .unwrap();
    assert_eq!(response.status(), 503);
    assert_eq!(response.url(), "https://b:8443/api/v1/orders?x=1");
    let log = connector.log();
    let sent: Vec<_> = log
        .requests
        .iter()
        .map(|it| (it.header("host").unwrap(), it.target.as_str()))
        .collect();
    assert_eq!(
        sent,
        [
            ("a", "/v1/orders?x=1"),
            ("b:8443", "/api/v1/orders?x=1"),
            ("b:8443", "/api/v1/orders?x=1"),
        ]
    );
    assert!(
        log.requests
            .iter()
            .all(|it| it.header("x-own") == Some("1"))
    );
}

#[tokio::test(start_paused = true)]
async fn a_server_that_refuses_connections_is_passed_over_whatever_the_method() {
    let connector = alive(&["b"]);
    connector.script([Connect::Refuse, Connect::Accept]);
    let client = over(&connector, &["http://a", "http://b"]);
    let response = client.post("/orders").body("order").fetch().await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &**response.body()),
        (200, &b"/orders"[..])
    );
    assert_eq!(connector.log().requests[0].body, "order");
}

#[tokio::test(start_paused = true)]
async fn every_call_begins_with_the_first_endpoint() {
    let connector = alive(&["b"]);
    let client = over(&connector, &["http://a", "http://b"]);
    for _ in 0..2 {
        assert_eq!(client.get("/x").fetch().await.unwrap().status(), 200);
    }
    let hosts: Vec<_> = connector
        .log()
        .requests
        .into_iter()
        .map(|it| it.headers["host"].clone())
        .collect();
    assert_eq!(hosts, ["a", "b", "a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn credentials_go_to_each_listed_endpoint_and_nowhere_else() {
    let connector = MemoryConnector::new(answer(|request| {
        match (request.header("host"), request.path()) {
            (Some("b"), "/away") => Reply::status(302).header("Location", "http://c/"),
            (Some("b"), "/on") => Reply::status(302).header("Location", "/there"),
            (Some("a"), _) => Reply::status(503),
            _ => Reply::status(200),
        }
    }));
    let builder = Client::builder().bearer("t").default_header("x-own", "1");
    let client = build(&connector, builder, &["http://a", "http://b"]);
    for (path, last, authorized) in [
        ("/away", "http://c/", false),
        ("/on", "http://b/there", true),
        ("http://d/x", "http://d/x", false),
    ] {
        let response = client.get(path).fetch().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.url(), last);
        let log = connector.log();
        let request = log.requests.last().unwrap();
        assert_eq!(
            request.headers.contains_key("authorization"),
            authorized,
            "{path}"
        );
        assert_eq!(request.headers.contains_key("x-own"), authorized, "{path}");
        let there = |host: &str| {
            let mut all = log.requests.iter();
            all.any(|it| {
                it.header("host") == Some(host) && it.headers.contains_key("authorization")
            })
        };
        assert!(there("a") && there("b") && !there("c") && !there("d"));
    }
}

#[test]
fn endpoints_must_be_urls_and_at_least_one() {
    let none: [&str; 0] = [];
    assert!(Client::builder().endpoints(none).unwrap_err().is_builder());
    assert!(
        Client::builder()
            .endpoints(["http://a", "b"])
            .unwrap_err()
            .is_builder()
    );
    assert!(
        Client::builder()
            .endpoints(["ftp://a"])
            .unwrap_err()
            .is_builder()
    );
}

#[test]
fn no_endpoint_gets_the_credentials_in_the_url_of_another() {
    for urls in [
        ["http://me:c4n4ry@a/", "http://you:c4n4ry@b/"],
        ["http://me:c4n4ry@a/", "http://b/"],
        ["http://a/", "http://me:c4n4ry@b/"],
    ] {
        let error = Client::builder().endpoints(urls).unwrap_err();
        assert!(error.is_builder());
        let told = format!("{error} {error:?}");
        assert!(
            told.contains("`basic`") && !told.contains("c4n4ry"),
            "{told}"
        );
    }
    let same = ["http://me:secret@a/", "http://me:secret@b/"];
    assert!(Client::builder().endpoints(same).is_ok());
}

#[tokio::test(start_paused = true)]
async fn each_endpoint_has_a_circuit_and_an_open_one_is_passed_over() {
    let connector = alive(&["b"]);
    let keys = ["http://a/", "http://b/"].map(|url| PartitionKey::of(&Uri::from_static(url)));
    let endpoints = keys.clone();
    // Below the retries and above what moves a request to its endpoint: the attempt's number tells.
    let ledger = Ledger::builder().key_by(move |head| {
        let number = head.extensions().get().map_or(1, Attempt::number);
        let index = usize::try_from(number).ok()?.checked_sub(1)?;
        endpoints.get(index).or(endpoints.last()).cloned()
    });
    let breaker = Breaker::builder()
        .consecutive_failures(NonZeroU32::MIN)
        .classifier(OriginFailures::new())
        .ledger(ledger.build().unwrap())
        .build()
        .unwrap();
    let next_endpoint =
        classifier_fn(
            |outcome: &Outcome<'_>| match outcome.find_error::<CircuitOpen>() {
                Some(_) if outcome.attempt() < 2 => Class::NotSent,
                _ => Class::Final,
            },
        );
    let policy = RetryPolicy::builder().classifier(Standard::default().or(next_endpoint));
    let builder = Client::builder()
        .retry(policy.build().unwrap())
        .attempt_layer(BreakerLayer::new(breaker.clone()));
    let client = build(&connector, builder, &["http://a/", "http://b/"]);

    // The first attempt of the first call opens the circuit of one endpoint; from then on each call
    // sends one request, to the other.
    for _ in 0..3 {
        let response = client.get("x").fetch().await.unwrap();
        assert_eq!(response.status(), 200);
    }
    assert_eq!(
        keys.clone().map(|key| breaker.state(&key)),
        [CircuitState::Open, CircuitState::Closed]
    );
    let hosts = |connector: &MemoryConnector| -> Vec<String> {
        let requests = connector.log().requests;
        let hosts = requests
            .iter()
            .map(|it| it.header("host").unwrap().to_owned());
        hosts.collect()
    };
    assert_eq!(hosts(&connector), ["a", "b", "b", "b"]);
    // Where both are open, nothing is sent.
    breaker.open(&keys[1]);
    assert!(client.get("x").fetch().await.is_err());
    assert_eq!(hosts(&connector).len(), 4);
}
