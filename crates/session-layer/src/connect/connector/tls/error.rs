use std::{error::Error as StdError, fmt};

use crate::error::BoxError;

/// Why TLS settings were refused; where something could not be read, its
/// [`source`](StdError::source) tells why.
///
/// It holds nothing of a key.
#[derive(Debug)]
pub struct TlsConfigError {
    kind: Kind,
    source: Option<BoxError>,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Root,
    NoRoot,
    Trust,
    Identity,
    ServerName,
}

impl TlsConfigError {
    /// Something that was to be a root certificate is none.
    pub(super) fn root(source: impl Into<BoxError>) -> Self {
        Self::new(Kind::Root, Some(source.into()))
    }

    /// A PEM text has no certificate in it.
    pub(super) fn no_root() -> Self {
        Self::new(Kind::NoRoot, None)
    }

    /// Nobody is trusted.
    pub(super) fn trust() -> Self {
        Self::new(Kind::Trust, None)
    }

    /// The client certificate or its key cannot be used.
    pub(super) fn identity(source: impl Into<BoxError>) -> Self {
        Self::new(Kind::Identity, Some(source.into()))
    }

    pub(super) fn server_name(source: impl Into<BoxError>) -> Self {
        Self::new(Kind::ServerName, Some(source.into()))
    }

    fn new(kind: Kind, source: Option<BoxError>) -> Self {
        Self { kind, source }
    }
}

impl fmt::Display for TlsConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Root => "not a root certificate",
            Kind::NoRoot => "no certificate in the PEM text",
            Kind::Trust => "no root certificate is left to trust",
            Kind::Identity => "the client certificate and its key cannot be used",
            Kind::ServerName => "not a server name",
        })
    }
}

impl StdError for TlsConfigError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|source| source.as_ref() as _)
    }
}
