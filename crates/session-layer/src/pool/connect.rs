use std::sync::Arc;

use tokio::sync::oneshot;

use super::Permit;
use crate::step::Steps;

/// Opens connections; the pool does not know the connector's type.
pub(crate) trait Connect<B: Send + 'static>: Send + Sync {
    /// Opens a connection in a new task, which then drives it until its end.
    ///
    /// # Errors
    ///
    /// If the runtime of the caller has ended. The permit went back to the pool.
    fn open(
        &self,
        permit: Permit<B>,
        id: u64,
        called_off: CalledOff,
        steps: Arc<Steps>,
    ) -> Result<(), RuntimeEnded>;
}

/// The runtime has ended on which a connection was to be opened, and drops each task that it is given.
#[derive(Debug)]
pub(crate) struct RuntimeEnded;

/// Ends when no waiter needs the connection any more.
pub(crate) type CalledOff = oneshot::Receiver<Never>;

/// The type of a message that is never sent: only the end of the channel matters.
pub(crate) type Never = std::convert::Infallible;
