// The same, where a method of `ServiceExt` is the first that asks for it.
//~ the method `oneshot` exists for struct `Retry<

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use retry_layer::{ReplayBody, RetryLayer};
use tower::{ServiceBuilder, ServiceExt, service_fn, timeout::TimeoutLayer};

fn main() {
    let server = service_fn(async |_: Request<ReplayBody<Full<Bytes>>>| {
        Ok::<_, std::convert::Infallible>(Response::new(Full::<Bytes>::default()))
    });
    let service = ServiceBuilder::new()
        .layer(RetryLayer::default())
        .layer(TimeoutLayer::new(Duration::from_secs(1)))
        .service(server);
    let _ = service.oneshot(Request::new(Full::<Bytes>::default()));
}
