//! Headers that record the gateways of a message: `Forwarded` ([RFC
//! 7239](https://www.rfc-editor.org/rfc/rfc7239)), the older `X-Forwarded-*`, and `Via` ([RFC 9110,
//! section 7.6.3](https://www.rfc-editor.org/rfc/rfc9110#section-7.6.3)).

use std::{fmt, net::IpAddr};

use http::{HeaderMap, HeaderName, HeaderValue, Version, header, uri::Scheme};

use super::headers::extend_list;

const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// How the gateway received a request.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) peer: Option<IpAddr>,
    pub(super) scheme: Scheme,
    /// The host in the request.
    pub(super) host: Option<HeaderValue>,
}

impl Received {
    /// Adds an element to `Forwarded`.
    pub(super) fn add_forwarded(&self, headers: &mut HeaderMap) {
        let peer = match self.peer {
            None => "unknown".to_owned(),
            Some(IpAddr::V4(address)) => address.to_string(),
            Some(IpAddr::V6(address)) => format!("\"[{address}]\""),
        };
        // A host has to be text.
        let host = match self.host.as_ref().map(HeaderValue::to_str) {
            Some(Ok(host)) => format!(";host={}", Value(host)),
            Some(Err(_)) | None => String::new(),
        };
        let element = format!("for={peer}{host};proto={}", self.scheme);
        extend_list(headers, header::FORWARDED, &element);
    }

    /// Adds the peer to `X-Forwarded-For`, and sets host and scheme unless a gateway before this
    /// one has set them.
    pub(super) fn add_x_forwarded(&self, headers: &mut HeaderMap) {
        let peer = self.peer.map_or("unknown".to_owned(), |it| it.to_string());
        extend_list(headers, FORWARDED_FOR, &peer);
        if let Some(host) = &self.host {
            headers.entry(FORWARDED_HOST).or_insert(host.clone());
        }
        if let Ok(scheme) = HeaderValue::from_str(self.scheme.as_str()) {
            headers.entry(FORWARDED_PROTO).or_insert(scheme);
        }
    }
}

/// Removes these headers of a request, whose sender may have made them up.
pub(super) fn forget(headers: &mut HeaderMap) {
    let said: Vec<_> = headers
        .keys()
        .filter(|name| **name == header::FORWARDED || name.as_str().starts_with("x-forwarded-"))
        .cloned()
        .collect();
    for name in said {
        headers.remove(name);
    }
}

/// Adds this gateway to the `Via` of a message of this version.
pub(super) fn add_via(headers: &mut HeaderMap, version: Version, pseudonym: &str) {
    let version = match version {
        Version::HTTP_09 => "0.9",
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        Version::HTTP_3 => "3",
        _ => "1.1",
    };
    extend_list(headers, header::VIA, &format!("{version} {pseudonym}"));
}

/// Whether `Via` may name a gateway so: by a token, or a host with its port.
pub(super) fn is_pseudonym(name: &str) -> bool {
    let is_part = |byte: u8| is_token(byte) || b":[]".contains(&byte);
    !name.is_empty() && name.bytes().all(is_part)
}

/// A parameter's value, quoted if it is not a token.
struct Value<'a>(&'a str);

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.0.is_empty() && self.0.bytes().all(is_token) {
            return f.write_str(self.0);
        }
        let escaped = self.0.replace('\\', "\\\\").replace('"', "\\\"");
        write!(f, "\"{escaped}\"")
    }
}

/// Whether a byte may stand in a token
/// ([RFC 9110, section 5.6.2](https://www.rfc-editor.org/rfc/rfc9110#section-5.6.2)).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(peer: Option<&str>, host: Option<&'static str>, scheme: Scheme) -> HeaderMap {
        let received = Received {
            peer: peer.map(|it| it.parse().unwrap()),
            scheme,
            host: host.map(HeaderValue::from_static),
        };
        let mut headers = HeaderMap::new();
        received.add_forwarded(&mut headers);
        received.add_x_forwarded(&mut headers);
        headers
    }

    #[test]
    fn an_element_is_quoted_where_it_has_to_be() {
        for (peer, host, scheme, element) in [
            (
                Some("192.0.2.60"),
                Some("example.com"),
                Scheme::HTTPS,
                "for=192.0.2.60;host=example.com;proto=https",
            ),
            (
                Some("2001:db8::17"),
                Some("example.com:8080"),
                Scheme::HTTP,
                "for=\"[2001:db8::17]\";host=\"example.com:8080\";proto=http",
            ),
            (None, None, Scheme::HTTP, "for=unknown;proto=http"),
            (
                None,
                Some("a\";for=x"),
                Scheme::HTTP,
                "for=unknown;host=\"a\\\";for=x\";proto=http",
            ),
        ] {
            assert_eq!(said(peer, host, scheme)["forwarded"], element);
        }
        let headers = said(Some("2001:db8::17"), Some("example.com:8080"), Scheme::HTTP);
        assert_eq!(headers["x-forwarded-for"], "2001:db8::17");
        assert_eq!(headers["x-forwarded-host"], "example.com:8080");
        assert_eq!(headers["x-forwarded-proto"], "http");
    }

    #[test]
    fn a_pseudonym_is_a_token_or_a_host() {
        for name in ["edge", "edge-1.example:8080", "[::1]:80"] {
            assert!(is_pseudonym(name), "{name}");
        }
        for name in ["", "a b", "a,b", "a\r\nb", "(a)"] {
            assert!(!is_pseudonym(name), "{name}");
        }
    }
}
