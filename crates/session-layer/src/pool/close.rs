//! Closes connections: idle ones that are too old, and all of them when the session closes.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

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

/// How long the drivers of aborted connections may take to end.
const ABORT_DEADLINE: Duration = Duration::from_secs(1);

impl<B: Send + 'static> Pool<B> {
    /// Notes that a connection's driver ends.
    pub(crate) fn ended(self: &Arc<Self>, connection: &Connection<B>) {
        let (id, origin) = (connection.id(), connection.origin());
        let reason = connection.state().close_reason();
        connection.note_ended();
        let mut inner = self.lock();
        inner.closed.count(reason);
        inner.live.remove(&id);
        drop(inner);
        let mut inner = self.lock_for(origin);
        let idle = inner.state.remove(origin, id);
        // If the peer allowed no request on it, waiters may open another now; and its permit may be
        // free already.
        let granted = inner.state.grant_all();
        drop(inner);
        drop(idle);
        self.grant(granted);
        self.gone.notify_waiters();
        self.config.listener.tell(|| Event::Closed {
            origin,
            connection: id,
            version: connection.facts().version,
            lived: connection.facts().opened.elapsed(),
            reason,
        });
    }

    /// Takes out a connection that has been idle for too long; otherwise returns when to ask again.
    pub(crate) fn expire(&self, connection: &Connection<B>, now: Instant) -> Expiry<B> {
        let (id, origin) = (connection.id(), connection.origin());
        let Some(timeout) = connection.idle_timeout() else {
            return Expiry::InUse;
        };
        // In a pool that is younger than the timeout nothing is that old.
        let moment = now.checked_sub(timeout).unwrap_or(self.epoch);
        let expired = self.lock_for(origin).state.expire(origin, id, moment);
        match expired {
            Some(Ok(given)) => {
                connection.note_outlived(now);
                Expiry::Expired(given)
            }
            Some(Err(since)) => since.checked_add(timeout).map_or(Expiry::InUse, Expiry::At),
            None => Expiry::InUse,
        }
    }

    /// Takes out a connection, if it is idle.
    pub(crate) fn take_idle(&self, id: u64, origin: &Origin) -> Option<Idle<B>> {
        self.lock_for(origin).state.remove(origin, id)
    }

    /// Closes the connections of this origin that have been idle since before `moment`. Where a
    /// reused connection was dead, the ones that have been idle for longer most likely are too.
    pub(crate) fn close_idle_before(&self, origin: &Origin, moment: Instant) {
        let taken = self.lock_for(origin).state.take_idle_before(origin, moment);
        for idle in taken {
            close_idle(idle, Cause::Suspect);
        }
    }

    /// Stops keeping connections, since the last session was dropped; returns how many are in use.
    pub(crate) fn stop_keeping(&self) -> usize {
        let mut inner = self.lock();
        self.lent.recall_all(&mut inner.state);
        let idle = inner.state.stop_keeping();
        let in_use = inner.in_use(&idle);
        drop(inner);
        for idle in idle {
            close_idle(idle, Cause::Closed);
        }
        in_use
    }

    /// Refuses new requests, waits for those in flight, and aborts at the deadline what is left.
    pub(crate) async fn close(self: Arc<Self>, deadline: Duration) -> CloseReport {
        let in_flight = self.begin_close();
        let in_time = within(deadline, self.drained()).await.is_some();
        let aborted = if in_time { 0 } else { self.abort_all_left() };
        // An aborted connection ends at once, unless its runtime is not driven any more.
        let _ = within(ABORT_DEADLINE, self.drained()).await;
        CloseReport {
            finished: in_flight.saturating_sub(aborted),
            aborted,
        }
    }

    /// Refuses new requests and waiters, closes idle connections, cancels connects; returns how
    /// many connections are in use.
    pub(super) fn begin_close(&self) -> usize {
        let mut inner = self.lock();
        self.lent.recall_all(&mut inner.state);
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
        self.gone.notify_waiters();
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

    /// Waits until no connection is open or being opened.
    pub(super) async fn drained(&self) {
        loop {
            // Registered before the check, so that no end between the two is missed.
            let mut gone = pin!(self.gone.notified());
            gone.as_mut().enable();
            if self.is_drained() {
                return;
            }
            gone.await;
        }
    }

    /// Waits for a future, until the session closes.
    pub(super) async fn unless_closed<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        let mut future = pin!(future);
        loop {
            // Registered before the check, so that no close between the two is missed.
            let mut gone = pin!(self.gone.notified());
            gone.as_mut().enable();
            if self.lock().state.is_closed() {
                return None;
            }
            let ended = poll_fn(|cx| match future.as_mut().poll(cx) {
                Poll::Ready(output) => Poll::Ready(Some(output)),
                Poll::Pending => gone.as_mut().poll(cx).map(|()| None),
            });
            if let Some(output) = ended.await {
                return Some(output);
            }
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().state.is_closed()
    }

    pub(super) fn is_drained(&self) -> bool {
        let inner = self.lock();
        // What is still counted as connecting has a permit that is on its way to a waiter.
        let none_granted = !inner.state.is_connecting();
        inner.live.is_empty() && inner.opening.is_empty() && none_granted
    }
}

/// Waits for this time at most. Outside of a runtime there is no timer, and it waits without a
/// limit.
async fn within<T>(time: Duration, future: impl Future<Output = T>) -> Option<T> {
    match Handle::try_current() {
        Ok(_) => tokio::time::timeout(time, future).await.ok(),
        Err(_) => Some(future.await),
    }
}

/// Closes an idle connection.
pub(crate) fn close_idle<B: Send + 'static>(idle: Idle<B>, cause: Cause) {
    match idle {
        Checkout::Own(pooled) => pooled.abort(cause),
        // hyper ends a connection when its last sender is dropped.
        Checkout::Stream(shared) => shared.connection().state().note_end(cause),
    }
}

/// Whether an idle connection is too old.
pub(crate) enum Expiry<B: Send + 'static> {
    Expired(Idle<B>),
    At(Instant),
    InUse,
}
