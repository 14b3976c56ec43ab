//! How far an attempt has come. It is asked only when the deadline of its call has passed, so other
//! calls pay nothing for it.

use bytes::Bytes;
use http_body::Body;
#[cfg(feature = "cookies")]
use session_layer::cookies;
use session_layer::{ResponseFuture, Step};

use crate::{DeadlinePhase, error::BoxError};

/// The future of an attempt that knows how far it has come.
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
            // `Step` may grow; a step that is added gets its own phase here.
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
