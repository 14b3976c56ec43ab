//! The session, the session with retries, and the client, each with its default settings but for
//! the number of connections and the time between attempts.

mod h2c;

use std::time::Duration;

use bytes::Bytes;
use client::Client;
use harness::{Answer, Peer, Plan, Protocol, drain};
use http::{Method, Request, Uri};
use http_body_util::Full;
use retry_layer::{Backoff, Exponential, ReplayBody, Retry, RetryPolicy};
use session_layer::{Connector, Http2, PoolConfig, Session, SessionLayer, Timeouts};
use tower::Layer;
use tower_service::Service;

use self::h2c::H2c;

type Body = Full<Bytes>;

fn main() {
    harness::main(|plan: &Plan| match plan.variant.as_str() {
        "session" => Ours::Session(session(plan)),
        "session-retry" => Ours::Retrying(Retry::new(session(plan), policy())),
        "client" => Ours::Client(client(plan)),
        "client-send" => Ours::Send(client(plan)),
        "client-fetch" => Ours::Fetch(client(plan)),
        other => panic!("unknown variant {other}"),
    });
}

fn session<B>(plan: &Plan) -> Session<B>
where
    B: http_body_util::BodyExt<Data = Bytes> + Send + Unpin + 'static,
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

fn client(plan: &Plan) -> Client {
    let builder = Client::builder().pool(pool(plan)).retry(policy());
    match plan.protocol {
        Protocol::Http1 => builder.build(),
        Protocol::Http2 => builder.build_with_connector(H2c),
    }
    .expect("the settings are valid")
}

/// The default, but for plans with more hosts than that has connections.
fn pool(plan: &Plan) -> PoolConfig {
    const DEFAULT: usize = 1024;
    PoolConfig::default().max_connections(plan.hosts.max(DEFAULT))
}

/// The default, but for a wait of the length that the other clients wait.
fn policy() -> RetryPolicy {
    let base = Duration::from_millis(1);
    let waits = Exponential::new(base)
        .throttled_base(base)
        .cap(Duration::from_millis(2));
    RetryPolicy::builder()
        .backoff(Backoff::from(waits))
        .build()
        .expect("the settings are valid")
}

#[derive(Clone)]
enum Ours {
    Session(Session<Body>),
    Retrying(Retry<Session<ReplayBody<Body>>>),
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

    async fn exchange(&mut self, uri: &mut Uri, upload: Option<Bytes>) -> Answer {
        match self {
            Self::Session(session) => {
                let response = session.call(request(uri, upload)).await;
                let response = response.expect("the server answers");
                Answer {
                    status: response.status(),
                    bytes: drain(response.into_body()).await,
                }
            }
            Self::Retrying(service) => {
                let response = service.call(request(uri, upload)).await;
                let response = response.expect("the server answers");
                Answer {
                    status: response.status(),
                    bytes: drain(response.into_body()).await,
                }
            }
            Self::Client(client) => {
                let response = client.call(request(uri, upload)).await;
                let response = response.expect("the server answers");
                Answer {
                    status: response.status(),
                    bytes: drain(response.into_body()).await,
                }
            }
            Self::Send(client) => {
                let response = builder(client, uri, upload).send().await;
                let response = response.expect("the server answers");
                Answer {
                    status: response.status(),
                    bytes: drain(response.into_inner().into_body()).await,
                }
            }
            Self::Fetch(client) => {
                let response = builder(client, uri, upload).fetch().await;
                let response = response.expect("the server answers");
                Answer {
                    status: response.status(),
                    bytes: response.into_body().len(),
                }
            }
        }
    }
}

fn request(uri: &Uri, upload: Option<Bytes>) -> Request<Body> {
    let post = upload.is_some();
    let mut request = Request::new(Full::new(upload.unwrap_or_default()));
    *request.uri_mut() = uri.clone();
    if post {
        *request.method_mut() = Method::POST;
    }
    request
}

fn builder(client: &Client, uri: &Uri, upload: Option<Bytes>) -> client::RequestBuilder {
    match upload {
        None => client.get(uri),
        Some(bytes) => client.post(uri).body(bytes),
    }
}
