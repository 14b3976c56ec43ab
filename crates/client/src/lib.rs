//! A resilient HTTP client: retries over one shared session, as a tower service.
//!
//! ```
//! use client::Client;
//!
//! # async fn example() -> Result<(), client::Error> {
//! let client = Client::new();
//! let (status, body) = client
//!     .get("http://127.0.0.1:8123/ping")
//!     .header("accept", "text/plain")
//!     .fetch()
//!     .await?
//!     .into_status_and_body();
//! println!("{status}: {} bytes", body.len());
//! client.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! A [`Client`] is opened when an app starts, cloned wherever it is needed, and closed when the
//! app ends. It is one type without parameters, `Clone + Send + Sync + 'static`, and a
//! `tower::Service<http::Request<B>>` for any body whose data is [`Bytes`](bytes::Bytes): it may
//! stand in axum's state, be moved into `tokio::spawn`, and end any tower pipeline. Since it takes any
//! body, `ready()` has to be told which, unless something else says it:
//!
//! ```
//! use client::{Body, Client, http::Request};
//! use tower::{Service, ServiceExt};
//!
//! # async fn example() -> Result<(), client::Error> {
//! let mut client = Client::new();
//! let client = ServiceExt::<Request<Body>>::ready(&mut client).await?;
//! let response = client.call(Request::new(Body::empty())).await?;
//! # Ok(())
//! # }
//! ```
//!
//! It needs a Tokio runtime whose clock and IO are enabled, as `#[tokio::main]` and `#[tokio::test]`
//! have them; without one a request panics. It can be made anywhere, also in a `static`: each
//! connection ends with the runtime that it was opened on, and serves only requests of that runtime,
//! since another may stand still between two calls of `block_on`. A client that is used on several
//! runtimes has connections on each.
//!
//! # What happens to a request
//!
//! [`send`](RequestBuilder::send) gives the response as soon as its head is there, and the body
//! streams. [`fetch`](RequestBuilder::fetch) collects the body *below* the retries, so that a
//! connection that breaks in the middle of it is one more failed attempt, and what it returns
//! cannot fail for the network any more. An [`EventSource`] sends its request again whenever the stream
//! of server-sent events ends, and goes on after the last event.
//!
//! Either way each attempt runs through the same stack, outermost first: the total deadline,
//! [redirects](Redirects), the [retries](retry_layer), what is added once per attempt (headers,
//! credentials, a span), and the [session](session_layer) with its pool and timeouts. Layers of
//! one's own stand [above the retries](ClientBuilder::layer) or
//! [below them](ClientBuilder::attempt_layer).
//!
//! What a client adds by itself belongs to one origin: that of its
//! [base URL](ClientBuilder::base_url), else the one that a call goes to at first. Headers,
//! [tokens](ClientBuilder::auth) and passwords never go to another, wherever a redirect leads.
//!
//! A gateway passes the requests of others on by [`Client::forward`], with nothing of the client's own.
//!
//! | | default | set by |
//! |---|---|---|
//! | attempts | 3 in all; idempotent methods; 408, 421, 429, 500, 502, 503, 504 | [`ClientBuilder::retry`] |
//! | retries in all | a budget per origin: a burst, then one for every five answers | [`ClientBuilder::retry`] |
//! | wait | random, up to 100 ms, 200 ms, … 20 s; `Retry-After` up to 120 s | [`ClientBuilder::retry`] |
//! | total deadline | 300 s to the head, and over a body that is collected; one that streams is bound by its idle timeout only | [`ClientBuilder::deadline`] |
//! | connect, head, body idle | 10 s, 30 s, 30 s | [`ClientBuilder::timeouts`] |
//! | least throughput | none; of what is saved to a file, [100 B/s over 60 s](SAVED_FLOOR) | [`Timeouts::download_floor`], [`Timeouts::upload_floor`] |
//! | names, TCP, TLS | see [`Connector`] | [`ClientBuilder::connector`] |
//! | connections | 1024, 256 per origin; 10 s in the queue; 50 s idle; 30 min in all | [`ClientBuilder::pool`] |
//! | collected body | 64 MiB | [`ClientBuilder::max_body`] |
//! | decoded body | beyond 64 MiB, 200 times what came | [`ClientBuilder::decode_limits`] |
//! | a body that breaks | is continued where it broke by [`Response::save_to`]; asked for again as a whole by `fetch`; an error where it streams | [`ClientBuilder::resume`], [`RequestBuilder::resume`] |
//! | a failed status | is an answer like any other | [`ClientBuilder::error_for_status`], [`Response::error_for_status`] |
//! | redirects | 10, never from `https` to `http`; no credentials to another origin | [`ClientBuilder::redirects`] |
//! | cookies | none | `ClientBuilder::cookies` |
//! | proxies | none, also where the environment names one | `ClientBuilder::proxy` |
//!
//! # Decoding
//!
//! With the features `gzip`, `br`, `zstd` and `deflate`, responses that have one of these as their
//! `Content-Encoding` are decoded, and lose that header and `Content-Length`. The request asks for
//! them, unless it has an `Accept-Encoding` of its own or a `Range`.
//!
//! A body that is cut, corrupt, or followed by anything that is not another part of it is an error,
//! never a short success; of gzip and zstd, any number of members is one body. (Browsers and curl
//! leave out what follows, and with it a second member that was spoilt.) With `fetch` such an error
//! counts as a failed attempt. `deflate` is read with zlib's frame and without.
//!
//! It streams: what is held of a body does not grow with it. [`ClientBuilder::max_body`] counts
//! what was decoded. A few bytes that decode to very many (a "bomb") end at the
//! [`DecodeLimits`], also where the body streams and nothing is collected: by default beyond 64 MiB,
//! where more than 200 bytes were decoded for each that came. Up to 5 codings are taken off one after the other; if one is not known, all
//! stay, with their header. Parts of a body (206) are not decoded.
//!
//! [`ClientBuilder::decompression`] turns it off, [`RequestBuilder::no_decompression`] for one
//! request, as the extension [`NoDecompression`] does where requests are made by hand.
//!
//! # What can be seen from outside
//!
//! A call is a [`tracing`](https://docs.rs/tracing) span, named `http.client.call`, and each of its
//! attempts one below it, named `http.client.request`, with the fields of [OpenTelemetry's
//! conventions](https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-client-span):
//! method, server, URL (without userinfo, path and query as `REDACTED`;
//! [`ClientBuilder::record_paths`] shows the path), [template](UrlTemplate), status, protocol and
//! `error.type` (the name of an [`ErrorKind`], a failed status, or `cancelled`); that of the call has
//! the number of attempts and why there were no more. Both have the level INFO and the target
//! `client`, and last until the body was read or dropped, so that a subscriber which tells when spans
//! close tells each of them once it is over.
//!
//! Why a call went on or gave up is told by events of the level DEBUG and the target `retry_layer`,
//! within the span of the call: "sending again", with what the attempt came to, when it began and how
//! long it took, why it failed and with whom (`error.type`, `phase`, `cause`, `peer`, `address`,
//! `version`, `reused`, `other_requests`), the wait and its reason, and "not sending again". The
//! same is in [`Response::retry_report`] and [`Error::retry_report`], for a program to act upon.
//!
//! Metrics are recorded by `ClientBuilder::record_metrics` (feature `metrics`) through the `metrics`
//! facade, and by `ClientBuilder::meter_provider` (feature `opentelemetry`) through OpenTelemetry;
//! [`telemetry::METRICS`] lists them. [`ClientBuilder::trace_context`] writes `traceparent` into each
//! attempt. [`Client::stats`] counts connections; [`ClientBuilder::observer`] is told what the pool
//! does. `docs/telemetry.md` in the repository describes each span, event and metric.
//!
//! An [`Error`] displays one line without its cause. Where that is logged, log the
//! [sources](std::error::Error::source) too: "cannot connect" has "Connection refused" among them.
//!
//! # Code that takes a `Client` needs no network to be tested
//!
//! [`Client::fake`] makes a client whose attempts get the answers that a test gives, with all of
//! this crate's retries, redirects and decoding above them; [`testing`] has more, and errors of
//! each kind:
//!
//! ```
//! use client::Client;
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), client::Error> {
//! let client = Client::fake([503, 429, 200]);
//! assert_eq!(client.get("http://any/").fetch().await?.status(), 200);
//! # Ok(())
//! # }
//! ```
//!
//! [`Client::from_service`] puts the same front door over any service: a mock, an axum `Router`, a
//! client of hyper-util. [`ClientBuilder::build_with_service`] does it with this crate's retries
//! in between.
//!
//! ```
//! use axum::{Router, routing::get};
//! use client::Client;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), client::Error> {
//! let router = Router::new().route("/ping", get(async || "pong"));
//! let client = Client::from_service(router);
//! assert_eq!(client.get("http://any/ping").fetch().await?.text()?, "pong");
//! # Ok(())
//! # }
//! ```
//!
//! # How it differs
//!
//! What stands here for what one knows from reqwest, aiohttp, httpx and `tower::retry` is in
//! [`coming_from`]. In short:
//!
//! - From reqwest: connections are limited, `Retry-After` is honoured, [`Error`] tells what was
//!   tried, and there is a total deadline by default.
//! - From aiohttp with aiohttp-retry: only idempotent requests are repeated, with jitter, unless
//!   [`RetryPolicy::aiohttp_retry`] is chosen, which does what it did.
//!
//! # Features
//!
//! - `http2` (default): HTTP/2, where the peer chooses it or is known to speak it.
//! - `tls` (default): `https` by rustls with the ring provider and the platform's roots.
//! - `cookies`: a jar for each client, `ClientBuilder::cookies`. Needs Rust 1.88, everything else
//!   1.85.
//! - `public-suffix`: lets a jar refuse cookies for public suffixes. Needs Rust 1.88 too.
//! - `proxy`: HTTP, HTTPS, SOCKS4 and SOCKS5 proxies, `ClientBuilder::proxy`.
//! - `hickory`: a resolver that asks name servers itself, for the [`Resolver`]. Needs Rust 1.88.
//! - `webpki-roots`: Mozilla's roots in place of the platform's, for `TlsOptions`.
//! - `aws-lc`: aws-lc-rs in place of ring, for `TlsOptions`.
//! - `digest`: Digest authentication, `ClientBuilder::digest`.
//! - `metrics`: metrics by the `metrics` facade, `ClientBuilder::record_metrics`.
//! - `opentelemetry`: metrics by OpenTelemetry 0.33, `ClientBuilder::meter_provider`, and its context in
//!   the headers of attempts, `telemetry::OpenTelemetry`.
//! - `config`: settings from configuration files, `ClientConfig`; `serde` is another name of it.
//! - `fs`: bodies from files, [by name](Body::from_file) or [open](Body::from_open_file), and [downloads into
//!   them](RequestBuilder::download_to).
//! - `multipart`: [forms with files](RequestBuilder::multipart).
//! - `tonic`: [a channel](Client::grpc) for the clients that tonic generates.
//! - `gzip`, `br`, `zstd`, `deflate`: [decode](crate#decoding) such bodies. `zstd` builds a C
//!   library, the others are Rust.

mod adapt;
mod attempt;
mod auth;
mod body;
mod builder;
mod call;
mod call_settings;
mod classify;
mod client;
mod collect;
pub mod coming_from;
#[cfg(feature = "config")]
mod config;
mod deadline;
mod decode;
mod description;
#[cfg(feature = "fs")]
mod download;
mod error;
mod event_source;
mod extras;
pub mod forward;
#[cfg(feature = "tonic")]
pub mod grpc;
mod id;
#[cfg(feature = "cookies")]
mod inner_session;
mod json;
mod layers;
#[cfg(feature = "multipart")]
pub mod multipart;
mod observe;
mod origin;
mod phase;
mod progress;
mod quoted;
mod read;
mod redirect;
mod request;
mod response;
mod resume;
mod setting;
mod shortened;
mod stack;
mod target;
pub mod telemetry;
pub mod testing;
mod verbs;
mod without_defaults;

/// The bodies of this crate are made of its [`Bytes`](bytes::Bytes).
pub use bytes;
/// Methods, statuses and headers of this crate are its types.
pub use http;
pub use retry_layer::{
    self, AiohttpException, Attempt, AttemptDetails, AttemptOutcome, AttemptPhase, AttemptRecord,
    Backoff, BeforeAttempt, BodyFactory, BuildError, Class, Classifier, Deadline, Exponential,
    FailureKind, IdempotencyKeys, Idempotent, Jitter, NoRetry, Outcome, Processed, Resumption,
    RetryObserver, RetryPolicy, RetryPolicyBuilder, RetryReport, Standard, StopReason, Wait,
    WaitReason, budget, classifier_fn,
    resume::{ResumeError, ResumeErrorKind},
};
#[cfg(feature = "http2")]
pub use session_layer::Http2;
#[cfg(feature = "proxy")]
pub use session_layer::Proxy;
#[cfg(feature = "cookies")]
pub use session_layer::cookies::{self, Jar};
pub use session_layer::{
    self, CloseReason, CloseReport, ConnectTimes, ConnectionInfo, Connector, Event as PoolEvent,
    Observer as PoolObserver, Origin, Phase, PoolConfig, RequestOptions, Resolver, Stats,
    ThroughputFloor, Timeouts, TooSlow, TransferDirection,
};
#[cfg(feature = "tls")]
pub use session_layer::{TlsOptions, TlsVersion};

#[cfg(feature = "config")]
pub use self::config::ClientConfig;
#[cfg(feature = "fs")]
pub use self::download::{DigestMismatch, Download, Downloaded, PartialFile};
pub use self::{
    auth::{Token, TokenFn, TokenSource, token_fn},
    body::{Body, ResponseBody, UploadProgress},
    builder::ClientBuilder,
    call::ResponseFuture,
    classify::OriginFailures,
    client::Client,
    decode::{DecodeLimits, NoDecompression},
    error::{DeadlinePhase, Error, ErrorKind, TimeoutPhase},
    event_source::{EventSource, Reconnecting, SourceUpdate},
    layers::{AttemptBody, InnerService},
    observe::UrlTemplate,
    progress::Progress,
    read::{ByteStream, Event, Events, Lines, SAVED_FLOOR},
    redirect::{CrossOrigin, Hop, Redirect, RedirectAction, Redirected, Redirects},
    request::RequestBuilder,
    response::Response,
    target::IntoUrl,
};

/// Compiles the code of README.md.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

/// Compiles the code of this crate's README.md.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct CrateReadme;

/// Compiles the code of docs/telemetry.md.
#[cfg(all(doctest, feature = "opentelemetry"))]
#[doc = include_str!("../../../docs/telemetry.md")]
struct Telemetry;
