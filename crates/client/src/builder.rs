use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Response, Uri,
    header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION},
};
use http_body::Body as HttpBody;
use hyper::rt::{Read, Write};
use hyper_util::client::legacy::connect::Connection;
use retry_layer::{BuildError, RetryPolicy};
use session_layer::{Connector, PoolConfig, Session, SessionLayer, Timeouts};
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    Body, Client, Error, Redirects, TokenSource, attempt,
    auth::{self, Auth, Tokens},
    call,
    error::BoxError,
    extras::Extras,
    layers::{AttemptBody, InnerService, Layers},
    observe::Metrics,
    predicate,
    stack::{self, Parts, WireBody},
    target::Base,
};

/// The settings of a [`Client`].
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
    base: Option<Base>,
    retry: Result<RetryPolicy, BuildError>,
    pool: PoolConfig,
    timeouts: Timeouts,
    deadline: Option<Duration>,
    max_body: usize,
    redirects: Redirects,
    user_agent: Option<HeaderValue>,
    extras: Extras,
    request_id: Option<HeaderName>,
    metrics: Metrics,
    /// The first setting that cannot be.
    problem: Option<Error>,
    connector: Connector,
    call_layers: Layers<Body>,
    attempt_layers: Layers<AttemptBody>,
}

const DEADLINE: Duration = Duration::from_secs(300);
const MAX_BODY: usize = 64 * 1024 * 1024;
const USER_AGENT: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));

impl ClientBuilder {
    /// Starts with the default settings.
    pub fn new() -> Self {
        Self {
            base: None,
            retry: Ok(RetryPolicy::default()),
            pool: PoolConfig::default(),
            timeouts: Timeouts::default(),
            deadline: Some(DEADLINE),
            max_body: MAX_BODY,
            redirects: Redirects::default(),
            user_agent: Some(HeaderValue::from_static(USER_AGENT)),
            extras: Extras::default(),
            request_id: None,
            metrics: Metrics::Off,
            problem: None,
            connector: Connector::new(),
            call_layers: Layers::default(),
            attempt_layers: Layers::default(),
        }
    }

    /// Joins relative URLs to this one, as
    /// [RFC 3986, section 5](https://www.rfc-editor.org/rfc/rfc3986#section-5) says: the last part
    /// of its path counts only if a slash ends it. URLs that name a host are not bound to it; see
    /// [`IntoUrl`](crate::IntoUrl). Default: none, and relative URLs are refused.
    ///
    /// # Errors
    ///
    /// If it is not an absolute `http` or `https` URL.
    pub fn base_url(mut self, url: impl AsRef<str>) -> Result<Self, Error> {
        self.base = Some(Base::new(url.as_ref())?);
        self.extras.endpoints.clear();
        Ok(self)
    }

    /// Sends each attempt of a call to another server: the first to the first of these base URLs,
    /// the second to the second, and so on; the last one repeats. All headers and the client's
    /// credentials go along. Takes the place of [`base_url`](Self::base_url).
    ///
    /// The URL of a call is joined to the first one, and its path moves along from there. A free
    /// resend goes where the attempt before it went. URLs of other origins are not moved. The
    /// retry [budget](retry_layer::budget) counts all of them as the first one.
    ///
    /// ```
    /// let client = client::Client::builder()
    ///     .endpoints(["http://a.example/v1/", "http://b.example/api/v1/"])?
    ///     .build()?;
    /// # Ok::<(), client::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If there is none, or one is not an absolute `http` or `https` URL.
    pub fn endpoints<U: AsRef<str>>(
        mut self,
        urls: impl IntoIterator<Item = U>,
    ) -> Result<Self, Error> {
        let endpoints = urls.into_iter().map(|url| Base::new(url.as_ref()));
        self.extras.endpoints = endpoints.collect::<Result<_, _>>()?;
        self.base = self.extras.endpoints.first().cloned();
        if self.base.is_none() {
            return Err(Error::builder("there must be at least one endpoint"));
        }
        Ok(self)
    }

    /// Adds a header to requests that do not have it, on each attempt.
    ///
    /// It belongs to one origin, as do all of the client's own headers and credentials but
    /// `User-Agent` and ids: to that of the [base URL](Self::base_url), or of each
    /// [endpoint](Self::endpoints); without one, to the origin that a call goes to at first. It is
    /// never sent to another, nor back there by somebody else's redirect.
    pub fn default_header<K, V>(self, name: K, value: V) -> Self
    where
        K: TryInto<HeaderName>,
        V: TryInto<HeaderValue>,
    {
        // The value may be a secret, and even a bad name may hold one: neither is told.
        let header = match (name.try_into(), value.try_into()) {
            (Ok(name), Ok(value)) => Ok((name, value)),
            (Ok(name), Err(_)) => Err(Error::builder(format!(
                "the value of the default header {name} is not valid: it holds a line break or \
                 another control character"
            ))),
            (Err(_), _) => Err(Error::builder("a default header's name is not valid")),
        };
        self.with_header(header)
    }

    /// Adds these headers to requests that do not have them; see
    /// [`default_header`](Self::default_header).
    pub fn default_headers(mut self, mut headers: HeaderMap) -> Self {
        for (name, value) in &mut headers {
            flag(name, value);
        }
        self.extras.headers.extend(headers);
        self
    }

    fn with_header(mut self, header: Result<(HeaderName, HeaderValue), Error>) -> Self {
        match header {
            Ok((name, mut value)) => {
                flag(&name, &mut value);
                self.extras.headers.insert(name, value);
            }
            Err(error) => {
                self.problem.get_or_insert(error);
            }
        }
        self
    }

    /// Authorizes requests by this bearer token
    /// ([RFC 6750](https://www.rfc-editor.org/rfc/rfc6750)), unless they have an `Authorization`
    /// of their own. It goes to one origin only; see [`default_header`](Self::default_header).
    pub fn bearer(self, token: impl AsRef<str>) -> Self {
        self.with_header(auth::bearer(token.as_ref()).map(|value| (AUTHORIZATION, value)))
    }

    /// Authorizes requests by user and password
    /// ([RFC 7617](https://www.rfc-editor.org/rfc/rfc7617)), unless they have an `Authorization`
    /// of their own. They go to one origin only; see [`default_header`](Self::default_header).
    pub fn basic(self, user: impl AsRef<str>, password: impl AsRef<str>) -> Self {
        let value = auth::basic(user.as_ref(), password.as_ref());
        self.with_header(value.map(|value| (AUTHORIZATION, value)))
    }

    /// Authorizes requests by bearer tokens from a source, unless they have an `Authorization` of
    /// their own. They go to one origin only; see [`default_header`](Self::default_header).
    ///
    /// A token is fetched when the first attempt needs one, when it has expired, and when a server
    /// refuses it by 401: then the request, whatever its method, is sent once more with the new
    /// one, if it may be sent more than once at all. Requests that need one at the same time wait
    /// for the same fetch. See [`token_fn`](crate::token_fn) for an example.
    pub fn auth(mut self, source: impl TokenSource) -> Self {
        self.extras.auth = Some(Auth::Token(Tokens::new(source)));
        self
    }

    /// Authorizes requests by Digest ([RFC 7616](https://www.rfc-editor.org/rfc/rfc7616)), unless
    /// they have an `Authorization` of their own. The password itself is never sent.
    ///
    /// The first request to an origin is sent without, and again once the server has asked. Those
    /// after it answer the same challenge, until the server has another.
    #[cfg(feature = "digest")]
    pub fn digest(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        let digest = auth::Digest::new(user.into(), password.into());
        self.extras.auth = Some(Auth::Digest(digest));
        self
    }

    /// Gives each call a random id in this header, the same on all its attempts, unless it has
    /// one. Default: none.
    pub fn request_id(mut self, name: HeaderName) -> Self {
        self.request_id = Some(name);
        self
    }

    /// Gives each attempt a random id of its own in this header. Default: none.
    pub fn attempt_id(mut self, name: HeaderName) -> Self {
        self.extras.attempt_id = Some(name);
        self
    }

    /// Decides what is tried again, and when: a [`RetryPolicy`] or its builder, whose error then
    /// comes from [`build`](Self::build). Default: [`RetryPolicy::default`].
    pub fn retry<P>(mut self, policy: P) -> Self
    where
        P: TryInto<RetryPolicy>,
        P::Error: Into<BuildError>,
    {
        self.retry = policy.try_into().map_err(Into::into);
        self
    }

    /// Limits connections and the wait for them. Default: [`PoolConfig::default`].
    pub fn pool(mut self, pool: PoolConfig) -> Self {
        self.pool = pool;
        self
    }

    /// Limits the parts of an exchange. Default: [`Timeouts::default`].
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// Limits a whole call: the queue, each attempt, each wait, and the body where it is collected
    /// by `fetch`, `collect`, `bytes`, `text` or `json`. A body that streams is limited by the
    /// [idle timeout](Timeouts::body_idle) only. `None` sets no limit. Default: 300 s.
    pub fn deadline(mut self, deadline: impl Into<Option<Duration>>) -> Self {
        self.deadline = deadline.into();
        self
    }

    /// Limits the bodies that `fetch`, `bytes`, `text` and `json` collect, in bytes.
    /// Default: 64 MiB.
    pub fn max_body(mut self, bytes: usize) -> Self {
        self.max_body = bytes;
        self
    }

    /// Decides which redirects are followed. Each is a request of its own, with its own attempts;
    /// all share the deadline. Default: [`Redirects::default`], ten at most.
    pub fn redirects(mut self, redirects: Redirects) -> Self {
        self.redirects = redirects;
        self
    }

    /// Says who asks, on requests that do not say it themselves; `None` says nothing.
    /// Default: this crate's name and version.
    pub fn user_agent(mut self, user_agent: impl Into<Option<HeaderValue>>) -> Self {
        self.user_agent = user_agent.into();
        self
    }

    /// Keeps figures by the [`metrics`](https://docs.rs/metrics) facade, under the names of
    /// OpenTelemetry: the histogram `http.client.request.duration` in seconds and the gauge
    /// `http.client.active_requests`, both by attempt; and the counters `retry.attempts`, of
    /// attempts that followed another, and `retry.stops`, of calls by why they ended. An attempt
    /// lasts until its body has been read or dropped. Default: none.
    #[cfg(feature = "metrics")]
    pub fn record_metrics(mut self) -> Self {
        crate::observe::describe();
        self.metrics = Metrics::On;
        self
    }

    /// Uses this TLS configuration (of rustls 0.23) instead of the platform's roots: for a private
    /// certificate authority, or a client certificate. Its ALPN protocols are replaced.
    #[cfg(feature = "tls")]
    pub fn tls_config(mut self, config: rustls::ClientConfig) -> Self {
        self.connector = self.connector.tls_config(config);
        self
    }

    /// Puts a layer around each call, above the retries and below the redirects, so that it sees
    /// each hop: any tower layer whose service is `Clone`,
    /// such as tower's `TimeoutLayer`, `ConcurrencyLimitLayer` or `BufferLayer`, also several in a
    /// `ServiceBuilder`. Default: none, and then the stack needs no box.
    ///
    /// Of several, the one given first is outermost. Each is made once, so that all calls share
    /// its limits. Its error may be anything that becomes a `BoxError`: it is the
    /// [`source`](std::error::Error::source) of an [`Error`], and an [`Error`] from below, boxed on
    /// the way, comes out as itself.
    ///
    /// ```
    /// use std::time::Duration;
    /// use client::Client;
    /// use tower::{ServiceBuilder, limit::ConcurrencyLimitLayer, timeout::TimeoutLayer};
    ///
    /// let client = Client::builder()
    ///     .layer(
    ///         ServiceBuilder::new()
    ///             .layer(TimeoutLayer::new(Duration::from_secs(20)))
    ///             .layer(ConcurrencyLimitLayer::new(100))
    ///             .into_inner(),
    ///     )
    ///     .build()?;
    /// # Ok::<(), client::Error>(())
    /// ```
    pub fn layer<L, R>(mut self, layer: L) -> Self
    where
        L: Layer<InnerService<Body>> + Send + Sync + 'static,
        L::Service: Service<Request<Body>, Response = Response<R>> + Clone + Send + Sync + 'static,
        <L::Service as Service<Request<Body>>>::Error: Into<BoxError>,
        <L::Service as Service<Request<Body>>>::Future: Send + 'static,
        R: HttpBody<Data = Bytes> + Send + 'static,
        R::Error: Into<BoxError>,
    {
        self.call_layers.push(layer);
        self
    }

    /// Puts a layer around each attempt, below the retries and above what the client itself does
    /// per attempt, such as adding its `User-Agent`. Default: none.
    ///
    /// What [`layer`](Self::layer) says holds here too. The request's body is an [`AttemptBody`],
    /// so a layer that is to serve in both places leaves the type of the body open. Whether an
    /// error that a layer makes is retried, its causes decide: a timeout is, if the request is
    /// idempotent.
    pub fn attempt_layer<L, R>(mut self, layer: L) -> Self
    where
        L: Layer<InnerService<AttemptBody>> + Send + Sync + 'static,
        L::Service:
            Service<Request<AttemptBody>, Response = Response<R>> + Clone + Send + Sync + 'static,
        <L::Service as Service<Request<AttemptBody>>>::Error: Into<BoxError>,
        <L::Service as Service<Request<AttemptBody>>>::Future: Send + 'static,
        R: HttpBody<Data = Bytes> + Send + 'static,
        R::Error: Into<BoxError>,
    {
        self.attempt_layers.push(layer);
        self
    }

    /// Builds the client. Nothing is connected yet.
    ///
    /// # Errors
    ///
    /// If a setting cannot be: 0 attempts, a cap below the base, a limit or timeout of 0. The
    /// error names it, and [`is_builder`](Error::is_builder) holds for it.
    pub fn build(self) -> Result<Client, Error> {
        // The addresses of a name share the time that there is for all of connecting.
        let connect = self.timeouts.connect_timeout();
        let connector = self.connector.clone().connect_timeout(connect);
        self.build_with_connector(connector)
    }

    /// Builds the client over a connector of one's own: an in-memory one for tests, a proxy's.
    ///
    /// # Errors
    ///
    /// Those of [`build`](Self::build).
    pub fn build_with_connector<C>(self, connector: C) -> Result<Client, Error>
    where
        C: Service<Uri> + Clone + Send + Sync + 'static,
        C::Response: Read + Write + Connection + Unpin + Send + 'static,
        C::Error: Into<BoxError>,
        C::Future: Send + 'static,
    {
        let session: Session<WireBody> =
            SessionLayer::new(self.pool.clone(), self.timeouts.clone())
                .map_err(|error| Error::builder(error.to_string()))?
                .layer(connector);
        let (settings, parts) = self.split()?;
        let stack = stack::over_session(session.clone(), parts);
        Ok(Client::assemble(settings, stack, Some(session)))
    }

    /// Builds the client with its retries, over a service in place of the session: a mock whose
    /// failures are to be retried, a client of hyper-util.
    ///
    /// What the service's errors mean is read from their causes; the settings of the session do
    /// nothing.
    ///
    /// # Errors
    ///
    /// Those of [`build`](Self::build).
    pub fn build_with_service<S, R>(self, service: S) -> Result<Client, Error>
    where
        S: Service<Request<Body>, Response = Response<R>> + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send + 'static,
        R: HttpBody<Data = Bytes> + Send + 'static,
        R::Error: Into<BoxError>,
    {
        let (settings, parts) = self.split()?;
        let stack = stack::over_service(service, parts);
        Ok(Client::assemble(settings, stack, None))
    }

    /// Builds the client over a service in place of the whole stack: without retries, and with
    /// nothing of what is done per attempt, such as headers and credentials. [`Client::from_service`] is this with the default settings.
    ///
    /// # Errors
    ///
    /// If the deadline is 0, or there is an [`attempt_layer`](Self::attempt_layer): without retries
    /// there are no attempts.
    pub fn build_from_service<S, R>(self, service: S) -> Result<Client, Error>
    where
        S: Service<Request<Body>, Response = Response<R>> + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send + 'static,
        R: HttpBody<Data = Bytes> + Send + 'static,
        R::Error: Into<BoxError>,
    {
        let (settings, parts) = self.split()?;
        let stack = stack::bare(service, parts)?;
        Ok(Client::assemble(settings, stack, None))
    }

    fn split(mut self) -> Result<(call::Settings, Parts), Error> {
        if let Some(problem) = self.problem {
            return Err(problem);
        }
        let builder = |error: BuildError| Error::builder(error.to_string()).with(error);
        if self.deadline.is_some_and(|deadline| deadline.is_zero()) {
            return Err(Error::builder(
                "deadline must be longer than 0; `None` turns it off",
            ));
        }
        let policy = self
            .retry
            .and_then(|policy| predicate::aware(&policy, self.deadline))
            .map_err(builder)?;
        let bases = match &self.base {
            Some(base) if self.extras.endpoints.is_empty() => std::slice::from_ref(base),
            Some(_) | None => &self.extras.endpoints,
        };
        self.extras.homes = bases.iter().map(Base::origin).collect::<Result<_, _>>()?;
        let settings = call::Settings {
            base: self.base,
            deadline: self.deadline,
            max_body: self.max_body,
            redirects: self.redirects,
            request_id: self.request_id,
            #[cfg(feature = "metrics")]
            metrics: self.metrics,
            renews: self.extras.auth.is_some(),
            ..call::Settings::default()
        };
        let parts = Parts {
            policy,
            attempt: Arc::new(attempt::Settings {
                user_agent: self.user_agent,
                extras: self.extras.boxed(),
                metrics: self.metrics,
            }),
            max_body: self.max_body,
            call_layers: self.call_layers,
            attempt_layers: self.attempt_layers,
        };
        Ok((settings, parts))
    }
}

/// Flags what is certainly a secret as one, so that no log shows it.
fn flag(name: &HeaderName, value: &mut HeaderValue) {
    if [AUTHORIZATION, PROXY_AUTHORIZATION, COOKIE].contains(name) {
        value.set_sensitive(true);
    }
}

impl Default for ClientBuilder {
    fn default() -> Self {
        Self::new()
    }
}
