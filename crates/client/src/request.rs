use std::{
    borrow::Cow,
    fmt,
    future::Future,
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request,
    header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, PROXY_AUTHORIZATION},
};
use pin_project_lite::pin_project;
use retry_layer::{BuildError, Deadline, IdempotencyKeys, Idempotent, NoRetry, RetryPolicy};
use serde::Serialize;

use crate::{
    Body, Client, DecodeLimits, Error, NoDecompression, Progress, Redirects, RequestOptions,
    Response, ResponseBody, ThroughputFloor, Timeouts, UploadProgress, UrlTemplate, auth,
    call::{self, Call},
    description::Description,
    error::is_failed,
    resume::Resume,
    setting::{self, CallSetting},
    stack::{Way, way},
    target::{self, Target},
    without_defaults::WithoutDefaults,
};

/// A request that is being put together.
///
/// What cannot be said (a bad URL, a header with a line break) is remembered, and comes as the
/// error of [`send`](Self::send), [`fetch`](Self::fetch) or [`build`](Self::build); nothing is
/// sent then.
#[must_use = "a request does nothing until it is sent"]
pub struct RequestBuilder {
    client: Client,
    request: Result<Request<Body>, Error>,
    timeout: Option<Duration>,
    /// Whether a failed status is an error, if not as the client has it.
    error_for_status: Option<bool>,
}

impl RequestBuilder {
    pub(crate) fn new(client: Client, method: Method, target: Result<Target, Error>) -> Self {
        let request = match target {
            Ok(Target { uri, credentials }) => {
                let mut request = Request::new(Body::empty());
                *request.method_mut() = method;
                *request.uri_mut() = uri;
                call::authorize(&mut request, credentials).map(|()| request)
            }
            Err(error) => Err(error.of(&method, None)),
        };
        Self {
            client,
            request,
            timeout: None,
            error_for_status: None,
        }
    }

    /// The client that sends it.
    #[cfg(feature = "fs")]
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Sends this request, which [`build`](Self::build) has made.
    #[cfg(feature = "fs")]
    pub(crate) fn of_built(client: Client, request: Request<Body>) -> Self {
        Self {
            client,
            request: Ok(request),
            timeout: None,
            error_for_status: None,
        }
    }

    /// Goes on with a request that was made elsewhere.
    pub(crate) fn with_request(self, request: Request<Body>) -> Self {
        let (head, body) = request.into_parts();
        let builder = self.alter(|request| {
            *request.version_mut() = head.version;
            *request.extensions_mut() = head.extensions;
            *request.body_mut() = body;
            Ok(())
        });
        builder.headers(head.headers)
    }

    /// Sets a header unless there is one of its name.
    pub(crate) fn header_if_absent(self, name: HeaderName, value: HeaderValue) -> Self {
        self.alter(|request| {
            request.headers_mut().entry(name).or_insert(value);
            Ok(())
        })
    }

    /// Whether it may be sent more than once: by its method, its [mark](Self::idempotent), or a key.
    pub(crate) fn is_idempotent(&self) -> bool {
        self.request.as_ref().is_ok_and(|request| {
            let extensions = request.extensions();
            request.method().is_idempotent()
                || extensions.get::<Idempotent>().is_some()
                || extensions.get::<IdempotencyKeys>().is_some()
                || request.headers().contains_key("idempotency-key")
        })
    }

    /// Whether it is to be sent once, whatever comes of it.
    pub(crate) fn is_sent_once(&self) -> bool {
        let request = self.request.as_ref();
        request.is_ok_and(|request| request.extensions().get::<NoRetry>().is_some())
    }

    pub(crate) fn alter(
        mut self,
        alter: impl FnOnce(&mut Request<Body>) -> Result<(), Error>,
    ) -> Self {
        if let Ok(request) = &mut self.request {
            if let Err(error) = alter(request) {
                self.request = Err(error.of(request.method(), None));
            }
        }
        self
    }

    /// Sets a header, in place of those of its name.
    pub fn header<K, V>(self, name: K, value: V) -> Self
    where
        K: TryInto<HeaderName>,
        V: TryInto<HeaderValue>,
    {
        self.with_header(name, value, |headers, name, value| {
            headers.insert(name, value);
        })
    }

    /// Adds a header beside those of its name.
    pub fn append_header<K, V>(self, name: K, value: V) -> Self
    where
        K: TryInto<HeaderName>,
        V: TryInto<HeaderValue>,
    {
        self.with_header(name, value, |headers, name, value| {
            headers.append(name, value);
        })
    }

    fn with_header<K, V>(
        self,
        name: K,
        value: V,
        put: impl FnOnce(&mut HeaderMap, HeaderName, HeaderValue),
    ) -> Self
    where
        K: TryInto<HeaderName>,
        V: TryInto<HeaderValue>,
    {
        self.alter(|request| {
            // The value may be a secret, and even a bad name may hold one: neither is told.
            let name: HeaderName = name
                .try_into()
                .map_err(|_| Error::builder("a header's name is not valid"))?;
            let mut value: HeaderValue = value.try_into().map_err(|_| {
                Error::builder(format!(
                    "the value of the header {name} is not valid: it holds a line break or \
                     another control character"
                ))
            })?;
            if [AUTHORIZATION, PROXY_AUTHORIZATION, COOKIE].contains(&name) {
                value.set_sensitive(true);
            }
            put(request.headers_mut(), name, value);
            Ok(())
        })
    }

    /// Sends this request without a header that the client would add: a
    /// [default header](crate::ClientBuilder::default_header), `User-Agent`, `Accept-Encoding`, an id, or
    /// with `Authorization` the client's credentials. It holds on all attempts and hops, and takes
    /// away what this builder had set by that name before. The cookies of a jar are not concerned.
    ///
    /// ```
    /// # fn example(client: &client::Client) -> client::RequestBuilder {
    /// client.get("https://example.com/public").without_header("authorization")
    /// # }
    /// ```
    pub fn without_header<K>(self, name: K) -> Self
    where
        K: TryInto<HeaderName>,
    {
        self.alter(|request| {
            let name: HeaderName = name
                .try_into()
                .map_err(|_| Error::builder("a header's name is not valid"))?;
            request.headers_mut().remove(&name);
            let without = WithoutDefaults::of(request).and(name);
            setting::set(request.extensions_mut(), without);
            Ok(())
        })
    }

    /// Sets these headers, each in place of those of its name.
    pub fn headers(self, headers: HeaderMap) -> Self {
        self.alter(|request| {
            let mut last = None;
            for (name, value) in headers {
                // A name comes once, with the first of its values.
                match (name, &last) {
                    (Some(name), _) => {
                        request.headers_mut().insert(name.clone(), value);
                        last = Some(name);
                    }
                    (None, Some(name)) => {
                        request.headers_mut().append(name.clone(), value);
                    }
                    (None, None) => {}
                }
            }
            Ok(())
        })
    }

    /// Adds to the URL's query: a struct, a map, or a sequence of pairs.
    pub fn query(self, query: &(impl Serialize + ?Sized)) -> Self {
        self.alter(|request| {
            let added = serde_html_form::to_string(query)
                .map_err(|error| Error::builder("the query cannot be written").with(error))?;
            if added.is_empty() {
                return Ok(());
            }
            let path = request.uri().path();
            let joined = match request.uri().query() {
                Some(query) if !query.is_empty() => format!("{path}?{query}&{added}"),
                Some(_) | None => format!("{path}?{added}"),
            };
            let mut parts = request.uri().clone().into_parts();
            let invalid = "the query makes the URL too long";
            parts.path_and_query = Some(
                joined
                    .try_into()
                    .map_err(|error: http::uri::InvalidUri| Error::builder(invalid).with(error))?,
            );
            *request.uri_mut() = parts
                .try_into()
                .map_err(|error: http::uri::InvalidUriParts| Error::builder(invalid).with(error))?;
            Ok(())
        })
    }

    /// Asks about the server as a whole, not about any resource of it: the request's target is `*`
    /// ([RFC 9112, section 3.2.4](https://www.rfc-editor.org/rfc/rfc9112#section-3.2.4)), over HTTP/2
    /// its `:path`
    /// ([RFC 9113, section 8.3.1](https://www.rfc-editor.org/rfc/rfc9113#section-8.3.1)). Path and
    /// query of the URL are left out. Only for `OPTIONS`; with any other method the call fails.
    ///
    /// An [`http::Uri`] whose path is `*` says the same. An HTTP proxy for a server without TLS is
    /// asked about `/` instead: its form of this target cannot be written.
    ///
    /// ```
    /// # async fn example(client: client::Client) -> Result<(), client::Error> {
    /// let response = client.options("https://example.com/").asterisk_form().fetch().await?;
    /// println!("{:?}", response.headers().get("allow"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn asterisk_form(self) -> Self {
        self.alter(|request| {
            let uri = target::to_asterisk(mem::take(request.uri_mut()))?;
            *request.uri_mut() = uri;
            Ok(())
        })
    }

    /// Sets the body.
    pub fn body(self, body: impl Into<Body>) -> Self {
        self.alter(|request| {
            *request.body_mut() = body.into();
            Ok(())
        })
    }

    /// Tells this function how far the body is while it is sent, whatever kind of body it is: after each
    /// piece of at most 64 KiB, and where an attempt begins anew,
    /// [with one restart more](crate::Progress::restarts). It is told of the newest attempt that sends,
    /// over all hops of the call. The function is called where the connection is driven and must not
    /// block.
    ///
    /// ```no_run
    /// # async fn example(client: client::Client) -> Result<(), client::Error> {
    /// let body = client::Body::from_file("backup.tar").await?;
    /// client
    ///     .put("https://example.com/backup")
    ///     .body(body)
    ///     .upload_progress(|progress| println!("{} of {:?}", progress.written, progress.total))
    ///     .send()
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn upload_progress(self, tell: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        self.setting(UploadProgress::new(tell))
    }

    /// Makes the body anew for each attempt; see [`Body::from_fn`].
    pub fn body_with(self, make: impl Fn() -> Body + Send + Sync + 'static) -> Self {
        self.body(Body::from_fn(make))
    }

    /// Sets the body to this value as JSON, and `Content-Type` where it is not set.
    pub fn json(self, value: &(impl Serialize + ?Sized)) -> Self {
        self.alter(|request| {
            let json = serde_json::to_vec(value)
                .map_err(|error| Error::builder("the JSON cannot be written").with(error))?;
            *request.body_mut() = json.into();
            request
                .headers_mut()
                .entry(CONTENT_TYPE)
                .or_insert(HeaderValue::from_static("application/json"));
            Ok(())
        })
    }

    /// Sets the body to the fields of a form, as `application/x-www-form-urlencoded`, and
    /// `Content-Type` where it is not set: a struct, a map, or a sequence of pairs.
    ///
    /// ```
    /// # async fn example(client: client::Client) -> Result<(), client::Error> {
    /// let login = [("user", "anna"), ("password", "a&b")];
    /// client.post("https://example.com/login").form(&login).send().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn form(self, fields: &(impl Serialize + ?Sized)) -> Self {
        self.alter(|request| {
            let form = serde_html_form::to_string(fields)
                .map_err(|error| Error::builder("the form cannot be written").with(error))?;
            *request.body_mut() = form.into();
            let urlencoded = HeaderValue::from_static("application/x-www-form-urlencoded");
            let headers = request.headers_mut();
            headers.entry(CONTENT_TYPE).or_insert(urlencoded);
            Ok(())
        })
    }

    /// Sets the body to a form that may hold files, and `Content-Type`; see
    /// [`multipart`](crate::multipart).
    #[cfg(feature = "multipart")]
    pub fn multipart(self, form: crate::multipart::Form) -> Self {
        self.alter(|request| {
            // With the boundary, which no other has.
            let content_type = form.content_type()?;
            request.headers_mut().insert(CONTENT_TYPE, content_type);
            *request.body_mut() = form.into_body()?;
            Ok(())
        })
    }

    /// Sends this token as the credentials of a bearer
    /// ([RFC 6750](https://www.rfc-editor.org/rfc/rfc6750#section-2.1)), in place of any others.
    #[doc(alias = "bearer_auth")]
    pub fn bearer(self, token: impl AsRef<str>) -> Self {
        self.authorization(auth::bearer(token.as_ref()))
    }

    /// Sends a user's name and password
    /// ([RFC 7617](https://www.rfc-editor.org/rfc/rfc7617)), in place of any other credentials. A
    /// name with a colon cannot be sent so.
    #[doc(alias = "basic_auth")]
    pub fn basic(self, user: impl AsRef<str>, password: impl AsRef<str>) -> Self {
        self.authorization(auth::basic(
            user.as_ref().as_bytes(),
            password.as_ref().as_bytes(),
        ))
    }

    fn authorization(self, value: Result<HeaderValue, Error>) -> Self {
        self.alter(|request| {
            request.headers_mut().insert(AUTHORIZATION, value?);
            Ok(())
        })
    }

    /// Names the template that the path of the URL follows, such as `/users/{id}`: the attribute
    /// `url.template` of spans and metrics. See [`UrlTemplate`].
    ///
    /// ```
    /// # async fn example(client: client::Client, id: u32) -> Result<(), client::Error> {
    /// let user = client
    ///     .get(format!("https://example.com/users/{id}"))
    ///     .url_template("/users/{id}")
    ///     .fetch()
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn url_template(self, template: impl Into<Cow<'static, str>>) -> Self {
        let template = UrlTemplate::new(template);
        self.alter(|request| {
            setting::set(request.extensions_mut(), template);
            Ok(())
        })
    }

    /// Limits this call in place of the client's [deadline](crate::ClientBuilder::deadline),
    /// counted from its start: all attempts, the waits between them, and a body that is collected.
    /// One of 0 fails at once, and nothing is sent.
    ///
    /// One that is longer than the default [head timeout](crate::Timeouts::head) of 30 s lifts that
    /// for this call: a server that takes minutes to answer gets them, and is not asked three times.
    /// A head timeout that was set by hand, for the client or by [`head_timeout`](Self::head_timeout),
    /// stays, as does the [idle timeout](Self::idle_timeout) of the body.
    ///
    /// The time in which the request's own body is sent counts too, on all attempts: give an upload as
    /// long as its slowest peer needs for all of it, and for all of it once more where it may be sent
    /// again. `Duration::MAX` is no limit. A peer that takes nothing of the body for as long as the head
    /// timeout ends the attempt all the same.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # async fn example(client: client::Client) -> Result<(), client::Error> {
    /// let report = client
    ///     .get("https://example.com/yearly-report")
    ///     .timeout(Duration::from_secs(280))
    ///     .fetch()
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "deadline")]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        if Timeouts::default()
            .head_timeout()
            .is_some_and(|head| timeout > head)
        {
            return self.options(RequestOptions::only_chosen_head_timeout);
        }
        self
    }

    /// Limits each attempt's wait for the head of the response, in place of the client's
    /// [head timeout](crate::Timeouts::head), from the end of the request on. `None` leaves it to
    /// the [`timeout`](Self::timeout) of the call.
    pub fn head_timeout(self, timeout: impl Into<Option<Duration>>) -> Self {
        let timeout = timeout.into();
        self.options(|options| options.head_timeout(timeout))
    }

    /// Limits how long the body of the response may stand still, in place of the client's
    /// [body idle timeout](crate::Timeouts::body_idle). `None` waits for ever.
    pub fn idle_timeout(self, timeout: impl Into<Option<Duration>>) -> Self {
        let timeout = timeout.into();
        self.options(|options| options.body_idle_timeout(timeout))
    }

    /// Ends a response whose body comes more slowly than this, in place of the client's
    /// [floor of downloads](crate::Timeouts::download_floor), and of [`SAVED_FLOOR`](crate::SAVED_FLOOR)
    /// where it is saved to a file. `None` lets it come as slowly as it likes. Counted while the reader
    /// waits: see [`ThroughputFloor`].
    ///
    /// ```
    /// # use std::time::Duration;
    /// # async fn example(client: client::Client) -> Result<(), client::Error> {
    /// use client::ThroughputFloor;
    ///
    /// let report = client
    ///     .get("https://example.com/large-report")
    ///     .download_floor(ThroughputFloor::new(10 * 1024, Duration::from_secs(20)))
    ///     .fetch()
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "speed_limit")]
    #[doc(alias = "stalled_stream_protection")]
    pub fn download_floor(self, floor: impl Into<Option<ThroughputFloor>>) -> Self {
        let floor = floor.into();
        self.options(|options| options.download_floor(floor))
    }

    /// Ends an attempt whose request is taken more slowly than this, in place of the client's
    /// [floor of uploads](crate::Timeouts::upload_floor). `None` lets the server take its time. Counted
    /// while there is something to be sent that the server does not take: see [`ThroughputFloor`].
    ///
    /// The request may have been processed, so it is sent again only where that is safe.
    pub fn upload_floor(self, floor: impl Into<Option<ThroughputFloor>>) -> Self {
        let floor = floor.into();
        self.options(|options| options.upload_floor(floor))
    }

    /// Limits each attempt's wait for a connection that is being opened: name, TCP and TLS. It can
    /// only be shorter than the client's [connect timeout](crate::Timeouts::connect), since what is
    /// opened serves whichever request comes first. An attempt that gets a connection which is there
    /// already does not wait.
    pub fn connect_timeout(self, timeout: Duration) -> Self {
        self.options(|options| options.connect_timeout(timeout))
    }

    fn options(self, alter: impl FnOnce(RequestOptions) -> RequestOptions) -> Self {
        self.alter(|request| {
            let options = request.extensions().get::<RequestOptions>();
            let options = alter(options.copied().unwrap_or_default());
            setting::set(request.extensions_mut(), options);
            Ok(())
        })
    }

    /// Retries this request by another policy than the client's.
    pub fn retry<P>(self, policy: P) -> Self
    where
        P: TryInto<RetryPolicy>,
        P::Error: Into<BuildError>,
    {
        match policy.try_into().map_err(Into::into) {
            Ok(policy) => self.setting(policy),
            Err(error) => self.alter(|_| Err(error.into())),
        }
    }

    /// Gives this request an `Idempotency-Key`, the same on every attempt, so that it may be
    /// retried though its method is not idempotent. Only for servers that know the header.
    ///
    /// The key is random. One of your own, which outlives this process, is set by
    /// [`header`](Self::header) alone: `.header("idempotency-key", key)` permits retries too.
    pub fn idempotency_key(self) -> Self {
        self.setting(IdempotencyKeys::new())
    }

    /// Sends this request once, whatever comes of it: also where a connection that was reused turns
    /// out to be closed, and where the server did not process it. A policy of
    /// [one attempt](retry_layer::RetryPolicyBuilder::max_attempts) sends it again in these two cases.
    pub fn no_retry(self) -> Self {
        self.setting(NoRetry)
    }

    /// Follows redirects of this request by other rules than the client's, on all hops of the call.
    pub fn redirects(self, redirects: Redirects) -> Self {
        self.setting(redirects)
    }

    /// Vouches that this request may be processed more than once, whatever its method: so it is
    /// retried where a GET would be.
    pub fn idempotent(self) -> Self {
        self.setting(Idempotent)
    }

    /// Gives the body as it comes over the wire: no `Accept-Encoding` is added, and nothing is
    /// decoded. See [decoding](crate#decoding).
    pub fn no_decompression(self) -> Self {
        self.setting(NoDecompression)
    }

    /// Limits what the body of the response may decode to, in place of the
    /// [client's limits](crate::ClientBuilder::decode_limits). As the extension [`DecodeLimits`] it
    /// does the same where requests are made by hand.
    pub fn decode_limits(self, limits: DecodeLimits) -> Self {
        self.setting(limits)
    }

    /// Whether the body of the response is continued where it breaks, in place of what the
    /// [client](crate::ClientBuilder::resume) is set to.
    ///
    /// ```
    /// # async fn example(client: client::Client) -> Result<(), client::Error> {
    /// let mut response = client.get("https://example.com/log").resume(true).send().await?;
    /// while let Some(piece) = response.chunk().await? {
    ///     println!("{} bytes", piece.len());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn resume(self, on: bool) -> Self {
        self.setting(Resume::from(on))
    }

    /// Whether a response with a client's or a server's error (4xx, 5xx) becomes an error of
    /// [`send`](Self::send) and [`fetch`](Self::fetch), in place of what the
    /// [client](crate::ClientBuilder::error_for_status) is set to.
    #[doc(alias = "raise_for_status")]
    pub fn error_for_status(mut self, on: bool) -> Self {
        self.error_for_status = Some(on);
        self
    }

    /// Puts something in the request's extensions, for the layers that look for it there: a
    /// [`Deadline`], a [`BeforeAttempt`](crate::BeforeAttempt) of this request's own, a
    /// marker of one's own layer.
    ///
    /// ```
    /// use client::{BeforeAttempt, Client, http::HeaderValue};
    ///
    /// # fn example(client: &Client) -> client::RequestBuilder {
    /// client.get("https://example.com/").extension(BeforeAttempt::new(|number, head| {
    ///     head.headers.insert("x-attempt", HeaderValue::from(number));
    /// }))
    /// # }
    /// ```
    ///
    /// The settings of the call hold on all its hops: those that the methods of this builder set,
    /// and the extensions `Deadline`, `Idempotent`, `IdempotencyKeys`, `NoCookies`, `NoRetry`,
    /// `NoDecompression`, `Redirects`, `RetryOwner`, `RetryPolicy`, and of
    /// [`RequestOptions`](crate::RequestOptions) all but what it says of the peer, `prior_knowledge`.
    /// Anything else may be a secret, and is dropped when a [redirect](Redirects) leads to another
    /// origin.
    pub fn extension(self, extension: impl Clone + Send + Sync + 'static) -> Self {
        self.alter(|request| {
            request.extensions_mut().insert(extension);
            Ok(())
        })
    }

    /// Adds a setting of the call, which holds on all its hops.
    fn setting(self, setting: impl CallSetting) -> Self {
        self.alter(|request| {
            setting::set(request.extensions_mut(), setting);
            Ok(())
        })
    }

    /// Makes the same request again; `None` if its body is a stream, or if something of it was not
    /// valid.
    pub fn try_clone(&self) -> Option<Self> {
        let request = self.request.as_ref().ok()?;
        let mut clone = Request::new(request.body().try_clone()?);
        clone.method_mut().clone_from(request.method());
        clone.uri_mut().clone_from(request.uri());
        *clone.version_mut() = request.version();
        clone.headers_mut().clone_from(request.headers());
        clone.extensions_mut().clone_from(request.extensions());
        if let Some(progress) = request.extensions().get::<UploadProgress>() {
            setting::set(clone.extensions_mut(), progress.of_another_call());
        }
        Some(Self {
            client: self.client.clone(),
            request: Ok(clone),
            timeout: self.timeout,
            error_for_status: self.error_for_status,
        })
    }

    /// Returns the request, to be sent by whatever takes one. A [`timeout`](Self::timeout) goes
    /// with it as a [`Deadline`], which counts from now.
    ///
    /// # Errors
    ///
    /// If something of it was not valid.
    pub fn build(self) -> Result<Request<Body>, Error> {
        let mut request = self.request?;
        if let Some(timeout) = self.timeout {
            setting::set(request.extensions_mut(), Deadline::within(timeout));
        }
        Ok(request)
    }

    /// Sends the request and waits for the head of the response; the body streams. Once the head
    /// is there, nothing is tried again. The deadline goes on for a body that is then
    /// [collected](Response::collect).
    ///
    /// # Errors
    ///
    /// If the request was not valid, or the last attempt had no response. A failed status is a
    /// response, unless [`error_for_status`](Self::error_for_status) is on.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the call; what was sent by then may have been processed.
    pub fn send(self) -> impl Future<Output = Result<Response, Error>> + Send {
        Sent::<way::Streaming>::new(self)
    }

    /// Sends the request and collects the body, up to
    /// [`max_body`](crate::ClientBuilder::max_body). A response is judged at its head, as by
    /// [`send`](Self::send): the body of one that is tried again is not waited for. If the status is
    /// no failure and the body breaks, that counts as a failed attempt, like a connection that
    /// breaks. A failed status (4xx, 5xx) that is not tried again is the outcome, whatever becomes
    /// of its body.
    ///
    /// # Errors
    ///
    /// If the request was not valid, the last attempt had no whole response, or its body was
    /// larger than the limit. A failed status is a response, unless
    /// [`error_for_status`](Self::error_for_status) is on. If the body of one breaks off, or does
    /// not end before the deadline, the error has [the status, the headers](Error::status) and what
    /// came of the body.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the call; what was sent by then may have been processed.
    pub fn fetch(self) -> impl Future<Output = Result<Response<Bytes>, Error>> + Send {
        Sent::<way::Collecting>::new(self)
    }
}

pin_project! {
    /// A request that is sent when this is polled. By hand, and not an async block: that would be
    /// three times as large, and is moved before it is polled.
    #[project = SentProj]
    enum Sent<W>
    where
        W: Way,
    {
        Built {
            builder: Option<RequestBuilder>,
        },
        Called {
            #[pin]
            call: Call<W>,
            // Until the response takes it along.
            description: Option<Description>,
            // Whether a failed status is an error.
            raises: bool,
        },
        // Reads the beginning of the body of a failed status, for the error.
        Raising {
            raising: Pin<Box<dyn Future<Output = Result<Response, Error>> + Send>>,
        },
        // Over, and nothing is held any more.
        Done,
    }
}

impl<W: Way> Sent<W> {
    fn new(builder: RequestBuilder) -> Self {
        Self::Built {
            builder: Some(builder),
        }
    }

    /// Calls the client, if that was not done before.
    #[inline]
    fn start(mut self: Pin<&mut Self>) -> Result<(), Error> {
        if let SentProj::Built { builder } = self.as_mut().project() {
            let builder = builder.take().expect("polled after it had failed");
            let request = builder.request?;
            let client = builder.client;
            // A call is large, so it is made where it is handed over.
            self.set(Self::Called {
                description: Some(Description::of(&request, client.paths())),
                raises: builder
                    .error_for_status
                    .unwrap_or_else(|| client.raises_status()),
                call: client.start(request, builder.timeout),
            });
        }
        Ok(())
    }

    /// Gives the answer of the call. Whatever is wanted of that is then there, until
    /// [`Done`](Self::Done) takes its place.
    #[inline]
    fn poll_call(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<http::Response<ResponseBody>, Error>> {
        match self.project() {
            SentProj::Called { call, .. } => call.poll(cx),
            _ => panic!("polled after it was ready"),
        }
    }

    /// The call whose answer has come, what was asked of it, and whether a failed status is an error.
    #[inline]
    fn called(self: Pin<&mut Self>) -> (Pin<&mut Call<W>>, Description, bool) {
        match self.project() {
            SentProj::Called {
                call,
                description,
                raises,
            } => {
                let description = description.take().expect("there until the call is over");
                (call, description, *raises)
            }
            _ => panic!("asked after the call was over"),
        }
    }

    /// Waits for the beginning of a body that goes with an error, if this is what is done now.
    fn poll_raising(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Option<Poll<Result<Response, Error>>> {
        let SentProj::Raising { raising } = self.as_mut().project() else {
            return None;
        };
        let raised = raising.as_mut().poll(cx);
        if raised.is_ready() {
            self.set(Self::Done);
        }
        Some(raised)
    }
}

impl Sent<way::Streaming> {
    /// Makes an error of a response with a failed status.
    #[cold]
    fn raise(
        mut self: Pin<&mut Self>,
        response: Response,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response, Error>> {
        let raising = Box::pin(response.error_for_status_with_body());
        self.set(Self::Raising { raising });
        self.poll(cx)
    }
}

impl Future for Sent<way::Streaming> {
    type Output = Result<Response, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(raised) = self.as_mut().poll_raising(cx) {
            return raised;
        }
        self.as_mut().start()?;
        let answer = ready!(self.as_mut().poll_call(cx));
        let (mut call, description, raises) = self.as_mut().called();
        let mut response = match answer {
            Ok(response) => response,
            Err(error) => {
                self.set(Self::Done);
                return Poll::Ready(Err(error));
            }
        };
        if call.resume() == Resume::All {
            call.as_mut().continue_body(&mut response);
        }
        let (max_body, limit) = (call.max_body(), call.limit());
        #[cfg(feature = "fs")]
        let source = if call.resume() == Resume::Saved {
            call.take_source()
        } else {
            None
        };
        self.set(Self::Done);
        let raises = raises && is_failed(response.status());
        #[cfg_attr(not(feature = "fs"), expect(unused_mut, reason = "nothing is saved"))]
        let mut response = Response::streaming(response, description, max_body, limit);
        #[cfg(feature = "fs")]
        response.keep(source);
        if raises {
            return self.raise(response, cx);
        }
        Poll::Ready(Ok(response))
    }
}

impl Future for Sent<way::Collecting> {
    type Output = Result<Response<Bytes>, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.as_mut().start()?;
        let answer = ready!(self.as_mut().poll_call(cx));
        let (_, description, raises) = self.as_mut().called();
        self.set(Self::Done);
        let response = answer?;
        Poll::Ready(if raises && is_failed(response.status()) {
            Err(Response::raised(response, &description))
        } else {
            Response::collected(response, description)
        })
    }
}

impl fmt::Debug for RequestBuilder {
    // No headers and no query: either may hold a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("RequestBuilder");
        match &self.request {
            Ok(request) => out
                .field("method", request.method())
                .field("host", &request.uri().host()),
            Err(error) => out.field("error", error),
        };
        out.finish_non_exhaustive()
    }
}
