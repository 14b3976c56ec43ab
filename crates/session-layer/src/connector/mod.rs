//! Connects to the peer of a URI: name, TCP, perhaps a proxy, TLS. It knows no pools and no
//! requests.

#[cfg(unix)]
use std::path::Path;
use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use tower_service::Service;

use self::{dial::Dial, tcp::Tcp};
use crate::Resolver;

pub(crate) mod counted;
mod dial;
mod error;
pub(crate) mod opening;
#[cfg(feature = "proxy")]
mod proxy;
mod socket;
mod spread;
mod stream;
mod tcp;
#[cfg(feature = "tls")]
mod tls;
mod transport;

#[cfg(feature = "proxy")]
pub use self::proxy::{Proxy, ProxyConfigError, ProxyError};
#[cfg(feature = "tls")]
pub use self::tls::{TlsConfigError, TlsOptions, TlsVersion};
pub use self::{
    error::ConnectError,
    opening::{assigned_address, must_be_http1},
    spread::Spread,
    transport::{ConnectTimes, Transport},
};
pub(crate) use self::{
    error::Stage,
    transport::{ConnectedInfo, FailedWrite, ViaProxy},
};

/// The connector that a session uses unless it is given another: TCP, and TLS for `https`.
///
/// It resolves the name by its [`Resolver`], connects to one of the addresses by TCP, and speaks TLS
/// by rustls. By default Nagle's algorithm is off, TCP keep-alive begins after 60 s, an address that
/// does not answer is joined by the next one after 250 ms
/// ([`happy_eyeballs_delay`](Self::happy_eyeballs_delay)), and all of it ends after a connect timeout
/// of 10 s. With the feature `tls` it speaks TLS 1.2 and 1.3 with the ring provider, and trusts the
/// platform's root certificates, which are read once per process, at the first `https`
/// connection. Without that feature an `https` URI is an error.
///
/// It uses a proxy only if one is set; the environment is not read.
///
/// The settings of a connector are one identity. A pool belongs to one connector, so its
/// connections are never mixed with those of other roots, client certificates, proxies or local
/// addresses.
#[derive(Clone)]
pub struct Connector {
    /// Cloned for each connection.
    settings: Arc<Settings>,
}

#[derive(Clone)]
struct Settings {
    resolver: Resolver,
    tcp: Tcp,
    timeout: Option<Duration>,
    #[cfg(unix)]
    unix_socket: Option<Arc<Path>>,
    #[cfg(feature = "proxy")]
    proxies: proxy::Proxies,
    #[cfg(feature = "tls")]
    tls: tls::Tls,
}

/// How long a connect may take when no timeout is set.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

impl Connector {
    /// Makes a connector with the settings above.
    #[must_use]
    pub fn new() -> Self {
        Self {
            settings: Arc::new(Settings {
                resolver: Resolver::new(),
                tcp: Tcp::default(),
                timeout: Some(CONNECT_TIMEOUT),
                #[cfg(unix)]
                unix_socket: None,
                #[cfg(feature = "proxy")]
                proxies: proxy::Proxies::default(),
                #[cfg(feature = "tls")]
                tls: tls::Tls::default(),
            }),
        }
    }

    /// Resolves names by this resolver. Default: [`Resolver::new`].
    #[must_use]
    pub fn resolver(mut self, resolver: Resolver) -> Self {
        self.settings().resolver = resolver;
        self
    }

    /// Limits the time from the name to the end of the last handshake, a proxy's included. All
    /// addresses of a name share what is left of it. `None` leaves TCP to the system, and sets no
    /// limit to the rest. Default: 10 s.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.settings().timeout = timeout.into();
        self
    }

    /// Connects to this Unix socket, whatever the host of a request.
    ///
    /// The URI still gives the `Host` header, and `https` still means TLS, with a certificate for
    /// the URI's host. Neither the resolver nor a proxy is asked.
    #[cfg(unix)]
    #[must_use]
    pub fn unix_socket(mut self, path: impl AsRef<Path>) -> Self {
        self.settings().unix_socket = Some(path.as_ref().into());
        self
    }

    fn settings(&mut self) -> &mut Settings {
        Arc::make_mut(&mut self.settings)
    }
}

impl Default for Connector {
    fn default() -> Self {
        Self::new()
    }
}

impl Service<Uri> for Connector {
    type Response = Transport;
    type Error = ConnectError;
    type Future = Connecting;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Connecting {
        let settings = self.settings.clone();
        Connecting(Box::pin(
            async move { Dial::new(&settings).connect(&uri).await },
        ))
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings = &self.settings;
        let mut out = f.debug_struct("Connector");
        out.field("tcp", &settings.tcp)
            .field("timeout", &settings.timeout);
        #[cfg(unix)]
        out.field("unix_socket", &settings.unix_socket);
        #[cfg(feature = "proxy")]
        out.field("proxies", &settings.proxies);
        #[cfg(feature = "tls")]
        out.field("tls", &settings.tls);
        out.finish_non_exhaustive()
    }
}

/// The future of [`Connector`].
///
/// # Cancel safety
///
/// Dropping it closes what it had opened. The request is no part of it, so nothing of it was sent.
#[must_use = "futures do nothing unless polled"]
pub struct Connecting(Pin<Box<dyn Future<Output = Result<Transport, ConnectError>> + Send>>);

impl Future for Connecting {
    type Output = Result<Transport, ConnectError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for Connecting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connecting").finish_non_exhaustive()
    }
}
