//! Settings of a client that cannot be.

use std::{error::Error as _, time::Duration};

use client::{Client, Exponential, PoolConfig, RetryPolicy, Timeouts, budget};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn settings_that_cannot_be_are_refused_by_name() {
    let builder = Client::builder;
    for (built, words) in [
        (
            builder()
                .pool(PoolConfig::default().max_connections(0))
                .build(),
            "max_connections",
        ),
        (
            builder()
                .timeouts(Timeouts::default().head(Duration::ZERO))
                .build(),
            "head",
        ),
        (builder().deadline(Duration::ZERO).build(), "deadline"),
        (
            builder()
                .retry(RetryPolicy::builder().max_attempts(0))
                .build(),
            "attempts",
        ),
        (
            builder()
                .retry(RetryPolicy::builder().backoff(Exponential::from(SECOND).cap(SECOND / 2)))
                .build(),
            "cap",
        ),
    ] {
        let error = built.unwrap_err();
        assert!(
            error.is_builder() && error.to_string().contains(words),
            "{error}"
        );
    }
    assert!(builder().base_url("peer").unwrap_err().is_builder());
    assert!(builder().base_url("file:///x").unwrap_err().is_builder());
}

#[test]
fn settings_of_the_layers_that_cannot_be_are_errors_of_a_builder() {
    fn retrying() -> Result<Client, client::Error> {
        let budget = budget::FixedBudget::new(10, 0)?;
        Client::builder()
            .retry(RetryPolicy::builder().budget(budget).build()?)
            .build()
    }
    fn pooled() -> Result<session_layer::SessionLayer<()>, client::Error> {
        let pool = PoolConfig::default().max_connections(0);
        Ok(session_layer::SessionLayer::new(pool, Timeouts::default())?)
    }
    for error in [retrying().unwrap_err(), pooled().unwrap_err()] {
        assert!(error.is_builder());
        assert!(error.source().is_some());
    }
}
