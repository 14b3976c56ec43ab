use std::{
    fmt,
    sync::atomic::Ordering::Release,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::Body as HttpBody;
use session_layer::{CloseReport, Session, Stats};
use tower_service::Service;

use crate::{
    Body, ClientBuilder, Error, IntoUrl, RequestBuilder, ResponseBody, ResponseFuture,
    call::{self, Call, Core, Shared},
    deadline::TimerDeferral,
    error::BoxError,
    layers::AttemptBody,
    observe::Paths,
    stack::{Stack, Way},
    target,
};

/// A client: a cheap handle to one session, with retries over it.
///
/// See the [crate docs](crate) for what it does with a request. It is a
/// `Service<http::Request<B>>` for any body with `Data = Bytes`, always ready; called as a service
/// it behaves like [`send`](RequestBuilder::send).
///
/// When the last clone is dropped, idle connections close; to wait for what is in flight, use
/// [`close`](Self::close).
#[derive(Clone)]
pub struct Client {
    shared: Shared,
}

/// How long [`Client::close`] waits for what is in flight.
const CLOSE_DEADLINE: Duration = Duration::from_secs(30);

impl Client {
    /// Makes a client with the default settings.
    ///
    /// # Panics
    ///
    /// Never: the default settings are valid.
    #[must_use]
    pub fn new() -> Self {
        ClientBuilder::new()
            .build()
            .expect("the default settings are valid")
    }

    /// Starts to set up a client.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::new()
    }

    /// Puts the front door over any service, without retries and without a session: for tests of
    /// code that takes a `Client`, and for stacks of one's own.
    ///
    /// Only the URL, the total deadline, the redirects and the limit of collected bodies are this
    /// crate's then.
    /// For a base URL, see [`build_from_service`](ClientBuilder::build_from_service); for retries
    /// above the service, [`build_with_service`](ClientBuilder::build_with_service).
    ///
    /// # Panics
    ///
    /// Never: the default settings are valid.
    #[must_use]
    pub fn from_service<S, R>(service: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<R>> + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send + 'static,
        R: HttpBody<Data = Bytes> + Send + 'static,
        R::Error: Into<BoxError>,
    {
        ClientBuilder::new()
            .build_from_service(service)
            .expect("the default settings are valid")
    }

    pub(crate) fn assemble(
        mut settings: call::Settings,
        stack: Stack,
        session: Option<Session<AttemptBody>>,
    ) -> Self {
        // What credentials are waited for is bound by nothing.
        let longest_wait = session.as_ref().filter(|_| !settings.renews);
        let longest_wait = longest_wait.and_then(Session::patience);
        settings.deferral = TimerDeferral::new(longest_wait, settings.deadline);
        Self {
            shared: Shared::new(Core {
                settings,
                stack,
                session,
            }),
        }
    }

    /// Starts a request.
    pub fn request(&self, method: Method, url: impl IntoUrl) -> RequestBuilder {
        let target = target::resolve(url, self.shared.settings.base.as_ref());
        RequestBuilder::new(self.clone(), method, target)
    }

    /// Starts a GET request.
    pub fn get(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::GET, url)
    }

    /// Starts a HEAD request.
    pub fn head(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::HEAD, url)
    }

    /// Starts a POST request.
    pub fn post(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::POST, url)
    }

    /// Starts a PUT request.
    pub fn put(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::PUT, url)
    }

    /// Starts a PATCH request.
    pub fn patch(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::PATCH, url)
    }

    /// Starts a DELETE request.
    pub fn delete(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::DELETE, url)
    }

    /// Starts an OPTIONS request.
    pub fn options(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::OPTIONS, url)
    }

    /// Starts a request from one that was made elsewhere: of the `http` crate, in a handler of a
    /// server. A URI without a host goes to the [base URL](ClientBuilder::base_url)'s.
    ///
    /// ```
    /// # async fn example(client: client::Client) -> Result<(), client::Error> {
    /// let request = http::Request::put("https://example.com/a")
    ///     .header("x-key", "value")
    ///     .body(http_body_util::Full::new(bytes::Bytes::from("content")))
    ///     .expect("the request is valid");
    /// let response = client.request_from(request).no_retry().fetch().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn request_from<B>(&self, request: Request<B>) -> RequestBuilder
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        self.request(request.method().clone(), request.uri())
            .with_request(request.map(Body::new))
    }

    /// Sends a request that was made elsewhere; see [`request_from`](Self::request_from) and
    /// [`send`](RequestBuilder::send). As a `Service`, the client gives the response of the `http`
    /// crate instead.
    ///
    /// # Errors
    ///
    /// Those of [`send`](RequestBuilder::send).
    ///
    /// # Cancel safety
    ///
    /// That of [`send`](RequestBuilder::send).
    pub async fn execute<B>(&self, request: Request<B>) -> Result<crate::Response, Error>
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        self.request_from(request).send().await
    }

    #[inline]
    pub(crate) fn start<W: Way>(
        &self,
        request: Request<Body>,
        timeout: Option<Duration>,
    ) -> Call<W> {
        call::start(&self.shared, request, timeout)
    }

    /// The root of the base URL, without userinfo.
    pub(crate) fn base_origin(&self) -> Result<Option<http::Uri>, Error> {
        let base = self.shared.settings.base.as_ref();
        base.map(target::Base::origin).transpose()
    }

    /// Whether a failed status is an error, where a request does not say it.
    #[inline]
    pub(crate) fn raises_status(&self) -> bool {
        self.shared.settings.error_for_status
    }

    /// What errors tell of paths.
    #[inline]
    pub(crate) fn paths(&self) -> Paths {
        self.shared.settings.paths
    }

    /// Returns the figures of the connection pool, or zeros over somebody's own service.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let session = self.shared.session.as_ref();
        session.map(Session::stats).unwrap_or_default()
    }

    /// Closes the client and all its clones: refuses new requests, and waits for those in flight,
    /// their bodies included, for up to 30 s, then cuts them off.
    ///
    /// A call that waits to be tried again meets a closed client after its wait: its error is
    /// [`is_closed`](Error::is_closed), and [`retry_report`](Error::retry_report) tells what came
    /// before. Over somebody's own service it only refuses new calls.
    ///
    /// # Cancel safety
    ///
    /// The client stays closed. What was in flight is not cut off any more.
    pub async fn close(&self) -> CloseReport {
        self.close_within(CLOSE_DEADLINE).await
    }

    /// Closes the client like [`close`](Self::close), with a deadline of one's own.
    ///
    /// # Cancel safety
    ///
    /// That of [`close`](Self::close).
    pub async fn close_within(&self, deadline: Duration) -> CloseReport {
        if let Some(session) = &self.shared.session {
            return session.close(deadline).await;
        }
        self.shared.settings.closed.store(true, Release);
        CloseReport::default()
    }
}

impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}

impl<B> Service<Request<B>> for Client
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<ResponseBody>;
    type Error = Error;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> ResponseFuture {
        self.start(request.map(Body::new), None).into()
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("settings", &self.shared.settings)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
