//! A tower layer that retries HTTP requests when that can help and does no harm.
//!
//! ```
//! use std::time::Duration;
//!
//! use bytes::Bytes;
//! use http::{Request, Response, StatusCode};
//! use http_body_util::Full;
//! use retry_layer::{Exponential, ReplayBody, ResponseExt, RetryLayer, RetryPolicy};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let calls = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
//! # let server = service_fn(move |request: Request<ReplayBody<Full<Bytes>>>| {
//! #     let first = calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0;
//! #     async move {
//! #         use http_body_util::BodyExt;
//! #         let mut response = Response::new(Full::new(request.into_body().collect().await.unwrap().to_bytes()));
//! #         if first { *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE; }
//! #         Ok::<_, std::convert::Infallible>(response)
//! #     }
//! # });
//! let policy = RetryPolicy::builder()
//!     .max_attempts(4)
//!     .backoff(Exponential::from(Duration::from_millis(200)))
//!     .build()?;
//! let service = ServiceBuilder::new().layer(RetryLayer::new(policy)).service(server);
//!
//! let request = Request::put("http://example.com/rank").body(Full::from("7"))?;
//! let response = service.oneshot(request).await?;
//!
//! assert_eq!(response.status(), StatusCode::OK);
//! assert_eq!(response.retry_report().attempts().len(), 2);
//! # Ok(())
//! # }
//! ```
//!
//! # How it behaves
//!
//! **What is retried.** A [`Classifier`], the status and error predicate of a policy, gives each
//! outcome a [`Class`], by the status and headers of a response, or by an error and all of its
//! sources. The default is [`Standard`]; others are [made of closures and of each
//! other](classify), and there is one for [gRPC](grpc). Whether the request is then retried depends
//! on it: a request that was provably not processed is retried whatever its method; one that may
//! have been processed only if its method is idempotent (RFC 9110, section 9.2.2), if it carries an
//! `Idempotency-Key`, or if it is marked as [`Idempotent`]. A POST that is answered with 503 is sent
//! once.
//!
//! **How long it waits.** [`Exponential`] backoff with full jitter, or any schedule. A
//! `Retry-After` or another [hint] is honoured: the retry never comes earlier, and beyond a bound the
//! response is returned instead. A wait that would outlive the call's [`Deadline`] is not begun. A
//! refused response is drained within narrow bounds, or dropped, before the wait: a call that waits
//! holds no connection.
//!
//! **Where it ends.** A call is over when the head of its response is there. A body that breaks after
//! that can be continued by a layer above: [`resume`].
//!
//! **What it costs.** A call that succeeds at once costs a copy of the request's head, and of its
//! headers if it has any, and no allocation without them. A body is kept
//! by reference count while it passes, see [`ReplayBody`], or made anew by a [`BodyFactory`]. A call
//! that cannot be retried costs one wrapper. (`cargo bench -p retry-layer` counts the instructions
//! of both, beside `tower::retry`.) All calls under one policy share a [`budget`], so that
//! retries cannot add much to an overload.
//!
//! **What comes back.** The last response or error of the inner service, unchanged. If more than
//! one plain attempt was made, or could not be made, a [`RetryReport`] says what happened and why
//! the call ended: in the extensions of a response, or given to [`Classifier::annotate`] with an
//! error. For each attempt the report has its begin and duration, and the kind, cause and peer of
//! its failure, from the causes of its error or from [`Classifier::describe`].
//! Services below see an [`Attempt`] in the extensions of every request but the first.
//!
//! **What a request can override**, by its extensions: the whole [`RetryPolicy`], the
//! [`Deadline`], [`Idempotent`], [`NoRetry`], [`IdempotencyKeys`], [`BeforeAttempt`].
//!
//! **What else a policy can do.** It gives calls [keys](IdempotencyKeys), changes
//! [each attempt](BeforeAttempt) before it is sent, reports each ended attempt to a
//! [`RetryObserver`], sends the [number of the attempt](AttemptHeader) and the [rest of the
//! deadline](TimeoutHeader) to the server, and switches [retry layers below](RetryOwner) off.
//!
//! **Order of layers.** What has to happen once per call (a deadline, redirects) goes above, what
//! has to happen for each attempt (signing, an [attempt's timeout](attempt_timeout), a
//! [look](peek) at the response's body) below. What a layer above can ask of a call, and how it gets the
//! request again, [`future`] tells. A service whose error is
//! a `BoxError` needs a [`NamedErrorLayer`] directly below. A circuit [breaker] can go on either side:
//! below, it counts attempts. The classifier has to [know](classify#errors-that-hide-their-cause) the
//! error of another crate's breaker. A [hedge] layer sends a second attempt beside one that takes long; it
//! goes directly below.
//!
//! # Where the compiler says no
//!
//! tower's layers are checked where a service is used and not where it is put together, so the
//! compiler often names a line far from the cause. What it says, and what helps:
//!
//! - *"the method `oneshot` (`ready`, `call`) exists for struct `Retry<..>`, but its trait bounds were
//!   not satisfied"*, or *"is not an error type that `Retry` can look into"*: something below has a
//!   boxed error, as tower's `TimeoutLayer`, `BufferLayer` and `LoadShedLayer` have. Put a
//!   [`NamedErrorLayer`] between, directly below [`RetryLayer`]. In place of a `TimeoutLayer` there is the
//!   [attempt's timeout](attempt_timeout), whose error has a name.
//! - *"expected `Request<Full<Bytes>>`, found `Request<ReplayBody<Full<Bytes>>>`"*, or *"the trait
//!   `Service<Request<ReplayBody<..>>>` is not implemented for `Client<..>`"*: the service below has to take
//!   the body that can be sent again. Of hyper-util's client that is the second type parameter:
//!   `.build::<_, ReplayBody<Full<Bytes>>>(connector)`, or `.build(connector)`, which infers it. A service
//!   that takes any body needs nothing.
//! - *"type mismatch resolving `<.. as Body>::Data == Bytes`"*: what is sent has to be an `http_body::Body` of
//!   `Bytes`, whose error can be boxed (`Into<BoxError>`). One of other data becomes one by
//!   `http_body_util::BodyExt::map_frame`.
//! - *"the trait `Clone` is not implemented"*: each call keeps the service that was ready, and leaves
//!   a clone in its place. tower's `BoxService` is no `Clone`; `BoxCloneService` is one, and a
//!   `BufferLayer` with a `NamedErrorLayer` over it makes one of any service.
//! - *"the trait `Classifier` is not implemented for closure"*: [`classifier_fn`] makes one of it.
//! - *"type annotations needed"* where a `Retry` is made ready: it takes requests with any body. Say
//!   which, as in `ServiceExt::<Request<Full<Bytes>>>::ready(&mut service)`, or use `oneshot(request)`.
//!
//! ```
//! use std::time::Duration;
//!
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use retry_layer::{NamedErrorLayer, ReplayBody, RetryLayer};
//! use tower::{ServiceBuilder, ServiceExt, service_fn, timeout::TimeoutLayer};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = service_fn(async |_: Request<ReplayBody<Full<Bytes>>>| {
//!     Ok::<_, std::convert::Infallible>(Response::new(Full::<Bytes>::default()))
//! });
//! let service = ServiceBuilder::new()
//!     .layer(RetryLayer::default())
//!     .layer(NamedErrorLayer::new())
//!     .layer(TimeoutLayer::new(Duration::from_secs(1)))
//!     .service(server);
//! let response = service.oneshot(Request::new(Full::default())).await?;
//! assert_eq!(response.status(), 200);
//! # Ok(())
//! # }
//! ```
//!
//! # How it differs from `tower::retry`
//!
//! - A [`tower::retry::Policy`](https://docs.rs/tower/latest/tower/retry/trait.Policy.html) must
//!   clone the request, which a streamed body cannot; here a body is recorded while it passes.
//! - There, retries wait only if the policy's own future sleeps, and nothing knows of
//!   `Retry-After`, idempotence or deadlines; here that is the layer's work, and a policy is a set
//!   of values.
//! - Its exponential backoff makes each call of a cloned policy draw the same jitter; here each
//!   call has its own generator.
//! - It drops a refused response unread, which closes an HTTP/1 connection; here one that is short
//!   is read to its end first.
//!
//! [Tables of the differences](differences) to aiohttp-retry, reqwest, reqwest-retry, Envoy, gRPC and
//! the AWS SDKs have a page of their own.
//!
//! # Features
//!
//! - `hyper` (default): knows hyper's errors.
//! - `hyper-util`: knows the errors of its legacy client.
//! - `h2`: knows refused streams and GOAWAY.
//! - `rustls`: knows a certificate that will not be better next time.
//! - `tonic`: retries over tonic's channel, by `tonic::RetryChannelLayer`.
//! - `tower`: lends budgets of `tower::retry`, and knows the errors of tower's timeout and load shed.

mod attempt;
pub mod attempt_timeout;
pub mod backoff;
mod before;
pub mod breaker;
pub mod budget;
mod call;
mod causes;
mod class;
pub mod classify;
mod deadline;
mod details;
pub mod differences;
mod drain;
mod error;
mod events;
mod extras;
pub mod future;
pub mod grpc;
mod headers;
pub mod health;
pub mod hedge;
pub mod hint;
mod jitter;
mod key;
mod layer;
mod line;
mod marker;
mod named;
mod observer;
mod outcome;
mod owner;
pub mod pause;
pub mod peek;
mod policy;
mod replay;
mod report;
pub mod resume;
pub mod retry_after;
mod service;
mod stop;
#[cfg(feature = "tonic")]
pub mod tonic;
pub mod transport;
mod verdict;

pub use self::{
    attempt::{Attempt, EarlierTransparentRetries, Resumption},
    backoff::{Backoff, Exponential},
    before::BeforeAttempt,
    class::{Class, Processed},
    classify::{Classifier, ClassifierFn, Standard, classifier_fn},
    deadline::Deadline,
    details::{AttemptDetails, AttemptPhase, FailureKind},
    drain::Drain,
    error::BuildError,
    headers::{AttemptHeader, TimeoutHeader},
    jitter::Jitter,
    key::IdempotencyKeys,
    layer::RetryLayer,
    marker::{EarlyData, Idempotent, NoHedge, NoRetry},
    named::{BoxError, NamedError, NamedErrorLayer, NamedServiceError, ServiceError},
    observer::{EndedAttempt, RetryObserver, SentHedge},
    outcome::Outcome,
    owner::RetryOwner,
    policy::{
        AiohttpException, BodyReplay, Hedged, Idempotence, RetryPolicy, RetryPolicyBuilder,
        RetryRules,
    },
    replay::{BodyFactory, KeptBody, ReplayBody, ReplayBodyError},
    report::{AttemptOutcome, AttemptRecord, ResponseExt, RetryReport, Wait, WaitReason},
    service::Retry,
    stop::StopReason,
};

/// The code of this crate's README, held to compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
