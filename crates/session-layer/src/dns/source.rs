use std::{
    future::{Future, poll_fn},
    net::SocketAddr,
    pin::Pin,
};

use hyper_util::client::legacy::connect::dns::Name;
use tower_service::Service;

use super::DnsError;
use crate::box_error::BoxError;

/// The most addresses that are kept of one answer. No connect tries more of them, and a server that
/// sends many must not fill the cache.
const MAX_ADDRESSES: usize = 256;

/// The service that a resolver asks, without its type.
pub(super) trait Source: Send + Sync {
    fn lookup(&self, name: Name) -> Lookup;
}

pub(super) type Lookup = Pin<Box<dyn Future<Output = Found> + Send>>;

/// At least one address, and none with a port: DNS knows none.
pub(super) type Found = Result<Vec<SocketAddr>, DnsError>;

/// Makes a resolver's [`Source`] of a `Service<Name>`.
pub(super) struct Over<S>(pub(super) S);

impl<S> Source for Over<S>
where
    S: Service<Name> + Clone + Send + Sync + 'static,
    S::Response: IntoIterator<Item = SocketAddr>,
    S::Error: Into<BoxError>,
    S::Future: Send,
{
    fn lookup(&self, name: Name) -> Lookup {
        let mut service = self.0.clone();
        Box::pin(async move {
            poll_fn(|cx| service.poll_ready(cx)).await.map_err(failed)?;
            let answer = service.call(name).await.map_err(failed)?;
            let addresses: Vec<_> = answer.into_iter().take(MAX_ADDRESSES).map(bare).collect();
            if addresses.is_empty() {
                return Err(DnsError::no_addresses());
            }
            Ok(addresses)
        })
    }
}

fn failed(error: impl Into<BoxError>) -> DnsError {
    DnsError::from_source(error.into())
}

fn bare(mut address: SocketAddr) -> SocketAddr {
    address.set_port(0);
    address
}
