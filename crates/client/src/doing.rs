//! How far an attempt has come. Asked only where the deadline of its call has passed, so that it costs
//! nothing else anything.

use session_layer::ResponseFuture;

use crate::{DeadlinePhase, stack::WireBody};

/// The future of an attempt that can tell.
pub(crate) trait Doing {
    fn doing(&self) -> DeadlinePhase;
}

impl Doing for ResponseFuture<WireBody> {
    fn doing(&self) -> DeadlinePhase {
        if self.has_connection() {
            DeadlinePhase::Head
        } else {
            DeadlinePhase::Connection
        }
    }
}
