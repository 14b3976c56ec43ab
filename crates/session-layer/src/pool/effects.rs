//! Carries out what the state decides when a shared connection changes.

use std::sync::Arc;

use tokio::time::Instant;

use super::{
    Connection, Pool, PooledConnection, Shared,
    state::{Effects, Failed, StreamEnd},
    waiter::Waiter,
};
#[cfg(feature = "http2")]
use crate::origin::Origin;
use crate::{
    Error,
    error::Kind,
    exchange::{Cause, Release},
    stats::CloseReason,
};

impl<B: Send + 'static> Pool<B> {
    /// Carries out the effects of a change. `failed` is the error for the waiters of a connection
    /// that failed, where more is known than that it failed.
    pub(super) fn follow(
        self: &Arc<Self>,
        effects: Effects<Arc<Shared<B>>, Arc<Waiter<B>>>,
        failed: Option<Error>,
    ) {
        let Effects {
            serve,
            grant,
            close,
            tell,
        } = effects;
        for (waiter, shared) in serve {
            // A waiter that left after the state had chosen it drops its stream, and so frees it
            // for the next.
            let _ = waiter.serve(Ok(PooledConnection::stream(shared)));
        }
        self.grant(grant);
        for shared in close {
            let connection = shared.connection();
            connection
                .state()
                .note_end(self.unkept(connection.origin()));
        }
        if !tell.is_empty() {
            let error = failed.unwrap_or_else(|| Error::new(Kind::Connect));
            Waiter::tell_all(tell, &error);
        }
    }

    /// Notes how many requests the peer of a shared connection allows at the same time.
    #[cfg(feature = "http2")]
    pub(crate) fn set_limit(self: &Arc<Self>, origin: &Origin, id: u64, limit: usize) {
        let mut inner = self.lock_for(origin);
        let effects = inner.state.set_limit(origin, id, limit, Instant::now());
        drop(inner);
        self.follow(effects, None);
    }

    /// Gives no more requests to a shared connection whose peer may be dead.
    #[cfg(feature = "http2")]
    pub(crate) fn pause(self: &Arc<Self>, origin: &Origin, id: u64) {
        let mut inner = self.lock_for(origin);
        let effects = inner.state.pause(origin, id, Instant::now());
        drop(inner);
        self.follow(effects, None);
    }

    /// Gives requests again to a shared connection that was paused.
    #[cfg(feature = "http2")]
    pub(crate) fn resume(self: &Arc<Self>, origin: &Origin, id: u64) {
        let mut inner = self.lock_for(origin);
        let effects = inner.state.resume(origin, id, Instant::now());
        drop(inner);
        self.follow(effects, None);
    }

    /// Notes that a request on a shared connection is over. `is_last` says that no other was under way
    /// on it a moment ago.
    pub(super) fn stream_ended(self: &Arc<Self>, connection: &Connection<B>, is_last: bool) {
        let (origin, id) = (connection.origin(), connection.id());
        let now = is_last.then(Instant::now);
        if let Some(now) = now {
            connection.note_idle(now);
        }
        if self.lent.end_stream(origin, id, now) == StreamEnd::Noted {
            return;
        }
        let mut inner = self.lock_for(origin);
        if inner.state.stream_ended_quietly(origin, id) {
            return;
        }
        let now = Instant::now();
        connection.note_idle(now);
        let effects = inner.state.stream_ended(origin, id, now);
        drop(inner);
        self.follow(effects, None);
    }

    /// Gives no more requests to a shared connection; the requests on it go on. `failed` is set if
    /// it never carried a request, and says why.
    pub(crate) fn drain(self: &Arc<Self>, connection: &Connection<B>, failed: Option<Error>) {
        let (origin, id) = (connection.origin(), connection.id());
        let ended_by_peer = || {
            let reason = connection.state().close_reason();
            matches!(reason, CloseReason::Peer | CloseReason::Timeout)
        };
        if failed.is_some() && ended_by_peer() {
            self.address_failed(origin);
        }
        let how = failed.as_ref().map(|error| {
            if error.is_timeout() {
                Failed::TimedOut
            } else {
                Failed::Broken
            }
        });
        let mut inner = self.lock_for(origin);
        let effects = inner.state.drain(origin, id, how);
        drop(inner);
        self.follow(effects, failed);
    }

    /// Gives no more requests to a shared connection, if another may be opened in its place.
    pub(super) fn replace(self: &Arc<Self>, connection: &Connection<B>) {
        let (origin, id) = (connection.origin(), connection.id());
        let mut inner = self.lock_for(origin);
        if !inner.state.may_replace(origin, id) {
            return;
        }
        connection.state().note_end(Cause::Dropped);
        let effects = inner.state.drain(origin, id, None);
        drop(inner);
        self.follow(effects, None);
    }
}
