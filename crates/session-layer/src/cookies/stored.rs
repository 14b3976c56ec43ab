use std::{fmt, time::SystemTime};

use cookie_store::{Cookie, CookieDomain, CookieExpiration};

/// A cookie as it is in a [`Jar`](super::Jar) at one moment.
#[derive(Clone)]
pub struct StoredCookie(Cookie<'static>);

impl StoredCookie {
    pub(super) fn new(cookie: Cookie<'static>) -> Self {
        Self(cookie)
    }

    /// Returns its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.name()
    }

    /// Returns its value, which is most often a secret.
    #[must_use]
    pub fn value(&self) -> &str {
        self.0.value()
    }

    /// Returns the host that it is sent to; unless it is host-only, it is also sent to the
    /// subdomains.
    #[must_use]
    pub fn domain(&self) -> &str {
        match &self.0.domain {
            CookieDomain::HostOnly(domain) | CookieDomain::Suffix(domain) => domain,
            CookieDomain::NotPresent | CookieDomain::Empty => "",
        }
    }

    /// Returns the path that it is sent to, with all paths below it.
    #[must_use]
    pub fn path(&self) -> &str {
        self.0.path.as_ref()
    }

    /// Whether it is sent only to the host that set it, and not to its subdomains.
    #[must_use]
    pub fn is_host_only(&self) -> bool {
        matches!(self.0.domain, CookieDomain::HostOnly(_))
    }

    /// Whether it is sent by HTTPS only, or to a loopback address.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.0.secure().unwrap_or(false)
    }

    /// Returns when it expires; `None` stands for the end of the session that it belongs to.
    #[must_use]
    pub fn expires(&self) -> Option<SystemTime> {
        match self.0.expires {
            CookieExpiration::AtUtc(moment) => Some(moment.into()),
            CookieExpiration::SessionEnd => None,
        }
    }
}

/// Leaves out the value.
impl fmt::Debug for StoredCookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredCookie")
            .field("name", &self.name())
            .field("domain", &self.domain())
            .field("path", &self.path())
            .field("host_only", &self.is_host_only())
            .field("secure", &self.is_secure())
            .field("expires", &self.expires())
            .finish_non_exhaustive()
    }
}
