//! The clients that are compared.

use std::time::Duration;

use client::{
    Backoff, BuildError, Client, ClientBuilder, Exponential, Jitter, OriginFailures, RetryPolicy,
    RetryPolicyBuilder,
    budget::{AwsBudget, ConcurrencyShare, FinagleBudget, FixedBudget, GrpcThrottle, Unlimited},
    retry_layer::{
        breaker::{Breaker, BreakerLayer},
        hedge::Hedging,
    },
};
use overload::Server;

/// One kind of client.
pub(crate) struct Variant {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) make: fn(u64) -> Result<ClientBuilder, BuildError>,
}

pub(crate) const VARIANTS: [Variant; 14] = [
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
        name: "with breaker",
        what: "a circuit breaker around each attempt",
        make: |seed| Ok(Client::builder().attempt_layer(breaker(seed)?)),
    },
    Variant {
        name: "breaker, hedging",
        what: "both",
        make: |seed| {
            let hedged = Client::builder().hedge(Hedging::learned());
            Ok(hedged.attempt_layer(breaker(seed)?))
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

fn breaker(seed: u64) -> Result<BreakerLayer, BuildError> {
    let breaker = Breaker::builder()
        .classifier(OriginFailures::new())
        .seed(seed);
    Ok(BreakerLayer::new(breaker.build()?))
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
