use std::{fmt, sync::Arc};

use super::shared::Shared;
use crate::health::{Ledger, PartitionKey};

/// The pauses of all partitions, shared by its clones: give it to a [`PauseLayer`](super::PauseLayer), or
/// to several, and keep a clone to look at it.
///
/// ```
/// use http::Uri;
/// use retry_layer::{health::PartitionKey, pause::Pause};
///
/// let pause = Pause::default();
/// let peer = PartitionKey::of(&Uri::from_static("http://peer/"));
/// assert_eq!(pause.ledger().health(&peer).paused_until(), None);
/// ```
#[derive(Clone)]
pub struct Pause {
    pub(super) shared: Arc<Shared>,
}

impl Pause {
    pub(super) fn new(shared: Shared) -> Self {
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Where the pauses are kept: its [`health`](Ledger::health) tells until when a partition is
    /// paused, and how many requests wait.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.shared.ledger
    }

    /// Ends the pause of a partition, whatever its server has said: requests that wait are sent at
    /// once.
    pub fn resume(&self, key: &PartitionKey) {
        self.shared.resume(key);
    }
}

impl fmt::Debug for Pause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pause")
            .field("settings", &self.shared.settings)
            .finish_non_exhaustive()
    }
}
