mod body;
mod headers;
mod send;
mod settings;

use std::{borrow::Cow, fmt, mem, time::Duration};

use http::{Method, Request};
use retry_layer::{Deadline, IdempotencyKeys, Idempotent, NoRetry};
use serde::Serialize;

use crate::{
    Body, Client, Error, UploadProgress, UrlTemplate, call, setting,
    target::{self, Target},
};

/// A request that is being built.
///
/// If something is not valid (a bad URL, a header with a line break), the error is returned by
/// [`send`](Self::send), [`fetch`](Self::fetch) or [`build`](Self::build), and nothing is sent.
#[must_use = "a request does nothing until it is sent"]
pub struct RequestBuilder {
    client: Client,
    request: Result<Request<Body>, Error>,
    timeout: Option<Duration>,
    /// Whether a failed status is an error; `None` for the client's setting.
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

    /// The client that sends it, the request, and the timeout of the call.
    pub(crate) fn parts(&self) -> Result<(&Client, &Request<Body>, Option<Duration>), Error> {
        match &self.request {
            Ok(request) => Ok((&self.client, request, self.timeout)),
            // The error itself is for whoever sends the request.
            Err(error) => Err(Error::builder(error.to_string())),
        }
    }

    /// The client that sends it.
    #[cfg(feature = "fs")]
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Makes a builder of a request that [`build`](Self::build) has made.
    #[cfg(feature = "fs")]
    pub(crate) fn of_built(client: Client, request: Request<Body>) -> Self {
        Self {
            client,
            request: Ok(request),
            timeout: None,
            error_for_status: None,
        }
    }

    /// Replaces the request by one that was made elsewhere.
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

    /// Whether the request may be sent more than once, by its method, its [mark](Self::idempotent)
    /// or a key.
    pub(crate) fn is_idempotent(&self) -> bool {
        self.request.as_ref().is_ok_and(|request| {
            let extensions = request.extensions();
            request.method().is_idempotent()
                || extensions.get::<Idempotent>().is_some()
                || extensions.get::<IdempotencyKeys>().is_some()
                || request.headers().contains_key("idempotency-key")
        })
    }

    /// Whether the request is sent once, whatever its outcome.
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

    /// Adds a struct, a map or a sequence of pairs to the URL's query.
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

    /// Sends the request about the server as a whole instead of a resource: its target is `*` ([RFC
    /// 9112, section 3.2.4](https://www.rfc-editor.org/rfc/rfc9112#section-3.2.4)), over HTTP/2 its
    /// `:path` ([RFC 9113, section 8.3.1](https://www.rfc-editor.org/rfc/rfc9113#section-8.3.1)).
    /// Path and query of the URL are left out. Only for `OPTIONS`; with any other method the call
    /// fails.
    ///
    /// An [`http::Uri`] whose path is `*` does the same. Through an HTTP proxy to a server without
    /// TLS the target is `/` instead, because the proxy's form of `*` cannot be written.
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

    /// Sets the template that the path of the URL follows, such as `/users/{id}`: the attribute
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

    /// Clones the request; `None` if its body is a stream, or if something of it was not valid.
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

    /// Returns the request, to be sent by any service. A [`timeout`](Self::timeout) goes with it as
    /// a [`Deadline`], which counts from now.
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
