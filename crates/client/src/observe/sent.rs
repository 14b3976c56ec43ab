use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use http::Request;
use http_body::Body as _;

use crate::{Body, setting};

/// How many bytes of a request's body were sent.
#[derive(Clone, Debug)]
pub(crate) enum SentBytes {
    /// The body announces its length.
    Announced(u64),
    /// A request extension for a body that does not announce its length: a count of the bytes that
    /// are read of it. Of a stream that is kept for later attempts, each byte is read, and counted,
    /// once.
    Counted(Arc<AtomicU64>),
}

impl SentBytes {
    pub(super) fn of<B: http_body::Body>(request: &Request<B>) -> Option<Self> {
        match request.extensions().get() {
            Some(Self::Counted(count)) => Some(Self::Counted(count.clone())),
            Some(Self::Announced(_)) | None => {
                request.body().size_hint().exact().map(Self::Announced)
            }
        }
    }

    pub(super) fn count(&self) -> u64 {
        match self {
            Self::Announced(bytes) => *bytes,
            Self::Counted(count) => count.load(Relaxed),
        }
    }
}

/// Counts the bytes that are read of a request's body, if it does not announce its length.
pub(crate) fn count_sent(request: &mut Request<Body>) {
    if request.body().size_hint().exact().is_some() {
        return;
    }
    let count = Arc::default();
    let body = std::mem::take(request.body_mut());
    *request.body_mut() = body.counted(&count);
    setting::set(request.extensions_mut(), SentBytes::Counted(count));
}
