use std::{fmt, sync::Arc};

use http::{HeaderValue, Uri};
use hyper_util::client::proxy::matcher::Intercept;
use tokio::time::Instant;

use self::{error::Kind, settings::Compiled};
use super::{
    ConnectError, Connector, Stage,
    dial::{Dial, Target, without_brackets},
    stream::Stream,
    transport::ViaProxy,
};
use crate::{Step, connector::opening::enter};

mod error;
mod exempt;
mod settings;
mod socks;
mod tunnel;
mod url;

pub use self::{error::ProxyError, settings::Proxy, url::ProxyConfigError};

impl Connector {
    /// Uses this proxy for the URIs that it applies to. Called again, it adds a proxy: the first
    /// one that applies to a URI is used, and if none does, the connection is direct. Default:
    /// none, even if the environment names one; see [`Proxy::from_env`].
    ///
    /// An HTTP proxy is sent `http` requests with their absolute URI, and is asked by `CONNECT` for
    /// a tunnel if the URI is `https`. A SOCKS proxy tunnels both. A proxy's own answer to an
    /// `http` request, a 407 for instance, cannot be told from the origin's, and is the response.
    /// Any failure before that is an error for which [`Error::is_proxy`](crate::Error::is_proxy)
    /// holds, with a [`ProxyError`] among its causes.
    ///
    /// The resolver resolves the proxy's name. If the proxy resolves the origin's name, the
    /// resolver and its guards do not see that.
    #[must_use]
    pub fn proxy(mut self, proxy: Proxy) -> Self {
        self.settings().proxies.add(proxy.compile());
        self
    }

    /// Returns the proxy that a connection for this URI goes through, as `scheme://host:port`; `None` if it is direct, or goes
    /// to a [Unix socket](Self::unix_socket). Nothing is connected.
    ///
    /// ```
    /// use http::Uri;
    /// use session_layer::{Connector, Proxy};
    ///
    /// let proxy = Proxy::all("http://proxy.example:3128")?.no_proxy("localhost");
    /// let connector = Connector::new().proxy(proxy);
    /// let to = |uri| connector.proxy_for(&Uri::from_static(uri));
    /// assert_eq!(to("https://a.example/").as_deref(), Some("http://proxy.example:3128"));
    /// assert_eq!(to("http://localhost/"), None);
    /// # Ok::<(), session_layer::ProxyConfigError>(())
    /// ```
    #[must_use]
    pub fn proxy_for(&self, uri: &Uri) -> Option<String> {
        #[cfg(unix)]
        if self.settings.unix_socket.is_some() {
            return None;
        }
        let route = self.settings.proxies.route(uri)?;
        Some(route.name.to_string())
    }

    /// Connects directly: removes each [`proxy`](Self::proxy) that was set so far.
    #[must_use]
    pub fn no_proxies(mut self) -> Self {
        self.settings().proxies = Proxies::default();
        self
    }
}

/// The proxies of a connector, in the order in which they are asked.
#[derive(Clone, Default)]
pub(super) struct Proxies(Vec<Arc<Compiled>>);

/// The proxy that one URI goes through.
pub(super) struct Route {
    protocol: Protocol,
    /// Scheme, host and port, as errors name it.
    name: Arc<str>,
    host: String,
    port: u16,
    credentials: Credentials,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Protocol {
    Http,
    /// HTTP over TLS with the proxy.
    Https,
    Socks(Version, Names),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Version {
    V4,
    V5,
}

/// Where the name of an origin is resolved.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Names {
    Here,
    ByProxy,
}

enum Credentials {
    Nobody,
    /// The value of `Proxy-Authorization`.
    Basic(HeaderValue),
    Password(String, String),
}

impl Protocol {
    fn of(scheme: &str) -> Option<Self> {
        Some(match scheme {
            "http" => Self::Http,
            "https" => Self::Https,
            "socks4" => Self::Socks(Version::V4, Names::Here),
            "socks4a" => Self::Socks(Version::V4, Names::ByProxy),
            "socks5" => Self::Socks(Version::V5, Names::Here),
            "socks5h" => Self::Socks(Version::V5, Names::ByProxy),
            _ => return None,
        })
    }

    fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
            Self::Socks(..) => 1080,
        }
    }
}

impl Proxies {
    fn add(&mut self, proxy: Compiled) {
        self.0.push(Arc::new(proxy));
    }

    pub(super) fn route(&self, uri: &Uri) -> Option<Route> {
        let intercept = self.0.iter().find_map(|proxy| proxy.intercept(uri))?;
        Some(Route::of(&intercept))
    }
}

impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.0).finish()
    }
}

impl Route {
    fn of(intercept: &Intercept) -> Self {
        let proxy = intercept.uri();
        let scheme = proxy.scheme_str().unwrap_or_default();
        let protocol = Protocol::of(scheme).expect("a `Proxy` has no other scheme");
        let host = proxy.host().expect("a `Proxy` has a host");
        let port = proxy.port_u16().unwrap_or(protocol.default_port());
        let credentials = match (intercept.basic_auth(), intercept.raw_auth()) {
            (Some(basic), _) => Credentials::Basic(basic.clone()),
            (None, Some((user, password))) => {
                Credentials::Password(user.to_owned(), password.to_owned())
            }
            (None, None) => Credentials::Nobody,
        };
        Self {
            protocol,
            name: format!("{scheme}://{host}:{port}").into(),
            host: without_brackets(host).to_owned(),
            port,
            credentials,
        }
    }

    fn failed(&self, kind: Kind) -> ConnectError {
        ConnectError::new(Stage::Proxy, ProxyError::new(kind, self.name.clone()))
    }
}

impl Dial<'_> {
    /// Opens a connection through a proxy: a tunnel to the target, or, for `http` through an HTTP
    /// proxy, a connection on which requests have their whole URI.
    pub(super) async fn through(
        &mut self,
        route: &Route,
        target: Target<'_>,
    ) -> Result<(Stream, Option<ViaProxy>), ConnectError> {
        let stream = self
            .open(&route.host, route.port, [Step::Proxy; 2])
            .await
            .map_err(|error| route.failed(Kind::Unreachable(error.into_parts().1)))?;
        let began = Instant::now();
        let opened = match route.protocol {
            Protocol::Http => self.by_http(stream, route, target).await?,
            Protocol::Https => {
                let stream = self.secure_proxy(stream, route).await?;
                self.by_http(stream, route, target).await?
            }
            Protocol::Socks(version, names) => {
                let address = self.address_for(route, version, names, target).await?;
                let opened = self
                    .within(socks::open(stream, version, &address, &route.credentials))
                    .await
                    .map_err(|error| route.failed(Kind::Broken(error)))?;
                (opened, None)
            }
        };
        self.times.proxy = Some(began.elapsed());
        Ok(opened)
    }

    async fn by_http(
        &self,
        stream: Stream,
        route: &Route,
        target: Target<'_>,
    ) -> Result<(Stream, Option<ViaProxy>), ConnectError> {
        let authorization = match &route.credentials {
            Credentials::Basic(value) => Some(value.clone()),
            Credentials::Nobody | Credentials::Password(..) => None,
        };
        if !target.secure {
            return Ok((stream, Some(ViaProxy { authorization })));
        }
        let opened = self
            .within(tunnel::open(stream, target, authorization))
            .await
            .map_err(|error| route.failed(Kind::Broken(error)))?;
        match opened {
            Ok(stream) => Ok((stream, None)),
            Err(status) => Err(route.failed(Kind::Refused(status))),
        }
    }

    /// The target that a SOCKS proxy is asked for.
    async fn address_for(
        &self,
        route: &Route,
        version: Version,
        names: Names,
        target: Target<'_>,
    ) -> Result<String, ConnectError> {
        if names == Names::ByProxy {
            return Ok(target.authority());
        }
        enter(Step::Dns);
        let addresses = self
            .within(self.settings.resolver.resolve(target.host, target.port))
            .await
            .map_err(|error| ConnectError::new(Stage::Resolve, error))?;
        enter(Step::Proxy);
        let address = addresses
            .iter()
            .find(|address| version == Version::V5 || address.is_ipv4())
            .ok_or_else(|| route.failed(Kind::Broken("SOCKS4 knows no IPv6".into())))?;
        Ok(address.to_string())
    }

    #[cfg(feature = "tls")]
    async fn secure_proxy(&self, stream: Stream, route: &Route) -> Result<Stream, ConnectError> {
        self.within(self.settings.tls.with_proxy(stream, &route.host))
            .await
            .map_err(|error| route.failed(Kind::Tls(error)))
    }

    #[cfg(not(feature = "tls"))]
    #[expect(clippy::unused_async, reason = "with TLS it does more")]
    async fn secure_proxy(&self, _: Stream, route: &Route) -> Result<Stream, ConnectError> {
        Err(route.failed(Kind::Tls("it needs the feature `tls`".into())))
    }
}
