use std::time::Duration;

/// A response extension: how long the request waited for its turn, since its partition was
/// [paused](super). A response without it did not wait.
///
/// Behind a retry layer [`AttemptRecord::held_back`](crate::AttemptRecord::held_back) tells the same.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct HeldBack {
    pub(super) waited: Duration,
}

impl HeldBack {
    /// How long it waited.
    #[must_use]
    pub fn waited(&self) -> Duration {
        self.waited
    }
}

/// A response extension of one that paused its partition, for the retry layer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Throttled {
    /// How long the next attempt will wait, as far as that is known.
    pub(crate) wait: Duration,
    /// The longest that a request waits.
    pub(crate) max_wait: Duration,
    pub(crate) place: CallPlace,
}

/// The place of a call in the line of a partition, which its next attempt takes again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct CallPlace {
    /// Whose line it is.
    pub(crate) hash: u64,
    pub(crate) number: u64,
}
