use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
};

use tokio::time::Instant;

use super::{
    CircuitKey, CircuitState,
    circuit::Circuit,
    shared::Shared,
    table::{Evict, Slot},
};

/// The circuits of all origins, shared by its clones: give it to a [`BreakerLayer`](super::BreakerLayer),
/// or to several, and keep a clone to look at it.
///
/// ```
/// use http::Uri;
/// use retry_layer::breaker::{Breaker, CircuitKey, CircuitState};
///
/// let breaker = Breaker::default();
/// let peer = CircuitKey::of(&Uri::from_static("http://peer/"));
/// assert_eq!(breaker.state(&peer), CircuitState::Closed);
///
/// // For maintenance.
/// breaker.open(&peer);
/// assert_eq!(breaker.state(&peer), CircuitState::Open);
/// breaker.close(&peer);
/// ```
#[derive(Clone)]
pub struct Breaker {
    pub(super) shared: Arc<Shared>,
}

impl Breaker {
    pub(super) fn new(shared: Shared) -> Self {
        Self {
            shared: Arc::new(shared),
        }
    }

    /// The state of a circuit. One that is not known is closed. Where the wait is over it is
    /// [`HalfOpen`](CircuitState::HalfOpen), though no probe was sent yet.
    #[must_use]
    pub fn state(&self, key: &CircuitKey) -> CircuitState {
        let hash = self.shared.hash_of(key);
        let now = Instant::now();
        let slot = self.shared.table.find(hash);
        let slot = slot.and_then(|(place, _)| self.shared.table.slot(place));
        let rules = &self.shared.rules;
        slot.and_then(|slot| slot.change_of(hash, rules, |circuit| circuit.state(now)))
            .unwrap_or(CircuitState::Closed)
    }

    /// The circuits that are not closed, in no order.
    #[must_use]
    pub fn open_circuits(&self) -> Vec<(CircuitKey, CircuitState)> {
        let now = Instant::now();
        let mut open = Vec::new();
        self.shared.table.for_each(|tenant| {
            let state = tenant.circuit.state(now);
            if state != CircuitState::Closed {
                open.push((tenant.key.clone(), state));
            }
        });
        open
    }

    /// Opens a circuit until it is [closed](Self::close) by hand. Requests that were sent before go on.
    ///
    /// Returns whether it is open. It is not only where so many circuits were opened by hand that there
    /// is no room for one more: see [`max_origins`](super::BreakerBuilder::max_origins).
    #[expect(
        clippy::must_use_candidate,
        reason = "it is open in all but an extreme case"
    )]
    pub fn open(&self, key: &CircuitKey) -> bool {
        let (shared, hash) = (&self.shared, self.shared.hash_of(key));
        let rules = &shared.rules;
        let added = shared.table.find_or_add(hash, key, rules, Evict::NotByHand);
        let slot = added.and_then(|(place, _)| shared.table.slot(place));
        let open = |slot: &Slot| slot.change_of(hash, rules, Circuit::open_by_hand);
        let Some(change) = slot.and_then(open) else {
            return false;
        };
        if let Some(change) = change {
            shared.tell(key, change);
        }
        true
    }

    /// Closes a circuit, and forgets its failures.
    pub fn close(&self, key: &CircuitKey) {
        let (shared, hash) = (&self.shared, self.shared.hash_of(key));
        let found = shared.table.find(hash);
        let Some(slot) = found.and_then(|(place, _)| shared.table.slot(place)) else {
            return;
        };
        let (rules, now) = (&shared.rules, Instant::now());
        let successes = slot.successes.load(Ordering::Relaxed);
        let change = slot.change_of(hash, rules, |circuit| {
            circuit.close_by_hand(rules, now, successes)
        });
        if let Some(Some(change)) = change {
            shared.tell(key, change);
        }
    }
}

impl fmt::Debug for Breaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Breaker")
            .field("rules", &self.shared.rules)
            .field("open", &self.open_circuits())
            .finish_non_exhaustive()
    }
}
