use std::{
    fmt,
    hash::{BuildHasher, Hasher},
    net::SocketAddr,
    sync::{Arc, LazyLock},
};

use hashbrown::DefaultHashBuilder;
use http::{HeaderValue, Uri, uri::Authority};

mod key;
mod name;

pub(crate) use self::{
    key::{Hashed, Key, Lookup},
    name::{OriginRef, RawOrigin, port_of},
};
use crate::runtime;

/// Why a URI names no origin that a request can be sent to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct InvalidUri(pub(crate) &'static str);

/// The peer that a connection leads to: scheme, host and port.
///
/// It is the key of the pool: a connection serves only requests of its origin. The host is kept in
/// lower case and the port is always there, so `HTTP://Example.com` and `http://example.com:80`
/// are one origin ([RFC 9110, section 4.2.3](https://www.rfc-editor.org/rfc/rfc9110#section-4.2.3)).
/// Userinfo is no part of it and never shows.
#[derive(Clone)]
pub struct Origin(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    scheme: Scheme,
    protocol: Protocol,
    /// Requests of different groups share no HTTP/2 connection.
    group: u8,
    /// The runtime that drives its connections.
    runtime: Option<runtime::Id>,
    /// The one address that its connections lead to, where requests are spread.
    address: Option<Box<SocketAddr>>,
    /// The length of the host within the authority.
    host_len: usize,
    port: u16,
    /// The value of the `Host` header. With the fields above it is what the origin is found by.
    authority: HeaderValue,
    /// The hash of scheme and authority.
    hash: u64,
    /// The URI that the connector is called with. It shares the bytes of the authority.
    uri: Uri,
}

/// The scheme of an origin.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Scheme {
    Http,
    Https,
}

impl Scheme {
    fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port that a URI without one means.
    fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// Which protocol the connections of an origin must speak. Requests with different needs have
/// different connections.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Protocol {
    /// Whichever the session's settings and the peer choose.
    Any,
    /// Only HTTP/1, although the peer may speak HTTP/2.
    Http1,
    /// Only HTTP/2, which the peer is known to speak.
    Http2,
}

impl Origin {
    /// Returns the scheme, `http` or `https`.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        self.0.scheme.as_str()
    }

    /// Returns the host in lower case; an IPv6 address keeps its brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        let name = self.0.uri.authority().map_or("", Authority::as_str);
        name.get(..self.0.host_len).unwrap_or(name)
    }

    /// Returns the port, also where the URI left it to the scheme.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.0.port
    }

    /// Whether its connections must speak HTTP/1.
    #[inline]
    pub(crate) fn is_http1_only(&self) -> bool {
        self.0.protocol == Protocol::Http1
    }

    /// Whether its connections must speak HTTP/2, without a handshake that chooses it.
    #[inline]
    pub(crate) fn is_http2_only(&self) -> bool {
        self.0.protocol == Protocol::Http2
    }

    /// The runtime that drives its connections.
    #[inline]
    pub(crate) fn runtime(&self) -> Option<runtime::Id> {
        self.0.runtime
    }

    /// The one address that its connections lead to, where requests are spread.
    #[inline]
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.0.address.as_deref().copied()
    }

    /// The same, for connections to this address alone.
    pub(crate) fn with_address(&self, address: SocketAddr) -> Self {
        Self(Arc::new(Inner {
            address: Some(Box::new(address)),
            ..(*self.0).clone()
        }))
    }

    /// The same, for whichever address.
    pub(crate) fn without_address(&self) -> OriginRef<'_> {
        OriginRef {
            address: None,
            ..self.borrowed()
        }
    }

    /// Whether both are the same key: the pool has the same connections for them.
    pub(crate) fn is_same_key(&self, other: &Self) -> bool {
        // All addresses of a name have the same hash, so what tells them apart is compared first.
        self.0.address == other.0.address
            && self.0.runtime == other.0.runtime
            && self.0.group == other.0.group
            && self == other
    }

    #[inline]
    pub(crate) fn authority(&self) -> &HeaderValue {
        &self.0.authority
    }

    #[inline]
    pub(crate) fn uri(&self) -> &Uri {
        &self.0.uri
    }

    /// The same origin on the runtime of the caller. Outside of any runtime it keeps its own.
    pub(crate) fn here(&self) -> OriginRef<'_> {
        OriginRef {
            runtime: runtime::current().or(self.0.runtime),
            ..self.borrowed()
        }
    }

    fn borrowed(&self) -> OriginRef<'_> {
        OriginRef {
            scheme: self.0.scheme,
            protocol: self.0.protocol,
            group: self.0.group,
            runtime: self.0.runtime,
            address: self.address(),
            // The value was made of text.
            authority: String::from_utf8_lossy(self.0.authority.as_bytes()),
            host_len: self.0.host_len,
            port: self.0.port,
            hash: self.0.hash,
        }
    }
}

/// The hash of an origin. Its seed is made once per process, so that an origin can keep its hash.
/// Protocol, group and runtime are left out, since few origins are used with more than one of them.
#[inline]
fn hash(scheme: Scheme, authority: &str) -> u64 {
    static SEED: LazyLock<DefaultHashBuilder> = LazyLock::new(DefaultHashBuilder::default);
    let mut hasher = SEED.build_hasher();
    hasher.write(authority.as_bytes());
    hasher.write_u8(scheme as u8);
    hasher.finish()
}

impl PartialEq for Origin {
    fn eq(&self, other: &Self) -> bool {
        let is = |other: &Inner| {
            self.0.scheme == other.scheme
                && self.0.protocol == other.protocol
                && self.0.authority == other.authority
        };
        Arc::ptr_eq(&self.0, &other.0) || is(&other.0)
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
    use crate::Error;

    fn origin(uri: &'static str) -> Result<Origin, InvalidUri> {
        RawOrigin::of(&Uri::from_static(uri))?.read()?.to_origin()
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
    fn a_name_is_the_same_however_its_port_and_userinfo_are_spelled() {
        for uri in [
            "http://a:81",
            "http://A:81",
            "http://a:081",
            "http://a@a:81",
            "http://a:81@a:81",
            "http://81@a:81",
        ] {
            let origin = origin(uri).unwrap();
            assert_eq!(origin.authority(), "a:81", "{uri}");
            assert_eq!((origin.host(), origin.port()), ("a", 81), "{uri}");
        }
        let v6 = origin("http://[::1]:81").unwrap();
        assert_eq!((v6.host(), v6.port()), ("[::1]", 81));
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
            "http://a:+80/",
            "http://a:+8080/",
            "https://[::1]:+443/",
            "http://u@a:+80/",
        ] {
            let uri: Result<Uri, _> = uri.parse();
            let Ok(uri) = uri else { continue };
            let read = RawOrigin::of(&uri).and_then(|spelled| spelled.read());
            assert!(Error::from(read.unwrap_err()).is_uri(), "{uri}");
        }
    }
}
