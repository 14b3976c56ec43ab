use std::{fmt, sync::Arc, time::Duration};

use http::response::Parts;

/// The settings of a [`Peek`](super::Peek).
#[derive(Clone)]
pub(super) struct PeekSettings {
    /// The length of the prefix, in bytes.
    pub(super) limit: usize,
    /// The longest wait for the prefix.
    pub(super) time: Duration,
    /// The responses that are peeked at; all of them if it is not set.
    pub(super) only: Option<Arc<Filter>>,
}

type Filter = dyn Fn(&Parts) -> bool + Send + Sync;

impl PeekSettings {
    pub(super) fn new(bytes: usize) -> Self {
        Self {
            limit: bytes,
            time: Duration::from_secs(1),
            only: None,
        }
    }

    pub(super) fn is_wanted(&self, head: &Parts) -> bool {
        self.only.as_deref().is_none_or(|only| only(head))
    }
}

impl fmt::Debug for PeekSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeekSettings")
            .field("bytes", &self.limit)
            .field("time", &self.time)
            .finish_non_exhaustive()
    }
}
