//! tower-resilience's retry over hyper-util's client.

use std::time::Duration;

use harness::{Called, Payload, Plan, Protocol};
use http::Response;
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, Error, connect::HttpConnector},
    rt::TokioExecutor,
};
use tower::Layer;
use tower_resilience_retry::{RetryBudgetBuilder, RetryLayer};

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
        Called(layer.layer(client))
    });
}
