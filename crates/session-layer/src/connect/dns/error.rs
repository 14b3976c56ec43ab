use std::{error::Error as StdError, fmt, io};

/// Why a name could not be resolved.
///
/// A connector of one's own that puts this into its error's source chain makes
/// [`Error::is_dns`](crate::Error::is_dns) true.
#[derive(Debug)]
pub struct DnsError(io::Error);

impl DnsError {
    /// Marks an error as one of name resolution.
    #[must_use]
    pub fn new(error: io::Error) -> Self {
        Self(error)
    }
}

impl fmt::Display for DnsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name did not resolve")
    }
}

impl StdError for DnsError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.0)
    }
}
