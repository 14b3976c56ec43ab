//! A scripted peer for the tests of this workspace, and services that insist on the contract.
//!
//! ```
//! use test_support::{Server, Reply, sequence};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let server = Server::start(sequence([Reply::reset(), Reply::status(200).body("there")])).await;
//! // .. point the client at `server.url("/")`: its first request is cut off, its second is answered ..
//! # tokio::net::TcpStream::connect(server.addr()).await.unwrap();
//! let log = server.wait_for(|log| log.accepted == 1).await;
//! assert_eq!(log.requests.len(), 0);
//! # }
//! ```
//!
//! A handler is an async function over one [`Connection`]. It decides what is read, what is written, and how the
//! connection ends, so every fault of a peer can be written down as a few lines of straight code:
//!
//! ```
//! # use test_support::Server;
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let server = Server::start(|mut connection| async move {
//!     connection.read_request().await;
//!     connection.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").await;
//!     connection.reset();
//! })
//! .await;
//! # }
//! ```
//!
//! | for | take |
//! |---|---|
//! | real sockets, TLS | [`Server`], [`tls::Authority`] |
//! | the same handlers under a paused clock | [`MemoryConnector`] |
//! | HTTP/2 | [`http2::Peer`] |
//! | HTTP/2 frames that break the rules | [`frames::Peer`] |
//! | ready handlers | [`always`], [`sequence`], [`answer`] |
//! | what the peer saw | [`Log`], through `log()` and `wait_for(..)` |
//! | a proxy between client and server | [`proxy`] |
//! | a port that refuses connects, now or for good | [`Port`] |
//! | the contract of `poll_ready` | [`StrictService`], [`StrictLayer`] |
//! | the order of layers | [`Recorder`] |
//!
//! # When a handler panics
//!
//! An assertion inside a handler fails the test: dropping the [`Server`], or the last clone of the
//! [`MemoryConnector`], panics if a handler did. A request that breaks the syntax or the framing rules of HTTP/1.1
//! makes the handler that reads it panic as well, since only our own client can have written it.
//!
//! # Counting allocations
//!
//! A counting allocator needs `unsafe`, which this workspace forbids, so it comes from the `allocation-counter` crate.
//! That crate installs itself as the global allocator of every binary that names it, and counts by thread. A test
//! binary that counts therefore stands alone, drives the client on a current-thread runtime inside
//! `allocation_counter::measure`, and starts its [`Server`] inside another, multi-threaded runtime, whose
//! allocations are then not counted. `tests/allocations.rs` of this crate shows the arrangement.

#![allow(
    clippy::missing_panics_doc,
    reason = "test support panics wherever a test has to fail"
)]

mod connection;
pub mod frames;
mod handler;
pub mod http2;
mod log;
mod memory;
mod parse;
mod peer;
mod port;
pub mod proxy;
mod recorder;
mod reply;
mod request;
mod server;
mod strict;
pub mod tls;
mod transport;

pub use self::{
    connection::{Closed, Connection, Ending},
    handler::{Handling, always, answer, sequence},
    log::Log,
    memory::{Connect, Connecting, MemoryConnector, MemoryStream},
    port::Port,
    recorder::{Record, RecordLayer, Recorder},
    reply::Reply,
    request::Request,
    server::Server,
    strict::{StrictLayer, StrictService},
};
