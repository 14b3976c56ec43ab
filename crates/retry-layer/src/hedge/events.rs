//! The `tracing` events of hedges.

use http::Uri;
use tracing::field;

use crate::{events::Paths, observer::SentHedge};

/// Tells of a hedge that is sent.
pub(super) fn sent(hedge: &SentHedge<'_>, paths: Paths) {
    tracing::debug!(
        target: "retry_layer::hedge",
        method = %hedge.method(),
        host = hedge.uri().host(),
        path = (paths == Paths::Recorded).then(|| hedge.uri().path()),
        after = field::debug(hedge.after()),
        http.request.resend_count = hedge.number().saturating_sub(1),
        "sending a hedge",
    );
}

/// Tells of a hedge that was due.
pub(super) fn not_sent(uri: &Uri, reason: &'static str) {
    tracing::debug!(
        target: "retry_layer::hedge",
        host = uri.host(),
        reason,
        "not sending a hedge",
    );
}
