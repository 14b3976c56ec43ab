//! Clients that are set up by a configuration file.

mod connector;
mod decode;
mod duration;
mod floor;
mod hedge;
#[cfg(feature = "http2")]
mod http2;
#[cfg(feature = "proxy")]
mod proxy;
mod redirects;
mod retry;
mod session;
mod text_or;
#[cfg(feature = "tls")]
mod tls;

use std::{collections::BTreeMap, fmt};

use http::HeaderName;
use serde::Deserialize;
#[cfg(feature = "cookies")]
use session_layer::cookies::Jar;

#[cfg(feature = "http2")]
use self::http2::Http2Settings;
#[cfg(feature = "proxy")]
use self::proxy::ProxyConfig;
#[cfg(feature = "tls")]
use self::tls::TlsConfig;
use self::{
    connector::ConnectorConfig,
    decode::DecodeLimitsConfig,
    duration::Limit,
    hedge::HedgeConfig,
    redirects::RedirectsConfig,
    retry::RetryConfig,
    session::{PoolSettings, TimeoutSettings},
    text_or::TextOr,
};
use crate::{ClientBuilder, Error, observe::Paths};

/// The settings of a [`ClientBuilder`] as a configuration file has them.
///
/// It is read by [`serde`](https://serde.rs) from TOML, JSON or any other format, and taken by
/// [`ClientBuilder::from_config`], after which code can add what a file cannot say: classifiers,
/// layers, sources of tokens, a resolver. Every key may be left out, and stands for the default then;
/// a key that is not known is an error that names it. Files that it names are read by
/// [`ClientBuilder::config`]. Durations are text such as `"2s"`, `"500ms"`
/// or `"1m 30s"`; where a limit can be turned off, `"none"` does so.
///
/// | key | |
/// |---|---|
/// | `base_url` or `endpoints` | text, or a list of it |
/// | `deadline` | a duration or `"none"` |
/// | `max_body` | bytes |
/// | `decompression` | true or false |
/// | `decode_limits.bytes`, `.ratio`, `.ratio_from` | [what a body may decode to](crate::DecodeLimits): bytes, a number, each also `"none"`; bytes |
/// | `record_paths` | whether [spans, events and errors have the paths](ClientBuilder::record_paths) of URLs |
/// | `call_spans` | false for [no spans of whole calls](ClientBuilder::call_spans) |
/// | `error_for_status`, `https_only` | true or false |
/// | `resume` | whether bodies are [continued](ClientBuilder::resume) where they break: true or false |
/// | `user_agent` | text; none is sent if it is empty |
/// | `request_id`, `attempt_id` | a header's name |
/// | `headers` | [default headers](ClientBuilder::default_header): name and value |
/// | `bearer`, or `basic.user` and `basic.password` | credentials |
/// | `retry` | `"default"`, `"aiohttp"` (the [profile](crate::RetryPolicy::aiohttp_retry)) or `"none"` (each request is sent once), in place of what code has set; or a table of the next keys |
/// | `retry.preset` | one of these names, which the other keys of the table then alter |
/// | `retry.max_attempts`, `.statuses`, `.methods` | a number (also as `attempts`), a list of numbers, a list of text; `"get"` means GET |
/// | `retry.any_method` | true: also those that are not idempotent; false: only those that are |
/// | `retry.backoff.base`, `.throttled_base`, `.factor`, `.cap`, `.jitter` | durations and a number; `"full"`, `"equal"`, `"decorrelated"` or `"none"` |
/// | `retry.max_retry_after`, `.honor_retry_after` | a duration; true or false |
/// | `retry.budget_percent` or `retry.budget` | retries for every hundred answers; or `"none"` for no budget, `"default"` for the default one |
/// | `retry.replay_limit`, `.replay_memory` | bytes |
/// | `retry.drain.bytes` and `.time` | bytes and a duration |
/// | `retry.transparent_retries` | whether a request is sent again, without counting as an attempt, that was not processed or met a closed connection; with `max_attempts` 1 and false here, each is sent once |
/// | `hedge` | [hedging](ClientBuilder::hedge): `"learned"` or `"none"`, or a table of the next keys |
/// | `hedge.after`, or `.percentile` and `.min_answers` | a duration; or, for a delay that is learned, numbers |
/// | `hedge.max_hedges`, `.first_byte_within` | a number, a duration |
/// | `redirects.follow`, `.limit`, `.allow_downgrade`, `.sensitive_headers` | true or false, a number, true or false, a list of names |
/// | `pool.max_connections`, `.max_connections_per_origin`, `.max_waiting`, `.max_requests_per_connection` | numbers |
/// | `pool.http1_read_buffer`, `.http1_max_headers` | bytes; a number of fields |
/// | `pool.http1_space_before_colon`, `.http1_ignore_invalid_headers` | true or false |
/// | `pool.queue_timeout`, `.idle_timeout`, `.max_lifetime` | durations or `"none"` |
/// | `timeouts.connect`, `.head`, `.body_idle`, `.expect_continue` | durations or `"none"`; the last one a duration |
/// | `timeouts.download_floor`, `.upload_floor` | [throughput](crate::ThroughputFloor): a table of `bytes_per_second` (a number) and `window` (a duration); or `"none"` |
/// | `connector.local_address`, `.unix_socket` | an address; a path, on Unix |
/// | `connector.happy_eyeballs_delay`, `.tcp_keepalive`, `.tcp_nodelay` | durations or `"none"`; true or false |
/// | `tls.ca_file`, `.only_added_roots` | the path of a PEM file with certificates to trust; true or false; with the feature `tls`, as the next four |
/// | `tls.client_certificate` and `.client_key` | the paths of PEM files: what is shown to a server that asks for it; without `client_key` the first file holds both |
/// | `tls.roots_pem` | what `ca_file` is the path of, as text |
/// | `tls.certificate_pem` and `.key_pem` | what `client_certificate` and `client_key` are the paths of, as text |
/// | `tls.min_version` | `"1.2"` or `"1.3"` |
/// | `cookies`, `metrics` | true for a jar, and for [figures](crate#features), false for none; with the features of these names |
/// | `http2.prior_knowledge`, `.adaptive_window` | true or false; with the feature `http2`, as the next two |
/// | `http2.max_concurrent_streams`, `.stream_window`, `.connection_window` | numbers, the windows in bytes |
/// | `http2.keep_alive_interval`, `.keep_alive_timeout` | a duration or `"none"`; a duration |
/// | `proxy` | a URL; `"env"` for [what the environment names](session_layer::Proxy::from_env); `"none"` for none, also where code has set one; or a table of the next keys; with the feature `proxy` |
/// | `proxy.all`, `.http`, `.https`, `.no_proxy` | URLs; hosts, separated by commas or blanks |
///
/// ```
/// use client::{Client, ClientBuilder, ClientConfig};
///
/// let config: ClientConfig = serde_json::from_str(
///     r#"{
///         "base_url": "https://api.example.com/v2/",
///         "deadline": "1m",
///         "retry": { "max_attempts": 4, "backoff": { "base": "200ms" } },
///         "pool": { "max_connections_per_origin": 20 }
///     }"#,
/// )?;
/// let client: Client = ClientBuilder::from_config(config)?.build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClientConfig {
    base_url: Option<String>,
    endpoints: Option<Vec<String>>,
    deadline: Option<Limit>,
    max_body: Option<usize>,
    decompression: Option<bool>,
    decode_limits: Option<DecodeLimitsConfig>,
    record_paths: Option<bool>,
    call_spans: Option<bool>,
    error_for_status: Option<bool>,
    https_only: Option<bool>,
    resume: Option<bool>,
    user_agent: Option<String>,
    request_id: Option<String>,
    attempt_id: Option<String>,
    headers: BTreeMap<String, String>,
    bearer: Option<String>,
    basic: Option<BasicConfig>,
    retry: Option<RetryConfig>,
    hedge: Option<HedgeConfig>,
    redirects: Option<RedirectsConfig>,
    pool: Option<PoolSettings>,
    timeouts: Option<TimeoutSettings>,
    connector: Option<ConnectorConfig>,
    #[cfg(feature = "tls")]
    tls: Option<TlsConfig>,
    #[cfg(feature = "cookies")]
    cookies: Option<bool>,
    #[cfg(feature = "metrics")]
    metrics: Option<bool>,
    #[cfg(feature = "http2")]
    http2: Option<Http2Settings>,
    #[cfg(feature = "proxy")]
    proxy: Option<ProxyConfig>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct BasicConfig {
    user: String,
    password: String,
}

impl fmt::Debug for ClientConfig {
    // No URL, header or credential: each may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientConfig")
            .field("deadline", &self.deadline)
            .field("max_body", &self.max_body)
            .field("decompression", &self.decompression)
            .field("decode_limits", &self.decode_limits)
            .field("error_for_status", &self.error_for_status)
            .field("user_agent", &self.user_agent)
            .field("retry", &self.retry)
            .field("hedge", &self.hedge)
            .field("redirects", &self.redirects)
            .field("pool", &self.pool)
            .field("timeouts", &self.timeouts)
            .field("connector", &self.connector)
            .finish_non_exhaustive()
    }
}

impl ClientBuilder {
    /// Starts with the settings of a configuration. Settings that only code can make come after it:
    ///
    /// ```
    /// use client::{Class, ClientBuilder, ClientConfig, Outcome, Classifier as _, classifier_fn};
    ///
    /// # fn example(config: ClientConfig) -> Result<(), client::Error> {
    /// let locked = classifier_fn(|outcome: &Outcome<'_>| match outcome.status() {
    ///     Some(http::StatusCode::LOCKED) => Class::Ambiguous,
    ///     _ => Class::Final,
    /// });
    /// let client = ClientBuilder::from_config(config)?
    ///     .map_retry(|policy| policy.map_classifier(|configured| configured.or(locked)))
    ///     .build()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`config`](Self::config).
    pub fn from_config(config: ClientConfig) -> Result<Self, Error> {
        Self::new().config(config)
    }

    /// Applies a configuration to the settings so far; settings that it leaves out stay. So code
    /// may have defaults of its own, and one configuration may be applied over another.
    ///
    /// Headers and proxies are added to those that are set. In a section each key counts by itself,
    /// except that `tls` is one setting, which replaces all TLS settings of code. A key that is
    /// false, or `"none"`, turns off what code has turned on. A `retry.backoff` keeps the values
    /// that it does not name of an exponential backoff, and replaces any other kind. Statuses
    /// cannot be combined with a classifier that is set already: add the classifier
    /// [afterwards](Self::map_retry).
    ///
    /// # Errors
    ///
    /// If a URL, a name or a method is not valid, or a setting is made twice: a base URL and
    /// endpoints, or two kinds of credentials. A value out of its range is an error of
    /// [`build`](Self::build).
    pub fn config(self, config: ClientConfig) -> Result<Self, Error> {
        let ClientConfig {
            base_url,
            endpoints,
            deadline,
            max_body,
            decompression,
            decode_limits,
            record_paths,
            call_spans,
            error_for_status,
            https_only,
            resume,
            user_agent,
            request_id,
            attempt_id,
            headers,
            bearer,
            basic,
            retry,
            hedge,
            redirects,
            pool,
            timeouts,
            connector,
            #[cfg(feature = "tls")]
            tls,
            #[cfg(feature = "cookies")]
            cookies,
            #[cfg(feature = "metrics")]
            metrics,
            #[cfg(feature = "http2")]
            http2,
            #[cfg(feature = "proxy")]
            proxy,
        } = config;
        let mut builder = match (base_url, endpoints) {
            (None, None) => self,
            (Some(url), None) => self.base_url(url)?,
            (None, Some(urls)) => self.endpoints(urls)?,
            (Some(_), Some(_)) => return Err(twice("base_url", "endpoints")),
        };
        builder = authorize(builder, bearer, basic)?;
        for (name, value) in headers {
            builder = builder.default_header(name, value);
        }
        if let Some(Limit(deadline)) = deadline {
            builder = builder.deadline(deadline);
        }
        if let Some(bytes) = max_body {
            builder = builder.max_body(bytes);
        }
        if let Some(agent) = user_agent {
            builder = introduce(builder, agent);
        }
        if let Some(name) = request_id {
            builder = builder.request_id(header_name("request_id", &name)?);
        }
        if let Some(name) = attempt_id {
            builder = builder.attempt_id(header_name("attempt_id", &name)?);
        }
        builder = treat_bodies(builder, decompression, decode_limits, resume)?;
        builder = refuse_responses_and_urls(builder, error_for_status, https_only);
        // A policy that is not valid stays so, and is an error of `build`.
        if let (Some(retry), Ok(policy)) = (retry, &builder.retry) {
            let policy = retry.alter(policy.to_builder())?;
            builder = builder.retry(policy);
        }
        builder = send_twice(builder, hedge)?;
        if let Some(redirects) = redirects {
            builder.redirects = redirects.alter(builder.redirects)?;
        }
        if let Some(pool) = pool {
            builder.pool = pool.alter(builder.pool);
        }
        if let Some(timeouts) = timeouts {
            builder.timeouts = timeouts.alter(builder.timeouts);
        }
        if let Some(connector) = connector {
            builder = builder.map_connector(|it| connector.alter(it));
        }
        #[cfg(feature = "tls")]
        if let Some(tls) = tls {
            builder.connector = tls.alter(builder.connector)?;
        }
        #[cfg(feature = "cookies")]
        {
            builder = keep_cookies(builder, cookies);
        }
        builder = tell_calls(builder, call_spans, record_paths);
        #[cfg(feature = "metrics")]
        {
            builder = keep_figures(builder, metrics);
        }
        #[cfg(feature = "http2")]
        if let Some(http2) = http2 {
            builder.http2 = http2.alter(builder.http2);
        }
        #[cfg(feature = "proxy")]
        if let Some(proxy) = proxy {
            builder = proxy.apply(builder)?;
        }
        Ok(builder)
    }
}

fn authorize(
    builder: ClientBuilder,
    bearer: Option<String>,
    basic: Option<BasicConfig>,
) -> Result<ClientBuilder, Error> {
    match (bearer, basic) {
        (None, None) => Ok(builder),
        (Some(token), None) => Ok(builder.bearer(token)),
        (None, Some(basic)) => Ok(builder.basic(basic.user, basic.password)),
        (Some(_), Some(_)) => Err(twice("bearer", "basic")),
    }
}

fn send_twice(
    mut builder: ClientBuilder,
    hedge: Option<HedgeConfig>,
) -> Result<ClientBuilder, Error> {
    // Settings that cannot be are an error of `build`.
    if let (Some(hedge), Ok(so_far)) = (hedge, &builder.hedging) {
        builder.hedging = Ok(hedge.alter(so_far.as_ref())?);
    }
    Ok(builder)
}

fn treat_bodies(
    mut builder: ClientBuilder,
    decompression: Option<bool>,
    limits: Option<DecodeLimitsConfig>,
    resume: Option<bool>,
) -> Result<ClientBuilder, Error> {
    if let Some(decode) = decompression {
        builder = builder.decompression(decode);
    }
    if let Some(limits) = limits {
        builder.decode_limits = limits.alter(builder.decode_limits)?;
    }
    if let Some(on) = resume {
        builder = builder.resume(on);
    }
    Ok(builder)
}

fn refuse_responses_and_urls(
    mut builder: ClientBuilder,
    error_for_status: Option<bool>,
    https_only: Option<bool>,
) -> ClientBuilder {
    if let Some(raises) = error_for_status {
        builder = builder.error_for_status(raises);
    }
    if let Some(only) = https_only {
        builder = builder.https_only(only);
    }
    builder
}

fn introduce(builder: ClientBuilder, user_agent: String) -> ClientBuilder {
    if user_agent.is_empty() {
        builder.no_user_agent()
    } else {
        builder.user_agent(user_agent)
    }
}

#[cfg(feature = "cookies")]
fn keep_cookies(mut builder: ClientBuilder, on: Option<bool>) -> ClientBuilder {
    match (on, &builder.jar) {
        (Some(true), None) => return builder.cookies(Jar::new()),
        (Some(false), _) => builder.jar = None,
        (Some(true), Some(_)) | (None, _) => {}
    }
    builder
}

fn tell_calls(
    mut builder: ClientBuilder,
    spans: Option<bool>,
    paths: Option<bool>,
) -> ClientBuilder {
    if let Some(on) = spans {
        builder = builder.call_spans(on);
    }
    match paths {
        Some(true) => builder.paths = Paths::Recorded,
        Some(false) => builder.paths = Paths::Redacted,
        None => {}
    }
    builder
}

#[cfg(feature = "metrics")]
fn keep_figures(mut builder: ClientBuilder, on: Option<bool>) -> ClientBuilder {
    match on {
        Some(true) => return builder.record_metrics(),
        Some(false) => builder.facade = None,
        None => {}
    }
    builder
}

/// The error of a setting: its key, why the value is not valid, and which would be.
fn invalid(key: &str, why: impl fmt::Display) -> Error {
    Error::builder(format!("{key}: {why}"))
}

fn header_name(key: &str, name: &str) -> Result<HeaderName, Error> {
    name.parse().map_err(|_| {
        invalid(
            key,
            format_args!(
                "{name:?} is no header's name; write letters, digits and hyphens, as in \
                 \"x-request-id\""
            ),
        )
    })
}

/// What an error and its causes say, in one line.
#[cfg(any(feature = "proxy", feature = "tls"))]
struct Chain<'a>(&'a (dyn std::error::Error + 'static));

#[cfg(any(feature = "proxy", feature = "tls"))]
impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(feature = "tls")]
fn together(one: &str, other: &str) -> Error {
    Error::builder(format!(
        "the settings `{one}` and `{other}` belong together"
    ))
}

fn twice(one: &str, other: &str) -> Error {
    Error::builder(format!(
        "the settings `{one}` and `{other}` exclude each other"
    ))
}
