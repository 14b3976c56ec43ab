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
//! `tower::Service<http::Request<B>>` for any body whose data is [`Bytes`](bytes::Bytes): it can be
//! a part of axum's state, be moved into `tokio::spawn`, and be the last service of any tower
//! pipeline. It is a service for every type of body, so `ready()` needs the type of the request,
//! unless the compiler can infer it:
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
//! have them; without one a request panics. It can be made anywhere, also in a `static`. Each
//! connection ends with the runtime that it was opened on, and serves only requests of that
//! runtime, because a runtime may stand still between two calls of `block_on`. A client that is
//! used on several runtimes has connections on each.
//!
//! # What happens to a request
//!
//! [`send`](RequestBuilder::send) gives the response as soon as its head is there, and the body
//! streams. [`fetch`](RequestBuilder::fetch) collects the body *below* the retries, so a connection
//! that breaks in the middle of the body is one more failed attempt, and the response that `fetch`
//! returns is whole. An [`EventSource`] sends its request again whenever the stream of server-sent
//! events ends, and goes on after the last event.
//!
//! Either way each attempt runs through the same stack, outermost first: the total deadline,
//! [redirects](Redirects), the [retries](retry_layer), what is added once per attempt (headers,
//! credentials, a span), and the [session](session_layer) with its pool and timeouts. Your own
//! layers stand [above the retries](ClientBuilder::layer) or
//! [below them](ClientBuilder::attempt_layer).
//!
//! The default headers, [tokens](ClientBuilder::auth) and passwords of a client belong to one
//! origin: that of its [base URL](ClientBuilder::base_url), or without one the first origin of each
//! call. They are never sent to another, wherever a redirect leads.
//!
//! A gateway forwards requests by [`Client::forward`], without headers or credentials of the client.
//!
//! | | default | set by |
//! |---|---|---|
//! | attempts | 3 in all; idempotent methods; 408, 421, 429, 500, 502, 503, 504 | [`ClientBuilder::retry`] |
//! | retries in all | a budget per origin: a burst, then one for every five answers | [`ClientBuilder::retry`] |
//! | wait | random, up to 100 ms, 200 ms, … 20 s; `Retry-After` up to 120 s | [`ClientBuilder::retry`] |
//! | deadline | 300 s until the head, and for a body that is collected; a body that streams is limited by its idle timeout only | [`ClientBuilder::deadline`] |
//! | connect, head, body idle | 10 s, 30 s, 30 s | [`ClientBuilder::timeouts`] |
//! | least throughput | none; for a body that is saved to a file, [100 B/s over 60 s](SAVED_FLOOR) | [`Timeouts::download_floor`], [`Timeouts::upload_floor`] |
//! | names, TCP, TLS | see [`Connector`] | [`ClientBuilder::connector`] |
//! | connections | 1024, 256 per origin; 10 s in the queue; 50 s idle; 30 min in all | [`ClientBuilder::pool`] |
//! | collected body | 64 MiB | [`ClientBuilder::max_body`] |
//! | decoded body | 64 MiB, or 200 times the encoded bytes if that is more | [`ClientBuilder::decode_limits`] |
//! | a body that breaks | `fetch` asks for the whole again; [`Response::save_to`] continues it where it broke; where it streams, it is an error | [`ClientBuilder::resume`], [`RequestBuilder::resume`] |
//! | a failed status | a response like any other | [`ClientBuilder::error_for_status`], [`Response::error_for_status`] |
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
//! A body that is cut, corrupt, or followed by further bytes is an error, never a short success.
//! With gzip and zstd, any number of members make one body. (Browsers and curl ignore the bytes
//! that follow, and with them a second member that is corrupt.) With `fetch` such an error counts
//! as a failed attempt. `deflate` is accepted with zlib's frame and without.
//!
//! Decoding streams, and needs the same memory for a body of any length.
//! [`ClientBuilder::max_body`] counts decoded bytes. The [`DecodeLimits`] end a body whose few bytes
//! decode to very many (a "bomb"), also where it streams and is not collected: by default beyond
//! 64 MiB, if it decodes to more than 200 bytes for each encoded one. Up to 5 codings are removed one
//! after the other; if one of them is not known, the body and its headers stay as they are. Parts of
//! a body (206) are not decoded.
//!
//! [`ClientBuilder::decompression`] turns decoding off, and [`RequestBuilder::no_decompression`]
//! does so for one request; the extension [`NoDecompression`] is for requests that are made by hand.
//!
//! # Spans, events and metrics
//!
//! A call is a [`tracing`](https://docs.rs/tracing) span, named `http.client.call`, and each of its
//! attempts one below it, named `http.client.request`, with the fields of [OpenTelemetry's
//! conventions](https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-client-span):
//! method, server, URL (without userinfo, path and query as `REDACTED`;
//! [`ClientBuilder::record_paths`] shows the path), [template](UrlTemplate), status, protocol and
//! `error.type` (the name of an [`ErrorKind`], a failed status, or `cancelled`). The span of the call
//! also has the number of attempts and why there were no more. Both have the level INFO and the
//! target `client`, and end when the body was read or dropped.
//!
//! Events of the level DEBUG and the target `retry_layer`, within the span of the call, tell why a
//! call went on or ended. "sending again" has the outcome of the attempt, when it began and how long
//! it took, the failure and the peer (`error.type`, `phase`, `cause`, `peer`, `address`, `version`,
//! `reused`, `other_requests`), and the wait with its reason; "not sending again" comes at the end.
//! [`Response::retry_report`] and [`Error::retry_report`] have the same for a program to act upon.
//!
//! Metrics are recorded by `ClientBuilder::record_metrics` (feature `metrics`) through the `metrics`
//! facade, and by `ClientBuilder::meter_provider` (feature `opentelemetry`) through OpenTelemetry;
//! [`telemetry::METRICS`] lists them. [`ClientBuilder::trace_context`] writes `traceparent` into each
//! attempt. [`Client::stats`] counts connections; [`ClientBuilder::observer`] gets the events of the
//! pool. `docs/telemetry.md` in the repository describes each span, event and metric.
//!
//! An [`Error`] displays one line without its cause. Where you log it, log the
//! [sources](std::error::Error::source) too: "cannot connect" has "Connection refused" among them.
//!
//! # Testing code that takes a `Client`
//!
//! No network is needed. [`Client::fake`] makes a client whose attempts get the answers of a test,
//! with all of this crate's retries, redirects and decoding above them; [`testing`] has more, and
//! errors of each kind:
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
//! [`Client::from_service`] makes a client over any service: a mock, an axum `Router`, a client of
//! hyper-util. [`ClientBuilder::build_with_service`] does it with this crate's retries in between.
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
//! [`coming_from`] has the counterparts of reqwest, aiohttp, httpx and `tower::retry`. In short:
//!
//! - From reqwest: connections are limited, `Retry-After` is honoured, [`Error`] has a report of all
//!   attempts, and there is a deadline by default.
//! - From aiohttp with aiohttp-retry: only idempotent requests are repeated, with jitter, unless
//!   [`RetryPolicy::aiohttp_retry`] is chosen, which repeats as aiohttp-retry does.
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
//! - `tower-http`: redirect policies of tower-http 0.7, `Redirects::policy`.
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
mod explain;
mod extras;
pub mod forward;
#[cfg(feature = "tonic")]
pub mod grpc;
mod guard;
mod hedge;
mod id;
#[cfg(feature = "cookies")]
mod inner_session;
mod json;
mod layers;
pub mod lint;
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
mod so_far;
mod spreading;
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
    Backoff, BeforeAttempt, BodyFactory, BodyReplay, BuildError, Class, Classifier, Deadline,
    Exponential, FailureKind, Hedged, Idempotence, IdempotencyKeys, Idempotent, Jitter, NoHedge,
    NoRetry, Outcome, Processed, Resumption, RetryObserver, RetryPolicy, RetryPolicyBuilder,
    RetryReport, RetryRules, Standard, StopReason, Wait, WaitReason, budget, classifier_fn,
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
    explain::{ExpectedVersion, ExplainedLayer, Explanation, Limits, Route},
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
