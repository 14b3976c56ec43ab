//! The settings of a client, and what is built of them.

mod client;
mod headers;
mod layers;
mod session;
mod telemetry;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, Uri};
use http_body::Body as HttpBody;
use hyper::rt::{Read, Write};
use hyper_util::client::legacy::connect::Connection;
use retry_layer::{BuildError, RetryPolicy, RetryPolicyBuilder};
#[cfg(feature = "http2")]
use session_layer::Http2;
#[cfg(feature = "cookies")]
use session_layer::cookies::Jar;
use session_layer::{Connector, PoolConfig, Session, Timeouts};
use tower_layer::Layer;
use tower_service::Service;

#[cfg(feature = "metrics")]
use crate::observe::Facade;
#[cfg(feature = "opentelemetry")]
use crate::observe::Sink;
use crate::{
    Body, Client, DecodeLimits, Error, Redirects, attempt, call, classify, decode,
    error::BoxError,
    extras::Extras,
    layers::{AttemptBody, Layers},
    observe::{CallSpans, Observers, Paths},
    resume::Resume,
    stack::{self, Parts},
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
    pub(crate) retry: Result<RetryPolicy, BuildError>,
    pub(crate) pool: PoolConfig,
    pub(crate) timeouts: Timeouts,
    deadline: Option<Duration>,
    max_body: usize,
    pub(crate) redirects: Redirects,
    decompression: bool,
    pub(crate) decode_limits: DecodeLimits,
    error_for_status: bool,
    resume: Resume,
    user_agent: Option<HeaderValue>,
    extras: Extras,
    request_id: Option<HeaderName>,
    pub(crate) call_spans: CallSpans,
    pub(crate) paths: Paths,
    #[cfg(feature = "metrics")]
    pub(crate) facade: Option<Facade>,
    #[cfg(feature = "opentelemetry")]
    meters: Vec<Arc<dyn Sink>>,
    /// The first setting that cannot be.
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
/// The name of this project, and not of its crate: that one says nothing in a server's log, and in the
/// public registry it is another project's.
const USER_AGENT: &str = concat!("hardy-http/", env!("CARGO_PKG_VERSION"));

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
            decompression: true,
            decode_limits: DecodeLimits::default(),
            error_for_status: false,
            resume: Resume::default(),
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

    /// Joins relative URLs to this one, as
    /// [RFC 3986, section 5](https://www.rfc-editor.org/rfc/rfc3986#section-5) says: the last part
    /// of its path counts only if a slash ends it. URLs that name a host are not bound to it; see
    /// [`IntoUrl`](crate::IntoUrl). Default: none, and relative URLs are refused.
    ///
    /// # Errors
    ///
    /// If it is not an absolute `http` or `https` URL.
    pub fn base_url(mut self, url: impl AsRef<str>) -> Result<Self, Error> {
        self.base = Some(Base::of_setting("base_url", url.as_ref())?);
        self.extras.endpoints.clear();
        Ok(self)
    }

    /// Sends each attempt of a call to another server: the first to the first of these base URLs,
    /// the second to the second, and so on; the last one repeats. All headers and the client's
    /// credentials go along. Takes the place of [`base_url`](Self::base_url).
    ///
    /// The URL of a call is joined to the first one, and its path moves along from there. A free
    /// transparent retry goes where the attempt before it went. URLs of other origins are not moved. The
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
    /// If there is none, one is not an absolute `http` or `https` URL, or they differ in the
    /// credentials in them: [`basic`](Self::basic) sets those of all.
    pub fn endpoints<U: AsRef<str>>(
        mut self,
        urls: impl IntoIterator<Item = U>,
    ) -> Result<Self, Error> {
        let endpoints = urls
            .into_iter()
            .map(|url| Base::of_setting("endpoints", url.as_ref()));
        self.extras.endpoints = endpoints.collect::<Result<_, _>>()?;
        let Some(first) = self.extras.endpoints.first() else {
            return Err(Error::builder("there must be at least one endpoint"));
        };
        if !self
            .extras
            .endpoints
            .iter()
            .all(|it| it.has_userinfo_of(first))
        {
            return Err(Error::builder(
                "the endpoints' URLs differ in their credentials, and a call has one set of them; \
                 see `basic`",
            ));
        }
        self.base = Some(first.clone());
        Ok(self)
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

    /// Alters the policy that is set so far: adds a classifier, a budget or a hook to what a
    /// configuration says. A policy that cannot be stays that, and [`build`](Self::build) says so.
    ///
    /// ```
    /// use client::{Class, Client, Outcome, Classifier as _, classifier_fn};
    ///
    /// let busy = classifier_fn(|outcome: &Outcome<'_>| match outcome.status() {
    ///     Some(http::StatusCode::LOCKED) => Class::Ambiguous,
    ///     _ => Class::Final,
    /// });
    /// let client = Client::builder()
    ///     .map_retry(|policy| policy.map_classifier(|configured| configured.or(busy)))
    ///     .build()?;
    /// # Ok::<(), client::Error>(())
    /// ```
    pub fn map_retry(mut self, map: impl FnOnce(RetryPolicyBuilder) -> RetryPolicyBuilder) -> Self {
        let policy = self.retry.map(|policy| map(policy.to_builder()));
        self.retry = policy.and_then(RetryPolicyBuilder::build);
        self
    }

    /// Limits a whole call: the queue, each attempt, each wait, and the body where it is collected
    /// by `fetch`, `collect`, `bytes`, `text` or `json`. A body that streams is limited by the
    /// [idle timeout](Timeouts::body_idle) only. `None` sets no limit. One request sets its own by
    /// [`timeout`](crate::RequestBuilder::timeout). Default: 300 s.
    ///
    /// It counts while the body of a request is sent, too: a large upload over a slow connection needs a
    /// `timeout` of its own. Where this ends an upload, the error says so, and
    /// [how much of it](crate::DeadlinePhase::Upload) was sent.
    ///
    /// Each attempt is limited by the [head timeout](Timeouts::head) too, 30 s unless set, however
    /// long this is: a server that is stuck is left for another attempt. For one that is known to take
    /// longer, set the head timeout, or the `timeout` of its requests, which lifts it.
    #[doc(alias = "timeout")]
    pub fn deadline(mut self, deadline: impl Into<Option<Duration>>) -> Self {
        self.deadline = deadline.into();
        self
    }

    /// Limits the bodies that `fetch`, `bytes`, `text` and `json` collect, in bytes after decoding.
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

    /// Alters the rules for redirects that are set so far: adds a [decision](Redirects::decide) or a
    /// sensitive header to what a configuration says.
    pub fn map_redirects(mut self, map: impl FnOnce(Redirects) -> Redirects) -> Self {
        self.redirects = map(self.redirects);
        self
    }

    /// Whether response bodies are decoded by their `Content-Encoding`, for which the features
    /// `gzip`, `br`, `zstd` and `deflate` are; see [decoding](crate#decoding). Default: true.
    pub fn decompression(mut self, decode: bool) -> Self {
        self.decompression = decode;
        self
    }

    /// Limits what an encoded body may decode to, also one that streams. One request sets its own by
    /// [`RequestBuilder::decode_limits`](crate::RequestBuilder::decode_limits).
    /// Default: [`DecodeLimits::default`]: 200 times what came, or 64 MiB if that is more.
    pub fn decode_limits(mut self, limits: DecodeLimits) -> Self {
        self.decode_limits = limits;
        self
    }

    /// Whether a response with a client's or a server's error (4xx, 5xx) becomes an error of
    /// [`send`](crate::RequestBuilder::send) and [`fetch`](crate::RequestBuilder::fetch), as
    /// [`error_for_status_with_body`](crate::Response::error_for_status_with_body) makes it: with
    /// the status, the headers and the beginning of the body. One request decides otherwise by
    /// [`RequestBuilder::error_for_status`](crate::RequestBuilder::error_for_status).
    /// Default: false.
    ///
    /// It is done to the last response only, after the retries have judged it by its status, so it
    /// changes nothing about what is tried again. Where the client is used as a `Service` or by
    /// `forward` or `grpc`, a response stays one.
    ///
    /// ```
    /// use client::{Client, testing::Fake};
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), client::Error> {
    /// let client = Client::builder()
    ///     .error_for_status(true)
    ///     .build_with_fake(&Fake::new([(404, "no such item"), (404, "no such item")]))?;
    /// let error = client.get("http://any/").fetch().await.unwrap_err();
    /// assert_eq!(error.body().map(|it| &it[..]), Some(&b"no such item"[..]));
    ///
    /// let response = client.get("http://any/").error_for_status(false).fetch().await?;
    /// assert_eq!(response.status(), 404);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "raise_for_status")]
    pub fn error_for_status(mut self, on: bool) -> Self {
        self.error_for_status = on;
        self
    }

    /// Whether the body of a response is continued where it breaks, though a part of it was handed out:
    /// the rest is asked for by `Range`, and only taken if it certainly belongs to what was received.
    /// That needs a GET, and a response with a strong validator from a server that serves ranges; see
    /// [`resume`](retry_layer::resume) for all rules. Any other body breaks as it does without this.
    /// Default: only what [`save_to`](crate::Response::save_to) and `RequestBuilder::download_to` save is
    /// continued; `false` turns that off too. One request sets its own by [`RequestBuilder::resume`](crate::RequestBuilder::resume).
    ///
    /// A break is a failed attempt of the call, under its [policy](Self::retry): so many attempts, such
    /// waits, the same budget. The count begins anew whenever the body was brought forward. The URL of the
    /// call is asked again, not the one that a redirect led to. The client's [deadline](Self::deadline)
    /// counts anew for each break, since it does not bind a body that streams; after that of
    /// [one request](crate::RequestBuilder::timeout) nothing is asked for any more.
    ///
    /// If the rest does not fit, the error has a [`resume_error`](crate::Error::resume_error); if it cannot
    /// be had, the error is the one that broke the body. What was tried is in the
    /// [report](crate::Response::retry_report): the response has it for what was read of it so far.
    ///
    /// [`fetch`](crate::RequestBuilder::fetch) hands out no part of a body, and asks for the whole again.
    pub fn resume(mut self, on: bool) -> Self {
        self.resume = on.into();
        self
    }

    /// Says who asks, on requests that do not say it themselves. One that is no header's value is an
    /// error of [`build`](Self::build). Default: `hardy-http/`, which names this project, and the version
    /// of this crate.
    ///
    /// ```
    /// # fn example() -> Result<(), client::Error> {
    /// let client = client::Client::builder().user_agent("price-watch/1.4").build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn user_agent(mut self, user_agent: impl TryInto<HeaderValue>) -> Self {
        if let Ok(user_agent) = user_agent.try_into() {
            self.user_agent = Some(user_agent);
        } else {
            self.problem.get_or_insert_with(|| {
                Error::builder(
                    "the value of `user_agent` is not valid: it holds a line break or another \
                     control character",
                )
            });
        }
        self
    }

    /// Says nothing of who asks.
    pub fn no_user_agent(mut self) -> Self {
        self.user_agent = None;
        self
    }

    /// Refuses to send anything without TLS: each attempt whose URL is not `https` is an error for
    /// which [`is_builder`](Error::is_builder) holds, also where a redirect or an
    /// [endpoint](Self::endpoints) leads there. Default: false.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), client::Error> {
    /// let client = client::Client::builder().https_only(true).build()?;
    /// let error = client.get("http://example.com/").send().await.unwrap_err();
    /// assert!(error.is_builder());
    /// # Ok(())
    /// # }
    /// ```
    pub fn https_only(mut self, on: bool) -> Self {
        self.extras.https_only = on;
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

    /// Builds the client over a connector of one's own: an in-memory one for tests, one that wraps
    /// a [`Connector`]. What was set for the [`connector`](Self::connector) of this crate, such as
    /// TLS and proxies, does nothing then.
    ///
    /// # Errors
    ///
    /// Those of [`build`](Self::build).
    pub fn build_with_connector<C>(mut self, connector: C) -> Result<Client, Error>
    where
        C: Service<Uri> + Clone + Send + Sync + 'static,
        C::Response: Read + Write + Connection + Unpin + Send + 'static,
        C::Error: Into<BoxError>,
        C::Future: Send + 'static,
    {
        let session: Session<AttemptBody> = self.session_layer()?.layer(connector);
        let (settings, parts) = self.split()?;
        let stack = stack::over_session(session.clone(), parts);
        Ok(Client::assemble(settings, stack, Some(session)))
    }

    /// Builds the client with its retries, over a service in place of the session: a mock whose
    /// failures are to be retried, a client of hyper-util.
    ///
    /// What the service's errors mean is read from their causes; the settings of the session do
    /// nothing. A [`Session`] is such a service too, and its errors are known: so several clients
    /// can share one, each with settings of its own.
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
    /// nothing of what is done per attempt, such as headers and credentials.
    /// [`Client::from_service`] is this with the default settings.
    ///
    /// # Errors
    ///
    /// If the deadline is 0, or there is an [`attempt_layer`](Self::attempt_layer) or a jar of
    /// cookies: without retries there are no attempts.
    pub fn build_from_service<S, R>(self, service: S) -> Result<Client, Error>
    where
        S: Service<Request<Body>, Response = Response<R>> + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send + 'static,
        R: HttpBody<Data = Bytes> + Send + 'static,
        R::Error: Into<BoxError>,
    {
        let (mut settings, parts) = self.split()?;
        settings.resume = Resume::None;
        let stack = stack::bare(service, parts)?;
        Ok(Client::assemble(settings, stack, None))
    }

    fn split(mut self) -> Result<(call::Settings, Parts), Error> {
        if let Some(problem) = self.problem {
            return Err(problem);
        }
        if self.deadline.is_some_and(|deadline| deadline.is_zero()) {
            return Err(Error::builder(
                "deadline must be longer than 0; `None` turns it off, `\"none\"` in a configuration file",
            ));
        }
        let sinks = self.sinks();
        let policy = self
            .retry
            .and_then(|policy| classify::over_session(&policy, self.deadline))?;
        let policy = match self.paths {
            Paths::Redacted => policy,
            // Also of those that requests bring.
            Paths::Recorded => policy.to_builder().record_paths().build()?,
        };
        let bases = match &self.base {
            Some(base) if self.extras.endpoints.is_empty() => std::slice::from_ref(base),
            Some(_) | None => &self.extras.endpoints,
        };
        self.extras.own_origins = bases.iter().map(Base::origin).collect::<Result<_, _>>()?;
        let settings = call::Settings {
            base: self.base,
            deadline: self.deadline,
            max_body: self.max_body,
            redirects: self.redirects,
            request_id: self.request_id,
            call_spans: self.call_spans,
            paths: self.paths,
            sinks: sinks.clone(),
            renews: self.extras.auth.is_some(),
            decompression: self.decompression,
            decode_limits: self.decode_limits,
            error_for_status: self.error_for_status,
            resume: self.resume,
            policy: policy.clone(),
            ..call::Settings::default()
        };
        let parts = Parts {
            policy,
            attempt: Arc::new(attempt::Settings {
                user_agent: self.user_agent,
                extras: self.extras.boxed(),
                sinks,
                paths: self.paths,
                accept_encoding: decode::accepted(),
            }),
            max_body: self.max_body,
            decode_limits: self.decode_limits,
            #[cfg(feature = "cookies")]
            jar: self.jar,
            call_layers: self.call_layers,
            attempt_layers: self.attempt_layers,
        };
        Ok((settings, parts))
    }
}

impl Default for ClientBuilder {
    fn default() -> Self {
        Self::new()
    }
}
