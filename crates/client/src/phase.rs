//! How far an attempt has come. Asked only where the deadline of its call has passed, so that it costs
//! nothing else anything.

use bytes::Bytes;
use http_body::Body;
#[cfg(feature = "cookies")]
use session_layer::cookies;
use session_layer::{ResponseFuture, Step};

use crate::{DeadlinePhase, error::BoxError};

/// The future of an attempt that can tell.
pub(crate) trait ReportsPhase {
    fn phase(&self) -> DeadlinePhase;
}

impl<B> ReportsPhase for ResponseFuture<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    fn phase(&self) -> DeadlinePhase {
        match self.step() {
            Step::Queue => DeadlinePhase::Queue,
            Step::Dns => DeadlinePhase::Dns,
            Step::Proxy => DeadlinePhase::Proxy,
            Step::Tls => DeadlinePhase::Tls,
            Step::Upload { sent } => DeadlinePhase::Upload { sent },
            Step::Head => DeadlinePhase::Head,
            // `Step` may grow; what is added then comes with its own word here.
            _ => DeadlinePhase::Connect,
        }
    }
}

#[cfg(feature = "cookies")]
impl<F: ReportsPhase> ReportsPhase for cookies::future::ResponseFuture<F> {
    fn phase(&self) -> DeadlinePhase {
        self.get_ref().phase()
    }
}
