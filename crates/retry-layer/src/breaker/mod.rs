//! A circuit breaker: an origin that fails is not asked for a while.
//!
//! ```
//! use bytes::Bytes;
//! use http::{Request, Response, StatusCode};
//! use http_body_util::Empty;
//! use retry_layer::{breaker::{Breaker, BreakerLayer, CircuitState}, health::PartitionKey};
//! use tower::{Layer, Service, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let overloaded = service_fn(async |_: Request<Empty<Bytes>>| {
//!     let mut response = Response::new(());
//!     *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
//!     Ok::<_, std::convert::Infallible>(response)
//! });
//! let breaker = Breaker::default();
//! let mut service = BreakerLayer::new(breaker.clone()).layer(overloaded);
//!
//! let request = || Request::get("http://peer/").body(Empty::new()).unwrap();
//! for _ in 0..7 {
//!     assert_eq!(service.ready().await?.call(request()).await?.status(), 503);
//! }
//! let error = service.ready().await?.call(request()).await.unwrap_err();
//! let open = error.circuit_open().unwrap();
//! println!("{open}; come back in {:?}", open.retry_after());
//! assert_eq!(breaker.state(&PartitionKey::of(request().uri())), CircuitState::Open);
//! # Ok(())
//! # }
//! ```
//!
//! # How it behaves
//!
//! Each [origin](crate::health::PartitionKey) has a circuit, or each [tenant or token](crate::health::LedgerBuilder::key_by) that a
//! closure names. All services that are made with one [`Breaker`], and their clones, share its circuits,
//! and so do breakers with one [ledger](BreakerBuilder::ledger).
//! The defaults are those of Linkerd, but for the time that failures must have gone on.
//!
//! - *Closed*: requests pass. The circuit opens after [7 failures in a
//!   row](BreakerBuilder::consecutive_failures) that have gone on for [half a
//!   second](BreakerBuilder::failing_for), or for as long as the origin had worked before them: the
//!   requests that are under way at one moment fail together when a connection breaks or a server
//!   restarts, and retries get over that. If it is set, a circuit also opens where too small a part of
//!   the attempts of the last seconds [succeeded](SuccessRate).
//! - *Open*: requests are refused with [`CircuitOpen`], before anything is sent. The first wait is
//!   [one second](BreakerBuilder::min_wait) and doubles each time, up to
//!   [60 seconds](BreakerBuilder::max_wait), and up to a half is [added at
//!   random](BreakerBuilder::jitter_percent). A `Retry-After` of the response that opened the circuit
//!   lengthens the wait, up to [120 seconds](BreakerBuilder::max_retry_after).
//! - *Half open*: the next request is a probe, and all others are refused while it is under way. A
//!   success closes the circuit; a failure, and 429 too, opens it again. A probe that takes longer
//!   than the wait before it is given up: its outcome is ignored, and another request may probe.
//!
//! What was sent before a change of the state decides nothing after it. No timer and no task runs: the
//! first request after the wait is the probe.
//!
//! **Readiness** is that of the service inside. Which origin a request is for is known only when it
//! comes, so an open circuit is told by `call` and never by `poll_ready`.
//!
//! **By hand**: [`Breaker::open`] refuses all requests of an origin until [`Breaker::close`].
//!
//! # What counts
//!
//! A [`Classifier`](crate::Classifier) says what an outcome means: [`ServerFailures`] unless
//! [another](BreakerBuilder::classifier) is set. Of its class this follows:
//!
//! | class | counts as |
//! |---|---|
//! | [`Ambiguous`](crate::Class::Ambiguous), [`NotSent`](crate::Class::NotSent) | a failure |
//! | [`Throttled`](crate::Class::Throttled); any response of status 429 | *throttled*: it ends a run of failures, since the server works, and counts as a failure for the success rate and for a probe |
//! | [`Final`](crate::Class::Final) response | a success, unless the classifier [says otherwise](crate::Classifier::is_success) |
//! | `Final` error | neither: the classifier says that it tells nothing about the origin |
//! | [`Stale`](crate::Class::Stale), [`Unprocessed`](crate::Class::Unprocessed) | neither: the peer let a connection go, which healthy servers do too |
//! | [`Permanent`](crate::Class::Permanent) | neither: the request or this side's settings are at fault |
//!
//! So by default every 5xx and every transport error is a failure, and a 4xx is a success. An attempt
//! that is dropped counts neither way, and a probe that is dropped makes room for the next one.
//!
//! The **head** of a response decides. A body that breaks later counts neither way: a stream may last
//! for hours, and a probe that waited for its end would keep the circuit from closing for as long.
//! Where bodies are to count, a layer below that collects them makes an error of one that breaks.
//!
//! # Below or above the retries
//!
//! **Below** [`RetryLayer`](crate::RetryLayer), the usual place, it counts attempts, and sees the URI
//! that each attempt has. [`CircuitOpen`] is [known](crate::transport::classify) to the retry layer as
//! [`Final`](crate::Class::Final): the call ends at once with that error, without a wait and without a
//! token of the budget, since the same origin would refuse again.
//!
//! **Above**, it counts calls: one that succeeds by a retry is a success. A refusal costs even less
//! there, and a call whose retries go on while others open the circuit is not cut short.
//!
//! ```
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use retry_layer::{ReplayBody, RetryLayer, breaker::{Breaker, BreakerLayer}};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let server = service_fn(async |_: Request<ReplayBody<Full<Bytes>>>| {
//! #     Ok::<_, std::convert::Infallible>(Response::new(Full::<Bytes>::default()))
//! # });
//! let service = ServiceBuilder::new()
//!     .layer(RetryLayer::default())
//!     .layer(BreakerLayer::new(Breaker::builder().build()?))
//!     .service(server);
//! let response = service.oneshot(Request::new(Full::default())).await?;
//! # assert_eq!(response.status(), 200);
//! # Ok(())
//! # }
//! ```
//!
//! Where the next attempt goes to another origin, as with a list of endpoints, a classifier of the
//! *retry* policy says that it is worth it:
//!
//! ```
//! use retry_layer::{Class, Classifier, Outcome, RetryPolicy, Standard, breaker::CircuitOpen, classifier_fn};
//!
//! const ENDPOINTS: u32 = 2;
//! let next_endpoint = classifier_fn(|outcome: &Outcome<'_>| {
//!     match outcome.find_error::<CircuitOpen>() {
//!         Some(_) if outcome.attempt() < ENDPOINTS => Class::NotSent,
//!         _ => Class::Final,
//!     }
//! });
//! let policy = RetryPolicy::builder().classifier(Standard::default().or(next_endpoint)).build()?;
//! # Ok::<(), retry_layer::BuildError>(())
//! ```
//!
//! # What it costs
//!
//! A request to a closed circuit takes no lock, allocates nothing and reads no clock: it hashes the
//! host, and its future holds one reference count. (`cargo bench -p retry-layer --bench breaker`.) With
//! a [classifier](BreakerBuilder::classifier) of one's own it takes one allocation. An
//! outcome that is no success, the first success, and those right after a failure take the lock of
//! their circuit.
//! The ledger has a [fixed number](crate::health::LedgerBuilder::max_origins) of circuits. A healthy origin
//! that was not used for the longest time makes room, and an open one stays.
//!
//! # How it differs
//!
//! | | here | Linkerd's proxy | tower-resilience 0.14 |
//! |---|---|---|---|
//! | a circuit for | each origin, or a key of the caller's | each endpoint | each service |
//! | opens by | failures in a row, success rate, or both | the same | failure rate of the last 100 calls, or failures in a row |
//! | failures in a row last for | half a second | any time | any time |
//! | stays open for | 1 to 60 s, doubling, with jitter; `Retry-After` | the same; `Retry-After` if chosen | 30 s |
//! | a probe fails by | a failure or 429 | the same with a success rate; without one 429 passes | a failure |
//! | what was sent before | is ignored | ends the probation, whichever comes first | counts |
//! | an open circuit is told by | `call` | readiness, so that a balancer passes the endpoint over | `call` |
//! | the success path takes | atomics | a channel to a task | an async mutex and a box |
//! | the error's `source()` | the cause | – | none: see [errors that hide their cause](crate::classify#errors-that-hide-their-cause) |

mod builder;
mod circuit;
mod error;
mod future;
mod handle;
mod layer;
mod reason;
mod service;
mod settings;
mod shared;
mod signal;
#[cfg(test)]
mod tests;
mod wait;
mod window;

pub(crate) use self::circuit::Circuit;
pub use self::{
    builder::BreakerBuilder,
    circuit::CircuitState,
    error::{BreakerError, CircuitOpen},
    future::BreakerFuture,
    handle::Breaker,
    layer::BreakerLayer,
    reason::OpenReason,
    service::CircuitBreaker,
    settings::SuccessRate,
    signal::ServerFailures,
};
