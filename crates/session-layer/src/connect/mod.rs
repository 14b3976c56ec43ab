//! From an origin to a connection that hyper drives.

mod connector;
pub mod dns;
mod driver;
#[cfg(feature = "http2")]
mod http2;
mod io;
mod open;

pub use self::{
    connector::{ConnectError, Connector, Transport},
    dns::{DnsError, Resolver},
};
pub(crate) use self::{
    io::{Cause, Mark, Phase, Wire},
    open::{Connect, Never, Opener},
};
