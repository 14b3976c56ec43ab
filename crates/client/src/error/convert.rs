//! Errors of the layers below, as errors of this crate.

use super::{Error, Kind};

impl From<session_layer::Error> for Error {
    fn from(error: session_layer::Error) -> Self {
        let origin = error.origin().map(ToString::to_string);
        let mut session = Self::new(Kind::Session(error));
        session.0.origin = origin;
        session
    }
}

/// A setting of the retries that is not valid is an error of the builder.
impl From<retry_layer::BuildError> for Error {
    fn from(error: retry_layer::BuildError) -> Self {
        let setting = error.setting();
        Self::builder(format!("the retry setting `{setting}` is not valid")).with(error)
    }
}

/// A setting of the session that is not valid is an error of the builder.
impl From<session_layer::ConfigError> for Error {
    fn from(error: session_layer::ConfigError) -> Self {
        let setting = error.setting();
        Self::builder(format!("the setting `{setting}` is not valid")).with(error)
    }
}

/// An address or a setting of a proxy that is not valid is an error of the builder.
#[cfg(feature = "proxy")]
impl From<session_layer::ProxyConfigError> for Error {
    fn from(error: session_layer::ProxyConfigError) -> Self {
        Self::builder("a proxy is not valid").with(error)
    }
}

/// A setting of TLS that is not valid is an error of the builder.
#[cfg(feature = "tls")]
impl From<session_layer::TlsConfigError> for Error {
    fn from(error: session_layer::TlsConfigError) -> Self {
        Self::builder("the TLS settings are not valid").with(error)
    }
}
