use std::{error::Error as StdError, fmt, sync::Arc};

use http::StatusCode;

use crate::box_error::BoxError;

/// Why a proxy could not be used: it is among the causes of an error for which
/// [`Error::is_proxy`](crate::Error::is_proxy) holds.
///
/// It names the proxy by scheme, host and port, never with credentials.
#[derive(Debug)]
pub struct ProxyError {
    kind: Kind,
    proxy: Arc<str>,
}

#[derive(Debug)]
pub(super) enum Kind {
    /// Its name or TCP failed.
    Unreachable(BoxError),
    Tls(BoxError),
    /// It refused `CONNECT` by this status.
    Refused(StatusCode),
    /// Its answer is not valid, refuses a SOCKS request, or ended too early or too late.
    Broken(BoxError),
}

impl ProxyError {
    pub(super) fn new(kind: Kind, proxy: Arc<str>) -> Self {
        Self { kind, proxy }
    }

    /// Returns the proxy: scheme, host and port.
    #[must_use]
    pub fn proxy(&self) -> &str {
        &self.proxy
    }

    /// Returns the status by which an HTTP proxy refused to open a tunnel: 407 if it wants other
    /// credentials, often 403 for a host that it does not serve, 502 to 504 if the origin could not
    /// be reached.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        match self.kind {
            Kind::Refused(status) => Some(status),
            Kind::Unreachable(_) | Kind::Tls(_) | Kind::Broken(_) => None,
        }
    }
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let proxy = &self.proxy;
        match &self.kind {
            Kind::Unreachable(_) => write!(f, "cannot connect to the proxy {proxy}"),
            Kind::Tls(_) => write!(f, "cannot set up TLS with the proxy {proxy}"),
            Kind::Refused(status) => write!(f, "the proxy {proxy} refused: {status}"),
            Kind::Broken(_) => write!(f, "the proxy {proxy} opened no tunnel"),
        }
    }
}

impl StdError for ProxyError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.kind {
            Kind::Unreachable(source) | Kind::Tls(source) | Kind::Broken(source) => {
                Some(source.as_ref())
            }
            Kind::Refused(_) => None,
        }
    }
}
