//! A pause that one answer sets for all requests: when a server says that it has had enough, they wait
//! for their turn.
//!
//! ```
//! use std::time::Duration;
//! use bytes::Bytes;
//! use http::{Request, Response, StatusCode};
//! use http_body_util::Empty;
//! use retry_layer::{health::PartitionKey, pause::{Pause, PauseLayer}};
//! use tower::{Layer, Service, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let busy = service_fn(async |_: Request<Empty<Bytes>>| {
//!     let mut response = Response::new(());
//!     *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
//!     response.headers_mut().insert("retry-after", 30.into());
//!     Ok::<_, std::convert::Infallible>(response)
//! });
//! let pause = Pause::default();
//! let mut service = PauseLayer::new(pause.clone()).layer(busy);
//!
//! let request = || Request::get("http://peer/").body(Empty::new()).unwrap();
//! assert_eq!(service.ready().await?.call(request()).await?.status(), 429);
//! let health = pause.ledger().health(&PartitionKey::of(request().uri()));
//! assert!(health.paused_until().is_some());
//!
//! // The next one, for whomever it is, is sent after half a minute.
//! let start = tokio::time::Instant::now();
//! service.ready().await?.call(request()).await?;
//! assert!(start.elapsed() >= Duration::from_secs(30));
//! # Ok(())
//! # }
//! ```
//!
//! # How it behaves
//!
//! A response of status 429, or of 503 with a [hint](PauseBuilder::hints), pauses the
//! [partition](crate::health) of its request, for as long as the hint says, and 120 seconds
//! [at most](PauseBuilder::max_pause). A 429 without a hint pauses it for
//! [a second](PauseBuilder::without_hint). The end of a pause moves forward only.
//!
//! From then on each request waits for its turn, first come, first served. A retry layer above gives the
//! next attempt of a call the place of the call, so that one that was refused does not wait behind
//! those that came later.
//!
//! After the pause, and up to a tenth of it more, the first request is sent. Each answer that is not
//! throttled lets one more be under way, and the requests are spaced: ten a second at first, and more
//! with each. How many were admitted between two refusals tells at which rate the server admits them, and the
//! next ones soon reach nine tenths of that rate. When all requests have passed at once for a second, they
//! pass freely again.
//!
//! How that rate grows depends on the status. A 429 speaks of a quota (RFC 6585, section 4), which stays
//! what it is: the rate grows slowly at first, so that few requests are refused. A 503 speaks of an overload
//! that will soon be over (RFC 9110, section 15.6.4), and the rate of a server in trouble says nothing of the
//! time after it: it doubles with each second. A 503 also reaches all clients of a server at once, so up
//! to a quarter of the pause is added to it, and not only a tenth. In a simulated overload calls with pauses
//! make less than half of the requests and fail a quarter as often as without; where the server
//! refuses by 429, two and a half times as often.
//!
//! A request that cannot wait fails at once with [`Paused`]: one whose [`Deadline`](crate::Deadline)
//! comes before its turn, or that would wait longer than a
//! [minute](PauseBuilder::max_wait), as far as can be known; and one that comes when
//! [10,000 wait](PauseBuilder::max_waiting). So does one that waits while the pause becomes too long. Of
//! a call that has a response already, the retry layer returns that.
//!
//! A request that waits and is dropped gives its turn to the next. One that is not polled when its turn
//! comes, as when its runtime is not driven, is passed over after a second, and has its place again when
//! it is. [`HeldBack`] tells how long a request
//! has waited, and the [report](crate::AttemptRecord::held_back) of the retry layer too.
//!
//! **Readiness** is that of the service inside. A request that waits holds no readiness, such as a permit
//! of `tower::limit::concurrency` below: what the service had reserved is given back, and a clone becomes
//! ready when its turn has come.
//!
//! # Below the retries
//!
//! It stands below [`RetryLayer`](crate::RetryLayer), since it holds back attempts, and above whatever
//! limits connections. [`Paused`] is [known](crate::transport::classify) to the retry layer as
//! [`Final`](crate::Class::Final). With a [breaker](crate::breaker) it stands below that: a request that
//! is refused need not wait.
//!
//! ```
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use retry_layer::{ReplayBody, RetryLayer, pause::PauseLayer};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let server = service_fn(async |_: Request<ReplayBody<Full<Bytes>>>| {
//! #     Ok::<_, std::convert::Infallible>(Response::new(Full::<Bytes>::default()))
//! # });
//! let service = ServiceBuilder::new()
//!     .layer(RetryLayer::default())
//!     .layer(PauseLayer::default())
//!     .service(server);
//! let response = service.oneshot(Request::new(Full::default())).await?;
//! # assert_eq!(response.status(), 200);
//! # Ok(())
//! # }
//! ```
//!
//! # What it costs
//!
//! A request to a partition that is not paused takes no lock, allocates nothing and reads no clock: it
//! hashes the host, and its future holds one reference count. One that waits has an entry in the line,
//! a timer and a box.
//!
//! # How it differs
//!
//! `tower::limit::rate` sends so many requests in a time, whatever the server says, and knows one queue for
//! all origins. The AWS SDKs' adaptive mode also learns a rate from throttled answers; it holds back the
//! calls of one client by a token bucket without an order, and knows no `Retry-After`. A limit of
//! requests under way, as `tower::limit::concurrency` or Envoy's adaptive one, follows latency and not
//! refusals.

mod builder;
mod error;
mod future;
mod handle;
mod held;
mod layer;
mod line;
mod pace;
mod service;
mod shared;

pub use self::{
    builder::PauseBuilder,
    error::{PauseError, Paused, PausedReason},
    future::PauseFuture,
    handle::Pause,
    held::HeldBack,
    layer::PauseLayer,
    service::SharedPause,
};
pub(crate) use self::{
    held::{CallPlace, Throttled},
    line::Line,
};
