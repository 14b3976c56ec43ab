use std::{num::NonZeroU32, time::Duration};

use super::wait::Waits;

/// Opens a circuit where too small a part of the attempts succeeds.
///
/// It looks at the attempts of the last `window`, at each failure. Below a minimum of attempts in
/// that time, which is 20 unless [set](Self::min_requests), nothing is decided.
///
/// ```
/// use std::time::Duration;
/// use retry_layer::breaker::{Breaker, SuccessRate};
///
/// // Fewer than 8 in 10 of the last 10 seconds succeeded.
/// let rate = SuccessRate::new(80, Duration::from_secs(10));
/// let breaker = Breaker::builder().success_rate(rate).build()?;
/// # Ok::<(), retry_layer::BuildError>(())
/// ```
///
/// A success reads no clock: the successes between two failures count as if they had come evenly.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SuccessRate {
    pub(super) percent: u8,
    pub(super) window: Duration,
    pub(super) min_requests: NonZeroU32,
}

impl SuccessRate {
    const MIN_REQUESTS: NonZeroU32 = NonZeroU32::MIN.saturating_add(19);

    /// Opens a circuit if fewer than `percent` in a hundred attempts of the last `window` succeeded.
    /// `percent` must be from 1 to 100, and the window at least 10 milliseconds:
    /// [`build`](super::BreakerBuilder::build) refuses anything else.
    #[must_use]
    pub const fn new(percent: u8, window: Duration) -> Self {
        Self {
            percent,
            window,
            min_requests: Self::MIN_REQUESTS,
        }
    }

    /// Returns the time that is looked at.
    #[must_use]
    pub const fn window(&self) -> Duration {
        self.window
    }

    /// Returns how many attempts there must be within it.
    #[must_use]
    pub const fn smallest_sample(&self) -> NonZeroU32 {
        self.min_requests
    }

    /// How many attempts there must be within the window: 20 unless set.
    #[must_use]
    pub const fn min_requests(self, min_requests: NonZeroU32) -> Self {
        Self {
            min_requests,
            ..self
        }
    }
}

/// When a circuit opens, and for how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) consecutive_failures: Option<NonZeroU32>,
    /// How long failures in a row must have gone on.
    pub(super) failing_for: Duration,
    pub(super) success_rate: Option<SuccessRate>,
    pub(super) waits: Waits,
}
