use std::sync::Arc;

use crate::exchange::{Cause, ExchangeState, Release};

/// The right to a connection, or to a stream on one, until the body that came over it has ended.
pub(crate) struct Lease {
    pub(crate) connection: Arc<dyn Release>,
    /// The state of the exchange, if it is a stream on a shared connection.
    pub(crate) stream: Option<Arc<ExchangeState>>,
    /// The cause for closing the connection after this exchange, if it must be closed.
    pub(crate) ends: Option<Cause>,
}

impl Lease {
    pub(super) fn exchange(&self) -> &ExchangeState {
        match &self.stream {
            Some(stream) => stream,
            None => self.connection.state(),
        }
    }

    /// Whether the peer may have to wait until other bodies of the connection are read, before it
    /// can send this one.
    pub(super) fn may_be_held_up(&self) -> bool {
        self.stream.is_some() && self.connection.may_hold_up_a_stream()
    }

    /// Notes that the reader of the body does not wait any more.
    pub(super) fn note_served(&self) {
        self.exchange().note_reader_served();
        if let Some(stream) = &self.stream {
            // If the body had timed out by then, bytes had come that the reader had not read yet.
            stream.forgive(Cause::BodyTimeout);
        }
    }

    /// Ends the exchange early: closes the connection, or resets the stream.
    pub(super) fn give_up(self) {
        match self.stream {
            // Dropping hyper's body resets the stream, once its request body has ended too.
            Some(stream) => self.connection.release(Some(stream)),
            None => {
                self.connection.state().abort(Cause::Dropped);
            }
        }
    }

    /// Releases the connection, or closes it if there is a cause.
    pub(super) fn finish(self) {
        let exchange = self.connection.state();
        let ends = self
            .ends
            .or(exchange.has_write_failed().then_some(Cause::Broken));
        match ends {
            Some(cause) if self.stream.is_none() => {
                exchange.abort(cause);
            }
            Some(_) | None => self.connection.release(self.stream),
        }
    }
}
