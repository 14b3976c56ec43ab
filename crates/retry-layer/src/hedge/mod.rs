//! Hedging: an attempt that takes long gets a second one beside it, and the first answer counts.
//!
//! A [`HedgeLayer`] goes directly below the [`RetryLayer`](crate::RetryLayer), whose policy says
//! [when a request is hedged](Hedging):
//!
//! ```
//! use std::time::Duration;
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use retry_layer::{ReplayBody, ResponseExt, RetryLayer, RetryPolicy, hedge::{Hedging, HedgeLayer}};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = service_fn(async |request: Request<ReplayBody<Full<Bytes>>>| {
//!     // Only the first attempt is slow.
//!     if request.extensions().get::<retry_layer::Attempt>().is_none() {
//!         tokio::time::sleep(Duration::from_secs(10)).await;
//!     }
//!     Ok::<_, std::convert::Infallible>(Response::new(Full::<Bytes>::from("7")))
//! });
//! let hedging = Hedging::after(Duration::from_millis(200)).build()?;
//! let service = ServiceBuilder::new()
//!     .layer(RetryLayer::new(RetryPolicy::builder().hedging(hedging).build()?))
//!     .layer(HedgeLayer::new())
//!     .service(server);
//!
//! let response = service.oneshot(Request::get("http://peer/").body(Full::default())?).await?;
//! let report = response.retry_report();
//! assert_eq!(report.to_string(), "unanswered after 200ms, then 200 to a hedge at once; stopped: answered");
//! # Ok(())
//! # }
//! ```
//!
//! # How it behaves
//!
//! **After how long.** A hedge is sent when an attempt was not answered within the delay:
//! [a fixed one](Hedging::after), or the [95th percentile](Hedging::learned) of the last 30 seconds of the
//! same origin, which the [ledger](HedgingBuilder::ledger) keeps, of at most 256 origins unless it is set. That is at most an eighth above the true percentile, so that at most
//! 5 % of the attempts are hedged. Until 100 answers have come within these 30 seconds, nothing is.
//!
//! **Which requests.** Those that may be processed twice, as for a retry: by their method, an
//! `Idempotency-Key`, or the marker [`Idempotent`](crate::Idempotent). Never one with
//! [`NoRetry`](crate::NoRetry) or [`NoHedge`](crate::NoHedge), and never one for a tunnel: CONNECT, or with
//! `Upgrade`. Its body must have been read whole by then, and be kept, or come with a
//! [`BodyFactory`](crate::BodyFactory); while it is still being sent, the hedge is put off by another delay,
//! and by 10 ms at least.
//!
//! **What it costs.** A hedge is an attempt: it counts towards
//! [`max_attempts`](crate::RetryPolicyBuilder::max_attempts), and takes [a token](crate::budget::Cost::Hedge)
//! of the same budget as a retry. A budget refuses it while less than half of its tokens are left. So when a
//! server is slow for all, the hedges stop, and the other half is left for what failed. No hedge is sent at
//! the deadline of the call or after it. By default an attempt has [one hedge](HedgingBuilder::max_hedges).
//!
//! **Who wins.** The first [answer](#what-an-answer-is). The other attempt is dropped: over HTTP/2 its
//! stream is reset, over HTTP/1 its connection is closed. An attempt that fails, or whose response the policy
//! would retry, gives way to one that is under way, and no further hedge is sent. If all fail, the
//! outcome is that of the attempt, not of a hedge, and the retry layer judges it: backoff, `Retry-After`
//! and the rest are as ever. Where the response to a hedge asks for a longer wait, that is kept. A retry is
//! hedged as the first attempt is.
//!
//! **Readiness.** The instance that made the attempt is asked for readiness before each hedge. While it is
//! not ready, the attempt goes on; if it fails to get ready, or is not ready by the deadline, there is no
//! hedge. It is dropped as soon as no further hedge can be sent, so that it keeps no place in the queue of a
//! limit.
//!
//! # What an answer is
//!
//! The first byte of the body; its end or its trailers, if there are none; or the head of a response
//! without a body. Servers that stream send the head long before they know anything: a delay that is learned
//! from heads would be so short that each request was sent twice, and a hedge that was called off by a head
//! would not help.
//!
//! So the head of a response is held back until the first byte has come: of each request that may be hedged,
//! and [for a second](HedgingBuilder::first_byte_within) at most. After that the head counts by
//! itself, and what comes of a stream that is slow to begin, such as one of events, comes as ever. It is not
//! held back where no hedge can come of it any more. An attempt whose body breaks before its first byte has
//! failed; if there is no other, the response is returned with that error in its body.
//!
//! A delay is learned from the attempts, and not from the hedges: of these only those are answered that are
//! faster than their attempt. An attempt counts with the time that its answer took, and one that is given up
//! for its hedge as twice the delay at least. One that fails, or is given up by its caller, counts with its time too,
//! and as the delay at least; but not if that was less than half of the delay, since a refusal may come fast.
//!
//! # Where the second one goes
//!
//! For the services below a hedge is an attempt with a number of its own: see
//! [`Attempt::hedge`](crate::Attempt::hedge). A hedge that goes over the same HTTP/2 connection as its
//! attempt is held up by the same lost packet: a transport should send it over another. The client does so,
//! and sends it to its next endpoint, if it has several. Hooks and headers of the policy are applied
//! to it as to any attempt.
//!
//! # What is told
//!
//! The [report](crate::RetryReport) has all attempts. Its last is the one that is returned; the ones that
//! were dropped for it are [`Unanswered`](crate::AttemptOutcome::Unanswered), and
//! [`is_hedge`](crate::AttemptRecord::is_hedge) tells which were hedges. A
//! [`RetryObserver`](crate::RetryObserver::hedges) and an event hear of each hedge that is sent.
//!
//! # What it takes
//!
//! A call whose policy does not hedge allocates nothing for the layer, which looks for the mark of a hedged
//! call among the request's extensions. A request that may be hedged takes a copy of its head, of its
//! extensions and of the service, a look at the clock, a box for its future, and one for a body whose head is held
//! back; a timer only if the answer is not there at once. Where the answer is there at once and has no body, that is
//! five allocations. (`cargo bench -p retry-layer --bench overhead`.)
//!
//! # How it differs
//!
//! | | here | gRFC A6 | tower 0.5 |
//! |---|---|---|---|
//! | the delay | fixed, or learned for each origin | fixed | a percentile that is learned for all |
//! | an answer is | the first byte of the body | the head | the response |
//! | a failure | gives way to what is under way | the same; a fatal one ends all | is the answer, if it comes first |
//! | hedges in a row | 1 unless set | up to 5 attempts | 1 |
//! | bound by | the upper half of the retries' budget | its throttle | a rule of one's own |
//! | with retries | one number of attempts, one deadline | either of the two | one inside the other |
//! | a pushback | the retry layer waits for it | delays the next hedge, or ends them | – |

mod body;
pub(crate) mod call;
mod events;
mod future;
mod latency;
mod layer;
mod origins;
mod race;
mod runner;
mod service;
mod settings;

pub use self::{
    body::HedgeBody,
    future::HedgeFuture,
    layer::HedgeLayer,
    service::Hedge,
    settings::{Hedging, HedgingBuilder},
};
pub(crate) use self::{
    call::{CallStart, Ended, HedgedCall},
    latency::{Latency, Quantiles},
};
