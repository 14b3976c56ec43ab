//! Makes the target of a request, which differs with the protocol.

use std::mem;

use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Uri, Version,
    header::{
        CONNECTION, CONTENT_LENGTH, EXPECT, HOST, PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING,
        UPGRADE,
    },
    uri::{Authority, PathAndQuery},
};

use crate::{config::RequestOptions, connector::ViaProxy, origin::Origin};

/// Headers about the connection, which HTTP/2 does not have ([RFC 9113, section
/// 8.2.2](https://www.rfc-editor.org/rfc/rfc9113#section-8.2.2)).
static OF_CONNECTION: [HeaderName; 6] = [
    PROXY_AUTHORIZATION,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("http2-settings"),
];

/// Which of the headers that a session reads a request has. One pass over the names costs less than
/// the look-up of one, which hashes it.
#[derive(Clone, Copy, Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is about another header"
)]
pub(crate) struct HeaderFlags {
    pub(crate) host: bool,
    pub(crate) upgrade: bool,
    pub(crate) te: bool,
    /// `Content-Length`.
    pub(crate) length: bool,
    /// `Transfer-Encoding`.
    pub(crate) coding: bool,
    pub(crate) expect: bool,
    pub(crate) proxy_authorization: bool,
    /// Any header that is about the connection, or may be.
    pub(crate) of_connection: bool,
    /// The options that the request has for the session.
    pub(crate) options: RequestOptions,
}

impl HeaderFlags {
    #[inline]
    pub(crate) fn of<B>(request: &Request<B>) -> Self {
        let headers = request.headers();
        let mut flags = Self {
            options: RequestOptions::of(request.extensions()),
            ..Self::default()
        };
        if headers.is_empty() {
            return flags;
        }
        for name in headers.keys() {
            flags.host |= *name == HOST;
            flags.upgrade |= *name == UPGRADE;
            flags.length |= *name == CONTENT_LENGTH;
            flags.coding |= *name == TRANSFER_ENCODING;
            flags.expect |= *name == EXPECT;
            flags.proxy_authorization |= *name == PROXY_AUTHORIZATION;
            flags.te |= *name == TE;
            flags.of_connection |= *name == CONNECTION || OF_CONNECTION.contains(name);
        }
        flags.of_connection |= flags.te;
        flags
    }

    /// Notes a `Transfer-Encoding` that was added.
    pub(crate) fn adds_coding(&mut self) {
        self.coding = true;
        self.of_connection = true;
    }
}

/// Makes a request for HTTP/1: with `Host`, and in origin-form ([RFC 9112, section
/// 3.2](https://www.rfc-editor.org/rfc/rfc9112#section-3.2)), or in absolute-form for a proxy.
pub(crate) fn for_http1<B>(
    request: &mut Request<B>,
    flags: HeaderFlags,
    origin: &Origin,
    via_proxy: Option<&ViaProxy>,
) {
    let mut has_host = flags.host;
    if request.version() == Version::HTTP_2 {
        // It was made for HTTP/2 and handed back: its authority is in the URI.
        let named = request.uri().authority().map(Authority::as_str);
        if let Some(named) = named.and_then(|named| HeaderValue::try_from(named).ok()) {
            request.headers_mut().insert(HOST, named);
            has_host = true;
        }
    }
    *request.version_mut() = Version::HTTP_11;
    if !has_host {
        let host = origin.authority().clone();
        request.headers_mut().insert(HOST, host);
    }
    if flags.te {
        name_option(request.headers_mut(), "te");
    }
    if flags.upgrade {
        name_option(request.headers_mut(), "upgrade");
    }
    match via_proxy {
        None => {
            if flags.proxy_authorization {
                // It is for a proxy, and must not reach the origin.
                request.headers_mut().remove(PROXY_AUTHORIZATION);
            }
            origin_form(request);
        }
        Some(via_proxy) => absolute_form(request, origin, via_proxy),
    }
}

/// Adds a field's name to `Connection`, if it is not there, so that no proxy passes the field on:
/// `TE` and `Upgrade` require it (RFC 9110, sections
/// [7.8](https://www.rfc-editor.org/rfc/rfc9110#section-7.8) and
/// [10.1.4](https://www.rfc-editor.org/rfc/rfc9110#section-10.1.4)).
#[cold]
fn name_option(headers: &mut HeaderMap, option: &'static str) {
    let is_named = headers.get_all(CONNECTION).iter().any(|value| {
        let mut options = value.as_bytes().split(|byte| *byte == b',');
        options.any(|it| it.trim_ascii().eq_ignore_ascii_case(option.as_bytes()))
    });
    if !is_named {
        headers.append(CONNECTION, HeaderValue::from_static(option));
    }
}

/// Reduces the URI to what an origin server is sent: path and query ([RFC 9112, section
/// 3.2.1](https://www.rfc-editor.org/rfc/rfc9112#section-3.2.1)).
fn origin_form<B>(request: &mut Request<B>) {
    // The URI is only a path now, or "/" where there was none.
    *request.uri_mut() = path(request.uri_mut()).map(Uri::from).unwrap_or_default();
}

/// Makes the URI absolute, as an HTTP proxy needs it ([RFC 9112, section
/// 3.2.2](https://www.rfc-editor.org/rfc/rfc9112#section-3.2.2)), and adds the credentials for the
/// proxy. Userinfo is no part of an origin, so it cannot get into the URI.
fn absolute_form<B>(request: &mut Request<B>, origin: &Origin, via_proxy: &ViaProxy) {
    let mut parts = origin.uri().clone().into_parts();
    // `OPTIONS *` would be a URI without a path here (RFC 9112, section 3.2.4), which `Uri` cannot
    // write; an asterisk would become part of the host.
    let path = path(request.uri_mut()).filter(|path| path.as_str() != "*");
    parts.path_and_query = path.or(parts.path_and_query);
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
    if let Some(authorization) = &via_proxy.authorization {
        request
            .headers_mut()
            .insert(PROXY_AUTHORIZATION, authorization.clone());
    }
}

/// Makes a request for HTTP/2: with scheme and authority, and without headers about the connection.
/// A `Host` of the request becomes the authority ([RFC 9113, section
/// 8.3.1](https://www.rfc-editor.org/rfc/rfc9113#section-8.3.1)).
pub(crate) fn for_http2<B>(request: &mut Request<B>, flags: HeaderFlags, origin: &Origin) {
    // It was made for HTTP/2 before, and handed back.
    let is_made = request.version() == Version::HTTP_2;
    *request.version_mut() = Version::HTTP_2;
    if flags.host || is_made || !is_named_as(request.uri(), origin) {
        let named = if is_made {
            request.uri().authority().cloned()
        } else {
            let host = request.headers_mut().remove(HOST);
            host.and_then(|host| Authority::try_from(host.as_bytes()).ok())
        };
        name_for_http2(request, named, origin);
    }
    if flags.of_connection {
        drop_those_of_the_connection(request.headers_mut());
    }
}

/// Whether HTTP/2 can send a URI as it is: it has the authority as the origin spells it, and a
/// path.
fn is_named_as(uri: &Uri, origin: &Origin) -> bool {
    uri.authority()
        .is_some_and(|named| *origin.authority() == *named.as_str())
        && uri.path_and_query().is_some_and(is_path)
}

/// Whether it begins with a path, or is the asterisk of an `OPTIONS` request. A query alone is no
/// path.
fn is_path(path: &PathAndQuery) -> bool {
    let path = path.as_str();
    path.starts_with('/') || path == "*"
}

/// Gives a request the URI that HTTP/2 sends: with the authority that it was `named` by, or else with
/// that of its origin.
fn name_for_http2<B>(request: &mut Request<B>, named: Option<Authority>, origin: &Origin) {
    // `:authority` must not have userinfo.
    let named = named.filter(|named| !named.as_str().contains('@'));
    let mut parts = origin.uri().clone().into_parts();
    if let Some(named) = named {
        parts.authority = Some(named);
    }
    let path = path(request.uri_mut());
    parts.path_and_query = match path {
        Some(path) if is_path(&path) => Some(path),
        // A query alone gets the path "/".
        Some(path) => PathAndQuery::try_from(format!("/{}", path.as_str())).ok(),
        None => parts.path_and_query,
    };
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
}

fn drop_those_of_the_connection(headers: &mut HeaderMap) {
    let options: Vec<_> = headers.get_all(CONNECTION).iter().cloned().collect();
    headers.remove(CONNECTION);
    for named in &options {
        for name in named.to_str().unwrap_or_default().split(',') {
            // HTTP/2 may have `TE` without that; which of its values may be sent is decided below.
            if !name.trim().eq_ignore_ascii_case(TE.as_str()) {
                headers.remove(name.trim());
            }
        }
    }
    for name in &OF_CONNECTION {
        headers.remove(name);
    }
    if headers.get_all(TE).iter().any(|te| te != "trailers") {
        headers.remove(TE);
    }
}

#[inline]
fn path(uri: &mut Uri) -> Option<PathAndQuery> {
    mem::take(uri).into_parts().path_and_query
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origin::RawOrigin;

    fn both_ways(uri: &'static str) -> (String, String) {
        let mut request = Request::get(uri).body(()).unwrap();
        let origin = RawOrigin::of(request.uri())
            .unwrap()
            .read()
            .unwrap()
            .to_origin()
            .unwrap();
        origin_form(&mut request);
        let short = request.uri().to_string();
        absolute_form(&mut request, &origin, &ViaProxy::default());
        (short, request.uri().to_string())
    }

    #[test]
    fn a_target_is_cut_short_for_an_origin_and_whole_for_a_proxy() {
        for (uri, short, whole) in [
            ("http://a/b?c=d", "/b?c=d", "http://a/b?c=d"),
            ("http://A:80", "/", "http://a/"),
            ("http://a:81/b", "/b", "http://a:81/b"),
            ("http://[::1]:81/b", "/b", "http://[::1]:81/b"),
            ("http://u:p@a/b", "/b", "http://a/b"),
            ("http://a?b", "/?b", "http://a/?b"),
        ] {
            assert_eq!(
                both_ways(uri),
                (short.to_owned(), whole.to_owned()),
                "{uri}"
            );
        }
    }

    #[test]
    fn over_http2_a_query_without_a_path_gets_one() {
        for (uri, sent) in [
            ("https://a?b", "https://a/?b"),
            ("https://a", "https://a/"),
            ("https://a/b?c", "https://a/b?c"),
            ("https://A:443/b", "https://a/b"),
            ("https://u:p@a/b", "https://a/b"),
        ] {
            let mut request = Request::get(uri).body(()).unwrap();
            let origin = RawOrigin::of(request.uri()).unwrap().read().unwrap();
            let origin = origin.to_origin().unwrap();
            for_http2(&mut request, HeaderFlags::default(), &origin);
            let path = request.uri().path_and_query().unwrap().as_str();
            assert!(path.starts_with('/'), "{uri}: {path}");
            assert_eq!(request.uri().to_string(), sent);
        }
    }

    #[test]
    fn a_request_about_the_server_as_a_whole_has_an_asterisk_for_its_path() {
        let uri = Uri::builder().scheme("https").authority("a");
        let uri = uri.path_and_query("*").build().unwrap();
        let origin = RawOrigin::of(&uri).unwrap().read().unwrap();
        let origin = origin.to_origin().unwrap();
        let mut request = Request::options(uri.clone()).body(()).unwrap();
        for_http2(&mut request, HeaderFlags::default(), &origin);
        assert_eq!(request.uri().path(), "*");
        let mut request = Request::options(uri).body(()).unwrap();
        origin_form(&mut request);
        assert_eq!(request.uri().path(), "*");
        absolute_form(&mut request, &origin, &ViaProxy::default());
        assert_eq!(request.uri(), "https://a/");
    }

    #[test]
    fn a_proxy_is_told_its_credentials_in_place_of_any_others() {
        let mut request = Request::get("http://a/")
            .header(PROXY_AUTHORIZATION, "other")
            .body(())
            .unwrap();
        let origin = RawOrigin::of(request.uri())
            .unwrap()
            .read()
            .unwrap()
            .to_origin()
            .unwrap();
        let authorization = Some(HeaderValue::from_static("ours"));
        absolute_form(&mut request, &origin, &ViaProxy { authorization });
        let told: Vec<_> = request
            .headers()
            .get_all(PROXY_AUTHORIZATION)
            .iter()
            .collect();
        assert_eq!(told, ["ours"]);
    }
}
