//! reqwest-middleware with reqwest-retry.

use std::time::Duration;

use harness::{Answer, Payload, Peer, Plan, Protocol, drain};
use http::{Request, Uri};
use reqwest::{Body, Client, Url};
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware};
use reqwest_retry::{RetryTransientMiddleware, policies::ExponentialBackoff};

fn main() {
    harness::main(|plan: &Plan| {
        let builder = Client::builder();
        let builder = match plan.protocol {
            Protocol::Http1 => builder.http1_only(),
            Protocol::Http2 => builder.http2_prior_knowledge(),
        };
        let client = builder.build().expect("the settings are valid");
        let backoff = ExponentialBackoff::builder()
            .retry_bounds(Duration::from_millis(1), Duration::from_millis(2))
            .build_with_max_retries(2);
        let retries = RetryTransientMiddleware::new_with_policy(backoff);
        Middleware(ClientBuilder::new(client).with(retries).build())
    });
}

#[derive(Clone)]
struct Middleware(ClientWithMiddleware);

impl Peer for Middleware {
    type Target = Url;

    fn target(&self, uri: &Uri) -> Url {
        uri.to_string().parse().expect("it is a URL")
    }

    async fn exchange(&mut self, url: &mut Url, request: Request<Payload>) -> Answer {
        let (head, payload) = request.into_parts();
        let mut builder = self.0.request(head.method, url.clone());
        // A stream is refused by this middleware.
        if !payload.is_empty() {
            builder = builder.body(payload.into_bytes());
        }
        let response = builder.send().await.expect("the server answers");
        Answer {
            status: response.status(),
            bytes: drain(Body::from(response)).await,
        }
    }
}
