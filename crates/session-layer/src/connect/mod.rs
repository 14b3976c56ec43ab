//! From an origin to a connection that hyper drives.

mod connector;
mod dns;
mod driver;
mod io;
mod open;

pub use self::{
    connector::{ConnectError, Connector, Transport},
    dns::{DnsError, Resolver},
};
pub(crate) use self::{
    io::{Cause, Mark, Wire},
    open::{Connect, Never, Opener},
};
