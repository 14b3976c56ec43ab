//! Server-sent events over as many connections as it takes.

mod answer;
mod open;
mod source;
mod waits;

use std::time::Duration;

use http::Response;

pub use self::source::EventSource;
use crate::{Error, Event};

/// An item of an [`EventSource`].
#[derive(Debug)]
#[non_exhaustive]
pub enum SourceUpdate {
    /// A connection was opened: the head of its response, after which events may follow. Comes once
    /// for each connection.
    Open(Response<()>),
    /// An event.
    Event(Event),
    /// The connection has ended or could not be opened, and another one will be opened after a
    /// wait.
    Reconnecting(Reconnecting),
}

/// Why an [`EventSource`] connects again, and when.
#[derive(Debug)]
#[non_exhaustive]
pub struct Reconnecting {
    /// How long it waits before the next connection.
    pub wait: Duration,
    /// How many connections in a row have brought no event; 0 after one that did.
    pub failures: u32,
    /// The error of the connection; `None` if the server has ended the stream.
    pub error: Option<Error>,
}
