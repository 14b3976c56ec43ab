use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use http::Uri;

use super::{Connector, dial::Target};
use crate::{Resolver, box_error::BoxError};

/// Spreads requests over all addresses of a name: for names whose addresses are servers of their own, as
/// those of a headless service in Kubernetes are.
///
/// Each request is assigned to an address before it gets a connection: of two that are chosen at random,
/// to the one that has fewer requests (and of two that have as many, to the one that was used longer ago).
/// Each address has connections of its own, over HTTP/2 one as a rule, and a request waits only for those
/// of its address. So the [limit per origin](crate::PoolConfig::max_connections_per_origin) counts for each
/// address; the limit for all connections stays what it is.
///
/// - **The addresses** are what the resolver says. It is asked again every [`refresh`](Self::refresh),
///   while requests come, and has its own word on how long an answer counts: the records' with
///   `Resolver::hickory`, else [`Resolver::ttl`]. New addresses are used at once.
///   What is idle to one that is gone is closed, and what is in use when it has ended. While a lookup
///   fails, the addresses stay. So this is not for a name whose answers each hold other addresses of many,
///   as those of some load balancers do: each answer would close the connections of the one before.
/// - **An address that fails**, since it cannot be connected to, it ends a connection that has taken no
///   request yet, a request on it breaks, or it answers no PING, is left out for one second; then one request
///   tries it, or one each second until one is answered. If one of these fails, the address is left out for
///   twice as long each time, up to 30 s. What fails together counts once. A connect that has taken 250 ms
///   when the last request that needs it is given up has failed too. Where all have failed, all are tried,
///   until one has answered. An attempt of a call that has been at an address goes to another, if its
///   request has [`TriedAddresses`](crate::TriedAddresses); the session itself does not send it again.
/// - **Happy eyeballs** is no part of it: the address is dialled alone, and where there are others,
///   within [`connect_timeout`](Self::connect_timeout).
/// - **TLS** still asks for the URL's name, and `Host` is the URL's too.
/// - **Not spread** are requests to an IP address, and those of a [`Connector`] that go through a proxy or to
///   a Unix socket.
///
/// ```
/// use session_layer::{Connector, PoolConfig, SessionLayer, Spread, Timeouts};
/// use tower::Layer;
/// # use http_body_util::Full;
/// # use bytes::Bytes;
///
/// let connector = Connector::new();
/// let layer = SessionLayer::new(PoolConfig::default(), Timeouts::default())?
///     .spread(Spread::over(&connector))?;
/// let session = layer.layer(connector);
/// # let _: &session_layer::Session<Full<Bytes>> = &session;
/// # Ok::<(), session_layer::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "settings do nothing until a `SessionLayer` is built with them"]
pub struct Spread {
    source: Source,
    pub(crate) refresh: Duration,
    pub(crate) connect_timeout: Option<Duration>,
}

#[derive(Clone, Debug)]
enum Source {
    Connector(Connector),
    Resolver(Resolver),
}

impl Spread {
    /// Spreads over what this connector's resolver finds. The connector of the session has to be this one,
    /// or one that wraps it.
    pub fn over(connector: &Connector) -> Self {
        Self::new(Source::Connector(connector.clone()))
    }

    /// Spreads over what this resolver finds, for a connector of one's own: that has to dial the address that
    /// [`assigned_address`](crate::assigned_address) says.
    pub fn by(resolver: Resolver) -> Self {
        Self::new(Source::Resolver(resolver))
    }

    fn new(source: Source) -> Self {
        Self {
            source,
            refresh: Duration::from_secs(1),
            connect_timeout: Some(Duration::from_secs(1)),
        }
    }

    /// Asks the resolver for the addresses again after this time, while requests come; its cache answers
    /// until the last answer is too old. Default: 1 s.
    pub fn refresh(mut self, interval: Duration) -> Self {
        self.refresh = interval;
        self
    }

    /// Limits the time in which a connection to one of several addresses is opened, its TLS handshake
    /// included, where that is less than the [connect timeout](crate::Timeouts::connect): another attempt may
    /// go to another address. `None` sets no limit of its own. Default: 1 s.
    pub fn connect_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.connect_timeout = timeout.into();
        self
    }

    /// Whether requests to this origin are spread.
    pub(crate) fn applies(&self, uri: &Uri) -> bool {
        let Ok(target) = Target::of(uri) else {
            return false;
        };
        if target.host.parse::<IpAddr>().is_ok() {
            return false;
        }
        match &self.source {
            Source::Connector(connector) => connector.resolves(uri),
            Source::Resolver(_) => true,
        }
    }

    /// Looks the addresses of an origin up.
    pub(crate) async fn lookup(&self, uri: &Uri) -> Result<Vec<SocketAddr>, BoxError> {
        let target = Target::of(uri)?;
        let resolver = match &self.source {
            Source::Connector(connector) => &connector.settings.resolver,
            Source::Resolver(resolver) => resolver,
        };
        let found = resolver.resolve(target.host, target.port).await;
        found.map_err(Into::into)
    }
}

impl Connector {
    /// Whether it looks up the name of this URI, and dials what it finds.
    fn resolves(&self, uri: &Uri) -> bool {
        #[cfg(unix)]
        if self.settings.unix_socket.is_some() {
            return false;
        }
        #[cfg(feature = "proxy")]
        if self.settings.proxies.route(uri).is_some() {
            return false;
        }
        let _ = uri;
        true
    }
}
