//! Applies a configuration to the settings of a client.

#[cfg(feature = "cookies")]
use session_layer::cookies::Jar;

use super::{
    BasicConfig, ClientConfig,
    decode::DecodeLimitsConfig,
    duration::Limit,
    health::{BreakerConfig, PauseConfig, Switch},
    hedge::HedgeConfig,
    problem::{header_name, twice},
    session::PoolSettings,
};
use crate::{ClientBuilder, Error, observe::Paths, spreading::Spreading};

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
            spread_addresses,
            user_agent,
            request_id,
            attempt_id,
            headers,
            bearer,
            basic,
            retry,
            hedge,
            breaker,
            pause,
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
        builder = introduce(builder, user_agent);
        builder = number_requests(builder, request_id, attempt_id)?;
        builder = treat_bodies(builder, decompression, decode_limits, resume)?;
        builder = refuse_responses_and_urls(builder, error_for_status, https_only);
        // A policy that is not valid stays so, and is an error of `build`.
        if let (Some(retry), Ok(policy)) = (retry, &builder.retry) {
            let policy = retry.alter(policy.to_builder())?;
            builder = builder.retry(policy);
        }
        builder = send_twice(builder, hedge)?;
        builder = guard_attempts(builder, breaker, pause);
        if let Some(redirects) = redirects {
            builder.redirects = redirects.alter(builder.redirects)?;
        }
        builder = share_connections(builder, pool, spread_addresses);
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

fn guard_attempts(
    mut builder: ClientBuilder,
    breaker: Option<Switch<BreakerConfig>>,
    pause: Option<Switch<PauseConfig>>,
) -> ClientBuilder {
    if let Some(switch) = breaker {
        builder.breaker = switch.breaker(builder.breaker);
    }
    if let Some(switch) = pause {
        builder.pause = switch.pause(builder.pause);
    }
    builder
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

fn share_connections(
    mut builder: ClientBuilder,
    pool: Option<PoolSettings>,
    spreads: Option<bool>,
) -> ClientBuilder {
    if let Some(pool) = pool {
        builder.pool = pool.alter(builder.pool);
    }
    match spreads {
        Some(true) => builder.spreading = Spreading::On,
        Some(false) => builder.spreading = Spreading::Off,
        None => {}
    }
    builder
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

fn introduce(builder: ClientBuilder, user_agent: Option<String>) -> ClientBuilder {
    match user_agent {
        None => builder,
        Some(agent) if agent.is_empty() => builder.no_user_agent(),
        Some(agent) => builder.user_agent(agent),
    }
}

/// Sets the headers that carry the id of a call, and of an attempt.
fn number_requests(
    mut builder: ClientBuilder,
    request_id: Option<String>,
    attempt_id: Option<String>,
) -> Result<ClientBuilder, Error> {
    if let Some(name) = request_id {
        builder = builder.request_id(header_name("request_id", &name)?);
    }
    if let Some(name) = attempt_id {
        builder = builder.attempt_id(header_name("attempt_id", &name)?);
    }
    Ok(builder)
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
