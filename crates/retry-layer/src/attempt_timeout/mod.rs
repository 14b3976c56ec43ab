//! A timeout for each attempt, for stacks whose transport has none.
//!
//! ```
//! use std::time::Duration;
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::Empty;
//! use retry_layer::{ReplayBody, RetryLayer, RetryPolicy, attempt_timeout::AttemptTimeoutLayer};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let hanging = service_fn(|_: Request<ReplayBody<Empty<Bytes>>>| {
//! #     std::future::pending::<Result<Response<Empty<Bytes>>, std::convert::Infallible>>()
//! # });
//! let service = ServiceBuilder::new()
//!     .layer(RetryLayer::new(RetryPolicy::default()))
//!     .layer(AttemptTimeoutLayer::new(Duration::from_secs(2)))
//!     .service(hanging);
//!
//! let error = service.oneshot(Request::new(Empty::new())).await.unwrap_err();
//! assert!(error.is_elapsed());
//! # Ok(())
//! # }
//! ```
//!
//! # How it differs
//!
//! - The error is a named type, [`AttemptError`]; that of `tower::timeout` is boxed, and the retry
//!   layer would need a [`NamedErrorLayer`](crate::NamedErrorLayer).
//! - The time begins with the first pending poll: a service that answers at once costs no timer.
//! - The retry layer knows the error: the request may have been processed, so it is retried only if
//!   it is idempotent.
//!
//! It bounds the time until the head of a response has come, not that of its body.

mod error;
mod future;
mod layer;
mod service;

pub use self::{
    error::{AttemptElapsed, AttemptError},
    future::AttemptTimeoutFuture,
    layer::AttemptTimeoutLayer,
    service::AttemptTimeout,
};
