//! What the whole stack does, over real sockets and in memory, by subject.
//!
//! A test is here unless it needs a process of its own, as in `allocations`, `memory` and `storm`, which say why.
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test fails by its panic"
)]

mod body;
mod client;
mod connect;
mod cookies;
mod http1;
mod http2;
mod pool;
mod proxy;
mod redirect;
mod resume;
mod retry;
mod session;
mod tls;
mod types;
