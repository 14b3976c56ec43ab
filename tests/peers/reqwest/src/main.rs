//! reqwest, with what it retries by itself and without.

use harness::{Answer, Payload, Peer, Plan, Protocol, drain};
use http::{Request, Uri};
use reqwest::{Body, Client, Url, retry};

fn main() {
    harness::main(|plan: &Plan| {
        let builder = match plan.variant.as_str() {
            "default" => Client::builder(),
            "never" => Client::builder().retry(retry::never()),
            other => panic!("unknown variant {other}"),
        };
        let builder = match plan.protocol {
            Protocol::Http1 => builder.http1_only(),
            Protocol::Http2 => builder.http2_prior_knowledge(),
        };
        Reqwest(builder.build().expect("the settings are valid"))
    });
}

#[derive(Clone)]
struct Reqwest(Client);

impl Peer for Reqwest {
    type Target = Url;

    fn target(&self, uri: &Uri) -> Url {
        uri.to_string().parse().expect("it is a URL")
    }

    async fn exchange(&mut self, url: &mut Url, request: Request<Payload>) -> Answer {
        let (head, payload) = request.into_parts();
        let mut builder = self.0.request(head.method, url.clone());
        if payload.is_stream() {
            builder = builder.body(Body::wrap(payload));
        } else if !payload.is_empty() {
            builder = builder.body(payload.into_bytes());
        }
        let response = builder.send().await.expect("the server answers");
        Answer {
            status: response.status(),
            bytes: drain(Body::from(response)).await,
        }
    }
}
