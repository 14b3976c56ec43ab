//! The target of a request: resolves the URL that a caller gave to an absolute URI that can be
//! sent.

mod base;
mod into_url;
mod plain;
mod refused;
#[cfg(test)]
mod tests;

use http::{
    Uri,
    uri::{self, Authority, Scheme},
};
use percent_encoding::{CONTROLS, percent_decode_str, utf8_percent_encode};
use url::Url;

pub(crate) use self::base::Base;
pub use self::into_url::IntoUrl;
use self::{
    into_url::sealed,
    plain::is_plain,
    refused::{invalid, not_http, relative, without_scheme},
};
use crate::Error;

/// An absolute URI without userinfo, and the userinfo that it had.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) uri: Uri,
    pub(crate) credentials: Option<Credentials>,
}

/// User and password of a URL, percent-decoded: bytes, which need not be UTF-8. `Debug` does not
/// show them.
pub(crate) struct Credentials {
    pub(crate) user: Vec<u8>,
    pub(crate) password: Vec<u8>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials(..)")
    }
}

pub(crate) fn resolve(url: impl IntoUrl, base: Option<&Base>) -> Result<Target, Error> {
    match url.asked() {
        sealed::Asked::Text(text) => resolve_text(&text, base),
        sealed::Asked::Uri(uri) => resolve_uri(uri, base),
    }
}

/// Whether a URI can be sent unchanged, as most can: absolute, without userinfo or a plus sign in
/// its authority, and with a path of ASCII.
#[inline]
pub(crate) fn is_sendable(uri: &Uri) -> bool {
    let scheme = uri.scheme();
    let is_http = scheme == Some(&Scheme::HTTP) || scheme == Some(&Scheme::HTTPS);
    // A fold instead of a search that ends at the first match, so that the compiler compares
    // several bytes at once.
    let needs_a_look = |authority: &Authority| {
        let bytes = authority.as_str().as_bytes().iter();
        bytes.fold(0, |found, byte| {
            found | u8::from(matches!(byte, b'@' | b'+'))
        }) != 0
    };
    is_http
        && uri.authority().is_some_and(|it| !needs_a_look(it))
        && uri.path_and_query().is_some_and(|it| is_path(it.as_str()))
}

/// The path that means the server as a whole ([RFC 9112, section
/// 3.2.4](https://www.rfc-editor.org/rfc/rfc9112#section-3.2.4)).
const ASTERISK: &str = "*";

pub(crate) fn is_asterisk(uri: &Uri) -> bool {
    uri.path_and_query()
        .is_some_and(|it| it.as_str() == ASTERISK)
}

/// The same URI with the server as a whole as its target.
pub(crate) fn to_asterisk(uri: Uri) -> Result<Uri, Error> {
    let mut parts = uri.into_parts();
    parts.path_and_query = Some(uri::PathAndQuery::from_static(ASTERISK));
    Uri::from_parts(parts).map_err(|error| Error::builder("the URL is not valid").with(error))
}

fn is_path(text: &str) -> bool {
    text.starts_with('/') && text.is_ascii()
}

fn resolve_text(text: &str, base: Option<&Base>) -> Result<Target, Error> {
    // Most URLs need nothing of what `Url` does, which costs many times as much.
    if is_plain(text) {
        if let Ok(uri) = text.parse() {
            return Ok(Target {
                uri,
                credentials: None,
            });
        }
    }
    let url = match Url::parse(text) {
        Ok(url) => url,
        Err(url::ParseError::RelativeUrlWithoutBase) => match base {
            Some(base) => base.join(text)?,
            None => return Err(without_scheme(text).unwrap_or_else(relative)),
        },
        Err(error) => return Err(invalid(error)),
    };
    if !matches!(url.scheme(), "http" | "https") {
        // `Url` reads a host and its port as a scheme and a path.
        return Err(without_scheme(text).unwrap_or_else(|| not_http(url.scheme())));
    }
    from_url(&url)
}

fn resolve_uri(uri: Uri, base: Option<&Base>) -> Result<Target, Error> {
    if is_sendable(&uri) {
        return Ok(Target {
            uri,
            credentials: None,
        });
    }
    if uri.scheme().is_none() {
        return match base {
            Some(base) => base.with_path(&uri),
            None => Err(relative()),
        };
    }
    check_scheme(&uri)?;
    check_port(&uri)?;
    if uri.authority().is_some_and(|it| it.as_str().contains('@')) {
        return resolve_text(&uri.to_string(), None);
    }
    Ok(Target {
        uri: sendable(uri)?,
        credentials: None,
    })
}

/// Makes the path and query valid in a request. A `Uri` may lack the path, which then means a
/// slash, and may have characters that are not ASCII, which are escaped.
fn sendable(uri: Uri) -> Result<Uri, Error> {
    let text = uri.path_and_query().map_or("/", uri::PathAndQuery::as_str);
    if is_path(text) || text == ASTERISK {
        return Ok(uri);
    }
    let slash = if text.starts_with('/') { "" } else { "/" };
    let text = format!("{slash}{}", utf8_percent_encode(text, CONTROLS));
    let mut parts = uri.into_parts();
    let invalid = "the URL is too long";
    parts.path_and_query = Some(
        text.try_into()
            .map_err(|error: uri::InvalidUri| Error::builder(invalid).with(error))?,
    );
    Uri::from_parts(parts).map_err(|error| Error::builder(invalid).with(error))
}

pub(crate) fn from_url(url: &Url) -> Result<Target, Error> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(not_http(url.scheme()));
    }
    let Some(host) = url.host_str().filter(|host| !host.is_empty()) else {
        return Err(Error::builder("the URL has no host"));
    };
    let authority = match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    };
    let path_and_query = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    let uri = uri::Builder::new()
        .scheme(url.scheme())
        .authority(authority)
        .path_and_query(path_and_query)
        .build()
        .map_err(|error| Error::builder("the URL is not valid").with(error))?;
    let credentials = (!url.username().is_empty() || url.password().is_some()).then(|| {
        let decode = |text| percent_decode_str(text).collect();
        Credentials {
            user: decode(url.username()),
            password: decode(url.password().unwrap_or_default()),
        }
    });
    Ok(Target { uri, credentials })
}

fn check_scheme(uri: &Uri) -> Result<(), Error> {
    match uri.scheme_str() {
        Some("http" | "https") => Ok(()),
        Some(other) => Err(not_http(other)),
        None => Err(relative()),
    }
}

/// Refuses a sign before the digits of a port, which `Uri` accepts ([RFC 3986, section
/// 3.2.3](https://www.rfc-editor.org/rfc/rfc3986#section-3.2.3)).
fn check_port(uri: &Uri) -> Result<(), Error> {
    let is_digits = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    match uri.port() {
        Some(port) if !is_digits(port.as_str()) => Err(invalid(url::ParseError::InvalidPort)),
        Some(_) | None => Ok(()),
    }
}
