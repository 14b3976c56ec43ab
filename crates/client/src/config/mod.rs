//! Clients that are set up by a configuration file.

mod apply;
mod connector;
mod decode;
mod duration;
mod floor;
mod health;
mod hedge;
#[cfg(feature = "http2")]
mod http2;
mod problem;
#[cfg(feature = "proxy")]
mod proxy;
mod redirects;
mod retry;
mod session;
mod text_or;
#[cfg(feature = "tls")]
mod tls;

use std::{collections::BTreeMap, fmt};

use serde::Deserialize;

#[cfg(feature = "http2")]
use self::http2::Http2Settings;
#[cfg(any(feature = "proxy", feature = "tls"))]
use self::problem::Chain;
#[cfg(feature = "tls")]
use self::problem::together;
#[cfg(feature = "proxy")]
use self::proxy::ProxyConfig;
#[cfg(feature = "tls")]
use self::tls::TlsConfig;
use self::{
    connector::ConnectorConfig,
    decode::DecodeLimitsConfig,
    duration::Limit,
    health::{BreakerConfig, PauseConfig, Switch},
    hedge::HedgeConfig,
    problem::{header_name, invalid, twice},
    redirects::RedirectsConfig,
    retry::RetryConfig,
    session::{PoolSettings, TimeoutSettings},
    text_or::TextOr,
};

/// The settings of a [`ClientBuilder`](crate::ClientBuilder) as a configuration file has them.
///
/// It is read by [`serde`](https://serde.rs) from TOML, JSON or any other format, and taken by
/// [`ClientBuilder::from_config`](crate::ClientBuilder::from_config), after which code can add what a file cannot say: classifiers,
/// layers, sources of tokens, a resolver. Every key may be left out, and stands for the default then;
/// a key that is not known is an error that names it. Files that it names are read by
/// [`ClientBuilder::config`](crate::ClientBuilder::config). Durations are text such as `"2s"`, `"500ms"`
/// or `"1m 30s"`; where a limit can be turned off, `"none"` does so.
///
/// | key | |
/// |---|---|
/// | `base_url` or `endpoints` | text, or a list of it |
/// | `deadline` | a duration or `"none"` |
/// | `max_body` | bytes |
/// | `decompression` | true or false |
/// | `decode_limits.bytes`, `.ratio`, `.ratio_from` | [what a body may decode to](crate::DecodeLimits): bytes, a number, each also `"none"`; bytes |
/// | `record_paths` | whether [spans, events and errors have the paths](crate::ClientBuilder::record_paths) of URLs |
/// | `call_spans` | false for [no spans of whole calls](crate::ClientBuilder::call_spans) |
/// | `error_for_status`, `https_only` | true or false |
/// | `resume` | whether bodies are [continued](crate::ClientBuilder::resume) where they break: true or false |
/// | `spread_addresses` | whether requests are [spread](crate::ClientBuilder::spread_addresses) over the addresses of their names: true or false |
/// | `user_agent` | text; none is sent if it is empty |
/// | `request_id`, `attempt_id` | a header's name |
/// | `headers` | [default headers](crate::ClientBuilder::default_header): name and value |
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
/// | `hedge` | [hedging](crate::ClientBuilder::hedge): `"learned"` or `"none"`, or a table of the next keys |
/// | `hedge.after`, or `.percentile` and `.min_answers` | a duration; or, for a delay that is learned, numbers |
/// | `hedge.max_hedges`, `.first_byte_within` | a number, a duration |
/// | `breaker` | `"default"` for a [circuit breaker](crate::ClientBuilder::breaker), `"none"` for none; or a table of the next keys, of which each may be left out |
/// | `breaker.consecutive_failures`, `.failing_for`, `.min_wait`, `.max_wait`, `.max_retry_after` | a number; durations |
/// | `breaker.success_rate` | a table of `percent` (a number), `window` (a duration) and, if wanted, `min_requests` (a number) |
/// | `pause` | `"default"` for [pauses](crate::ClientBuilder::pause) that one answer sets for all requests, `"none"` for none; or a table of the next keys |
/// | `pause.max_pause`, `.max_wait`, `.without_hint`, `.max_waiting` | durations, the third also `"none"`; a number |
/// | `redirects.follow`, `.limit`, `.allow_downgrade`, `.sensitive_headers` | true or false, a number, true or false, a list of names |
/// | `pool.max_connections`, `.max_connections_per_origin`, `.max_waiting`, `.max_requests_per_connection` | numbers |
/// | `pool.http1_read_buffer`, `.http1_max_headers` | bytes; a number of fields |
/// | `pool.learned_keep_alive`, `.http1_space_before_colon`, `.http1_ignore_invalid_headers` | true or false |
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
    spread_addresses: Option<bool>,
    user_agent: Option<String>,
    request_id: Option<String>,
    attempt_id: Option<String>,
    headers: BTreeMap<String, String>,
    bearer: Option<String>,
    basic: Option<BasicConfig>,
    retry: Option<RetryConfig>,
    hedge: Option<HedgeConfig>,
    breaker: Option<Switch<BreakerConfig>>,
    pause: Option<Switch<PauseConfig>>,
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
            .field("breaker", &self.breaker)
            .field("pause", &self.pause)
            .field("redirects", &self.redirects)
            .field("pool", &self.pool)
            .field("timeouts", &self.timeouts)
            .field("connector", &self.connector)
            .finish_non_exhaustive()
    }
}
