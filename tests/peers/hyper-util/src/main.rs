//! hyper-util's client, bare and below `tower::retry`.

mod policy;

use std::env;

use harness::{Called, Payload, Plan, Protocol};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tower::retry::Retry;

use self::policy::ThreeAttempts;

type Legacy = Client<HttpConnector, Payload>;

fn main() {
    let plan = Plan::of(env::args().skip(1));
    match plan.variant.as_str() {
        "bare" => harness::main(|plan| Called(bare(plan))),
        "retry" => {
            harness::main(|plan| Called(Retry::new(ThreeAttempts::default(), bare(plan))));
        }
        other => panic!("unknown variant {other}"),
    }
}

fn bare(plan: &Plan) -> Legacy {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    Client::builder(TokioExecutor::new())
        .http2_only(plan.protocol == Protocol::Http2)
        .build(connector)
}
