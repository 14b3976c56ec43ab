//! From a host's name to the addresses that are dialled.
//!
//! ```
//! use std::{net::Ipv4Addr, time::Duration};
//!
//! use session_layer::dns::{Resolver, is_public};
//!
//! // For URLs that come from outside: only one host inside the network may be dialled.
//! let resolver = Resolver::new()
//!     .ttl(Duration::from_secs(30))
//!     .override_host("wiki.internal", [Ipv4Addr::new(10, 0, 0, 7)])
//!     .guard(|host, address| host == "wiki.internal" || is_public(address));
//! # drop(resolver);
//! ```
//!
//! A [`Resolver`] tries these in order, and ends where it finds an address:
//!
//! 1. **An IP address** in place of a name is taken as it is.
//! 2. **Overrides** say what addresses a name has ([`Resolver::override_host`]).
//! 3. **The cache** keeps an answer for ten seconds ([`Resolver::ttl`]). Failures are not kept.
//! 4. **One lookup** is made per name at a time, and all callers that ask meanwhile share it. It
//!    goes on when a caller leaves, and ends with the last one.
//! 5. **The source** is `getaddrinfo` on the runtime's blocking threads, any `Service<Name>`
//!    ([`Resolver::over`]), or, with the feature `hickory`, the name servers themselves.
//!
//! In all these cases each address has to pass **the guards** ([`Resolver::guard`],
//! [`Resolver::public_only`]), each time it is asked for. The caller dials these very addresses, so
//! that no second answer can replace the one that was checked.
//!
//! # How it differs
//!
//! | | hyper-util's `GaiResolver` | aiohttp's `TCPConnector` | this |
//! |---|---|---|---|
//! | cache | none | 10 s, 1000 names | 10 s, 1024 names |
//! | many ask at once | a lookup for each | one lookup | one lookup |
//! | several addresses | in the system's order | in turn | in turn, within their family |
//! | IP addresses in URLs | not seen | not seen | pass the guards like any other |
//!
//! # Addresses in turn
//!
//! Each answer starts at the address after the one that the last answer started at. IPv4 and IPv6
//! addresses rotate separately, each within its own places in the list. The system has ordered the
//! families by what works here (RFC 6724), and happy eyeballs begins with the first. The addresses
//! of an override are given out in their own order.
//!
//! A [`Connector`](crate::Connector) tries them in this order, the families in turn. Only where an
//! address has failed within the last minute does it begin with one that is known to connect.

mod address;
mod cache;
mod error;
mod guard;
#[cfg(feature = "hickory")]
mod hickory;
mod lookups;
mod public;
mod resolver;
mod source;
#[cfg(test)]
mod tests;

pub use hyper_util::client::legacy::connect::dns::Name;

pub use self::{
    address::HostAddress,
    error::DnsError,
    public::is_public,
    resolver::{Resolver, Resolving},
};
