use std::time::Duration;

use tokio::time::Instant;

/// When the whole call has to be over: a request extension that overrides the policy's deadline.
///
/// The layer begins no wait that would not end before it. It does not cut off an attempt that is
/// under way: that is for the outermost service to do, such as `tower::timeout`.
///
/// ```
/// use std::time::Duration;
/// use retry_layer::Deadline;
///
/// let mut request = http::Request::new(());
/// request.extensions_mut().insert(Deadline::within(Duration::from_secs(3)));
/// ```
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Deadline {
    at: Option<Instant>,
}

impl Deadline {
    /// A deadline at this instant.
    #[must_use]
    pub fn at(instant: Instant) -> Self {
        Self { at: Some(instant) }
    }

    /// A deadline so much later than now. One that lies beyond what the clock can express is none.
    #[must_use]
    pub fn within(duration: Duration) -> Self {
        Self::after(Instant::now(), duration)
    }

    #[inline]
    pub(crate) fn after(now: Instant, duration: Duration) -> Self {
        Self {
            at: now.checked_add(duration),
        }
    }

    /// The instant, if there is one.
    pub(crate) fn instant(self) -> Option<Instant> {
        self.at
    }

    /// What is left of it: nothing once it has passed.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.remaining_at(Instant::now())
    }

    pub(crate) fn remaining_at(&self, now: Instant) -> Duration {
        self.at
            .map_or(Duration::MAX, |at| at.saturating_duration_since(now))
    }
}
