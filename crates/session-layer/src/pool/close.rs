//! Closes connections: those that stand idle for too long, and all of them.

use std::{pin::pin, sync::Arc, time::Duration};

use tokio::{runtime::Handle, time::Instant};

use super::{
    Connection, Idle, Pool,
    inner::{Inner, Live},
    state::Checkout,
    waiter::Waiter,
};
use crate::{
    CloseReport, Error, Event,
    error::Kind,
    exchange::{Cause, Release},
    origin::Origin,
};

/// How long the tasks of connections that were aborted may take to end.
const ABORT_DEADLINE: Duration = Duration::from_secs(1);

impl<B: Send + 'static> Pool<B> {
    /// Takes note that a connection's task ends.
    pub(crate) fn ended(self: &Arc<Self>, connection: &Connection<B>) {
        let (id, origin) = (connection.id(), connection.origin());
        let reason = connection.state().close_reason();
        connection.note_ended();
        let mut inner = self.lock();
        inner.closed.count(reason);
        inner.live.remove(&id);
        drop(inner);
        drop(self.take_idle(id, origin));
        self.gone.notify_waiters();
        self.config.listener.tell(|| Event::Closed {
            origin,
            connection: id,
            version: connection.facts().version,
            lived: connection.facts().opened.elapsed(),
            reason,
        });
    }

    /// Takes out a connection that has stood idle too long; else says when to ask again.
    pub(crate) fn expire(&self, connection: &Connection<B>, now: Instant) -> Expiry<B> {
        let (id, origin) = (connection.id(), connection.origin());
        let Some(timeout) = connection.idle_timeout() else {
            return Expiry::InUse;
        };
        // A pool younger than the timeout has nothing that old.
        let moment = now.checked_sub(timeout).unwrap_or(self.epoch);
        let expired = self.lock().state.expire(origin, id, moment);
        match expired {
            Some(Ok(given)) => Expiry::Expired(given),
            Some(Err(since)) => since.checked_add(timeout).map_or(Expiry::InUse, Expiry::At),
            None => Expiry::InUse,
        }
    }

    /// Takes out a connection, if it stands idle.
    pub(crate) fn take_idle(&self, id: u64, origin: &Origin) -> Option<Idle<B>> {
        self.lock().state.remove(origin, id)
    }

    /// Closes what of this origin has stood idle since before `moment`: when a reused connection
    /// turned out to be dead, its older neighbours most likely are too.
    pub(crate) fn close_idle_before(&self, origin: &Origin, moment: Instant) {
        let taken = self.lock().state.take_idle_before(origin, moment);
        for idle in taken {
            close_idle(idle, Cause::Suspect);
        }
    }

    /// Stops keeping connections, when no session is left; returns how many are in use.
    pub(crate) fn stop_keeping(&self) -> usize {
        let mut inner = self.lock();
        let idle = inner.state.stop_keeping();
        let in_use = inner.in_use(&idle);
        drop(inner);
        for idle in idle {
            close_idle(idle, Cause::Closed);
        }
        in_use
    }

    /// Refuses new requests, waits for those in flight, aborts what is left at the deadline.
    pub(crate) async fn close(self: Arc<Self>, deadline: Duration) -> CloseReport {
        let in_flight = self.begin_close();
        let in_time = within(deadline, self.drained()).await.is_some();
        let aborted = if in_time { 0 } else { self.abort_all_left() };
        // What was aborted ends at once, unless its runtime does not run any more.
        let _ = within(ABORT_DEADLINE, self.drained()).await;
        CloseReport {
            finished: in_flight.saturating_sub(aborted),
            aborted,
        }
    }

    /// Refuses new requests and those that wait, closes what stands idle, calls off what is being
    /// opened; returns how many connections are in use.
    pub(super) fn begin_close(&self) -> usize {
        let mut inner = self.lock();
        let (idle, busy, waiters) = inner.state.close();
        let mut called_off = Vec::new();
        let Inner { state, opening, .. } = &mut *inner;
        for opening in opening.values_mut() {
            if let Some(needed) = opening.needed.take() {
                state.connect_cancelled(&opening.origin);
                called_off.push(needed);
            }
        }
        let in_flight = inner.in_use(&idle);
        drop(inner);
        Waiter::tell_all(waiters, &Error::new(Kind::Closed));
        drop(called_off);
        for shared in busy {
            shared.connection().state().note_end(Cause::Closed);
        }
        for idle in idle {
            close_idle(idle, Cause::Closed);
        }
        in_flight
    }

    pub(super) fn abort_all_left(&self) -> usize {
        let left: Vec<_> = self.lock().live.values().cloned().collect();
        left.iter().map(Live::abort).sum()
    }

    /// Waits until no connection's task runs and none is being opened.
    pub(super) async fn drained(&self) {
        loop {
            // Registered before the look, so that no end between the two is missed.
            let mut gone = pin!(self.gone.notified());
            gone.as_mut().enable();
            if self.is_drained() {
                return;
            }
            gone.await;
        }
    }

    pub(super) fn is_drained(&self) -> bool {
        let inner = self.lock();
        // What still connects has been granted, and is on its way to its waiter.
        let none_granted = inner.state.counts().connecting == 0;
        inner.live.is_empty() && inner.opening.is_empty() && none_granted
    }
}

/// Waits no longer than this, if there is a runtime whose timer can tell.
async fn within<T>(time: Duration, future: impl Future<Output = T>) -> Option<T> {
    match Handle::try_current() {
        Ok(_) => tokio::time::timeout(time, future).await.ok(),
        Err(_) => Some(future.await),
    }
}

/// Closes a connection that stood idle.
pub(crate) fn close_idle<B: Send + 'static>(idle: Idle<B>, cause: Cause) {
    match idle {
        Checkout::Own(pooled) => pooled.abort(cause),
        // hyper ends a connection when its last sender is dropped.
        Checkout::Stream(shared) => shared.connection().state().note_end(cause),
    }
}

/// What a connection's task learns when it asks whether to close.
pub(crate) enum Expiry<B: Send + 'static> {
    Expired(Idle<B>),
    At(Instant),
    InUse,
}
