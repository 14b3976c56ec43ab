//! From an origin to a connection that hyper drives.

mod away;
mod connector;
mod counted;
pub mod dns;
mod driver;
mod frames;
#[cfg(feature = "http2")]
mod http2;
mod io;
#[cfg(feature = "http2")]
mod keep_alive;
mod open;
mod opening;
#[cfg(feature = "http2")]
mod ping;
#[cfg(feature = "http2")]
mod tasks;
mod watch;

#[cfg(feature = "proxy")]
pub use self::connector::{Proxy, ProxyConfigError, ProxyError};
#[cfg(feature = "tls")]
pub use self::connector::{TlsConfigError, TlsOptions, TlsVersion};
pub(crate) use self::{
    away::Away,
    connector::{Stage, ViaProxy},
    counted::Read,
    open::Opener,
};
pub use self::{
    connector::{ConnectError, ConnectTimes, Connector, Transport},
    dns::{DnsError, Resolver},
    opening::must_be_http1,
};
