use std::{
    borrow::Cow,
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

use hashbrown::Equivalent;
use http::{HeaderValue, Uri, uri::Scheme};

use crate::error::{Error, Kind};

/// The peer that a connection leads to: scheme, host and port.
///
/// It is the key of the pool: a connection serves only requests of its origin. The host is kept in
/// lower case and the port is always there, so `HTTP://Example.com` and `http://example.com:80`
/// are one origin ([RFC 9110, section 4.2.3](https://www.rfc-editor.org/rfc/rfc9110#section-4.2.3)).
/// Userinfo is no part of it and never shows.
#[derive(Clone)]
pub struct Origin(Arc<Inner>);

struct Inner {
    secure: bool,
    http1: bool,
    host: Box<str>,
    port: u16,
    /// What the `Host` header says, made once per origin.
    authority: HeaderValue,
    /// What the connector is called with.
    uri: Uri,
}

/// An origin as a URI spells it, for look-ups without an allocation.
#[derive(Debug)]
pub(crate) struct OriginRef<'a> {
    secure: bool,
    /// Only HTTP/1 will do, where others may be answered over HTTP/2.
    http1: bool,
    host: Cow<'a, str>,
    port: u16,
}

impl Origin {
    /// Returns the scheme, `http` or `https`.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        scheme(self.0.secure)
    }

    /// Returns the host in lower case; an IPv6 address keeps its brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.0.host
    }

    /// Returns the port, also where the URI left it to the scheme.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.0.port
    }

    /// Whether only HTTP/1 will do.
    pub(crate) fn is_by_http1(&self) -> bool {
        self.0.http1
    }

    pub(crate) fn authority(&self) -> &HeaderValue {
        &self.0.authority
    }

    pub(crate) fn uri(&self) -> &Uri {
        &self.0.uri
    }

    pub(crate) fn borrowed(&self) -> OriginRef<'_> {
        OriginRef {
            secure: self.0.secure,
            http1: self.0.http1,
            host: Cow::Borrowed(&self.0.host),
            port: self.0.port,
        }
    }
}

impl<'a> OriginRef<'a> {
    /// Reads the origin of an absolute `http` or `https` URI.
    pub(crate) fn of(uri: &'a Uri) -> Result<Self, Error> {
        let secure = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTP => false,
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(_) => return Err(Error::new(Kind::Uri("only http and https can be sent"))),
            None => return Err(Error::new(Kind::Uri("the URI must be absolute"))),
        };
        let Some(authority) = uri.authority() else {
            return Err(Error::new(Kind::Uri("the URI has no host")));
        };
        let host = authority.host();
        if host.is_empty() || host == "[]" {
            return Err(Error::new(Kind::Uri("the URI has no host")));
        }
        let port = match authority.port_u16() {
            Some(port) => port,
            // A port that is no number of 16 bits must not turn into the default one.
            None if has_port(authority.as_str(), host) => {
                return Err(Error::new(Kind::Uri("the port is not valid")));
            }
            None if secure => 443,
            None => 80,
        };
        let host = if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Cow::Owned(host.to_ascii_lowercase())
        } else {
            Cow::Borrowed(host)
        };
        Ok(Self {
            secure,
            http1: false,
            host,
            port,
        })
    }

    pub(crate) fn is_secure(&self) -> bool {
        self.secure
    }

    /// The same, for a request that only HTTP/1 can carry: one that asks for an upgrade. It has
    /// connections of its own.
    pub(crate) fn by_http1(mut self) -> Self {
        self.http1 = true;
        self
    }

    /// Makes the owned form, once per origin and pool.
    pub(crate) fn to_origin(&self) -> Result<Origin, Error> {
        let default = if self.secure { 443 } else { 80 };
        let authority = if self.port == default {
            self.host.clone().into_owned()
        } else {
            format!("{}:{}", self.host, self.port)
        };
        let invalid = |_| Error::new(Kind::Uri("the host is not valid"));
        let uri = Uri::builder()
            .scheme(scheme(self.secure))
            .authority(authority.as_str())
            .path_and_query("/")
            .build()
            .map_err(invalid)?;
        Ok(Origin(Arc::new(Inner {
            secure: self.secure,
            http1: self.http1,
            host: self.host.clone().into_owned().into_boxed_str(),
            port: self.port,
            authority: HeaderValue::try_from(authority)
                .map_err(|_| Error::new(Kind::Uri("the host is not valid")))?,
            uri,
        })))
    }
}

fn scheme(secure: bool) -> &'static str {
    if secure { "https" } else { "http" }
}

/// Whether something stands behind the host's colon: an empty port means the default one
/// ([RFC 3986, section 3.2.3](https://www.rfc-editor.org/rfc/rfc3986#section-3.2.3)).
fn has_port(authority: &str, host: &str) -> bool {
    authority
        .rfind('@')
        .and_then(|at| authority.get(at.saturating_add(1)..))
        .unwrap_or(authority)
        .strip_prefix(host)
        .is_some_and(|rest| rest.len() > 1)
}

impl Hash for OriginRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.host.as_bytes().hash(state);
        (u32::from(self.port) << 1 | u32::from(self.secure)).hash(state);
    }
}

impl Hash for Origin {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.borrowed().hash(state);
    }
}

impl Equivalent<Origin> for OriginRef<'_> {
    fn equivalent(&self, origin: &Origin) -> bool {
        self.port == origin.0.port
            && self.secure == origin.0.secure
            && self.http1 == origin.0.http1
            && *self.host == *origin.0.host
    }
}

impl PartialEq for Origin {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || other.borrowed().equivalent(self)
    }
}

impl Eq for Origin {}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}", self.scheme(), self.host(), self.port())
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Origin({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(uri: &'static str) -> Result<Origin, Error> {
        OriginRef::of(&Uri::from_static(uri)).and_then(|origin| origin.to_origin())
    }

    #[test]
    fn case_and_default_port_make_no_other_origin() {
        assert_eq!(
            origin("HTTP://Example.COM/a").unwrap(),
            origin("http://example.com:80/b").unwrap()
        );
        assert_eq!(
            origin("https://example.com").unwrap(),
            origin("https://example.com:/").unwrap()
        );
    }

    #[test]
    fn scheme_host_and_port_each_make_another_origin() {
        let one = origin("http://a:80").unwrap();
        assert_ne!(one, origin("https://a:80").unwrap());
        assert_ne!(one, origin("http://b:80").unwrap());
        assert_ne!(one, origin("http://a:81").unwrap());
    }

    #[test]
    fn userinfo_neither_counts_nor_shows() {
        let with = origin("http://user:pass@a:81/").unwrap();
        assert_eq!(with, origin("http://a:81").unwrap());
        assert_eq!(with.to_string(), "http://a:81");
        assert_eq!(with.authority(), "a:81");
        assert_eq!(with.uri(), "http://a:81/");
    }

    #[test]
    fn the_host_header_leaves_the_default_port_out() {
        assert_eq!(origin("http://a:80").unwrap().authority(), "a");
        assert_eq!(origin("https://[::1]:443").unwrap().authority(), "[::1]");
        assert_eq!(origin("https://[::1]:80").unwrap().authority(), "[::1]:80");
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for uri in [
            "/relative",
            "ftp://a/",
            "http://a:99999/",
            "http://u@a:99999/",
            "http://:80/",
        ] {
            let uri: Result<Uri, _> = uri.parse();
            let Ok(uri) = uri else { continue };
            assert!(OriginRef::of(&uri).unwrap_err().is_uri(), "{uri}");
        }
    }
}
