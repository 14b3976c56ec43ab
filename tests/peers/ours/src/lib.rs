//! The session, the session with retries, and the client, each with its default settings but for
//! the number of connections and the time between attempts.

mod h2c;

use std::time::Duration;

use bytes::Bytes;
use client::{Client, ClientBuilder};
use harness::{Payload, Plan, Protocol};
use retry_layer::{Backoff, Exponential, ReplayBody, Retry, RetryPolicy, RetryPolicyBuilder};
use session_layer::{Connector, Http2, PoolConfig, Session, SessionLayer, Timeouts};
use tower::Layer;

use self::h2c::H2c;

/// A session alone.
#[must_use]
pub fn session<B>(plan: &Plan) -> Session<B>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    SessionLayer::new(pool(plan), Timeouts::default())
        .and_then(|layer| {
            let prior_knowledge = plan.protocol == Protocol::Http2;
            layer.http2(Http2::default().prior_knowledge(prior_knowledge))
        })
        .expect("the settings are valid")
        .layer(Connector::new())
}

/// A session with retries.
pub fn retrying(plan: &Plan, policy: RetryPolicyBuilder) -> Retry<Session<ReplayBody<Payload>>> {
    let policy = policy.build().expect("the settings are valid");
    Retry::new(session(plan), policy)
}

/// A client, as it is built.
#[must_use]
pub fn client(plan: &Plan, builder: ClientBuilder) -> Client {
    pooled(plan, pool(plan), builder)
}

/// A client with the buffer that suits very many idle connections.
#[must_use]
pub fn small(plan: &Plan) -> Client {
    let pool = pool(plan).http1_read_buffer(1024);
    pooled(plan, pool, Client::builder())
}

fn pooled(plan: &Plan, pool: PoolConfig, builder: ClientBuilder) -> Client {
    let mut builder = builder.pool(pool).retry(policy());
    if let Some(streams) = plan.streams {
        builder = builder.http2(Http2::default().max_concurrent_streams(streams));
    }
    match plan.protocol {
        Protocol::Http1 => builder.build(),
        Protocol::Http2 => builder.build_with_connector(H2c),
    }
    .expect("the settings are valid")
}

/// What builds one without a deadline and a timeout, to see what these cost.
pub fn untimed() -> ClientBuilder {
    let timeouts = Timeouts::default().connect(None).head(None).body_idle(None);
    Client::builder().deadline(None).timeouts(timeouts)
}

/// The default, but for plans with more hosts than that has connections.
fn pool(plan: &Plan) -> PoolConfig {
    const DEFAULT: usize = 1024;
    PoolConfig::default().max_connections(plan.hosts.max(DEFAULT))
}

/// The default, but for a wait of the length that the other clients wait.
pub fn policy() -> RetryPolicyBuilder {
    let base = Duration::from_millis(1);
    let waits = Exponential::new(base)
        .throttled_base(base)
        .cap(Duration::from_millis(2));
    RetryPolicy::builder().backoff(Backoff::from(waits))
}
