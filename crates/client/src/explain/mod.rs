//! A dry run: what would hold for a request, without sending it.

mod display;
mod facts;
mod shape;

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Uri, uri::Scheme};
use http_body::Body as HttpBody;
use retry_layer::{Deadline, RetryPolicy, RetryRules};
use session_layer::{RequestOptions, ThroughputFloor};

pub(crate) use self::facts::{Below, Facts};
use self::shape::Shape;
use crate::{
    Body, Client, Error, Redirects, RequestBuilder,
    call::{self, Settings},
    error::Kind,
    observe::Paths,
    resume::Resume,
    setting,
};

/// What holds for one request of a client: its layers, limits, timeouts and retry rules.
///
/// [`Client::explain`] and [`RequestBuilder::explain`] make it, and send nothing. Its [`Display`](std::fmt::Display) tells all of
/// it in a few lines, without the path and query of the URL unless the client [records
/// them](crate::ClientBuilder::record_paths).
#[derive(Clone, Debug)]
pub struct Explanation {
    method: Method,
    uri: Uri,
    paths: Paths,
    origin: OwnOrigin,
    endpoints: usize,
    route: Route,
    version: ExpectedVersion,
    deadline: Option<Duration>,
    limits: Limits,
    redirects: Option<u32>,
    resume: Resume,
    retry: Option<RetryRules>,
    layers: Vec<ExplainedLayer>,
}

/// The timeouts and floors that count for a request: the session's, or its own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Limits {
    /// The wait for a place in the pool.
    pub queue: Option<Duration>,
    /// The wait for a connection that is being opened.
    pub connect: Option<Duration>,
    /// The wait of one attempt for the head of its response.
    pub head: Option<Duration>,
    /// How long the body of the response may stand still.
    pub body_idle: Option<Duration>,
    /// The least throughput of the response's body.
    pub download_floor: Option<ThroughputFloor>,
    /// The least throughput of the request's body.
    pub upload_floor: Option<ThroughputFloor>,
}

/// How a request would get to its server.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Route {
    /// By a connection to the server itself, or to the Unix socket that stands for it.
    Direct,
    /// Through this proxy: scheme, host and port.
    Proxy(String),
    /// As the connector that the client was [built with](crate::ClientBuilder::build_with_connector) decides.
    OwnConnector,
    /// By the service that the client was [built over](crate::ClientBuilder::build_with_service).
    Service,
}

/// Which version of HTTP a request would be sent by.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ExpectedVersion {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, because the server is known to speak it.
    Http2,
    /// HTTP/2 if the server chooses it in the TLS handshake, else HTTP/1.1.
    Negotiated,
    /// A service in the session's place decides.
    Unknown,
}

/// A part of the stack that a request would pass, outermost first.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ExplainedLayer {
    /// Redirects are followed.
    Redirects,
    /// So many layers of the caller's around each hop: see [`layer`](crate::ClientBuilder::layer).
    CallLayers(usize),
    /// The request may be sent again.
    Retry,
    /// An attempt that takes long may get a second one beside it.
    Hedge,
    /// So many layers of the caller's around each attempt: see [`attempt_layer`](crate::ClientBuilder::attempt_layer).
    AttemptLayers(usize),
    /// Headers and credentials of the client are added to each attempt.
    Attempt,
    /// A [circuit breaker](crate::ClientBuilder::breaker) may refuse an attempt.
    Breaker,
    /// An attempt may have to wait for the end of a [pause](crate::ClientBuilder::pause).
    Pause,
    /// Cookies of a jar are sent and stored.
    Cookies,
    /// The session with its pool.
    Session,
    /// A service in the session's place.
    Service,
}

/// Whether the request goes where the client's own headers and credentials may go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum OwnOrigin {
    Own,
    Foreign,
}

impl Client {
    /// Tells what would hold for this request: which layers, limits, timeouts and retry rules, and why it would or would not
    /// be repeated. Settings of the request count, as they do when it is sent. Nothing is sent, and nothing of the client
    /// changes.
    ///
    /// ```
    /// use client::{Client, Processed, StopReason};
    ///
    /// let client = Client::new();
    /// let explained = client.post("https://example.com/orders").body("{}").explain()?;
    /// let retry = explained.retry().expect("a client has retries unless it is made from a service");
    /// assert_eq!(retry.refusal_after(Processed::Possibly), Some(StopReason::NotIdempotent));
    /// assert_eq!(retry.refusal_after(Processed::Never), None);
    ///
    /// let with_key = client.post("https://example.com/orders").body("{}").idempotency_key();
    /// println!("{}", with_key.explain()?);
    /// # Ok::<(), client::Error>(())
    /// ```
    ///
    /// The explanation is about the first hop of the call. After a redirect its rules hold on, but for what belongs to the
    /// origin. What layers of the caller's do is not known.
    ///
    /// # Errors
    ///
    /// If the request would fail before anything is sent: its URL is not valid or not allowed, or the client is closed.
    pub fn explain<B>(&self, request: &Request<B>) -> Result<Explanation, Error>
    where
        B: HttpBody<Data = Bytes> + 'static,
    {
        self.explain_within(request, None)
    }

    pub(crate) fn explain_within<B>(
        &self,
        request: &Request<B>,
        timeout: Option<Duration>,
    ) -> Result<Explanation, Error>
    where
        B: HttpBody<Data = Bytes> + 'static,
    {
        let settings = self.settings();
        // A call meets this in the session, which it would only reach by being sent.
        if self.is_closed() {
            return Err(Error::new(Kind::Closed));
        }
        let mut head = head_of(request);
        if let Some(timeout) = timeout {
            setting::set(head.extensions_mut(), Deadline::within(timeout));
        }
        call::prepare(settings, &mut head)?;
        settings.explain(&head, Shape::of(request), timeout)
    }
}

impl RequestBuilder {
    /// Tells what would hold for this request, with its [`timeout`](Self::timeout): see [`Client::explain`]. Nothing is sent.
    ///
    /// # Errors
    ///
    /// Those of [`Client::explain`], and if something of the request was not valid, in which case it can still be sent to get
    /// the error itself.
    pub fn explain(&self) -> Result<Explanation, Error> {
        let (client, request, timeout) = self.parts()?;
        client.explain_within(request, timeout)
    }
}

/// The head of a request, with its extensions.
fn head_of<B>(request: &Request<B>) -> Request<Body> {
    let mut head = Request::new(Body::empty());
    head.method_mut().clone_from(request.method());
    head.uri_mut().clone_from(request.uri());
    *head.version_mut() = request.version();
    head.headers_mut().clone_from(request.headers());
    head.extensions_mut().clone_from(request.extensions());
    head
}

impl Settings {
    fn explain(
        &self,
        head: &Request<Body>,
        shape: Shape,
        timeout: Option<Duration>,
    ) -> Result<Explanation, Error> {
        let facts = &self.facts;
        let options = head.extensions().get::<RequestOptions>();
        let options = options.copied().unwrap_or_default();
        let extras = facts.attempt.extras.as_deref();
        if extras.is_some_and(|it| it.refuses(head.uri())) {
            return Err(Error::builder(
                "it would go out without TLS, and `https_only` is set",
            ));
        }
        let is_own = extras.is_none_or(|it| it.is_own_origin(head));
        let deadline = head.extensions().get::<Deadline>().copied();
        let deadline = timeout
            .or(deadline.map(|it| it.remaining()))
            .or(self.deadline);
        let redirects = head.extensions().get::<Redirects>();
        let redirects = redirects.unwrap_or(&self.redirects).limit();
        let resume = Resume::of(head, self.resume);
        let retry = match facts.below {
            Below::Bare => None,
            _ => Some(rules(&self.policy, head, shape)),
        };
        Ok(Explanation {
            origin: if is_own {
                OwnOrigin::Own
            } else {
                OwnOrigin::Foreign
            },
            endpoints: extras.map_or(0, |it| it.endpoints.len()),
            route: facts.route(head.uri()),
            version: facts.version(head.uri(), options),
            deadline: deadline.filter(|it| *it < Duration::MAX),
            limits: facts.limits(options),
            redirects,
            resume,
            layers: facts.layers(redirects, retry.as_ref()),
            retry,
            paths: self.paths,
            method: head.method().clone(),
            uri: head.uri().clone(),
        })
    }
}

fn rules(policy: &RetryPolicy, head: &Request<Body>, shape: Shape) -> RetryRules {
    let known = shape.known();
    let mut request = Request::new(shape);
    request.method_mut().clone_from(head.method());
    request.headers_mut().clone_from(head.headers());
    request.extensions_mut().clone_from(head.extensions());
    let rules = policy.rules_for(&request);
    match known {
        Some(body) => rules.with_body(body),
        None => rules,
    }
}

impl Facts {
    fn route(&self, uri: &Uri) -> Route {
        match &self.below {
            #[cfg(feature = "proxy")]
            Below::Session(connector) => {
                connector.proxy_for(uri).map_or(Route::Direct, Route::Proxy)
            }
            #[cfg(not(feature = "proxy"))]
            Below::Session(_) => {
                let _ = uri;
                Route::Direct
            }
            Below::OwnConnector => Route::OwnConnector,
            Below::Service | Below::Bare => Route::Service,
        }
    }

    fn version(&self, uri: &Uri, options: RequestOptions) -> ExpectedVersion {
        let is_secure = uri.scheme() == Some(&Scheme::HTTPS);
        let is_known = self.prior_knowledge || (options.has_prior_knowledge() && !is_secure);
        match self.below {
            Below::Service | Below::Bare => ExpectedVersion::Unknown,
            Below::Session(_) | Below::OwnConnector => {
                if is_known {
                    ExpectedVersion::Http2
                } else if cfg!(feature = "http2") && is_secure {
                    ExpectedVersion::Negotiated
                } else {
                    ExpectedVersion::Http1
                }
            }
        }
    }

    /// Over a service in the session's place none of these counts.
    fn limits(&self, options: RequestOptions) -> Limits {
        match self.below {
            Below::Service | Below::Bare => Limits {
                queue: None,
                connect: None,
                head: None,
                body_idle: None,
                download_floor: None,
                upload_floor: None,
            },
            Below::Session(_) | Below::OwnConnector => Limits {
                queue: self.queue_timeout,
                connect: options.connect_timeout_with(&self.timeouts),
                head: options.head_timeout_with(&self.timeouts),
                body_idle: options.body_idle_timeout_with(&self.timeouts),
                download_floor: options.download_floor_with(&self.timeouts),
                upload_floor: options.upload_floor_with(&self.timeouts),
            },
        }
    }

    /// The order is that of `stack.rs`.
    fn layers(&self, redirects: Option<u32>, retry: Option<&RetryRules>) -> Vec<ExplainedLayer> {
        let is_bare = matches!(self.below, Below::Bare);
        let below = match self.below {
            Below::Session(_) | Below::OwnConnector => ExplainedLayer::Session,
            Below::Service | Below::Bare => ExplainedLayer::Service,
        };
        let guards = self.attempt.guards.as_ref();
        let repeats = retry.is_some_and(|it| it.once().is_none());
        let some = |layer, is_there: bool| is_there.then_some(layer);
        let layers = [
            some(ExplainedLayer::Redirects, redirects.is_some()),
            some(
                ExplainedLayer::CallLayers(self.call_layers),
                self.call_layers > 0,
            ),
            some(ExplainedLayer::Retry, repeats),
            some(
                ExplainedLayer::Hedge,
                retry.is_some_and(|it| it.hedged().is_some()),
            ),
            some(
                ExplainedLayer::AttemptLayers(self.attempt_layers),
                self.attempt_layers > 0,
            ),
            some(ExplainedLayer::Attempt, !is_bare),
            some(
                ExplainedLayer::Breaker,
                guards.is_some_and(|it| it.breaker.is_some()),
            ),
            some(
                ExplainedLayer::Pause,
                guards.is_some_and(|it| it.pause.is_some()),
            ),
            some(ExplainedLayer::Cookies, self.has_jar),
            Some(below),
        ];
        layers.into_iter().flatten().collect()
    }
}

impl Explanation {
    /// Returns the method.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// Returns the absolute URL that would be asked for first, without credentials.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Returns whether the client's [default headers](crate::ClientBuilder::default_header) and credentials would go
    /// along: the URL is of the client's base URL or endpoints, or there are none of these.
    #[must_use]
    pub fn is_own_origin(&self) -> bool {
        self.origin == OwnOrigin::Own
    }

    /// Returns over how many [endpoints](crate::ClientBuilder::endpoints) the attempts are spread; 0 if the client has none.
    #[must_use]
    pub fn endpoints(&self) -> usize {
        self.endpoints
    }

    /// Returns how the request would get to its server.
    #[must_use]
    pub fn route(&self) -> &Route {
        &self.route
    }

    /// Returns the version of HTTP that it would be sent by.
    #[must_use]
    pub fn version(&self) -> ExpectedVersion {
        self.version
    }

    /// Returns how long the whole call may take, counted from now; `None` if that is not limited.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        self.deadline
    }

    /// Returns the timeouts and floors that count. Over a service in the session's place there are none.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Returns how many redirects are followed; `None` if none is, and each is a response like any other.
    #[must_use]
    pub fn redirects(&self) -> Option<u32> {
        self.redirects
    }

    /// Returns whether a body that breaks while it is read would be [continued](crate::ClientBuilder::resume).
    #[must_use]
    pub fn resumes(&self) -> bool {
        self.resume == Resume::All && self.method == Method::GET
    }

    /// Returns the retry rules; `None` if the client was [made from a service](crate::ClientBuilder::build_from_service), and
    /// retries nothing.
    #[must_use]
    pub fn retry(&self) -> Option<&RetryRules> {
        self.retry.as_ref()
    }

    /// Returns the parts of the stack that it would pass, outermost first.
    #[must_use]
    pub fn layers(&self) -> &[ExplainedLayer] {
        &self.layers
    }
}
