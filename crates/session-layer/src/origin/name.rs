//! The forms in which the name of an origin is looked up.

use std::{borrow::Cow, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http::{
    HeaderValue, Uri,
    uri::{self, Authority, Parts, PathAndQuery},
};

use super::{Inner, InvalidUri, Origin, Protocol, Scheme, hash};
use crate::runtime;

/// An origin in its normal form, borrowed: for look-ups without an allocation.
#[derive(Debug)]
pub(crate) struct OriginRef<'a> {
    pub(super) scheme: Scheme,
    pub(super) protocol: Protocol,
    pub(super) group: u8,
    pub(super) runtime: Option<runtime::Id>,
    pub(super) address: Option<SocketAddr>,
    /// In lower case, without the port that the scheme implies.
    pub(super) authority: Cow<'a, str>,
    pub(super) host_len: usize,
    pub(super) port: u16,
    pub(super) hash: u64,
}

/// An origin as a URI spells it. Most URIs spell it in its normal form, so it is looked up like
/// this first, and parsed only if it is not found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawOrigin<'a> {
    pub(super) scheme: Scheme,
    pub(super) protocol: Protocol,
    pub(super) group: u8,
    pub(super) runtime: Option<runtime::Id>,
    pub(super) authority: &'a Authority,
    pub(super) hash: u64,
}

impl<'a> RawOrigin<'a> {
    /// Takes only those parts of a URI that the look-up of its origin needs.
    #[inline]
    pub(crate) fn of(uri: &'a Uri) -> Result<Self, InvalidUri> {
        let scheme = match uri.scheme() {
            Some(scheme) if *scheme == uri::Scheme::HTTP => Scheme::Http,
            Some(scheme) if *scheme == uri::Scheme::HTTPS => Scheme::Https,
            Some(_) => return Err(InvalidUri("only http and https can be sent")),
            None => return Err(InvalidUri("the URI must be absolute")),
        };
        let Some(authority) = uri.authority() else {
            return Err(InvalidUri("the URI has no host"));
        };
        Ok(Self {
            scheme,
            protocol: Protocol::Any,
            group: 0,
            runtime: None,
            hash: hash(scheme, authority.as_str()),
            authority,
        })
    }

    pub(crate) fn is_secure(&self) -> bool {
        self.scheme == Scheme::Https
    }

    pub(crate) fn is_http1_only(&self) -> bool {
        self.protocol == Protocol::Http1
    }

    pub(crate) fn is_http2_only(&self) -> bool {
        self.protocol == Protocol::Http2
    }

    /// The same, for a request that needs HTTP/1, such as one for an upgrade. It has connections of
    /// its own.
    pub(crate) fn http1_only(mut self) -> Self {
        self.protocol = Protocol::Http1;
        self
    }

    /// The same, for a request that goes over HTTP/2 since its peer is known to speak it. It has
    /// connections of its own.
    pub(crate) fn http2_only(mut self) -> Self {
        self.protocol = Protocol::Http2;
        self
    }

    /// The same, for a request of this group: it has connections of its own.
    pub(crate) fn in_group(mut self, group: u8) -> Self {
        self.group = group;
        self
    }

    /// The same, for a request that runs on this runtime.
    #[inline]
    pub(crate) fn on(mut self, runtime: Option<runtime::Id>) -> Self {
        self.runtime = runtime;
        self
    }

    /// Parses the origin into its normal form.
    pub(crate) fn read(&self) -> Result<OriginRef<'a>, InvalidUri> {
        let host = self.authority.host();
        if host.is_empty() || host == "[]" {
            return Err(InvalidUri("the URI has no host"));
        }
        let default = self.scheme.default_port();
        let port = match port_of(self.authority) {
            Some(port) => port,
            // A port that is not a number of 16 bits must not become the default one.
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
            scheme: self.scheme,
            protocol: self.protocol,
            group: self.group,
            runtime: self.runtime,
            address: None,
            hash: hash(self.scheme, &authority),
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
        parts.scheme = Some(match self.scheme {
            Scheme::Http => uri::Scheme::HTTP,
            Scheme::Https => uri::Scheme::HTTPS,
        });
        parts.authority = Some(Authority::from_maybe_shared(name.clone()).map_err(|_| invalid())?);
        parts.path_and_query = Some(PathAndQuery::from_static("/"));
        Ok(Origin(Arc::new(Inner {
            scheme: self.scheme,
            protocol: self.protocol,
            group: self.group,
            runtime: self.runtime,
            address: self.address.map(Box::new),
            host_len: self.host_len,
            port: self.port,
            authority: HeaderValue::from_maybe_shared(name).map_err(|_| invalid())?,
            hash: self.hash,
            uri: Uri::from_parts(parts).map_err(|_| invalid())?,
        })))
    }
}

/// The port of an authority, if it consists of digits and is a number of 16 bits. `http` also
/// accepts a sign, which a port cannot have ([RFC 3986, section
/// 3.2.3](https://www.rfc-editor.org/rfc/rfc3986#section-3.2.3)).
pub(crate) fn port_of(authority: &Authority) -> Option<u16> {
    let port = authority.port()?;
    let is_digits = port.as_str().bytes().all(|byte| byte.is_ascii_digit());
    is_digits.then(|| port.as_u16())
}

/// Whether digits or other characters follow the colon after the host. An empty port means the
/// default one ([RFC 3986, section 3.2.3](https://www.rfc-editor.org/rfc/rfc3986#section-3.2.3)).
fn has_port(authority: &str, host: &str) -> bool {
    authority
        .rfind('@')
        .and_then(|at| authority.get(at.saturating_add(1)..))
        .unwrap_or(authority)
        .strip_prefix(host)
        .is_some_and(|rest| rest.len() > 1)
}

/// Whether an authority is only this host and a port without leading zeros.
fn is_plain(authority: &str, host: &str) -> bool {
    let port = authority
        .strip_prefix(host)
        .and_then(|rest| rest.strip_prefix(':'));
    port.is_some_and(|port| {
        !port.starts_with('0') && port.bytes().all(|byte| byte.is_ascii_digit())
    })
}
