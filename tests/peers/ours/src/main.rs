//! The session, the session with retries, and the client, each with its default settings but for
//! the number of connections and the time between attempts.

mod h2c;

use std::{fmt, time::Duration};

use bytes::Bytes;
use client::{Body, Client, ClientBuilder, RequestBuilder};
use harness::{Answer, Payload, Peer, Plan, Protocol, drain};
use http::{Request, Response, Uri};
use http_body_util::Full;
use retry_layer::{Backoff, Exponential, ReplayBody, Retry, RetryPolicy, RetryPolicyBuilder};
use session_layer::{Connector, Http2, PoolConfig, Session, SessionLayer, Timeouts};
use tower::Layer;
use tower_service::Service;

use self::h2c::H2c;

fn main() {
    harness::main(|plan: &Plan| match plan.variant.as_str() {
        "session" => Ours::Session(session(plan)),
        "session-retry" => Ours::Retrying(retrying(plan, policy())),
        // So that a whole upload is kept.
        "session-replay" => Ours::Retrying(retrying(plan, policy().replay_limit(plan.upload))),
        "client" => Ours::Client(client(plan, Client::builder())),
        "client-send" => Ours::Send(client(plan, Client::builder())),
        "client-fetch" => Ours::Fetch(client(plan, Client::builder())),
        "client-untimed" => Ours::Client(client(plan, untimed())),
        other => panic!("unknown variant {other}"),
    });
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
    let builder = builder.pool(pool(plan)).retry(policy());
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

#[derive(Clone)]
enum Ours {
    Session(Session<Payload>),
    Retrying(Retry<Session<ReplayBody<Payload>>>),
    /// The client as a tower service.
    Client(Client),
    /// The front door, with a body that streams.
    Send(Client),
    /// The front door, with a body that is collected below the retries.
    Fetch(Client),
}

impl Peer for Ours {
    type Target = Uri;

    fn target(&self, uri: &Uri) -> Uri {
        uri.clone()
    }

    async fn exchange(&mut self, uri: &mut Uri, mut request: Request<Payload>) -> Answer {
        *request.uri_mut() = uri.clone();
        match self {
            Self::Session(session) => read(session.call(request).await).await,
            Self::Retrying(retry) => read(retry.call(request).await).await,
            Self::Client(client) if request.body().is_stream() => {
                read(client.call(request).await).await
            }
            Self::Client(client) => {
                let request = request.map(|payload| Full::new(payload.into_bytes()));
                read(client.call(request).await).await
            }
            Self::Send(client) => {
                let response = builder(client, request).send().await;
                read(response.map(client::Response::into_inner)).await
            }
            Self::Fetch(client) => {
                let response = builder(client, request).fetch().await;
                let response = response.expect("the server answers");
                Answer {
                    status: response.status(),
                    bytes: response.into_body().len(),
                }
            }
        }
    }
}

async fn read<B, E>(response: Result<Response<B>, E>) -> Answer
where
    B: http_body::Body<Data = Bytes>,
    B::Error: fmt::Debug,
    E: fmt::Debug,
{
    let response = response.expect("the server answers");
    Answer {
        status: response.status(),
        bytes: drain(response.into_body()).await,
    }
}

fn builder(client: &Client, request: Request<Payload>) -> RequestBuilder {
    let (head, payload) = request.into_parts();
    let mut builder = client.request(head.method, &head.uri);
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
