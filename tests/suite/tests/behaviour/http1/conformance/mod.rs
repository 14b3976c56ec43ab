//! What RFC 9112 and RFC 9110 ask of a client and of whoever sends or receives messages, where no other test holds it.
//!
//! `docs/conformance.md` has the whole list, with the tests of the other binaries.

mod messages;
mod semantics;

use session_layer::{PoolConfig, Timeouts};
use test_suite::BytesSession;
use test_support::MemoryConnector;

/// A session over this connector.
fn session(connector: &MemoryConnector) -> BytesSession {
    test_suite::in_memory(PoolConfig::default(), Timeouts::default(), connector)
}
