//! Hands permits over to waiters.

use std::{mem, sync::Arc};

use super::{Permit, Pool, waiter::Waiter};
use crate::{origin::Origin, runtime};

/// Lets the next call hand permits over if a connector panics in this one.
struct Granting<'a, B: Send + 'static>(&'a Pool<B>);

impl<B: Send + 'static> Drop for Granting<'_, B> {
    fn drop(&mut self) {
        self.0.lock().granting = false;
    }
}

impl<B: Send + 'static> Pool<B> {
    /// Releases a permit, and hands it to the next waiter. `id` is the connection that had it.
    pub(super) fn free_permit(self: &Arc<Self>, origin: &Origin, id: Option<u64>) {
        let mut inner = self.lock_for(origin);
        let granted = match id {
            Some(id) => inner.state.closed(origin, id),
            None => inner.state.permit_freed(origin),
        };
        drop(inner);
        self.grant(granted);
        self.gone.notify_waiters();
    }

    /// Takes back the permit of a connect that never began, or whose runtime ended. No waiter fails
    /// by that.
    pub(super) fn reopen(self: &Arc<Self>, id: Option<u64>, origin: &Origin) {
        let mut inner = self.lock_for(origin);
        if id.is_none_or(|id| inner.end_opening(id).is_some()) {
            inner.state.connect_cancelled(origin);
        }
        let granted = inner.state.permit_freed(origin);
        drop(inner);
        self.grant_late(granted);
        self.gone.notify_waiters();
    }

    /// Hands permits over, one after the other and never one inside the other. Where a runtime
    /// ends, each permit may come back at once and go to the next waiter: nested calls would be as
    /// deep as the queue is long.
    pub(super) fn grant(self: &Arc<Self>, granted: Vec<(Origin, Arc<Waiter<B>>)>) {
        if granted.is_empty() {
            return;
        }
        let mut inner = self.lock();
        inner.granted.extend(granted);
        if mem::replace(&mut inner.granting, true) {
            return;
        }
        drop(inner);
        let granting = Granting(self);
        while let Some((origin, waiter)) = self.next_granted() {
            self.start(Permit::granted(self.clone(), origin), &waiter);
        }
        mem::forget(granting);
    }

    /// The waiter that is handed a permit next. After the last one, the next grant begins anew.
    pub(super) fn next_granted(&self) -> Option<(Origin, Arc<Waiter<B>>)> {
        let mut inner = self.lock();
        let next = inner.granted.pop_front();
        inner.granting = next.is_some();
        next
    }

    /// Opens a connection at once, since other waiters may need it too. Where this does not run on
    /// the waiter's runtime, the waiter opens it when it is polled: a connection is driven by the
    /// runtime that opens it.
    pub(super) fn start(self: &Arc<Self>, permit: Permit<B>, waiter: &Waiter<B>) {
        let here = runtime::current();
        if here.is_some() && here == permit.origin().runtime() {
            // If this runtime has ended, a waiter is granted the permit, and finds that out by itself.
            let _ = self.open(permit);
        } else {
            waiter.grant(permit);
        }
    }

    /// Lets the waiters open connections by themselves, since the runtime that was to open one has
    /// ended.
    pub(super) fn grant_late(self: &Arc<Self>, granted: Vec<(Origin, Arc<Waiter<B>>)>) {
        for (origin, waiter) in granted {
            waiter.grant(Permit::granted(self.clone(), origin));
        }
    }
}
