//! Server-sent events over as many connections as it takes.

mod answer;
mod source;
mod waits;

use std::time::Duration;

use http::Response;

pub use self::source::EventSource;
use crate::{Error, Event};

/// What an [`EventSource`] tells.
#[derive(Debug)]
#[non_exhaustive]
pub enum SourceUpdate {
    /// The server has answered, and events may follow: the head of the response. Comes once for
    /// each connection.
    Open(Response<()>),
    /// An event.
    Event(Event),
    /// The connection has ended, or could not be made, and another one will be made after a wait.
    Reconnecting(Reconnecting),
}

/// Why an [`EventSource`] connects again, and when.
#[derive(Debug)]
#[non_exhaustive]
pub struct Reconnecting {
    /// How long it waits before.
    pub wait: Duration,
    /// How many connections in a row have brought no event; 0 after one that did.
    pub failures: u32,
    /// What failed; `None` if the server has ended the stream.
    pub error: Option<Error>,
}
