//! Lets classifiers look at the beginning of a response's body.
//!
//! Some services report a failure inside a body whose status says 200. A [`PeekLayer`] goes
//! directly below [`RetryLayer`](crate::RetryLayer): it reads a bounded prefix of the body of each
//! chosen response, and puts a [`Peeked`] into the extensions of the response, where a classifier
//! finds it. The caller still reads every byte of the body.
//!
//! ```
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use retry_layer::{
//!     Class, Outcome, Classifier, ReplayBody, ResponseExt, RetryLayer, RetryPolicy, Standard,
//!     peek::{PeekLayer, Peeked}, classifier_fn,
//! };
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let server = service_fn(|_: Request<ReplayBody<Full<Bytes>>>| async {
//! #     Ok::<_, std::convert::Infallible>(Response::new(Full::<Bytes>::from("Code: 202. Too many simultaneous queries")))
//! # });
//! let standard = Standard::default();
//! let too_busy = classifier_fn(move |outcome: &Outcome<'_>| {
//!     let peeked = outcome.extensions().and_then(|extensions| extensions.get::<Peeked>());
//!     match peeked {
//!         Some(peeked) if peeked.prefix().starts_with(b"Code: 202.") => Class::Ambiguous,
//!         _ => standard.classify(outcome),
//!     }
//! });
//! let service = ServiceBuilder::new()
//!     .layer(RetryLayer::new(RetryPolicy::builder().classifier(too_busy).build()?))
//!     .layer(PeekLayer::new(256))
//!     .service(server);
//!
//! let response = service.oneshot(Request::new(Full::default())).await?;
//! assert_eq!(response.retry_report().attempts().len(), 3);
//! # Ok(())
//! # }
//! ```
//!
//! # What it costs
//!
//! The head of a response that is peeked at is delayed until the prefix is full, the body ends, or
//! the [time](PeekLayer::within) is over. A stream of events that is slow to begin would be delayed
//! by that: [`only`](PeekLayer::only) chooses the responses. The body of a response that is peeked
//! at takes one allocation; the others pass through.

mod body;
mod future;
mod layer;
mod service;
mod settings;

pub use self::{
    body::{PeekBody, Peeked},
    future::PeekFuture,
    layer::PeekLayer,
    service::Peek,
};
