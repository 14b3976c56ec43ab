//! TLS.

mod connector;
mod trust;
