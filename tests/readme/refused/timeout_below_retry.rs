// tower's `TimeoutLayer` has a boxed error, which is no `std::error::Error`.
//~ is not an error type that `Retry` can look into
//~ put a `retry_layer::NamedErrorLayer` between them

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use retry_layer::{ReplayBody, RetryLayer};
use tower::{Service, ServiceBuilder, service_fn, timeout::TimeoutLayer};

fn takes<S: Service<Request<Full<Bytes>>>>(_: S) {}

fn main() {
    let server = service_fn(async |_: Request<ReplayBody<Full<Bytes>>>| {
        Ok::<_, std::convert::Infallible>(Response::new(Full::<Bytes>::default()))
    });
    takes(
        ServiceBuilder::new()
            .layer(RetryLayer::default())
            .layer(TimeoutLayer::new(Duration::from_secs(1)))
            .service(server),
    );
}
