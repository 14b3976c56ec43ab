use std::{fmt, sync::Arc};

use tokio::time::Instant;

use super::{CircuitState, shared::Shared};
use crate::health::{Evict, Ledger, PartitionKey};

/// The circuits of all origins, shared by its clones: give it to a [`BreakerLayer`](super::BreakerLayer),
/// or to several, and keep a clone to look at it.
///
/// ```
/// use http::Uri;
/// use retry_layer::{breaker::{Breaker, CircuitState}, health::PartitionKey};
///
/// let breaker = Breaker::default();
/// let peer = PartitionKey::of(&Uri::from_static("http://peer/"));
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

    /// Where the circuits are kept.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.shared.ledger
    }

    /// The state of a circuit. One that is not known is closed. Where the wait is over it is
    /// [`HalfOpen`](CircuitState::HalfOpen), though no probe was sent yet.
    #[must_use]
    pub fn state(&self, key: &PartitionKey) -> CircuitState {
        self.ledger().health(key).circuit()
    }

    /// Whether a request that comes now would pass: the circuit is closed, or a probe may be sent and
    /// none is under way. It is for what chooses one of several origins, and takes no lock while the
    /// circuit is closed.
    #[must_use]
    pub fn admits(&self, key: &PartitionKey) -> bool {
        let ledger = self.ledger();
        if ledger
            .find_key(key)
            .is_none_or(|(_, word)| word.is_closed())
        {
            return true;
        }
        let now = Instant::now();
        let admits = ledger.change_known(key, |it| it.circuit.admits(now));
        admits.unwrap_or(true)
    }

    /// The circuits that are not closed, in no order.
    #[must_use]
    pub fn open_circuits(&self) -> Vec<(PartitionKey, CircuitState)> {
        let unhealthy = self.ledger().unhealthy().into_iter();
        unhealthy
            .map(|health| (health.key().clone(), health.circuit()))
            .filter(|(_, state)| *state != CircuitState::Closed)
            .collect()
    }

    /// Opens a circuit until it is [closed](Self::close) by hand. Requests that were sent before go on.
    ///
    /// Returns whether it is open. It is not only where so many circuits were opened by hand that there
    /// is no room for one more: see [`max_origins`](crate::health::LedgerBuilder::max_origins).
    #[expect(
        clippy::must_use_candidate,
        reason = "it is open in all but an extreme case"
    )]
    pub fn open(&self, key: &PartitionKey) -> bool {
        let ledger = self.ledger();
        if ledger.find_or_add(key, Evict::NotByHand).is_none() {
            return false;
        }
        let Some(change) = ledger.change_known(key, |it| it.circuit.open_by_hand()) else {
            return false;
        };
        if let Some(change) = change {
            self.shared.tell(key, change);
        }
        true
    }

    /// Closes a circuit, and forgets its failures.
    pub fn close(&self, key: &PartitionKey) {
        let now = Instant::now();
        let change = self.ledger().change_counted(key, |it, successes| {
            it.circuit.close_by_hand(now, successes)
        });
        if let Some(Some(change)) = change {
            self.shared.tell(key, change);
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
