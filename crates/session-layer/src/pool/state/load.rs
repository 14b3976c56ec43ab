//! What each address of a name carries, and what becomes of one that is gone.

use super::{Checkout, Numbered, State, shared::Shared};
use crate::origin::Origin;

impl<C: Numbered, S: Numbered + Clone, W: Clone> State<C, S, W> {
    /// How many requests are under way to this origin, those that wait included.
    pub(crate) fn load(&self, origin: &Origin) -> usize {
        let Some(entry) = self.origins.get(origin) else {
            return 0;
        };
        let others = entry.connecting + entry.idle().len() + entry.shared().len();
        // One that closes counts as one that carries a request.
        let whole = entry.open.saturating_sub(others);
        let streams: usize = entry.shared().iter().map(Shared::streams).sum();
        whole + streams + entry.waiters.len()
    }

    /// Keeps no connection to an origin any more. Returns those that stand idle, and those that take
    /// requests, which are to be drained.
    pub(crate) fn retire(&mut self, origin: &Origin) -> (Vec<Checkout<C, S>>, Vec<S>) {
        let Some(entry) = self.origins.get_mut(origin) else {
            return (Vec::new(), Vec::new());
        };
        entry.retired = true;
        let idle = entry.take_idle();
        let busy = entry.shared().iter();
        let busy = busy.map(|shared| shared.handle().clone()).collect();
        self.refresh(origin);
        self.evict_all_if_wanted(origin, &idle);
        (idle, busy)
    }

    /// Keeps connections to an origin again.
    pub(crate) fn take_up(&mut self, origin: &Origin) {
        if let Some(entry) = self.origins.get_mut(origin) {
            entry.retired = false;
        }
    }

    pub(crate) fn is_retired(&self, origin: &Origin) -> bool {
        self.origins.get(origin).is_some_and(|entry| entry.retired)
    }
}
