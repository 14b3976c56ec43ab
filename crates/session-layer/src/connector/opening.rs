//! What a connector is told, and tells, while it opens a connection for a session.

use std::cell::Cell;

use crate::Step;

tokio::task_local! {
    pub(crate) static OPENING: Opening;
}

/// What a connector is told, and tells, while its future is polled.
pub(crate) struct Opening {
    pub(crate) http1_only: bool,
    pub(crate) step: Cell<Step>,
}

/// Says which step the connection that is being opened has come to.
pub(crate) fn enter(step: Step) {
    // A connector that somebody uses without a session tells nobody.
    let _ = OPENING.try_with(|opening| opening.step.set(step));
}

/// Whether the connection that a connector is opening must speak HTTP/1.1, although its session
/// knows HTTP/2 too: the request asks for an upgrade, as that of a WebSocket does.
///
/// A connector of one's own that offers protocols by ALPN must offer no other then. It holds within
/// the future of the connector, as the session polls it.
///
/// ```
/// let alpn: &[&[u8]] = if session_layer::must_be_http1() {
///     &[b"http/1.1"]
/// } else {
///     &[b"h2", b"http/1.1"]
/// };
/// # let _ = alpn;
/// ```
#[must_use]
pub fn must_be_http1() -> bool {
    OPENING
        .try_with(|opening| opening.http1_only)
        .unwrap_or(false)
}
