// What is kept of a body is kept as `Bytes`.
//~ type mismatch resolving `<Full<VecDeque<u8>> as Body>::Data == Bytes`

use std::collections::VecDeque;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use retry_layer::{ReplayBody, RetryLayer};
use tower::{Service, ServiceBuilder, service_fn};

fn takes<S: Service<Request<Full<VecDeque<u8>>>>>(_: S) {}

fn main() {
    let server = service_fn(async |_: Request<ReplayBody<Full<VecDeque<u8>>>>| {
        Ok::<_, std::convert::Infallible>(Response::new(Full::<Bytes>::default()))
    });
    takes(
        ServiceBuilder::new()
            .layer(RetryLayer::default())
            .service(server),
    );
}
