//! What the tests of the client share.

use client::Client;
use serde::{Deserialize, Serialize};
use test_support::MemoryConnector;

/// A client with the default settings over in-memory streams.
pub(crate) fn over(connector: &MemoryConnector) -> Client {
    Client::builder()
        .build_with_connector(connector.clone())
        .expect("the settings are valid")
}

/// What is sent and read as JSON.
#[derive(Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct Order {
    pub(super) id: u32,
    pub(super) name: String,
}
