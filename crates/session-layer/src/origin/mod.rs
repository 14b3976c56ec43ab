use std::{
    borrow::Cow,
    fmt,
    hash::{BuildHasher, Hash, Hasher},
    sync::{Arc, LazyLock},
};

use bytes::Bytes;
use hashbrown::{DefaultHashBuilder, Equivalent};
use http::{
    HeaderValue, Uri,
    uri::{Authority, Parts, PathAndQuery, Scheme},
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

struct Inner {
    secure: bool,
    protocol: Protocol,
    /// The runtime that its connections are driven on.
    runtime: Option<runtime::Id>,
    /// How much of its name is the host.
    host_len: usize,
    port: u16,
    /// What the `Host` header says, made once per origin: with the flags above, it is the name
    /// that the origin is found by.
    authority: HeaderValue,
    /// The hash of that name.
    hash: u64,
    /// What the connector is called with; it shares the bytes of the name.
    uri: Uri,
}

/// Which protocol the connections of an origin have to speak, for the requests that use them.
/// Each kind has connections of its own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Protocol {
    /// Whichever the session's settings and the peer choose.
    Any,
    /// Only HTTP/1 will do, where others may be answered over HTTP/2.
    Http1,
    /// Only HTTP/2 will do, of which the peer is known to speak it.
    Http2,
}

/// An origin by its name, for look-ups without an allocation.
#[derive(Debug)]
pub(crate) struct OriginRef<'a> {
    secure: bool,
    protocol: Protocol,
    runtime: Option<runtime::Id>,
    /// In lower case, without the port that the scheme implies.
    authority: Cow<'a, str>,
    host_len: usize,
    port: u16,
    hash: u64,
}

/// An origin as a URI spells it. Most spell it as its name is, so it is looked up as it is first,
/// and read only if it is not found.
#[derive(Debug)]
pub(crate) struct RawOrigin<'a> {
    secure: bool,
    protocol: Protocol,
    runtime: Option<runtime::Id>,
    authority: &'a Authority,
    hash: u64,
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
        let name = self.0.uri.authority().map_or("", Authority::as_str);
        name.get(..self.0.host_len).unwrap_or(name)
    }

    /// Returns the port, also where the URI left it to the scheme.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.0.port
    }

    /// Whether only HTTP/1 will do.
    #[inline]
    pub(crate) fn is_http1_only(&self) -> bool {
        self.0.protocol == Protocol::Http1
    }

    /// Whether only HTTP/2 will do, without a handshake that could choose it.
    #[inline]
    pub(crate) fn is_http2_only(&self) -> bool {
        self.0.protocol == Protocol::Http2
    }

    /// The runtime that its connections are driven on, in the pool that it is a key of.
    #[inline]
    pub(crate) fn runtime(&self) -> Option<runtime::Id> {
        self.0.runtime
    }

    /// Whether the pool has the same connections for both.
    pub(crate) fn is_same_key(&self, other: &Self) -> bool {
        self == other && self.0.runtime == other.0.runtime
    }

    #[inline]
    pub(crate) fn authority(&self) -> &HeaderValue {
        &self.0.authority
    }

    #[inline]
    pub(crate) fn uri(&self) -> &Uri {
        &self.0.uri
    }

    /// The same, for a request that goes on where the caller runs; outside of any runtime, where it
    /// ran before.
    pub(crate) fn here(&self) -> OriginRef<'_> {
        OriginRef {
            runtime: runtime::current().or(self.0.runtime),
            ..self.borrowed()
        }
    }

    fn borrowed(&self) -> OriginRef<'_> {
        OriginRef {
            secure: self.0.secure,
            protocol: self.0.protocol,
            runtime: self.0.runtime,
            // Made of text.
            authority: String::from_utf8_lossy(self.0.authority.as_bytes()),
            host_len: self.0.host_len,
            port: self.0.port,
            hash: self.0.hash,
        }
    }
}

impl<'a> RawOrigin<'a> {
    /// Reads of a URI no more than is needed to look its origin up.
    #[inline]
    pub(crate) fn of(uri: &'a Uri) -> Result<Self, InvalidUri> {
        let secure = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTP => false,
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(_) => return Err(InvalidUri("only http and https can be sent")),
            None => return Err(InvalidUri("the URI must be absolute")),
        };
        let Some(authority) = uri.authority() else {
            return Err(InvalidUri("the URI has no host"));
        };
        Ok(Self {
            secure,
            protocol: Protocol::Any,
            runtime: None,
            hash: hash(secure, authority.as_str()),
            authority,
        })
    }

    pub(crate) fn is_secure(&self) -> bool {
        self.secure
    }

    /// The same, for a request that only HTTP/1 can carry: one that asks for an upgrade. It has
    /// connections of its own.
    pub(crate) fn http1_only(mut self) -> Self {
        self.protocol = Protocol::Http1;
        self
    }

    /// The same, for a request to a peer that is known to speak HTTP/2 where others are not sent
    /// so. It has connections of its own.
    pub(crate) fn http2_only(mut self) -> Self {
        self.protocol = Protocol::Http2;
        self
    }

    /// The same, for a request that runs on this runtime.
    #[inline]
    pub(crate) fn on(mut self, runtime: Option<runtime::Id>) -> Self {
        self.runtime = runtime;
        self
    }

    /// Reads the origin's name.
    pub(crate) fn read(&self) -> Result<OriginRef<'a>, InvalidUri> {
        let host = self.authority.host();
        if host.is_empty() || host == "[]" {
            return Err(InvalidUri("the URI has no host"));
        }
        let default = if self.secure { 443 } else { 80 };
        let port = match port_of(self.authority) {
            Some(port) => port,
            // A port that is no number of 16 bits must not turn into the default one.
            None if has_port(self.authority.as_str(), host) => {
                return Err(InvalidUri("the port is not valid"));
            }
            None => default,
        };
        let spelled = self.authority.as_str();
        let lower = if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Cow::Owned(host.to_ascii_lowercase())
        } else {
            Cow::Borrowed(host)
        };
        let authority = match lower {
            lower if port == default => lower,
            Cow::Borrowed(host) if is_plain(spelled, host) => Cow::Borrowed(spelled),
            lower => Cow::Owned(format!("{lower}:{port}")),
        };
        Ok(OriginRef {
            secure: self.secure,
            protocol: self.protocol,
            runtime: self.runtime,
            hash: hash(self.secure, &authority),
            authority,
            host_len: host.len(),
            port,
        })
    }
}

impl OriginRef<'_> {
    /// Makes the owned form, once per origin and pool.
    pub(crate) fn to_origin(&self) -> Result<Origin, InvalidUri> {
        let invalid = || InvalidUri("the host is not valid");
        let name = Bytes::copy_from_slice(self.authority.as_bytes());
        let mut parts = Parts::default();
        parts.scheme = Some(if self.secure {
            Scheme::HTTPS
        } else {
            Scheme::HTTP
        });
        parts.authority = Some(Authority::from_maybe_shared(name.clone()).map_err(|_| invalid())?);
        parts.path_and_query = Some(PathAndQuery::from_static("/"));
        Ok(Origin(Arc::new(Inner {
            secure: self.secure,
            protocol: self.protocol,
            runtime: self.runtime,
            host_len: self.host_len,
            port: self.port,
            authority: HeaderValue::from_maybe_shared(name).map_err(|_| invalid())?,
            hash: self.hash,
            uri: Uri::from_parts(parts).map_err(|_| invalid())?,
        })))
    }
}

/// The hash of an origin's name. Seeded once per process, so that an origin can keep it; the
/// protocol and the runtime are left out, since hardly any origin is asked for more than one of
/// them.
#[inline]
fn hash(secure: bool, authority: &str) -> u64 {
    static SEED: LazyLock<DefaultHashBuilder> = LazyLock::new(DefaultHashBuilder::default);
    let mut hasher = SEED.build_hasher();
    hasher.write(authority.as_bytes());
    hasher.write_u8(secure.into());
    hasher.finish()
}

/// Takes the hash that an origin keeps as it is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Hashed(u64);

impl Hasher for Hashed {
    fn write(&mut self, _: &[u8]) {
        unreachable!("an origin is hashed as one number")
    }

    #[inline]
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }
}

fn scheme(secure: bool) -> &'static str {
    if secure { "https" } else { "http" }
}

/// The port that is written in an authority, if it is digits and a number of 16 bits. `http` also
/// reads a sign before them, which a port cannot have
/// ([RFC 3986, section 3.2.3](https://www.rfc-editor.org/rfc/rfc3986#section-3.2.3)).
pub(crate) fn port_of(authority: &Authority) -> Option<u16> {
    let port = authority.port()?;
    let is_digits = port.as_str().bytes().all(|byte| byte.is_ascii_digit());
    is_digits.then(|| port.as_u16())
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

/// Whether an authority is this host and a port as numbers are written, and nothing else.
fn is_plain(authority: &str, host: &str) -> bool {
    let port = authority
        .strip_prefix(host)
        .and_then(|rest| rest.strip_prefix(':'));
    port.is_some_and(|port| {
        !port.starts_with('0') && port.bytes().all(|byte| byte.is_ascii_digit())
    })
}

impl Hash for RawOrigin<'_> {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl Hash for OriginRef<'_> {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl Hash for Origin {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.hash);
    }
}

/// An origin as the pool's key: the connections of each runtime are apart.
#[derive(Clone, Debug)]
pub(crate) struct Key(pub(crate) Origin);

impl Hash for Key {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.0.is_same_key(&other.0)
    }
}

impl Eq for Key {}

impl Equivalent<Key> for Origin {
    #[inline]
    fn equivalent(&self, key: &Key) -> bool {
        Arc::ptr_eq(&self.0, &key.0.0) || self.is_same_key(&key.0)
    }
}

impl Equivalent<Key> for RawOrigin<'_> {
    #[inline]
    fn equivalent(&self, Key(Origin(key)): &Key) -> bool {
        key.secure == self.secure
            && key.protocol == self.protocol
            && key.runtime == self.runtime
            && key.authority == *self.authority.as_str()
    }
}

impl Equivalent<Key> for OriginRef<'_> {
    #[inline]
    fn equivalent(&self, Key(Origin(key)): &Key) -> bool {
        key.secure == self.secure
            && key.protocol == self.protocol
            && key.runtime == self.runtime
            && key.authority == *self.authority
    }
}

impl PartialEq for Origin {
    fn eq(&self, other: &Self) -> bool {
        let is = |other: &Inner| {
            self.0.secure == other.secure
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
