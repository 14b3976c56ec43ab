use std::{
    error::Error as StdError,
    fmt,
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
    vec,
};

use hyper_util::client::legacy::connect::dns::{GaiFuture, GaiResolver, Name};
use tower_service::Service;

/// Resolves names with the system's `getaddrinfo`, on the runtime's blocking threads.
///
/// It differs from hyper-util's resolver in its error: a [`DnsError`] can be told from a failed
/// connect by its type, and a name without addresses is an error too.
#[derive(Clone, Debug)]
pub struct Resolver(GaiResolver);

impl Resolver {
    /// Makes a resolver.
    #[must_use]
    pub fn new() -> Self {
        Self(GaiResolver::new())
    }

    /// Resolves a name to at least one address with this port; an IP address is its own.
    pub(crate) async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, DnsError> {
        let found = tokio::net::lookup_host((host, port)).await;
        let addresses: Vec<_> = found.map_err(DnsError::new)?.collect();
        if addresses.is_empty() {
            return Err(DnsError::new(io::Error::from(io::ErrorKind::NotFound)));
        }
        Ok(addresses)
    }
}

impl Default for Resolver {
    fn default() -> Self {
        Self::new()
    }
}

impl Service<Name> for Resolver {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = DnsError;
    type Future = Resolving;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), DnsError>> {
        self.0.poll_ready(cx).map_err(DnsError::new)
    }

    fn call(&mut self, name: Name) -> Resolving {
        Resolving(self.0.call(name))
    }
}

/// The future of [`Resolver`].
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Resolving(GaiFuture);

impl Future for Resolving {
    type Output = Result<vec::IntoIter<SocketAddr>, DnsError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let addresses: Vec<_> = ready!(Pin::new(&mut self.0).poll(cx))
            .map_err(DnsError::new)?
            .collect();
        Poll::Ready(if addresses.is_empty() {
            Err(DnsError::new(io::Error::from(io::ErrorKind::NotFound)))
        } else {
            Ok(addresses.into_iter())
        })
    }
}

/// Why a name could not be resolved.
///
/// A connector of one's own that puts this into its error's source chain makes
/// [`Error::is_dns`](crate::Error::is_dns) true.
#[derive(Debug)]
pub struct DnsError(io::Error);

impl DnsError {
    /// Marks an error as one of name resolution.
    #[must_use]
    pub fn new(error: io::Error) -> Self {
        Self(error)
    }
}

impl fmt::Display for DnsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name did not resolve")
    }
}

impl StdError for DnsError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.0)
    }
}
