// hyper-util's client is built for the body of the caller, and gets one that can be sent again.
//~ `Client<HttpConnector, Full<Bytes>>: Service<Request<ReplayBody<

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use retry_layer::RetryLayer;
use tower::{Service, ServiceBuilder};

fn takes<S: Service<Request<Full<Bytes>>>>(_: S) {}

fn main() {
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    takes(
        ServiceBuilder::new()
            .layer(RetryLayer::default())
            .service(client),
    );
}
