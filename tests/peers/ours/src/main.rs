//! The session, the session with retries, and the client, each with its default settings but for
//! the number of connections and the time between attempts.

mod h2c;

use std::{env, time::Duration};

use bytes::Bytes;
use client::{Body, Client, ClientBuilder, RequestBuilder};
use harness::{Answer, Called, Payload, Peer, Plan, Protocol, drain};
use http::{Request, Uri};
use http_body_util::Full;
use retry_layer::{Backoff, Exponential, ReplayBody, Retry, RetryPolicy, RetryPolicyBuilder};
use session_layer::{Connector, Http2, PoolConfig, Session, SessionLayer, Timeouts};
use tower::{Layer, ServiceExt};

use self::h2c::H2c;

fn main() {
    let plan = Plan::of(env::args().skip(1));
    match plan.variant.as_str() {
        "session" => harness::main(|plan| Called(session::<Payload>(plan))),
        "session-retry" => harness::main(|plan| Called(retrying(plan, policy()))),
        // So that a whole upload is kept.
        "session-replay" => harness::main(|plan| {
            let policy = policy().replay_limit(plan.upload);
            Called(retrying(plan, policy))
        }),
        "client" if plan.upload > 0 && plan.frame == 0 => {
            // It is to know that these are bytes.
            let whole = |request: Request<Payload>| request.map(|it| Full::new(it.into_bytes()));
            harness::main(|plan| Called(client(plan, Client::builder()).map_request(whole)));
        }
        "client" => harness::main(|plan| Called(client(plan, Client::builder()))),
        "client-small" => harness::main(|plan| Called(small(plan))),
        "client-untimed" => harness::main(|plan| Called(client(plan, untimed()))),
        "client-send" => harness::main(|plan| Sent(client(plan, Client::builder()))),
        "client-fetch" => harness::main(|plan| Fetched(client(plan, Client::builder()))),
        other => panic!("unknown variant {other}"),
    }
}

fn session<B>(plan: &Plan) -> Session<B>
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

fn retrying(plan: &Plan, policy: RetryPolicyBuilder) -> Retry<Session<ReplayBody<Payload>>> {
    let policy = policy.build().expect("the settings are valid");
    Retry::new(session(plan), policy)
}

fn client(plan: &Plan, builder: ClientBuilder) -> Client {
    pooled(plan, pool(plan), builder)
}

/// With the buffer that suits very many idle connections.
fn small(plan: &Plan) -> Client {
    let pool = pool(plan).http1_read_buffer(1024);
    pooled(plan, pool, Client::builder())
}

fn pooled(plan: &Plan, pool: PoolConfig, builder: ClientBuilder) -> Client {
    let builder = builder.pool(pool).retry(policy());
    match plan.protocol {
        Protocol::Http1 => builder.build(),
        Protocol::Http2 => builder.build_with_connector(H2c),
    }
    .expect("the settings are valid")
}

/// Without a deadline and a timeout, to see what these cost.
fn untimed() -> ClientBuilder {
    let timeouts = Timeouts::default().connect(None).head(None).body_idle(None);
    Client::builder().deadline(None).timeouts(timeouts)
}

/// The default, but for plans with more hosts than that has connections.
fn pool(plan: &Plan) -> PoolConfig {
    const DEFAULT: usize = 1024;
    PoolConfig::default().max_connections(plan.hosts.max(DEFAULT))
}

/// The default, but for a wait of the length that the other clients wait.
fn policy() -> RetryPolicyBuilder {
    let base = Duration::from_millis(1);
    let waits = Exponential::new(base)
        .throttled_base(base)
        .cap(Duration::from_millis(2));
    RetryPolicy::builder().backoff(Backoff::from(waits))
}

/// The front door, with a body that streams.
#[derive(Clone)]
struct Sent(Client);

impl Peer for Sent {
    type Target = Uri;

    fn target(&self, uri: &Uri) -> Uri {
        uri.clone()
    }

    async fn exchange(&mut self, uri: &mut Uri, request: Request<Payload>) -> Answer {
        let response = builder(&self.0, uri, request).send().await;
        let response = response.expect("the server answers");
        Answer {
            status: response.status(),
            bytes: drain(response.into_inner().into_body()).await,
        }
    }
}

/// The front door, with a body that is collected below the retries.
#[derive(Clone)]
struct Fetched(Client);

impl Peer for Fetched {
    type Target = Uri;

    fn target(&self, uri: &Uri) -> Uri {
        uri.clone()
    }

    async fn exchange(&mut self, uri: &mut Uri, request: Request<Payload>) -> Answer {
        let response = builder(&self.0, uri, request).fetch().await;
        let response = response.expect("the server answers");
        Answer {
            status: response.status(),
            bytes: response.into_body().len(),
        }
    }
}

fn builder(client: &Client, uri: &Uri, request: Request<Payload>) -> RequestBuilder {
    let (head, payload) = request.into_parts();
    let mut builder = client.request(head.method, uri);
    if !head.headers.is_empty() {
        builder = builder.headers(head.headers);
    }
    if payload.is_stream() {
        builder = builder.body(Body::new(payload));
    } else if !payload.is_empty() {
        builder = builder.body(payload.into_bytes());
    }
    builder
}
