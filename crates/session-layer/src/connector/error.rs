use std::{error::Error as StdError, fmt};

use crate::box_error::BoxError;

/// Why [`Connector`](crate::Connector) could not connect; its [`source`](StdError::source) is the
/// cause.
#[derive(Debug)]
pub struct ConnectError {
    stage: Stage,
    source: BoxError,
}

/// Which step of connecting failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Stage {
    Resolve,
    Connect,
    /// TLS with the origin.
    Tls,
    /// A step with a proxy: its name, the connection to it, TLS with it, its answer.
    #[cfg(feature = "proxy")]
    Proxy,
}

impl ConnectError {
    pub(super) fn new(stage: Stage, source: impl Into<BoxError>) -> Self {
        Self {
            stage,
            source: source.into(),
        }
    }

    pub(crate) fn into_parts(self) -> (Stage, BoxError) {
        (self.stage, self.source)
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.stage {
            Stage::Resolve => "cannot resolve the name",
            Stage::Connect => "cannot connect",
            Stage::Tls => "cannot set up TLS",
            #[cfg(feature = "proxy")]
            Stage::Proxy => "cannot go through the proxy",
        })
    }
}

impl StdError for ConnectError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(self.source.as_ref())
    }
}
