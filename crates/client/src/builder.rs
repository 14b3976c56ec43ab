//! The settings of a client, and what is built of them.

mod build;
mod call;
mod client;
mod headers;
mod health;
mod layers;
mod session;
mod telemetry;
mod urls;

#[cfg(feature = "opentelemetry")]
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use retry_layer::{
    BuildError, RetryPolicy, breaker::BreakerBuilder, health::Ledger, hedge::Hedging,
    pause::PauseBuilder,
};
#[cfg(feature = "http2")]
use session_layer::Http2;
#[cfg(feature = "cookies")]
use session_layer::cookies::Jar;
use session_layer::{Connector, PoolConfig, Timeouts};

#[cfg(feature = "metrics")]
use crate::observe::Facade;
#[cfg(feature = "opentelemetry")]
use crate::observe::Sink;
use crate::{
    Body, DecodeLimits, Error, Redirects,
    extras::Extras,
    layers::{AttemptBody, Layers},
    observe::{CallSpans, Observers, Paths},
    resume::Resume,
    spreading::Spreading,
    target::Base,
};

/// The settings of a [`Client`](crate::Client).
///
/// ```
/// use std::time::Duration;
/// use client::{Client, Exponential, PoolConfig, RetryPolicy};
///
/// let client = Client::builder()
///     .base_url("https://api.example.com/v2/")?
///     .retry(
///         RetryPolicy::builder()
///             .max_attempts(4)
///             .backoff(Exponential::from(Duration::from_millis(200))),
///     )
///     .pool(PoolConfig::default().max_connections_per_origin(20))
///     .build()?;
/// # Ok::<(), client::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "settings do nothing until a client is built with them"]
pub struct ClientBuilder {
    pub(crate) base: Option<Base>,
    pub(crate) retry: Result<RetryPolicy, BuildError>,
    /// Set here, and not in the policy, so that another policy does not take it away.
    pub(crate) hedging: Result<Option<Hedging>, BuildError>,
    pub(crate) pool: PoolConfig,
    pub(crate) timeouts: Timeouts,
    pub(crate) spreading: Spreading,
    pub(crate) deadline: Option<Duration>,
    max_body: usize,
    pub(crate) redirects: Redirects,
    decompression: bool,
    pub(crate) decode_limits: DecodeLimits,
    error_for_status: bool,
    resume: Resume,
    pub(crate) breaker: Option<BreakerBuilder>,
    pub(crate) pause: Option<PauseBuilder>,
    ledger: Option<Ledger>,
    user_agent: Option<HeaderValue>,
    extras: Extras,
    request_id: Option<HeaderName>,
    pub(crate) call_spans: CallSpans,
    pub(crate) paths: Paths,
    #[cfg(feature = "metrics")]
    pub(crate) facade: Option<Facade>,
    #[cfg(feature = "opentelemetry")]
    meters: Vec<Arc<dyn Sink>>,
    /// The first setting that is not valid; `build` returns it.
    problem: Option<Error>,
    pub(crate) connector: Connector,
    #[cfg(feature = "http2")]
    pub(crate) http2: Http2,
    observers: Observers,
    #[cfg(feature = "cookies")]
    pub(crate) jar: Option<Jar>,
    call_layers: Layers<Body>,
    attempt_layers: Layers<AttemptBody>,
}

const DEADLINE: Duration = Duration::from_secs(300);
const MAX_BODY: usize = 64 * 1024 * 1024;
/// The name of this project instead of its crate: `client` would say nothing in a server's log, and
/// is the name of another project's crate in the public registry.
const USER_AGENT: &str = concat!("hardy-http/", env!("CARGO_PKG_VERSION"));

impl ClientBuilder {
    /// Starts with the default settings.
    pub fn new() -> Self {
        Self {
            base: None,
            retry: Ok(RetryPolicy::default()),
            hedging: Ok(None),
            pool: PoolConfig::default(),
            timeouts: Timeouts::default(),
            spreading: Spreading::Off,
            deadline: Some(DEADLINE),
            max_body: MAX_BODY,
            redirects: Redirects::default(),
            decompression: true,
            decode_limits: DecodeLimits::default(),
            error_for_status: false,
            resume: Resume::default(),
            breaker: None,
            pause: None,
            ledger: None,
            user_agent: Some(HeaderValue::from_static(USER_AGENT)),
            extras: Extras::default(),
            request_id: None,
            call_spans: CallSpans::default(),
            paths: Paths::default(),
            #[cfg(feature = "metrics")]
            facade: None,
            #[cfg(feature = "opentelemetry")]
            meters: Vec::new(),
            problem: None,
            connector: Connector::new(),
            #[cfg(feature = "http2")]
            http2: Http2::default(),
            observers: Observers::default(),
            #[cfg(feature = "cookies")]
            jar: None,
            call_layers: Layers::default(),
            attempt_layers: Layers::default(),
        }
    }
}

impl Default for ClientBuilder {
    fn default() -> Self {
        Self::new()
    }
}
