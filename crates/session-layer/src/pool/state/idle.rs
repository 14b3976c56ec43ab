//! How idle connections are taken out of the pool.

use tokio::time::Instant;

use super::{
    Checkout, Numbered, State,
    per_origin::{Idle, PerOrigin},
    shared::Shared,
};
use crate::origin::Origin;

impl<C: Numbered, S: Numbered + Clone, W: Clone> State<C, S, W> {
    /// Takes out an idle connection, if it was released before `moment`; otherwise returns when it
    /// was released. `None` means that it is not idle.
    pub(crate) fn expire(
        &mut self,
        origin: &Origin,
        id: u64,
        moment: Instant,
    ) -> Option<Result<Checkout<C, S>, Instant>> {
        let entry = self.origins.get(origin)?;
        let own = entry.idle().iter().find(|idle| idle.connection.id() == id);
        let since = match own {
            Some(idle) => idle.since,
            None => entry.shared_of(id)?.idle_since()?,
        };
        if since > moment {
            return Some(Err(since));
        }
        self.remove(origin, id).map(Ok)
    }

    /// Takes out an idle connection, which closes.
    pub(crate) fn remove(&mut self, origin: &Origin, id: u64) -> Option<Checkout<C, S>> {
        let removed = self.take_out(origin, id)?;
        self.evict_if_wanted(origin, id);
        Some(removed)
    }

    pub(super) fn take_out(&mut self, origin: &Origin, id: u64) -> Option<Checkout<C, S>> {
        let ready = self.origins.get_mut(origin)?.ready.as_mut()?;
        let own = ready
            .idle
            .iter()
            .position(|idle| idle.connection.id() == id);
        let removed = if let Some(at) = own {
            Checkout::Own(ready.idle.remove(at).connection)
        } else {
            let idle = |shared: &Shared<S>| shared.id() == id && shared.is_idle();
            let at = ready.shared.iter().position(idle)?;
            Checkout::Stream(ready.shared.remove(at).into_handle())
        };
        // If the peer allowed no request on it, waiters may open another when its permit comes
        // back.
        self.refresh(origin);
        self.forget_if_unused(origin);
        Some(removed)
    }

    /// Takes out the connections that have been idle since before `moment`, and which close.
    pub(crate) fn take_idle_before(
        &mut self,
        origin: &Origin,
        moment: Instant,
    ) -> Vec<Checkout<C, S>> {
        let Some(entry) = self.origins.get_mut(origin) else {
            return Vec::new();
        };
        let idle = &mut entry.ready().idle;
        let old = idle.iter().take_while(|idle| idle.since <= moment);
        let own = old.count();
        let mut taken: Vec<_> = idle.drain(..own).map(Idle::into_checkout).collect();
        let old = |shared: &mut Shared<S>| shared.idle_since().is_some_and(|it| it <= moment);
        taken.extend(entry.take_shared(old).map(Checkout::Stream));
        self.refresh(origin);
        self.evict_all_if_wanted(origin, &taken);
        taken
    }

    /// Counts idle connections that were taken out as evicted, as far as others wait for their
    /// permits.
    pub(super) fn evict_all_if_wanted(&mut self, origin: &Origin, taken: &[Checkout<C, S>]) {
        for idle in taken {
            let id = match idle {
                Checkout::Own(connection) => connection.id(),
                Checkout::Stream(shared) => shared.id(),
            };
            self.evict_if_wanted(origin, id);
        }
    }

    pub(super) fn drain_idle(&mut self) -> Vec<Checkout<C, S>> {
        let mut idle = Vec::new();
        for entry in self.origins.values_mut() {
            idle.extend(entry.take_idle());
        }
        idle
    }
}

impl<C, S: Numbered + Clone, W> PerOrigin<C, S, W> {
    /// Takes out all idle connections.
    pub(super) fn take_idle(&mut self) -> Vec<Checkout<C, S>> {
        let idle = self.ready().idle.drain(..);
        let mut taken: Vec<_> = idle.map(Idle::into_checkout).collect();
        let shared = self.take_shared(|shared| shared.is_idle());
        taken.extend(shared.map(Checkout::Stream));
        taken
    }
}
