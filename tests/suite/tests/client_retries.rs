//! How often a request is sent: resends, policies of single requests and the client's budget; and
//! what a call was doing when its deadline passed.
#![allow(clippy::unwrap_used, reason = "a test fails by its panic")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use client::{
    Client, DeadlinePhase, Error, PoolConfig, RetryPolicy, RetryPolicyBuilder, StopReason,
    budget::FixedBudget,
};
use test_support::{Connect, Connection, MemoryConnector, Reply, Request, answer, sequence};

fn with(connector: &MemoryConnector, policy: RetryPolicyBuilder) -> Client {
    Client::builder()
        .retry(policy)
        .build_with_connector(connector.clone())
        .expect("the settings are valid")
}

/// Answers the first request of each connection, and breaks the connection at the second, as a
/// server does that has closed it while it was idle.
fn closing() -> MemoryConnector {
    MemoryConnector::new(|mut connection: Connection| async move {
        let _ = connection.read_request().await;
        connection.respond(200, "first").await;
        let _ = connection.read_request().await;
        connection.reset();
    })
}

#[tokio::test(start_paused = true)]
async fn one_attempt_does_not_fail_for_a_connection_that_was_closed_while_it_was_idle() {
    let connector = closing();
    let client = with(&connector, RetryPolicy::builder().max_attempts(1));
    client.get("http://peer/").fetch().await.unwrap();
    let response = client.get("http://peer/").fetch().await.unwrap();
    assert_eq!(response.retry_report().resends(), 1);
    // A POST may have been executed.
    let error = client.post("http://peer/").fetch().await.unwrap_err();
    let report = error.retry_report().unwrap();
    assert_eq!(report.stop(), StopReason::NotIdempotent);
}

#[tokio::test(start_paused = true)]
async fn one_attempt_is_one_where_the_server_failed() {
    let connector = MemoryConnector::new(answer(|_| Reply::status(503)));
    let client = with(&connector, RetryPolicy::builder().max_attempts(1));
    let response = client.get("http://peer/").fetch().await.unwrap();
    assert_eq!(response.status(), 503);
    assert_eq!(connector.log().requests.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn without_resends_or_retries_a_request_is_sent_once() {
    let once = RetryPolicy::builder().max_attempts(1).without_resends();
    let connector = closing();
    let client = with(&connector, once);
    client.get("http://peer/").fetch().await.unwrap();
    client.get("http://peer/").fetch().await.unwrap_err();

    let connector = closing();
    let client = with(&connector, RetryPolicy::builder());
    client.get("http://peer/").fetch().await.unwrap();
    let call = client.get("http://peer/").no_retry();
    call.fetch().await.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn all_hops_of_a_redirect_together_have_one_free_resend() {
    // Each request is misdirected at first, and redirected when it comes again.
    let hop = Arc::new(AtomicUsize::new(0));
    let connector = MemoryConnector::new(answer(move |request: &Request| {
        let count = hop.fetch_add(1, Relaxed);
        if count % 2 == 0 {
            return Reply::status(421);
        }
        let host = if count % 4 == 1 { "other" } else { "peer" };
        let next = format!("http://{host}/{}x", request.path().trim_start_matches('/'));
        Reply::status(307).header("Location", next)
    }));
    let tokens = Arc::new(FixedBudget::new(3, 1).unwrap());
    let policy = RetryPolicy::builder().budget(Arc::clone(&tokens));
    let client = with(&connector, policy);
    let response = client.get("http://peer/").fetch().await.unwrap();
    assert_eq!(response.status(), 421);
    let report = response.retry_report();
    assert_eq!(report.stop(), StopReason::BudgetExhausted);
    assert_eq!(
        report.resends(),
        1 + 3,
        "one is free, the others cost a token"
    );
    assert_eq!(connector.log().requests.len(), 9);
}

/// How many requests a server gets that fails, from a hundred calls.
async fn sent_to_a_dead_server(own: Option<RetryPolicyBuilder>) -> usize {
    let connector = MemoryConnector::new(answer(|_| Reply::status(503)));
    let client = with(&connector, RetryPolicy::builder());
    for _ in 0..100 {
        let mut call = client.get("http://peer/");
        if let Some(own) = &own {
            call = call.retry(own.clone());
        }
        let response = call.fetch().await.expect("it is answered");
        assert_eq!(response.status(), 503);
    }
    connector.log().requests.len()
}

#[tokio::test(start_paused = true)]
async fn requests_with_policies_of_their_own_draw_from_the_clients_budget() {
    let as_the_client = sent_to_a_dead_server(None).await;
    let of_their_own = sent_to_a_dead_server(Some(RetryPolicy::builder())).await;
    assert!((105..=108).contains(&as_the_client), "{as_the_client}");
    assert!((105..=108).contains(&of_their_own), "{of_their_own}");
}

/// The error of a call whose deadline passes after three seconds, with the pool of the client held to
/// one connection.
async fn late(connector: &MemoryConnector, others: usize) -> Error {
    let client = Client::builder()
        .pool(PoolConfig::default().max_connections(1))
        .build_with_connector(connector.clone())
        .expect("the settings are valid");
    let others: Vec<_> = (0..others)
        .map(|_| tokio::spawn(client.get("http://peer/").send()))
        .collect();
    tokio::task::yield_now().await;
    let call = client.get("http://peer/").timeout(Duration::from_secs(3));
    let error = call.fetch().await.unwrap_err();
    others.iter().for_each(tokio::task::JoinHandle::abort);
    error
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_passed_says_what_the_call_was_doing() {
    let stalling = || MemoryConnector::new(sequence([Reply::stall()]));
    let hanging = stalling();
    hanging.hang();
    let refused_once = stalling();
    refused_once.script([Connect::Refuse, Connect::Accept]);
    let refused_and_hanging = stalling();
    refused_and_hanging.script([Connect::Refuse, Connect::Hang]);
    let cases = [
        (
            hanging,
            0,
            DeadlinePhase::Connection,
            ", while waiting for a connection (1 attempt; deadline_exceeded)",
        ),
        (
            stalling(),
            1,
            DeadlinePhase::Connection,
            ", while waiting for a connection (1 attempt; deadline_exceeded)",
        ),
        (
            stalling(),
            0,
            DeadlinePhase::Head,
            ", while waiting for the head (1 attempt; deadline_exceeded)",
        ),
        (
            refused_once,
            0,
            DeadlinePhase::Head,
            ", while waiting for the head of attempt 2 (2 attempts; deadline_exceeded)",
        ),
        (
            refused_and_hanging,
            0,
            DeadlinePhase::Connection,
            ", while waiting for a connection for attempt 2 (2 attempts; deadline_exceeded)",
        ),
    ];
    for (connector, others, phase, text) in cases {
        let error = late(&connector, others).await;
        assert_eq!(error.deadline_phase(), Some(phase), "{error}");
        assert_eq!(
            error.to_string(),
            format!("GET http://peer:80: no answer within the deadline of 3s{text}")
        );
        let records = error.retry_report().unwrap().attempts();
        let last = records.last().unwrap();
        assert_eq!(last.kind(), Some(client::ErrorKind::Deadline.into()));
        assert!(
            last.took()
                .is_some_and(|took| took > Duration::from_secs(2))
        );
    }
}
