use std::{fmt, sync::Arc, time::Duration};

use super::{Connection, state::Numbered, streams::Streams};
#[cfg(feature = "http2")]
use crate::exchange::Gate;
use crate::{
    exchange::{ExchangeState, Release, StreamOwner},
    origin::Origin,
};

/// An HTTP/2 connection, which carries several requests at once.
///
/// The pool's state holds it while it takes new requests, and each request on it holds it too. When
/// the last of them lets it go, the driver ends it.
pub(crate) struct Shared<B: Send + 'static> {
    connection: Arc<Connection<B>>,
    streams: Arc<Streams<B>>,
}

impl<B: Send + 'static> Shared<B> {
    #[cfg(feature = "http2")]
    pub(crate) fn new(connection: Arc<Connection<B>>, gate: Arc<Gate>) -> Arc<Self> {
        Arc::new(Self {
            connection,
            streams: Arc::new(Streams::new(gate)),
        })
    }

    pub(crate) fn connection(&self) -> &Arc<Connection<B>> {
        &self.connection
    }

    pub(crate) fn streams(&self) -> &Arc<Streams<B>> {
        &self.streams
    }

    /// Ends an exchange. Its stream is free when its request body has ended too.
    pub(super) fn end(self: &Arc<Self>, exchange: Arc<ExchangeState>) {
        let connection = &self.connection;
        let unheard = exchange.unheard_since(connection.state());
        let unheard = unheard.or_else(|| exchange.too_slow_since());
        if let Some(began) = unheard.filter(|_| exchange.may_be_sent(self.streams.gate())) {
            if self.streams.doubt(began) {
                connection.state().wake();
            }
        }
        if exchange.leave_to_upload(|| self.clone()) {
            return;
        }
        self.streams.release(exchange);
        let is_last = !self.streams.is_under_way();
        connection.pool().stream_ended(connection, is_last);
    }
}

impl<B: Send + 'static> Shared<B> {
    /// Notes a request that was given up before it was answered.
    #[cold]
    pub(super) fn note_given_up(&self) {
        if self.streams.note_given_up() {
            self.connection.pool().replace(&self.connection);
        }
    }
}

impl<B: Send + 'static> Drop for Shared<B> {
    fn drop(&mut self) {
        self.streams.note_unused();
        self.connection.state().wake();
    }
}

impl<B: Send + 'static> StreamOwner for Shared<B> {
    fn take_back(self: Arc<Self>, stream: Arc<ExchangeState>) {
        self.end(stream);
    }
}

impl<B: Send + 'static> Release for Shared<B> {
    fn release(self: Arc<Self>, stream: Option<Arc<ExchangeState>>) {
        if let Some(exchange) = stream {
            self.end(exchange);
        }
    }

    fn state(&self) -> &ExchangeState {
        self.connection.state()
    }

    fn origin(&self) -> &Origin {
        self.connection.origin()
    }

    fn requests(&self) -> u64 {
        self.connection.requests()
    }

    fn body_idle(&self) -> Option<Duration> {
        self.connection.body_idle()
    }

    fn is_body_idle_chosen(&self) -> bool {
        self.connection.is_body_idle_chosen()
    }

    fn is_download_floor_chosen(&self) -> bool {
        self.connection.is_download_floor_chosen()
    }

    /// Each unread body may fill the window of its own stream. The connection's window may then
    /// have less room than the stream of another body could use.
    #[cfg(feature = "http2")]
    fn may_hold_up_a_stream(&self) -> bool {
        let unread = self.streams.unread();
        if unread == 0 {
            return false;
        }
        let config = &self.connection.pool().config().http2;
        let streams = u64::try_from(unread).unwrap_or(u64::MAX).saturating_add(1);
        let most = streams.saturating_mul(config.stream_window.into());
        // With adaptive windows hyper makes both the same size.
        config.adaptive_window || most > config.connection_window.into()
    }

    fn runtime(&self) -> Option<tokio::runtime::Id> {
        Release::runtime(&*self.connection)
    }
}

impl<B: Send + 'static> Numbered for Arc<Shared<B>> {
    fn id(&self) -> u64 {
        self.connection.id()
    }

    fn has_answered(&self) -> bool {
        self.streams.has_answered()
    }
}

impl<B: Send + 'static> fmt::Debug for Shared<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("id", &self.connection.id())
            .field("origin", self.connection.origin())
            .finish_non_exhaustive()
    }
}
