//! All variants of ours in one program, each of which the first argument asks for.

use std::env;

use client::{Body, Client, RequestBuilder};
use harness::{Answer, Called, Payload, Peer, Plan, drain};
use http::{Request, Uri};
use http_body_util::Full;
use ours::{client, policy, retrying, session, small, untimed};
use tower::ServiceExt;

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
