use std::{fmt, sync::Arc, time::Duration};

use super::CircuitKey;

/// Why a circuit opened.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum OpenReason {
    /// As many attempts in a row failed as are allowed.
    ConsecutiveFailures,
    /// Too small a part of the attempts succeeded.
    SuccessRate,
    /// A probe failed.
    Probe,
    /// [`Breaker::open`](super::Breaker::open) was called.
    ByHand,
}

impl OpenReason {
    /// The name for logs and metrics, such as `consecutive_failures`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ConsecutiveFailures => "consecutive_failures",
            Self::SuccessRate => "success_rate",
            Self::Probe => "probe",
            Self::ByHand => "by_hand",
        }
    }
}

impl fmt::Display for OpenReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Is told of each change of a circuit.
///
/// The methods are called on the task whose request caused the change, without a lock. They must not
/// block, and should not panic: a panic ends the call. Two changes that follow each other closely on
/// different threads may be told in the other order.
///
/// ```
/// use std::time::Duration;
/// use retry_layer::breaker::{Breaker, BreakerObserver, CircuitKey, OpenReason};
///
/// struct Alarm;
///
/// impl BreakerObserver for Alarm {
///     fn opened(&self, key: &CircuitKey, reason: OpenReason, _: Option<Duration>) {
///         eprintln!("{key} is not asked for a while: {reason}");
///     }
/// }
///
/// let breaker = Breaker::builder().observer(Alarm).build()?;
/// # Ok::<(), retry_layer::BuildError>(())
/// ```
pub trait BreakerObserver: Send + Sync + 'static {
    /// A circuit opened. `wait` is the time until a probe may be sent; `None` if the circuit stays open
    /// until it is closed by hand.
    fn opened(&self, key: &CircuitKey, reason: OpenReason, wait: Option<Duration>) {
        let _ = (key, reason, wait);
    }

    /// The wait is over, and the first probe is sent.
    fn half_opened(&self, key: &CircuitKey) {
        let _ = key;
    }

    /// A circuit closed: a probe succeeded, or [`Breaker::close`](super::Breaker::close) was called.
    fn closed(&self, key: &CircuitKey) {
        let _ = key;
    }
}

impl<T> BreakerObserver for Arc<T>
where
    T: BreakerObserver + ?Sized,
{
    fn opened(&self, key: &CircuitKey, reason: OpenReason, wait: Option<Duration>) {
        (**self).opened(key, reason, wait);
    }

    fn half_opened(&self, key: &CircuitKey) {
        (**self).half_opened(key);
    }

    fn closed(&self, key: &CircuitKey) {
        (**self).closed(key);
    }
}
