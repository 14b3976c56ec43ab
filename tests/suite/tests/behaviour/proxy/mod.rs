//! Proxies.

mod connector;
mod warnings;
