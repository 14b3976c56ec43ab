//! From a host's name to the addresses that are dialled.

mod error;
mod resolver;

pub use self::{error::DnsError, resolver::Resolver};
