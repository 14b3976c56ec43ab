//! From an origin to a connection that hyper drives.

mod away;
mod connector;
mod counted;
pub mod dns;
mod driver;
#[cfg(feature = "http2")]
mod http2;
mod io;
mod open;

#[cfg(feature = "proxy")]
pub use self::connector::{Proxy, ProxyConfigError, ProxyError};
#[cfg(feature = "tls")]
pub use self::connector::{TlsConfigError, TlsOptions, TlsVersion};
pub(crate) use self::{
    away::{Away, is_away},
    connector::{Stage, ViaProxy},
    io::{Cause, Mark, Phase, Wire},
    open::{Connect, MAX_HEAD, Never, Opener},
};
pub use self::{
    connector::{ConnectError, ConnectTimes, Connector, Transport},
    dns::{DnsError, Resolver},
    open::must_be_http1,
};
