//! tower-resilience's retry over hyper-util's client.

use std::time::Duration;

use harness::{Answer, Payload, Peer, Plan, Protocol, drain};
use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, Error, connect::HttpConnector},
    rt::TokioExecutor,
};
use tower::{Layer, Service, ServiceExt};
use tower_resilience_retry::{Retry, RetryBudgetBuilder, RetryLayer};

type Legacy = Client<HttpConnector, Payload>;

fn main() {
    harness::main(|plan: &Plan| {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client: Legacy = Client::builder(TokioExecutor::new())
            .http2_only(plan.protocol == Protocol::Http2)
            .build(connector);
        let budget = RetryBudgetBuilder::new()
            .token_bucket()
            .tokens_per_second(1_000.0)
            .max_tokens(1_000)
            .build()
            .expect("the settings are valid");
        let layer = RetryLayer::<_, Response<Incoming>, Error>::builder()
            .max_attempts(3)
            .fixed_backoff(Duration::from_millis(1))
            .retry_on_response(|response| response.status().is_server_error())
            .budget(budget)
            .build();
        Resilient(layer.layer(client))
    });
}

#[derive(Clone)]
struct Resilient(Retry<Legacy, Request<Payload>, Response<Incoming>, Error>);

impl Peer for Resilient {
    type Target = Uri;

    fn target(&self, uri: &Uri) -> Uri {
        uri.clone()
    }

    async fn exchange(&mut self, uri: &mut Uri, mut request: Request<Payload>) -> Answer {
        *request.uri_mut() = uri.clone();
        let ready = self.0.ready().await.expect("it is always ready");
        let response = ready.call(request).await.expect("the server answers");
        Answer {
            status: response.status(),
            bytes: drain(response.into_body()).await,
        }
    }
}
