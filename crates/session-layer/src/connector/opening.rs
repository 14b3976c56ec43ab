//! What a session and its connector tell each other while a connection is being opened.

use std::{cell::Cell, net::SocketAddr};

use crate::Step;

tokio::task_local! {
    pub(crate) static OPENING: Opening;
}

/// What a session and its connector tell each other while the connector's future is polled.
pub(crate) struct Opening {
    pub(crate) http1_only: bool,
    /// The address to dial, where requests are spread.
    pub(crate) address: Option<SocketAddr>,
    pub(crate) step: Cell<Step>,
}

/// Notes the step that the connect has come to.
pub(crate) fn enter(step: Step) {
    // Without a session there is no one to tell.
    let _ = OPENING.try_with(|opening| opening.step.set(step));
}

/// Whether the connection that a connector is opening must speak HTTP/1.1, although its session can
/// speak HTTP/2: the request asks for an upgrade, such as a WebSocket.
///
/// A connector of your own that offers protocols by ALPN must then offer no other. It is to be
/// called within the connector's future, while the session polls that.
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

/// The address that the connection which a connector is opening has to lead to, where the session
/// [spreads](crate::Spread) its requests over the addresses of their names.
///
/// A connector of one's own has to dial this one then, and no other of the name. It holds within the
/// future of the connector, as the session polls it.
///
/// ```
/// use std::net::SocketAddr;
///
/// let resolved = vec![SocketAddr::from(([10, 0, 0, 1], 80))];
/// let dialled = match session_layer::assigned_address() {
///     Some(address) => vec![address],
///     None => resolved,
/// };
/// # let _ = dialled;
/// ```
#[must_use]
pub fn assigned_address() -> Option<SocketAddr> {
    OPENING.try_with(|opening| opening.address).ok().flatten()
}
