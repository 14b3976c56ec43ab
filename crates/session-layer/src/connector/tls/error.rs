use std::{error::Error as StdError, fmt};

use crate::box_error::BoxError;

/// Why TLS settings were refused. If something could not be read, its [`source`](StdError::source)
/// is the cause.
///
/// It has no part of a key.
#[derive(Debug)]
pub struct TlsConfigError {
    kind: Kind,
    source: Option<BoxError>,
}

/// What a text without a certificate seems to be, by its first byte.
#[derive(Clone, Copy, Debug)]
enum Found {
    Nothing,
    Der,
    Other,
}

impl Found {
    fn of(text: &[u8]) -> Self {
        match text.first() {
            None => Self::Nothing,
            // The tag of a SEQUENCE, which each certificate is.
            Some(0x30) => Self::Der,
            Some(_) => Self::Other,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Nothing => "it is empty",
            Self::Der => "it is DER, which the method for DER takes",
            Self::Other => "it has no line `-----BEGIN CERTIFICATE-----`",
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Root,
    NoRoot(Found),
    Trust,
    NoChain(Found),
    NoKey,
    Key,
    Identity,
    ServerName,
}

impl TlsConfigError {
    /// A root certificate cannot be read.
    pub(super) fn root(source: impl Into<BoxError>) -> Self {
        Self::new(Kind::Root, Some(source.into()))
    }

    /// A PEM text has no certificate in it.
    pub(super) fn no_root(text: &[u8]) -> Self {
        Self::new(Kind::NoRoot(Found::of(text)), None)
    }

    /// The PEM text of the client certificate has none in it.
    pub(super) fn no_chain(text: &[u8]) -> Self {
        Self::new(Kind::NoChain(Found::of(text)), None)
    }

    /// The PEM text of the client certificate's key has none in it.
    pub(super) fn no_key() -> Self {
        Self::new(Kind::NoKey, None)
    }

    /// The client certificate's key cannot be read.
    pub(super) fn key(source: impl Into<BoxError>) -> Self {
        Self::new(Kind::Key, Some(source.into()))
    }

    /// There are no roots.
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
        match self.kind {
            Kind::Root => f.write_str(
                "a root certificate cannot be read: it is cut off, is not base64, or holds something \
                 else than a certificate",
            ),
            Kind::NoRoot(found) => write!(f, "no certificate in the PEM text: {}", found.words()),
            Kind::Trust => f.write_str(
                "no root certificate is left to trust: `only_added_roots` leaves out the platform's, \
                 and none was added by `add_roots_pem`",
            ),
            Kind::NoChain(found) => write!(
                f,
                "no certificate in the PEM text of the client certificate: {}",
                found.words()
            ),
            Kind::NoKey => f.write_str(
                "no private key in the PEM text of the client certificate's key: it has no line such \
                 as `-----BEGIN PRIVATE KEY-----`; a key that is encrypted has to be decrypted first",
            ),
            Kind::Key => f.write_str("the client certificate's private key cannot be read"),
            Kind::Identity => f.write_str("the client certificate and its key cannot be used"),
            Kind::ServerName => f.write_str("not a server name"),
        }
    }
}

impl StdError for TlsConfigError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|source| source.as_ref() as _)
    }
}
