//! tower-http-client with `tower::retry` over reqwest, put together as its example `retry` does.

#[path = "../../hyper-util/src/policy.rs"]
mod policy;

use harness::{Answer, Payload, Peer, Plan, Protocol, drain};
use http::{Request, Response, Uri};
use reqwest::{Body, Client};
use tower::{BoxError, ServiceBuilder, ServiceExt as _, retry::RetryLayer, util::BoxCloneService};
use tower_http_client::ServiceExt as _;
use tower_reqwest::HttpClientLayer;

use self::policy::ThreeAttempts;

fn main() {
    harness::main(|plan: &Plan| {
        let builder = Client::builder();
        let builder = match plan.protocol {
            Protocol::Http1 => builder.http1_only(),
            Protocol::Http2 => builder.http2_prior_knowledge(),
        };
        let client = builder.build().expect("the settings are valid");
        let service = ServiceBuilder::new()
            .map_err(BoxError::from)
            .layer(RetryLayer::new(ThreeAttempts::default()))
            .map_request(|request: Request<Payload>| request.map(Body::wrap))
            .layer(HttpClientLayer)
            .service(client);
        TowerHttpClient(service.boxed_clone())
    });
}

#[derive(Clone)]
struct TowerHttpClient(BoxCloneService<Request<Payload>, Response<Body>, BoxError>);

impl Peer for TowerHttpClient {
    type Target = Uri;

    fn target(&self, uri: &Uri) -> Uri {
        uri.clone()
    }

    async fn exchange(&mut self, uri: &mut Uri, mut request: Request<Payload>) -> Answer {
        *request.uri_mut() = uri.clone();
        let response = self.0.execute(request).await.expect("the server answers");
        Answer {
            status: response.status(),
            bytes: drain(response.into_body()).await,
        }
    }
}
