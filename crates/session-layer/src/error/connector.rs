use std::{io, time::Duration};

use super::{
    Error, Kind, Phase,
    causes::{causes, is_proxy, is_tls},
};
use crate::{ConnectError, DnsError, Step, box_error::BoxError, connector::Stage};

impl Error {
    /// Makes the error of a failed connect, and finds out its kind: name resolution, a proxy, TLS,
    /// or the connect itself.
    pub(crate) fn from_connector(source: BoxError, timeout: Option<Duration>) -> Self {
        // The error of this crate's own connector adds only its stage to its cause.
        let (stage, source) = match source.downcast::<ConnectError>() {
            Ok(error) => {
                let (stage, source) = error.into_parts();
                (Some(stage), source)
            }
            Err(source) => (None, source),
        };
        let timed_out = || {
            causes(source.as_ref()).any(|error: &io::Error| error.kind() == io::ErrorKind::TimedOut)
        };
        let proxied = is_proxy(source.as_ref());
        let unresolved = !proxied && causes::<DnsError>(source.as_ref()).next().is_some();
        let kind = if unresolved && timed_out() {
            // The timeout of the name servers, which is not known here.
            Kind::Timeout(Phase::Dns, Duration::ZERO)
        } else if unresolved {
            Kind::Dns
        } else if !proxied && stage == Some(Stage::Resolve) && timed_out() {
            Kind::Timeout(Phase::Dns, timeout.unwrap_or_default())
        } else if timed_out() {
            Kind::Timeout(Phase::Connect, timeout.unwrap_or_default())
        } else if proxied {
            Kind::Proxy
        } else if stage == Some(Stage::Tls) || is_tls(source.as_ref()) {
            Kind::Tls
        } else {
            Kind::Connect
        };
        let mut error = Self::new(kind).with(source);
        if let Kind::Timeout(Phase::Connect, _) = kind {
            error.0.step = match stage {
                _ if proxied => Some(Step::Proxy),
                Some(Stage::Tls) => Some(Step::Tls),
                _ => None,
            };
        }
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_inside_an_io_error_is_found() {
        let inner = DnsError::new(io::Error::other("no such host"));
        let error = Error::from_connector(io::Error::other(inner).into(), None);
        assert!(error.is_dns() && error.is_connect() && error.is_unsent());
    }
}
