//! The ledger: what all calls together have learned of each origin.
//!
//! ```
//! use http::Uri;
//! use retry_layer::{
//!     breaker::{Breaker, CircuitState},
//!     health::{Ledger, PartitionKey},
//!     pause::Pause,
//! };
//!
//! let ledger = Ledger::default();
//! let breaker = Breaker::builder().ledger(ledger.clone()).build()?;
//! let pause = Pause::builder().ledger(ledger.clone()).build()?;
//!
//! let peer = PartitionKey::of(&Uri::from_static("http://peer/"));
//! breaker.open(&peer);
//! let health = ledger.health(&peer);
//! assert_eq!(health.circuit(), CircuitState::Open);
//! assert_eq!(health.paused_until(), None);
//! # Ok::<(), retry_layer::BuildError>(())
//! ```
//!
//! # How it behaves
//!
//! Whatever decides about the requests to an origin keeps what it knows here: the circuits of a
//! [breaker](crate::breaker), the lines of requests that wait for the end of a [pause](crate::pause), the
//! tokens of the [default budget](crate::budget::SuccessBudget), the latencies that a
//! [hedge's](crate::hedge) delay is learned from.
//! Those that are made with one [`Ledger`] find it all in one place of one table, and so do several
//! clients that share a ledger: what one of them has learned, the others know.
//!
//! What belongs together is a *partition*: the requests to one origin, or a part of them by the name
//! that a [closure](LedgerBuilder::key_by) gives, such as a tenant or a token to which a quota belongs.
//!
//! [`Ledger::health`] returns what is known of a partition, and a [`HealthObserver`] is called at each
//! change.
//!
//! # What it costs
//!
//! A request finds its partition by the hash of its host: without a lock, an allocation or a look at the
//! clock. One atomic word tells it whether anything is out of order, and only then it takes the lock of
//! that partition. The table has a [fixed number](LedgerBuilder::max_origins) of partitions. A healthy one
//! that was not used for the longest time makes room for another; one whose circuit is open, or whose
//! requests are paused, stays. An open circuit stays for a minute after its wait, or as long again as that
//! was: one that nobody has probed by then, as that of a host which is asked no more, makes room too.

mod builder;
mod head;
mod key;
mod ledger;
mod memo;
mod observer;
mod partition;
mod recent;
mod snapshot;
mod table;
#[cfg(test)]
mod tests;

pub use self::{
    builder::LedgerBuilder,
    head::RequestHead,
    key::PartitionKey,
    ledger::Ledger,
    observer::HealthObserver,
    snapshot::{Health, LatencyQuantiles},
};
pub(crate) use self::{
    ledger::Lookup,
    partition::{Evict, Word},
    recent::Bad,
    table::Place,
};
