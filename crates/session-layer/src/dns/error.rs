use std::{error::Error as StdError, fmt, io, net::IpAddr, sync::Arc};

use crate::box_error::BoxError;

/// Why there is no address to dial.
///
/// A connector of one's own that puts this into its error's source chain makes
/// [`Error::is_dns`](crate::Error::is_dns) true.
#[derive(Clone, Debug)]
pub struct DnsError {
    /// `None` if the host was an address, or if the maker of the error did not know it.
    name: Option<Arc<str>>,
    // Shared, since all waiters of a failed lookup get its error.
    kind: Arc<Kind>,
}

#[derive(Debug)]
enum Kind {
    Failed(io::Error),
    Refused(IpAddr),
}

impl DnsError {
    /// Marks an error as one of name resolution.
    ///
    /// The kinds [`NotFound`](io::ErrorKind::NotFound) and
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) say that there is no such name.
    #[must_use]
    pub fn new(error: io::Error) -> Self {
        Self::from_kind(Kind::Failed(error))
    }

    /// Whether there are addresses, and a guard refused all of them.
    ///
    /// It will refuse them again, so there is no use in another attempt.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        matches!(*self.kind, Kind::Refused(_))
    }

    /// Whether it is certain that the name has no address, or that it is no name at all.
    ///
    /// With `getaddrinfo` this stays false for a name that does not exist: the standard library
    /// does not tell that apart from a name server that gave no answer. An answer without
    /// addresses, and what hickory says of a name, are certain.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        match &*self.kind {
            Kind::Failed(error) => matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::InvalidInput
            ),
            Kind::Refused(_) => false,
        }
    }

    pub(super) fn refused(address: IpAddr) -> Self {
        Self::from_kind(Kind::Refused(address))
    }

    pub(super) fn no_addresses() -> Self {
        let why = "the answer has no addresses";
        Self::new(io::Error::new(io::ErrorKind::NotFound, why))
    }

    /// Makes it of another resolver's error. One that is a `DnsError` stays as it is.
    pub(super) fn from_source(error: BoxError) -> Self {
        let error = match error.downcast::<Self>() {
            Ok(error) => return *error,
            Err(error) => error,
        };
        Self::new(match error.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(error) => io::Error::other(error),
        })
    }

    /// Adds the host, unless there is one.
    pub(super) fn of(mut self, name: &Arc<str>) -> Self {
        self.name.get_or_insert_with(|| name.clone());
        self
    }

    fn from_kind(kind: Kind) -> Self {
        Self {
            name: None,
            kind: Arc::new(kind),
        }
    }
}

impl fmt::Display for DnsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&*self.kind, &self.name) {
            (Kind::Failed(_), None) => f.write_str("the name did not resolve"),
            (Kind::Failed(_), Some(name)) => write!(f, "the name {name:?} did not resolve"),
            (Kind::Refused(address), None) => write!(f, "the address {address} is refused"),
            (Kind::Refused(address), Some(name)) => {
                write!(f, "the address {address} of {name:?} is refused")
            }
        }
    }
}

impl StdError for DnsError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &*self.kind {
            Kind::Failed(error) => Some(error),
            Kind::Refused(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn it_names_the_host_and_the_address() {
        let name: Arc<str> = "example.com".into();
        let failed = || DnsError::new(io::Error::other("no such host"));
        let refused = || DnsError::refused(Ipv4Addr::LOCALHOST.into());
        for (error, text) in [
            (failed(), "the name did not resolve"),
            (
                failed().of(&name),
                r#"the name "example.com" did not resolve"#,
            ),
            (refused(), "the address 127.0.0.1 is refused"),
            (
                refused().of(&name),
                r#"the address 127.0.0.1 of "example.com" is refused"#,
            ),
        ] {
            assert_eq!(error.to_string(), text);
        }
        assert!(failed().source().is_some() && refused().source().is_none());
    }

    #[test]
    fn what_a_resolver_says_keeps_its_type() {
        let error = DnsError::from_source(DnsError::refused(Ipv4Addr::LOCALHOST.into()).into());
        assert!(error.is_refused() && !error.is_not_found());

        let error = DnsError::from_source(io::Error::from(io::ErrorKind::NotFound).into());
        assert!(error.is_not_found() && !error.is_refused());

        let error = DnsError::from_source("the zone is down".into());
        assert!(!error.is_not_found() && !error.is_refused());
        assert_eq!(error.source().unwrap().to_string(), "the zone is down");
    }
}
