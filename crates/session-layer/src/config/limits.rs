use std::time::Duration;

use crate::origin::Origin;

/// The limits of a pool.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) connections: usize,
    pub(crate) per_origin: usize,
    pub(crate) waiting: usize,
    pub(crate) steal_after: Duration,
    pub(crate) multiplexing: Multiplexing,
    /// How many requests a shared connection carries in its life.
    pub(crate) requests: u64,
}

/// Which origins may turn out to have shared connections.
#[cfg_attr(
    not(feature = "http2"),
    allow(dead_code, reason = "only HTTP/2 shares connections")
)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Multiplexing {
    #[cfg_attr(feature = "http2", allow(dead_code, reason = "for builds without"))]
    Never,
    /// Those of `https`, if TLS negotiates HTTP/2.
    Negotiated,
    Always,
}

impl Multiplexing {
    pub(crate) fn is_possible(self, origin: &Origin) -> bool {
        match self {
            _ if origin.is_http1_only() => false,
            _ if origin.is_http2_only() => true,
            Self::Never => false,
            Self::Negotiated => origin.scheme() == "https",
            Self::Always => true,
        }
    }
}
