//! How a connect ends, and what becomes of its permit.

use tokio::time::Instant;

use super::{Failure, Numbered, Returned, State, shared::Sharing};
use crate::origin::Origin;

/// At which failed connect a waiter fails, where one connect is to serve many waiters.
const MAX_FAILURES: u8 = 3;

impl<C: Numbered, S: Numbered + Clone, W: Clone> State<C, S, W> {
    /// Places a connection that has just been opened, and that serves one request at a time.
    ///
    /// If the protocol was unknown, the other waiters now need connections of their own.
    pub(crate) fn connected(
        &mut self,
        origin: &Origin,
        connection: C,
        now: Instant,
    ) -> (Returned<C, W>, Vec<(Origin, W)>) {
        self.stop_connecting(origin);
        self.holding.insert(connection.id());
        self.learn(origin, Sharing::One);
        let returned = self.place(origin, connection, now);
        self.refresh(origin);
        (returned, self.grant_all())
    }

    /// Places a connection whose connect was cancelled, but had succeeded by then. It is not counted
    /// among those that are being opened any more.
    pub(crate) fn connected_late(
        &mut self,
        origin: &Origin,
        connection: C,
        now: Instant,
    ) -> Returned<C, W> {
        self.holding.insert(connection.id());
        self.release(origin, connection, now)
    }

    /// Notes that a connect has failed; returns the waiters that fail by it.
    ///
    /// Its permit stays taken until [`permit_freed`](Self::permit_freed).
    pub(crate) fn connect_failed(&mut self, origin: &Origin, failure: Failure) -> Vec<W> {
        self.stop_connecting(origin);
        self.fail_uncovered(origin, failure)
    }

    /// Removes the waiters that fail by a failed connect. Only those can fail for which no other
    /// connection is being opened.
    pub(super) fn fail_uncovered(&mut self, origin: &Origin, failure: Failure) -> Vec<W> {
        let Some(entry) = self.origins.get_mut(origin) else {
            return Vec::new();
        };
        let uncovered = entry.waiters.len().saturating_sub(entry.covered());
        let met = uncovered.min(entry.sharing.share());
        let mut told = Vec::new();
        let mut left = Vec::with_capacity(met.saturating_sub(1));
        for mut waiting in entry.waiters.drain(..met) {
            waiting.failures = waiting.failures.saturating_add(1);
            let fails = told.is_empty()
                || waiting.failures >= MAX_FAILURES
                || match failure {
                    Failure::Passing => false,
                    Failure::TimedOut(before) => waiting.ticket < before,
                    Failure::Lasting => true,
                };
            if fails {
                told.push(waiting.waiter);
            } else {
                left.push(waiting);
            }
        }
        for waiting in left.into_iter().rev() {
            entry.waiters.push_front(waiting);
        }
        self.waiting -= told.len();
        self.refresh(origin);
        told
    }

    /// Notes that a connect was cancelled; no waiter fails by that. Its permit stays taken until
    /// [`permit_freed`](Self::permit_freed).
    pub(crate) fn connect_cancelled(&mut self, origin: &Origin) {
        self.stop_connecting(origin);
        self.refresh(origin);
    }

    /// Takes back the permit of a connection that has closed, as [`permit_freed`](Self::permit_freed)
    /// does.
    pub(crate) fn closed(&mut self, origin: &Origin, id: u64) -> Vec<(Origin, W)> {
        self.holding.remove(&id);
        self.evicting.retain(|evicting| *evicting != id);
        self.permit_freed(origin)
    }

    /// Takes back a permit; returns the waiters that may open a connection now, with their origins.
    /// They stay in the queue, and a permit was taken for each.
    pub(crate) fn permit_freed(&mut self, origin: &Origin) -> Vec<(Origin, W)> {
        self.open = self.open.saturating_sub(1);
        if let Some(entry) = self.origins.get_mut(origin) {
            entry.open = entry.open.saturating_sub(1);
        }
        self.refresh(origin);
        let granted = self.grant_all();
        self.forget_if_unused(origin);
        granted
    }

    pub(super) fn stop_connecting(&mut self, origin: &Origin) {
        self.connecting = self.connecting.saturating_sub(1);
        if let Some(entry) = self.origins.get_mut(origin) {
            entry.connecting = entry.connecting.saturating_sub(1);
        }
    }

    pub(super) fn take_permit(&mut self, origin: &Origin) {
        self.open += 1;
        self.connecting += 1;
        if let Some(entry) = self.origins.get_mut(origin) {
            entry.open += 1;
            entry.connecting += 1;
        }
        self.refresh(origin);
    }
}
