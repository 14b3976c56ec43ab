//! How a request names what it is for, which differs with the protocol.

use std::mem;

use http::{
    HeaderName, HeaderValue, Request, Uri, Version,
    header::{CONNECTION, HOST, PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE},
    uri::{self, Authority, PathAndQuery},
};

use crate::{connect::ViaProxy, origin::Origin};

/// Headers about the connection, which HTTP/2 has no place for
/// ([RFC 9113, section 8.2.2](https://www.rfc-editor.org/rfc/rfc9113#section-8.2.2)).
const OF_CONNECTION: [HeaderName; 6] = [
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("http2-settings"),
    PROXY_AUTHORIZATION,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// With `Host`, and in origin-form
/// ([RFC 9112, section 3.2](https://www.rfc-editor.org/rfc/rfc9112#section-3.2)), or whole for a
/// proxy.
pub(crate) fn for_http1<B>(
    request: &mut Request<B>,
    origin: &Origin,
    via_proxy: Option<&ViaProxy>,
) {
    if request.version() == Version::HTTP_2 {
        // It was made for HTTP/2 before, and came back: what it named is in the URI.
        let named = request.uri().authority().map(Authority::as_str);
        let named = named.and_then(|named| HeaderValue::try_from(named).ok());
        request
            .headers_mut()
            .extend(named.map(|named| (HOST, named)));
    }
    *request.version_mut() = Version::HTTP_11;
    if !request.headers().contains_key(HOST) {
        let host = origin.authority().clone();
        request.headers_mut().insert(HOST, host);
    }
    match via_proxy {
        None => {
            // Meant for a proxy, and for nobody else.
            request.headers_mut().remove(PROXY_AUTHORIZATION);
            origin_form(request);
        }
        Some(via_proxy) => absolute_form(request, origin, via_proxy),
    }
}

/// Leaves of the URI what an origin server is sent: path and query
/// ([RFC 9112, section 3.2.1](https://www.rfc-editor.org/rfc/rfc9112#section-3.2.1)).
fn origin_form<B>(request: &mut Request<B>) {
    let mut parts = uri::Parts::default();
    parts.path_and_query = path(request.uri_mut());
    // Only an absolute path is left, or none, which stands for "/".
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
}

/// Makes the URI whole again, as an HTTP proxy wants it
/// ([RFC 9112, section 3.2.2](https://www.rfc-editor.org/rfc/rfc9112#section-3.2.2)), and adds what
/// is for the proxy alone. Userinfo is not part of an origin, so none can come back.
fn absolute_form<B>(request: &mut Request<B>, origin: &Origin, via_proxy: &ViaProxy) {
    let mut parts = origin.uri().clone().into_parts();
    parts.path_and_query = path(request.uri_mut()).or(parts.path_and_query);
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
    if let Some(authorization) = &via_proxy.authorization {
        request
            .headers_mut()
            .insert(PROXY_AUTHORIZATION, authorization.clone());
    }
}

/// With scheme and authority, and without what is about the connection. A `Host` of the request
/// becomes the authority
/// ([RFC 9113, section 8.3.1](https://www.rfc-editor.org/rfc/rfc9113#section-8.3.1)).
pub(crate) fn for_http2<B>(request: &mut Request<B>, origin: &Origin) {
    let named = if request.version() == Version::HTTP_2 {
        // It was made so before, and came back.
        request.uri().authority().cloned()
    } else {
        let named = request.headers_mut().remove(HOST);
        named.and_then(|host| Authority::try_from(host.as_bytes()).ok())
    };
    *request.version_mut() = Version::HTTP_2;
    // No userinfo, which an authority must not have here.
    let named = named.filter(|named| !named.as_str().contains('@'));
    let mut parts = origin.uri().clone().into_parts();
    if let Some(named) = named {
        parts.authority = Some(named);
    }
    parts.path_and_query = path(request.uri_mut()).or_else(|| Some(PathAndQuery::from_static("/")));
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();

    let headers = request.headers_mut();
    if headers.is_empty() {
        return;
    }
    let options: Vec<_> = headers.get_all(CONNECTION).iter().cloned().collect();
    headers.remove(CONNECTION);
    for named in &options {
        for name in named.to_str().unwrap_or_default().split(',') {
            headers.remove(name.trim());
        }
    }
    for name in OF_CONNECTION {
        headers.remove(name);
    }
    if headers.get_all(TE).iter().any(|te| te != "trailers") {
        headers.remove(TE);
    }
}

fn path(uri: &mut Uri) -> Option<PathAndQuery> {
    mem::take(uri).into_parts().path_and_query
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origin::OriginRef;

    fn both_ways(uri: &'static str) -> (String, String) {
        let mut request = Request::get(uri).body(()).unwrap();
        let origin = OriginRef::of(request.uri()).unwrap().to_origin().unwrap();
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
    fn a_proxy_is_told_its_credentials_in_place_of_any_others() {
        let mut request = Request::get("http://a/")
            .header(PROXY_AUTHORIZATION, "other")
            .body(())
            .unwrap();
        let origin = OriginRef::of(request.uri()).unwrap().to_origin().unwrap();
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
