//! The clients that are compared.

use std::time::Duration;

use client::{
    Backoff, BuildError, Client, ClientBuilder, Exponential, Jitter, RetryPolicy,
    RetryPolicyBuilder,
    budget::{AwsBudget, ConcurrencyShare, FinagleBudget, FixedBudget, GrpcThrottle, Unlimited},
    retry_layer::{breaker::Breaker, health::Ledger, hedge::Hedging, pause::Pause},
};
use overload::Server;

/// One kind of client.
pub(crate) struct Variant {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) make: fn(u64) -> Result<ClientBuilder, BuildError>,
}

pub(crate) const VARIANTS: [Variant; 16] = [
    Variant {
        name: "no retry",
        what: "each request is sent once",
        make: |_| {
            let once = RetryPolicy::builder().max_attempts(1);
            Ok(with(once.without_transparent_retries()))
        },
    },
    Variant {
        name: "naive",
        what: "three attempts, 100 ms apart, without a budget",
        make: |_| Ok(with(unlimited().backoff(Backoff::fixed(FIRST_WAIT)))),
    },
    Variant {
        name: "exponential",
        what: "100 ms, 200 ms; no jitter, no budget",
        make: |_| {
            let backoff = Backoff::from(Exponential::new(FIRST_WAIT));
            Ok(with(unlimited().backoff(backoff.jitter(Jitter::None))))
        },
    },
    Variant {
        name: "jitter",
        what: "the same with full jitter",
        make: |_| Ok(with(unlimited())),
    },
    Variant {
        name: "fixed budget",
        what: "a bucket of 10 tokens, a tenth for each success",
        make: |_| {
            Ok(with(
                RetryPolicy::builder().budget(FixedBudget::new(10, 10)?),
            ))
        },
    },
    Variant {
        name: "AWS",
        what: "the bucket of the AWS SDKs 2.1",
        make: |_| Ok(with(RetryPolicy::builder().budget(AwsBudget::v2_1()))),
    },
    Variant {
        name: "Finagle",
        what: "20 % of the calls of ten seconds, and 10 a second",
        make: |_| {
            Ok(with(RetryPolicy::builder().budget(FinagleBudget::new(
                Duration::from_secs(10),
                10,
                2_000,
            )?)))
        },
    },
    Variant {
        name: "gRPC",
        what: "its throttle of 10 tokens, a tenth for each success",
        make: |_| {
            Ok(with(
                RetryPolicy::builder().budget(GrpcThrottle::new(10, 100)?),
            ))
        },
    },
    Variant {
        name: "Envoy",
        what: "20 % of the calls under way, and 3",
        make: |_| {
            Ok(with(
                RetryPolicy::builder().budget(ConcurrencyShare::new(20, 3)?),
            ))
        },
    },
    Variant {
        name: "default",
        what: "this client as it is",
        make: |_| Ok(Client::builder()),
    },
    Variant {
        name: "with pause",
        what: "one answer holds back all requests",
        make: |seed| Ok(knowing(seed)?.pause(Pause::builder())),
    },
    Variant {
        name: "with breaker",
        what: "a circuit breaker before each attempt",
        make: |seed| Ok(knowing(seed)?.breaker(Breaker::builder())),
    },
    Variant {
        name: "pause, breaker",
        what: "both",
        make: |seed| {
            let breaker = knowing(seed)?.breaker(Breaker::builder());
            Ok(breaker.pause(Pause::builder()))
        },
    },
    Variant {
        name: "all three",
        what: "pause, breaker and hedging",
        make: |seed| {
            let breaker = knowing(seed)?.breaker(Breaker::builder());
            let paused = breaker.pause(Pause::builder());
            Ok(paused.hedge(Hedging::learned()))
        },
    },
    Variant {
        name: "with hedging",
        what: "hedges after the 95th percentile",
        make: |_| Ok(Client::builder().hedge(Hedging::learned())),
    },
    Variant {
        name: "hedging alone",
        what: "hedges after 200 ms, without a budget",
        make: |_| Ok(with(unlimited()).hedge(Hedging::after(Duration::from_millis(200)))),
    },
];

const FIRST_WAIT: Duration = Duration::from_millis(100);

fn with(policy: RetryPolicyBuilder) -> ClientBuilder {
    Client::builder().retry(policy)
}

/// A client with a ledger whose chances follow from the seed.
fn knowing(seed: u64) -> Result<ClientBuilder, BuildError> {
    let ledger = Ledger::builder().seed(seed).build()?;
    Ok(Client::builder().ledger(ledger))
}

fn unlimited() -> RetryPolicyBuilder {
    RetryPolicy::builder().budget(Unlimited)
}

/// Builds a client whose chances follow from the seed.
pub(crate) fn over(builder: ClientBuilder, server: Server, seed: u64) -> Client {
    builder
        .map_retry(|policy| policy.seed(seed))
        .call_spans(false)
        .build_with_service(server)
        .expect("the settings were checked")
}

impl Variant {
    pub(crate) fn client(&self, server: Server, seed: u64) -> Client {
        let builder = (self.make)(seed).expect("the settings are valid");
        over(builder, server, seed)
    }
}
