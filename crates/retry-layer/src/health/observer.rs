use std::{sync::Arc, time::Duration};

use super::PartitionKey;
use crate::breaker::OpenReason;

/// Is told of each change of a partition's state.
///
/// The methods are called on the task whose request caused the change, without a lock. They must not
/// block, and should not panic: a panic ends the call. Two changes that follow each other closely on
/// different threads may be told in the other order.
///
/// ```
/// use std::time::Duration;
/// use retry_layer::{breaker::OpenReason, health::{HealthObserver, Ledger, PartitionKey}};
///
/// struct Alarm;
///
/// impl HealthObserver for Alarm {
///     fn circuit_opened(&self, key: &PartitionKey, reason: OpenReason, _: Option<Duration>) {
///         eprintln!("{key} is not asked for a while: {reason}");
///     }
/// }
///
/// let ledger = Ledger::builder().observer(Alarm).build()?;
/// # Ok::<(), retry_layer::BuildError>(())
/// ```
pub trait HealthObserver: Send + Sync + 'static {
    /// A [circuit](crate::breaker) opened. `wait` is the time until a probe may be sent; `None` if the
    /// circuit stays open until it is closed by hand.
    fn circuit_opened(&self, key: &PartitionKey, reason: OpenReason, wait: Option<Duration>) {
        let _ = (key, reason, wait);
    }

    /// The wait of an open circuit is over, and the first probe is sent.
    fn circuit_half_opened(&self, key: &PartitionKey) {
        let _ = key;
    }

    /// A circuit closed: a probe succeeded, or [`Breaker::close`](crate::breaker::Breaker::close) was
    /// called.
    fn circuit_closed(&self, key: &PartitionKey) {
        let _ = key;
    }

    /// A response [paused](crate::pause) the partition, for so long: what the server asked for, and
    /// what was added at random.
    fn paused(&self, key: &PartitionKey, wait: Duration) {
        let _ = (key, wait);
    }

    /// Requests pass freely again after a pause. It is noticed, and told, when the next one comes.
    fn resumed(&self, key: &PartitionKey) {
        let _ = key;
    }
}

impl<T> HealthObserver for Arc<T>
where
    T: HealthObserver + ?Sized,
{
    fn circuit_opened(&self, key: &PartitionKey, reason: OpenReason, wait: Option<Duration>) {
        (**self).circuit_opened(key, reason, wait);
    }

    fn circuit_half_opened(&self, key: &PartitionKey) {
        (**self).circuit_half_opened(key);
    }

    fn circuit_closed(&self, key: &PartitionKey) {
        (**self).circuit_closed(key);
    }

    fn paused(&self, key: &PartitionKey, wait: Duration) {
        (**self).paused(key, wait);
    }

    fn resumed(&self, key: &PartitionKey) {
        (**self).resumed(key);
    }
}
