//! How far an attempt has come. It is asked only when the deadline of its call has passed, so other
//! calls pay nothing for it.

use std::{future::Future, pin::Pin};

use bytes::Bytes;
use http_body::Body;
use retry_layer::future::ResponseFuture as Retrying;
#[cfg(feature = "cookies")]
use session_layer::cookies;
use session_layer::{ResponseFuture, Step};

use crate::{DeadlinePhase, error::BoxError, so_far};

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

impl<S, B, F: ReportsPhase, R, E> ReportsPhase for Retrying<S, B, F, R, E> {
    fn phase(&self) -> DeadlinePhase {
        self.attempt()
            .map_or(DeadlinePhase::Retry, ReportsPhase::phase)
    }
}

impl<T> ReportsPhase for Pin<Box<dyn Future<Output = T> + Send>> {
    /// Layers of the caller's hide how far the attempt has come, unless it tells that when it is
    /// [asked](so_far::ask).
    fn phase(&self) -> DeadlinePhase {
        so_far::reported_phase().unwrap_or(DeadlinePhase::Attempt)
    }
}

#[cfg(feature = "cookies")]
impl<F: ReportsPhase> ReportsPhase for cookies::future::ResponseFuture<F> {
    fn phase(&self) -> DeadlinePhase {
        self.get_ref().phase()
    }
}
