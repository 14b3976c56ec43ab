use std::{
    fmt,
    net::IpAddr,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response, StatusCode, Uri, Version,
    header::HOST,
    uri::{Authority, Scheme},
};
use http_body::Body as HttpBody;
use hyper::upgrade::OnUpgrade;

use super::{
    AsItIs,
    forwarded::{self, Received},
    headers, max_forwards, upgrade,
};
use crate::{
    Body, Client, Error, IntoUrl, NoDecompression, Redirects, ResponseBody,
    call::Streaming,
    description::Description,
    error::{BoxError, Kind},
    target,
};

/// A request to be forwarded; made by [`Client::forward`].
///
/// See the [module docs](crate::forward) for what is done with it.
#[must_use = "a request does nothing until it is sent"]
pub struct Forward {
    client: Client,
    request: Request<Body>,
    to: Option<Result<Uri, Error>>,
    timeout: Option<Duration>,
    peer: Option<IpAddr>,
    scheme: Scheme,
    via: Option<String>,
    says: Says,
}

/// The headers that are written about the caller.
#[derive(Clone, Copy, Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is about another header"
)]
struct Says {
    host: bool,
    forwarded: bool,
    x_forwarded: bool,
    distrusts: bool,
}

impl Client {
    /// Forwards a request that a server has received, as a gateway does: without its hop-by-hop
    /// headers, without headers or credentials of this client, and with bodies that stream both
    /// ways; see [`forward`](crate::forward).
    pub fn forward<B>(&self, request: Request<B>) -> Forward
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Forward {
            client: self.clone(),
            request: request.map(Body::new),
            to: None,
            timeout: None,
            peer: None,
            scheme: Scheme::HTTP,
            via: None,
            says: Says::default(),
        }
    }
}

impl Forward {
    /// Sends the request to the origin of this URL. Default: that of the client's
    /// [base URL](crate::ClientBuilder::base_url).
    ///
    /// Only the scheme, host and port of the URL are used. The path and query are those of the
    /// request, unchanged; to change them, change the request.
    pub fn to(mut self, url: impl IntoUrl) -> Self {
        self.to = Some(target::resolve(url, None).map(|target| target.uri));
        self
    }

    /// Limits this call in place of the client's [deadline](crate::ClientBuilder::deadline), until
    /// the head of the response.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sends the `Host` of the received request. Default: the upstream's own.
    pub fn preserve_host(mut self) -> Self {
        self.says.host = true;
        self
    }

    /// Sets the caller's address, for [`forwarded`](Self::forwarded) and
    /// [`x_forwarded`](Self::x_forwarded). Default: `unknown`.
    pub fn peer(mut self, address: impl Into<IpAddr>) -> Self {
        self.peer = Some(address.into());
        self
    }

    /// Sets the scheme of the received request, for the same headers. Default: `http`.
    pub fn received_over(mut self, scheme: Scheme) -> Self {
        self.scheme = scheme;
        self
    }

    /// Adds the caller, its `Host` and its scheme to `Forwarded`
    /// ([RFC 7239](https://www.rfc-editor.org/rfc/rfc7239)). Default: the header is passed on as it
    /// is.
    pub fn forwarded(mut self) -> Self {
        self.says.forwarded = true;
        self
    }

    /// Adds the caller to `X-Forwarded-For`, and its `Host` and scheme as `X-Forwarded-Host` and
    /// `X-Forwarded-Proto` where they are not there. Default: these headers are passed on as they
    /// are.
    pub fn x_forwarded(mut self) -> Self {
        self.says.x_forwarded = true;
        self
    }

    /// Removes the received `Forwarded` and `X-Forwarded-*`: for a gateway whose callers are not
    /// your own gateways, and could claim any address.
    pub fn distrust_forwarded(mut self) -> Self {
        self.says.distrusts = true;
        self
    }

    /// Adds this gateway to `Via`, of the request and of the response, by a pseudonym or its host.
    /// RFC 9110 requires each gateway to do that. Default: not added, because there is no name to
    /// add.
    pub fn via(mut self, name: impl Into<String>) -> Self {
        self.via = Some(name.into());
        self
    }

    /// Sends the request, and waits for the head of the response, which is given to the caller
    /// unchanged; its body streams.
    ///
    /// After a 101, a task copies the bytes between both connections, and ends with them; the
    /// response has to be given to the server that received the request.
    ///
    /// # Errors
    ///
    /// If there is no upstream, the request [cannot be forwarded](crate::forward), or the last
    /// attempt had no response. [`Error::gateway_status`] is the status for the caller. A failed
    /// status is a response.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the call; what was sent by then may have been processed.
    pub async fn send(mut self) -> Result<Response<ResponseBody>, Error> {
        if let Some(answer) = max_forwards::count(&mut self.request) {
            return Ok(answer);
        }
        let caller = upgrade::of_caller(&mut self.request);
        self.prepare(caller.is_some())
            .map_err(|error| Description::of(&self.request, self.client.paths()).name(error))?;
        let call: Streaming = self.client.start(self.request, self.timeout);
        let mut response = call.await?;
        respond(&mut response, caller);
        if let Some(name) = &self.via {
            let version = response.version();
            forwarded::add_via(response.headers_mut(), version, name);
        }
        // Each connection has its own version (RFC 9110, section 6.2).
        *response.version_mut() = Version::HTTP_11;
        Ok(response)
    }

    /// Makes the received request the one that is sent.
    fn prepare(&mut self, can_upgrade: bool) -> Result<(), Error> {
        check(&self.request)?;
        let uri = self.target()?;
        let host = named_host(&self.request);
        let version = self.request.version();
        let headers = self.request.headers_mut();
        let protocols = headers::upgrade(headers);
        let takes_trailers = headers::takes_trailers(headers);
        headers::remove_hop_by_hop(headers);
        headers::join_cookies(headers);
        if can_upgrade {
            headers::set_upgrade(headers, protocols);
        }
        if takes_trailers {
            headers::take_trailers(headers);
        }
        headers.remove(HOST);
        if self.says.distrusts {
            forwarded::forget(headers);
        }
        if self.says.host {
            if let Some(host) = &host {
                headers.insert(HOST, host.clone());
            }
        }
        let received = Received {
            peer: self.peer,
            scheme: self.scheme.clone(),
            host,
        };
        if self.says.forwarded {
            received.add_forwarded(headers);
        }
        if self.says.x_forwarded {
            received.add_x_forwarded(headers);
        }
        if let Some(name) = &self.via {
            if !forwarded::is_pseudonym(name) {
                return Err(Error::builder(
                    "the name for `via` must be a token, or a host with its port",
                ));
            }
            forwarded::add_via(headers, version, name);
        }
        *self.request.uri_mut() = uri;
        // The HTTP version of the received request does not matter for the next connection.
        *self.request.version_mut() = Version::HTTP_11;
        let extensions = self.request.extensions_mut();
        extensions.insert(AsItIs);
        extensions.insert(Redirects::none());
        extensions.insert(NoDecompression);
        #[cfg(feature = "cookies")]
        extensions.insert(session_layer::cookies::NoCookies);
        Ok(())
    }

    /// The upstream's scheme and authority, with the path and query of the request.
    fn target(&mut self) -> Result<Uri, Error> {
        let origin = match self.to.take() {
            Some(to) => to?,
            None => self.client.base_origin()?.ok_or_else(|| {
                Error::builder("nothing says where to forward to; see `base_url` and `to`")
            })?,
        };
        let mut parts = origin.into_parts();
        parts.path_and_query = self.request.uri().path_and_query().cloned();
        if parts.path_and_query.is_none() {
            parts.path_and_query = Some(http::uri::PathAndQuery::from_static("/"));
        }
        Uri::from_parts(parts).map_err(|error| Error::builder("the URL is not valid").with(error))
    }
}

/// Refuses requests that cannot be forwarded to any upstream.
fn check(request: &Request<Body>) -> Result<(), Error> {
    let refused = |status, why| Err(Error::new(Kind::NotForwarded(status, why)));
    let (method, uri) = (request.method(), request.uri());
    if method == Method::CONNECT {
        return refused(
            StatusCode::NOT_IMPLEMENTED,
            "CONNECT asks for a tunnel, which is not passed on",
        );
    }
    // RFC 9112, sections 3.2.3 and 3.2.4.
    if uri.scheme().is_none() && uri.authority().is_some() {
        return refused(
            StatusCode::BAD_REQUEST,
            "only a CONNECT request can have a host and a port for its target",
        );
    }
    if target::is_asterisk(uri) && method != Method::OPTIONS {
        return refused(
            StatusCode::BAD_REQUEST,
            "only an OPTIONS request can have `*` for its target",
        );
    }
    // A server removes the last transfer coding, which must be `chunked`. If there is another, the
    // content would stay encoded, and no header would say so (RFC 9112, section 6.1).
    if !headers::is_coded_plainly(request.headers()) {
        return refused(
            StatusCode::NOT_IMPLEMENTED,
            "a transfer coding other than `chunked` cannot be passed on",
        );
    }
    Ok(())
}

/// The received host: that of the target, if it has one, or `Host`, which is ignored beside that
/// ([RFC 9112, section 3.2.2](https://www.rfc-editor.org/rfc/rfc9112#section-3.2.2), and over
/// HTTP/2 [RFC 9113, section 8.3.1](https://www.rfc-editor.org/rfc/rfc9113#section-8.3.1)).
fn named_host(request: &Request<Body>) -> Option<HeaderValue> {
    let Some(authority) = request.uri().authority().map(Authority::as_str) else {
        return request.headers().get(HOST).cloned();
    };
    let host = authority.rsplit('@').next().unwrap_or(authority);
    HeaderValue::from_str(host).ok()
}

/// Makes the received response the one that is given to the caller.
fn respond(response: &mut Response<ResponseBody>, caller: Option<OnUpgrade>) {
    let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    // A 426 has to name protocols.
    let keeps = switches || response.status() == StatusCode::UPGRADE_REQUIRED;
    let protocols = headers::upgrade(response.headers());
    headers::remove_hop_by_hop(response.headers_mut());
    if keeps {
        headers::set_upgrade(response.headers_mut(), protocols);
    }
    headers::set_date(response.headers_mut(), SystemTime::now());
    if let Some(caller) = caller.filter(|_| switches) {
        upgrade::join(caller, hyper::upgrade::on(response));
    }
}

impl fmt::Debug for Forward {
    // No headers and no query: either may hold a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forward")
            .field("method", self.request.method())
            .field("says", &self.says)
            .finish_non_exhaustive()
    }
}
