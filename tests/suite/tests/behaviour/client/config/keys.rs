//! Every key acts over what code has set, and an absent key leaves it.

use std::{collections::BTreeSet, num::NonZeroU32, time::Duration};

use client::{
    Backoff, Client, ClientBuilder, ClientConfig, Connector, DecodeLimits, Exponential, Http2, Jar,
    Jitter, PoolConfig, Proxy, Redirects, RetryPolicy, RetryPolicyBuilder, ThroughputFloor,
    Timeouts, TlsOptions, TlsVersion, budget,
    retry_layer::{
        breaker::{Breaker, BreakerBuilder, SuccessRate},
        hedge::Hedging,
        pause::{Pause, PauseBuilder},
    },
};
use http::Method;
use test_support::tls::{Chain, LOOPBACK};

const SECOND: Duration = Duration::from_secs(1);

/// A builder as code has set it up.
type Code = fn() -> ClientBuilder;

/// A key; what code sets; what `Debug` of the builder says then; what the file says, and what
/// `Debug` says after it.
type Row = (&'static str, Code, &'static str, &'static str, &'static str);

fn retry(set: impl FnOnce(RetryPolicyBuilder) -> RetryPolicyBuilder) -> ClientBuilder {
    Client::builder().map_retry(set)
}

fn pool(set: impl FnOnce(PoolConfig) -> PoolConfig) -> ClientBuilder {
    Client::builder().pool(set(PoolConfig::default()))
}

fn timeouts(set: impl FnOnce(Timeouts) -> Timeouts) -> ClientBuilder {
    Client::builder().timeouts(set(Timeouts::default()))
}

fn connector(set: impl FnOnce(Connector) -> Connector) -> ClientBuilder {
    Client::builder().map_connector(set)
}

fn decode_limits(set: impl FnOnce(DecodeLimits) -> DecodeLimits) -> ClientBuilder {
    Client::builder().decode_limits(set(DecodeLimits::default()))
}

fn http2(set: impl FnOnce(Http2) -> Http2) -> ClientBuilder {
    Client::builder().http2(set(Http2::default()))
}

fn backoff(set: impl FnOnce(Exponential) -> Exponential) -> ClientBuilder {
    let exponential = set(Exponential::default());
    retry(|policy| policy.backoff(Backoff::from(exponential).jitter(Jitter::Equal)))
}

fn proxied() -> ClientBuilder {
    Client::builder().proxy(Proxy::all("http://code:1").unwrap())
}

fn tls13() -> ClientBuilder {
    let options = TlsOptions::new().min_version(TlsVersion::Tls13);
    Client::builder().tls(options).unwrap()
}

const KEYS: &[Row] = &[
    (
        "base_url",
        || Client::builder().base_url("http://code/").unwrap(),
        "code",
        "base_url = 'http://file/'",
        "file",
    ),
    (
        "endpoints",
        || Client::builder().endpoints(["http://code/"]).unwrap(),
        "code",
        "endpoints = ['http://file/']",
        "file",
    ),
    (
        "deadline",
        || Client::builder().deadline(SECOND),
        "deadline: Some(1s), max_body",
        "deadline = 'none'",
        "deadline: None, max_body",
    ),
    (
        "max_body",
        || Client::builder().max_body(7),
        "max_body: 7",
        "max_body = 8",
        "max_body: 8",
    ),
    (
        "decompression",
        || Client::builder().decompression(false),
        "decompression: false",
        "decompression = true",
        "decompression: true",
    ),
    (
        "decode_limits",
        || decode_limits(|it| it.bytes(7)),
        "bytes: Some(7)",
        "decode_limits = { bytes = 8 }",
        "bytes: Some(8)",
    ),
    (
        "record_paths",
        || Client::builder().record_paths(),
        "paths: Recorded",
        "record_paths = false",
        "paths: Redacted",
    ),
    (
        "call_spans",
        || Client::builder().call_spans(false),
        "call_spans: Off",
        "call_spans = true",
        "call_spans: On",
    ),
    (
        "error_for_status",
        || Client::builder().error_for_status(true),
        "error_for_status: true",
        "error_for_status = false",
        "error_for_status: false",
    ),
    (
        "hedge",
        || Client::builder().hedge(Hedging::after(SECOND)),
        "Fixed(1s)",
        "hedge = 'learned'",
        "Learned { percent: 95",
    ),
    (
        "resume",
        || Client::builder().resume(true),
        "resume: All",
        "resume = false",
        "resume: None",
    ),
    (
        "spread_addresses",
        || Client::builder().spread_addresses(),
        "spreading: On",
        "spread_addresses = false",
        "spreading: Off",
    ),
    (
        "https_only",
        || Client::builder().https_only(true),
        "https_only: true",
        "https_only = false",
        "https_only: false",
    ),
    (
        "user_agent",
        || Client::builder().user_agent("code/1"),
        "\"code/1\"",
        "user_agent = 'file/1'",
        "\"file/1\"",
    ),
    (
        "request_id",
        || Client::builder().request_id(http::HeaderName::from_static("x-code")),
        "request_id: Some(\"x-code\")",
        "request_id = 'x-file'",
        "request_id: Some(\"x-file\")",
    ),
    (
        "attempt_id",
        || Client::builder().attempt_id(http::HeaderName::from_static("x-code")),
        "attempt_id: Some(\"x-code\")",
        "attempt_id = 'x-file'",
        "attempt_id: Some(\"x-file\")",
    ),
    (
        "headers",
        || Client::builder().default_header("x-code", "1"),
        "headers: [\"x-code\"]",
        "headers = { x-file = '1' }",
        "\"x-file\"",
    ),
    (
        "bearer",
        || Client::builder().default_header("x-code", "1"),
        "headers: [\"x-code\"]",
        "bearer = 'c4n4ry'",
        "\"authorization\"",
    ),
    (
        "basic",
        || Client::builder().default_header("x-code", "1"),
        "headers: [\"x-code\"]",
        "basic = { user = 'me', password = 'c4n4ry' }",
        "\"authorization\"",
    ),
    (
        "retry",
        || retry(|policy| policy.max_attempts(7)),
        "max_attempts: 7",
        "retry = 'none'",
        "max_attempts: 1",
    ),
    (
        "breaker",
        || breaker(|it| it.min_wait(SEVEN_SECONDS)),
        "breaker: Some(",
        "breaker = 'none'",
        "breaker: None",
    ),
    (
        "pause",
        || pause(|it| it.max_waiting(7)),
        "pause: Some(",
        "pause = 'none'",
        "pause: None",
    ),
    (
        "redirects",
        || Client::builder().redirects(Redirects::limited(7)),
        "limit: Some(7)",
        "redirects = { limit = 8 }",
        "limit: Some(8)",
    ),
    (
        "pool",
        || pool(|pool| pool.max_connections(7)),
        "max_connections: 7",
        "pool = { max_connections = 8 }",
        "max_connections: 8",
    ),
    (
        "timeouts",
        || timeouts(|timeouts| timeouts.head(SECOND)),
        "head: Some(1s)",
        "timeouts = { head = '2s' }",
        "head: Some(2s)",
    ),
    (
        "connector",
        || connector(|it| it.tcp_nodelay(false)),
        "nodelay: false",
        "connector = { tcp_nodelay = true }",
        "nodelay: true",
    ),
    (
        "tls",
        tls13,
        "versions: [TLSv1_3]",
        "tls = { min_version = '1.2' }",
        "versions: [TLSv1_3, TLSv1_2]",
    ),
    (
        "cookies",
        || Client::builder().cookies(Jar::new()),
        "jar: Some",
        "cookies = false",
        "jar: None",
    ),
    (
        "metrics",
        || Client::builder().record_metrics(),
        "facade: Some(Facade)",
        "metrics = false",
        "facade: None",
    ),
    (
        "http2",
        || http2(|it| it.prior_knowledge(true)),
        "prior_knowledge: true",
        "http2 = { prior_knowledge = false }",
        "prior_knowledge: false",
    ),
    (
        "proxy",
        proxied,
        "http://code:1",
        "proxy = 'none'",
        "proxies: []",
    ),
];

const RETRY: &[Row] = &[
    (
        "preset",
        || retry(|policy| policy.max_attempts(7)),
        "max_attempts: 7",
        "preset = 'aiohttp'",
        "max_attempts: 3",
    ),
    (
        "max_attempts",
        || retry(|policy| policy.max_attempts(7)),
        "max_attempts: 7",
        "max_attempts = 8",
        "max_attempts: 8",
    ),
    (
        "attempts",
        || retry(|policy| policy.max_attempts(7)),
        "max_attempts: 7",
        "attempts = 8",
        "max_attempts: 8",
    ),
    (
        "statuses",
        || retry(|policy| policy.statuses([418])),
        "418",
        "statuses = [599]",
        "599",
    ),
    (
        "methods",
        || retry(|policy| policy.methods([Method::PATCH])),
        "Listed([PATCH])",
        "methods = ['get', 'Post', 'PURGE', 'own']",
        "Listed([GET, POST, PURGE, own])",
    ),
    (
        "any_method",
        || retry(RetryPolicyBuilder::any_method),
        "methods: Any",
        "any_method = false",
        "methods: Idempotent",
    ),
    (
        "backoff",
        || backoff(|it| it.base(7 * SECOND).cap(9 * SECOND)),
        "base: 7s",
        "backoff = { base = '8s' }",
        "base: 8s",
    ),
    (
        "max_retry_after",
        || retry(|policy| policy.max_retry_after(SECOND)),
        "max_retry_after: 1s",
        "max_retry_after = '2s'",
        "max_retry_after: 2s",
    ),
    (
        "honor_retry_after",
        || retry(RetryPolicyBuilder::ignore_retry_after),
        "honored: 0",
        "honor_retry_after = true",
        "honored: 3",
    ),
    (
        "budget",
        || retry(|policy| policy.budget(budget::FixedBudget::new(7, 10).unwrap())),
        "budget: FixedBudget",
        "budget = 'none'",
        "budget: Unlimited",
    ),
    (
        "budget_percent",
        || retry(|policy| policy.budget(budget::Unlimited)),
        "budget: Unlimited",
        "budget_percent = 50",
        "budget: SuccessBudget",
    ),
    (
        "replay_limit",
        || retry(|policy| policy.replay_limit(7)),
        "replay_limit: 7",
        "replay_limit = 8",
        "replay_limit: 8",
    ),
    (
        "replay_memory",
        || retry(|policy| policy.replay_memory(7)),
        "replay_memory: Some(7)",
        "replay_memory = 8",
        "replay_memory: Some(8)",
    ),
    (
        "drain",
        || retry(|policy| policy.drain(7, SECOND)),
        "bytes: 7",
        "drain = { bytes = 8, time = '1s' }",
        "bytes: 8",
    ),
    (
        "transparent_retries",
        || retry(RetryPolicyBuilder::without_transparent_retries),
        "once: 0",
        "transparent_retries = true",
        "gone_away: 5",
    ),
];

const BACKOFF: &[Row] = &[
    (
        "base",
        || backoff(|it| it.base(2 * SECOND)),
        "base: 2s",
        "base = '3s'",
        "base: 3s",
    ),
    (
        "throttled_base",
        || backoff(|it| it.throttled_base(2 * SECOND)),
        "throttled_base: 2s",
        "throttled_base = '3s'",
        "throttled_base: 3s",
    ),
    (
        "factor",
        || backoff(|it| it.factor(3)),
        "factor: 3.0",
        "factor = 4.0",
        "factor: 4.0",
    ),
    (
        "cap",
        || backoff(|it| it.cap(7 * SECOND)),
        "cap: 7s",
        "cap = '8s'",
        "cap: 8s",
    ),
    (
        "jitter",
        || backoff(|it| it),
        "Equal",
        "jitter = 'none'",
        "jitter: None",
    ),
];

const REDIRECTS: &[Row] = &[
    (
        "follow",
        || Client::builder().redirects(Redirects::none()),
        "limit: None",
        "follow = true",
        "limit: Some(10)",
    ),
    (
        "limit",
        || Client::builder().redirects(Redirects::limited(7)),
        "limit: Some(7)",
        "limit = 8",
        "limit: Some(8)",
    ),
    (
        "allow_downgrade",
        || Client::builder().redirects(Redirects::default().allow_downgrade()),
        "downgrade: Allowed",
        "allow_downgrade = false",
        "downgrade: Refused",
    ),
    (
        "sensitive_headers",
        || Client::builder().redirects(Redirects::limited(7)),
        "limit: Some(7)",
        "sensitive_headers = ['x-file']",
        "\"x-file\"",
    ),
];

const POOL: &[Row] = &[
    (
        "max_connections",
        || pool(|it| it.max_connections(7)),
        "max_connections: 7",
        "max_connections = 8",
        "max_connections: 8",
    ),
    (
        "max_connections_per_origin",
        || pool(|it| it.max_connections_per_origin(7)),
        "max_connections_per_origin: 7",
        "max_connections_per_origin = 8",
        "max_connections_per_origin: 8",
    ),
    (
        "max_waiting",
        || pool(|it| it.max_waiting(7)),
        "max_waiting: 7",
        "max_waiting = 8",
        "max_waiting: 8",
    ),
    (
        "queue_timeout",
        || pool(|it| it.queue_timeout(SECOND)),
        "queue_timeout: Some(1s)",
        "queue_timeout = 'none'",
        "queue_timeout: None",
    ),
    (
        "idle_timeout",
        || pool(|it| it.idle_timeout(SECOND)),
        "idle_timeout: Some(1s)",
        "idle_timeout = 'none'",
        "idle_timeout: None",
    ),
    (
        "learned_keep_alive",
        || pool(|it| it.learned_keep_alive(false)),
        "learned_keep_alive: false",
        "learned_keep_alive = true",
        "learned_keep_alive: true",
    ),
    (
        "max_lifetime",
        || pool(|it| it.max_lifetime(SECOND)),
        "max_lifetime: Some(1s)",
        "max_lifetime = 'none'",
        "max_lifetime: None",
    ),
    (
        "max_requests_per_connection",
        || pool(|it| it.max_requests_per_connection(7)),
        "max_requests_per_connection: Some(7)",
        "max_requests_per_connection = 8",
        "max_requests_per_connection: Some(8)",
    ),
    (
        "http1_read_buffer",
        || pool(|it| it.http1_read_buffer(700)),
        "http1_read_buffer: Some(700)",
        "http1_read_buffer = 800",
        "http1_read_buffer: Some(800)",
    ),
    (
        "http1_max_headers",
        || pool(|it| it.http1_max_headers(7)),
        "http1_max_headers: Some(7)",
        "http1_max_headers = 8",
        "http1_max_headers: Some(8)",
    ),
    (
        "http1_space_before_colon",
        || pool(|it| it.http1_space_before_colon(true)),
        "http1_space_before_colon: true",
        "http1_space_before_colon = false",
        "http1_space_before_colon: false",
    ),
    (
        "http1_ignore_invalid_headers",
        || pool(|it| it.http1_ignore_invalid_headers(true)),
        "http1_ignore_invalid_headers: true",
        "http1_ignore_invalid_headers = false",
        "http1_ignore_invalid_headers: false",
    ),
];

const TIMEOUTS: &[Row] = &[
    (
        "connect",
        || timeouts(|it| it.connect(SECOND)),
        "connect: Some(1s)",
        "connect = 'none'",
        "connect: None",
    ),
    (
        "head",
        || timeouts(|it| it.head(SECOND)),
        "head: Some(1s)",
        "head = 'none'",
        "head: None",
    ),
    (
        "body_idle",
        || timeouts(|it| it.body_idle(SECOND)),
        "body_idle: Some(1s)",
        "body_idle = 'none'",
        "body_idle: None",
    ),
    (
        "expect_continue",
        || timeouts(|it| it.expect_continue(7 * SECOND)),
        "expect_continue: 7s",
        "expect_continue = '8s'",
        "expect_continue: 8s",
    ),
    (
        "download_floor",
        || timeouts(|it| it.download_floor(ThroughputFloor::new(7, SECOND))),
        "download_floor: Some(ThroughputFloor { bytes_per_second: 7, window: 1s })",
        "download_floor = { bytes_per_second = 8, window = '9s' }",
        "download_floor: Some(ThroughputFloor { bytes_per_second: 8, window: 9s })",
    ),
    (
        "upload_floor",
        || timeouts(|it| it.upload_floor(ThroughputFloor::new(7, SECOND))),
        "upload_floor: Some(ThroughputFloor { bytes_per_second: 7, window: 1s })",
        "upload_floor = 'none'",
        "upload_floor: None",
    ),
];

const CONNECTOR: &[Row] = &[
    (
        "happy_eyeballs_delay",
        || connector(|it| it.happy_eyeballs_delay(7 * SECOND)),
        "7s",
        "happy_eyeballs_delay = '8s'",
        "8s",
    ),
    (
        "local_address",
        || connector(|it| it.local_address("127.0.0.7".parse::<std::net::IpAddr>().unwrap())),
        "127.0.0.7",
        "local_address = '127.0.0.8'",
        "127.0.0.8",
    ),
    (
        "tcp_keepalive",
        || connector(|it| it.tcp_keepalive(7 * SECOND)),
        "7s",
        "tcp_keepalive = '8s'",
        "8s",
    ),
    (
        "tcp_nodelay",
        || connector(|it| it.tcp_nodelay(false)),
        "nodelay: false",
        "tcp_nodelay = true",
        "nodelay: true",
    ),
    #[cfg(unix)]
    (
        "unix_socket",
        || connector(|it| it.unix_socket("/code.sock")),
        "/code.sock",
        "unix_socket = '/file.sock'",
        "/file.sock",
    ),
];

const HTTP2: &[Row] = &[
    (
        "prior_knowledge",
        || http2(|it| it.prior_knowledge(true)),
        "prior_knowledge: true",
        "prior_knowledge = false",
        "prior_knowledge: false",
    ),
    (
        "max_concurrent_streams",
        || http2(|it| it.max_concurrent_streams(7)),
        "max_concurrent_streams: 7",
        "max_concurrent_streams = 8",
        "max_concurrent_streams: 8",
    ),
    (
        "keep_alive_interval",
        || http2(|it| it.keep_alive_interval(7 * SECOND)),
        "keep_alive_interval: Some(7s)",
        "keep_alive_interval = 'none'",
        "keep_alive_interval: None",
    ),
    (
        "keep_alive_timeout",
        || http2(|it| it.keep_alive_timeout(7 * SECOND)),
        "keep_alive_timeout: 7s",
        "keep_alive_timeout = '8s'",
        "keep_alive_timeout: 8s",
    ),
    (
        "stream_window",
        || http2(|it| it.stream_window(70_000)),
        "70000",
        "stream_window = 80000",
        "80000",
    ),
    (
        "connection_window",
        || http2(|it| it.connection_window(70_000)),
        "70000",
        "connection_window = 80000",
        "80000",
    ),
    (
        "adaptive_window",
        || http2(|it| it.adaptive_window(true)),
        "adaptive_window: true",
        "adaptive_window = false",
        "adaptive_window: false",
    ),
];

const DECODE_LIMITS: &[Row] = &[
    (
        "bytes",
        || decode_limits(|it| it.bytes(7)),
        "bytes: Some(7)",
        "bytes = 'none'",
        "bytes: None",
    ),
    (
        "ratio",
        || decode_limits(|it| it.ratio(NonZeroU32::new(7))),
        "ratio: Some(7)",
        "ratio = 8",
        "ratio: Some(8)",
    ),
    (
        "ratio_from",
        || decode_limits(|it| it.ratio_from(1024)),
        "ratio_from: 1024",
        "ratio_from = 2048",
        "ratio_from: 2048",
    ),
];

const HEDGE: &[Row] = &[
    (
        "after",
        || Client::builder().hedge(Hedging::after(SECOND)),
        "Fixed(1s)",
        "after = '2s'",
        "Fixed(2s)",
    ),
    (
        "percentile",
        || Client::builder().hedge(Hedging::learned().percentile(90)),
        "percent: 90",
        "percentile = 99",
        "percent: 99",
    ),
    (
        "min_answers",
        || Client::builder().hedge(Hedging::learned()),
        "fewest: 100",
        "min_answers = 50",
        "fewest: 50",
    ),
    (
        "max_hedges",
        || Client::builder().hedge(Hedging::after(SECOND)),
        "max_hedges: 1",
        "max_hedges = 2",
        "max_hedges: 2",
    ),
    (
        "first_byte_within",
        || Client::builder().hedge(Hedging::after(SECOND).first_byte_within(SECOND)),
        "hold: 1s",
        "first_byte_within = '2s'",
        "hold: 2s",
    ),
];

const BREAKER: &[Row] = &[
    (
        "consecutive_failures",
        || breaker(BreakerBuilder::no_consecutive_failures),
        "consecutive_failures: None",
        "consecutive_failures = 8",
        "consecutive_failures: Some(8)",
    ),
    (
        "failing_for",
        || breaker(|it| it.failing_for(SEVEN_SECONDS)),
        "failing_for: 7s",
        "failing_for = '8s'",
        "failing_for: 8s",
    ),
    (
        "success_rate",
        || breaker(|it| it.success_rate(SuccessRate::new(71, SEVEN_SECONDS))),
        "percent: 71",
        "success_rate = { percent = 72, window = '8s', min_requests = 9 }",
        "percent: 72, window: 8s, min_requests: 9",
    ),
    (
        "min_wait",
        || breaker(|it| it.min_wait(SEVEN_SECONDS)),
        "min: 7s",
        "min_wait = '8s'",
        "min: 8s",
    ),
    (
        "max_wait",
        || breaker(|it| it.max_wait(SEVEN_SECONDS)),
        "max: 7s",
        "max_wait = '8s'",
        "max: 8s",
    ),
    (
        "max_retry_after",
        || breaker(|it| it.max_retry_after(SEVEN_SECONDS)),
        "max_retry_after: 7s",
        "max_retry_after = '8s'",
        "max_retry_after: 8s",
    ),
];

const PAUSE: &[Row] = &[
    (
        "without_hint",
        || pause(|it| it.without_hint(SEVEN_SECONDS)),
        "without_hint: Some(7s)",
        "without_hint = 'none'",
        "without_hint: None",
    ),
    (
        "max_pause",
        || pause(|it| it.max_pause(SEVEN_SECONDS)),
        "max_pause: 7s",
        "max_pause = '8s'",
        "max_pause: 8s",
    ),
    (
        "max_wait",
        || pause(|it| it.max_wait(SEVEN_SECONDS)),
        "max_wait: 7s",
        "max_wait = '8s'",
        "max_wait: 8s",
    ),
    (
        "max_waiting",
        || pause(|it| it.max_waiting(7)),
        "max_waiting: 7",
        "max_waiting = 8",
        "max_waiting: 8",
    ),
];

const SEVEN_SECONDS: Duration = Duration::from_secs(7);

fn breaker(alter: impl FnOnce(BreakerBuilder) -> BreakerBuilder) -> ClientBuilder {
    Client::builder().breaker(alter(Breaker::builder()))
}

fn pause(alter: impl FnOnce(PauseBuilder) -> PauseBuilder) -> ClientBuilder {
    Client::builder().pause(alter(Pause::builder()))
}

const PROXY: &[Row] = &[
    (
        "http",
        proxied,
        "code:1",
        "http = 'http://file:1'",
        "file:1",
    ),
    (
        "https",
        proxied,
        "code:1",
        "https = 'http://file:1'",
        "file:1",
    ),
    ("all", proxied, "code:1", "all = 'http://file:1'", "file:1"),
    (
        "no_proxy",
        proxied,
        "code:1",
        "all = 'http://file:1'\nno_proxy = 'inside.test'",
        "inside.test",
    ),
];

fn config(section: &str, text: &str) -> ClientConfig {
    let text = format!("{section}\n{text}");
    toml::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// The keys of a section, as the error of one that it does not know lists them.
fn known(section: &str) -> BTreeSet<String> {
    let text = format!("{section}\nnot_a_key = 1");
    let error = toml::from_str::<ClientConfig>(&text).unwrap_err();
    let listed = error.message().split_once("expected ").unwrap().1;
    let listed = listed.split('`').skip(1).step_by(2);
    listed.map(ToOwned::to_owned).collect()
}

#[test]
fn every_key_acts_over_what_code_has_set_and_an_absent_one_leaves_it() {
    for (section, rows) in [
        ("", KEYS),
        ("[retry]", RETRY),
        ("[retry.backoff]", BACKOFF),
        ("[hedge]", HEDGE),
        ("[breaker]", BREAKER),
        ("[pause]", PAUSE),
        ("[redirects]", REDIRECTS),
        ("[pool]", POOL),
        ("[timeouts]", TIMEOUTS),
        ("[connector]", CONNECTOR),
        ("[http2]", HTTP2),
        ("[proxy]", PROXY),
        ("[decode_limits]", DECODE_LIMITS),
    ] {
        let tried: BTreeSet<_> = rows.iter().map(|(key, ..)| (*key).to_owned()).collect();
        let known = known(section);
        assert_eq!(tried, known, "each key of {section} has its row");
        for (key, code, before, file, after) in rows {
            let name = format!("{section} {key}");
            let absent = code().config(ClientConfig::default()).unwrap();
            let kept = format!("{absent:?}");
            assert!(kept.contains(before), "{name}: {before} not in {kept}");
            assert!(!kept.contains(after), "{name}: {after} in {kept}");
            let laid_over = code().config(config(section, file)).unwrap();
            let told = format!("{laid_over:?}");
            assert!(told.contains(after), "{name}: {after} not in {told}");
            assert!(!told.contains("c4n4ry"), "{name}: {told}");
        }
    }
}

#[test]
fn certificates_are_read_from_text_and_from_files() {
    let chain = Chain::new(LOOPBACK);
    let (root, certificate_pem, key_pem) = (chain.root_pem(), chain.chain_pem(), chain.key_pem());
    let folder = std::env::temp_dir().join(format!("client-config-{:x}", fastrand::u64(..)));
    std::fs::create_dir(&folder).unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let ca = write("ca.pem", &root);
    let certificate = write("me.pem", &certificate_pem);
    let key = write("me.key", &key_pem);
    let both = write("both.pem", &format!("{certificate_pem}{key_pem}"));
    let missing = folder.join("missing.pem").display().to_string();
    let garbage = write("garbage.pem", "c4n4ry");
    for (text, wrong) in [
        (format!("ca_file = '{ca}'\nonly_added_roots = true"), ""),
        (
            format!("roots_pem = '''{root}'''\nonly_added_roots = true"),
            "",
        ),
        (
            format!("client_certificate = '{certificate}'\nclient_key = '{key}'"),
            "",
        ),
        (format!("client_certificate = '{both}'"), ""),
        (
            format!("certificate_pem = '''{certificate_pem}'''\nkey_pem = '''{key_pem}'''"),
            "",
        ),
        (format!("ca_file = '{missing}'"), "tls.ca_file: the file"),
        (
            format!("ca_file = '{garbage}'"),
            "-----BEGIN CERTIFICATE-----",
        ),
        (format!("client_certificate = '{missing}'"), "missing.pem"),
        (
            format!("client_certificate = '{certificate}'\nclient_key = '{missing}'"),
            "tls.client_key: the file",
        ),
        (
            format!("client_certificate = '{certificate}'"),
            "tls.client_certificate: ",
        ),
        (format!("client_key = '{key}'"), "`tls.client_certificate`"),
        (
            format!(
                "client_certificate = '{both}'\ncertificate_pem = '''{certificate_pem}'''\n\
                 key_pem = '''{key_pem}'''"
            ),
            "exclude each other",
        ),
        ("only_added_roots = true".to_owned(), "`add_roots_pem`"),
    ] {
        let built = Client::builder().config(config("[tls]", &text));
        match built.map(drop) {
            Ok(()) => assert!(wrong.is_empty(), "{text}"),
            Err(error) => {
                let told = format!("{error:#}");
                assert!(!wrong.is_empty() && told.contains(wrong), "{text}: {told}");
                assert!(!told.contains("c4n4ry"), "{text}: {told}");
            }
        }
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_message_has_the_setting_its_value_and_what_would_be_right() {
    for (text, message) in [
        (
            "base_url = 'localhost:8123'",
            "base_url: `localhost:8123` has no scheme; write http://localhost:8123/",
        ),
        (
            "endpoints = ['http://a/', 'b.example/v1/']",
            "endpoints: `b.example/v1/` has no scheme; write http://b.example/v1/",
        ),
        (
            "base_url = 'ftp://a/'",
            "base_url: `ftp://a/` cannot be asked: only http and https can be sent, not ftp; write \
             one such as http://localhost:8123/",
        ),
        (
            "[retry]\nstatuses = [503, 1000]",
            "retry.statuses: 1000 is no status code; write one from 100 to 999",
        ),
        (
            "[retry]\nmethods = ['G E T']",
            "retry.methods: \"G E T\" is no method; write one word, such as \"GET\"",
        ),
        (
            "request_id = 'a b'",
            "request_id: \"a b\" is no header's name; write letters, digits and hyphens, as in \
             \"x-request-id\"",
        ),
        (
            "[retry]\nmethods = ['get']\nany_method = true",
            "the settings `retry.methods` and `retry.any_method` exclude each other",
        ),
        (
            "[retry]\nbudget = 'none'\nbudget_percent = 5",
            "the settings `retry.budget` and `retry.budget_percent` exclude each other",
        ),
    ] {
        let error = ClientBuilder::from_config(config("", text)).unwrap_err();
        assert_eq!(error.to_string(), message, "{text}");
    }
    for secret in ["c4n4ry@host:1", "me:c4n4ry@host", "http://me:c4n4ry@"] {
        let error = ClientBuilder::from_config(config("", &format!("base_url = '{secret}'")));
        let error = error.unwrap_err().to_string();
        assert!(
            !error.contains("c4n4ry") && error.contains("base_url"),
            "{error}"
        );
    }
    let zero = ClientBuilder::from_config(config("", "[timeouts]\nhead = '0s'"));
    let error = zero.unwrap().build().unwrap_err();
    let told = format!("{error:#}");
    assert!(
        told.contains("`None`") && told.contains("`\"none\"`"),
        "{told}"
    );
}

#[test]
fn a_preset_takes_the_place_of_what_code_has_set_and_other_keys_alter_it() {
    let told = |text: &str| {
        let code = retry(|policy| policy.max_attempts(7).any_method());
        format!("{:?}", code.config(config("", text)).unwrap())
    };
    let profile = RetryPolicy::aiohttp_retry();
    assert!(told("retry = 'aiohttp'").contains(&format!("{profile:?}")));
    let default = RetryPolicy::default();
    assert!(told("retry = 'default'").contains(&format!("{default:?}")));
    let patient = told("retry = { preset = 'aiohttp', attempts = 5 }");
    assert!(
        patient.contains("max_attempts: 5") && patient.contains("Listed"),
        "{patient}"
    );
    for (text, words) in [
        ("retry = 'aiohtp'", "`aiohtp`"),
        ("retry = 3", "\"aiohttp\" or \"none\""),
        ("retry = { attemps = 3 }", "`attemps`"),
        ("proxy = 3", "\"env\" or \"none\""),
        ("decode_limits = { ratio = -1 }", "a number, or \"none\""),
        ("decode_limits = { bytes = 'all' }", "a number, or \"none\""),
        ("retry = { budget = 'some' }", "`some`"),
    ] {
        let error = toml::from_str::<ClientConfig>(text).map(drop).unwrap_err();
        assert!(error.to_string().contains(words), "{text}: {error}");
    }
}
