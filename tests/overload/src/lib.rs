//! A fleet of clients and the server that it calls, in trouble for a while: on virtual time, without sockets.
//!
//! ```
//! use overload::Storm;
//!
//! // Clients that send each request once.
//! let storm = Storm { clients: 10, ..Storm::default() };
//! let figures = storm.run(|server, _seed| server);
//! assert!(figures.amplification() <= 1.0);
//! assert!(figures.recovery().is_some());
//! ```
//!
//! The clients call at random times, each for itself. The server takes one request after the other, also those whose client has
//! given up: so a queue that is longer than its clients are patient is all in vain. For a while it has less capacity, or refuses.
//! What the clients do then (retries, pauses, circuit breakers, hedges) decides whether it recovers.
//!
//! A run with the same seed has the same figures, provided that the clients take their randomness from the seed that
//! they are given.
#![allow(
    clippy::missing_panics_doc,
    reason = "it serves tests and an example, which fail by their panic"
)]

mod figures;
mod fleet;
mod server;
mod storm;

pub use self::{
    figures::{Figures, Second},
    server::{Answering, Server, TimedOut},
    storm::{Storm, Trouble},
};
