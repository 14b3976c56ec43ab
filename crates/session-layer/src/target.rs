//! How a request names what it is for, which differs with the protocol.

use std::mem;

use http::{
    HeaderName, Request, Uri, Version,
    header::{CONNECTION, HOST, TE, TRANSFER_ENCODING, UPGRADE},
    uri::{self, Authority, PathAndQuery},
};

use crate::origin::Origin;

/// Headers about the connection, which HTTP/2 has no place for
/// ([RFC 9113, section 8.2.2](https://www.rfc-editor.org/rfc/rfc9113#section-8.2.2)).
const OF_CONNECTION: [HeaderName; 5] = [
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("http2-settings"),
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Origin-form, and with `Host`
/// ([RFC 9112, section 3.2](https://www.rfc-editor.org/rfc/rfc9112#section-3.2)).
pub(crate) fn for_http1<B>(request: &mut Request<B>, origin: &Origin) {
    *request.version_mut() = Version::HTTP_11;
    if !request.headers().contains_key(HOST) {
        let host = origin.authority().clone();
        request.headers_mut().insert(HOST, host);
    }
    let mut parts = uri::Parts::default();
    parts.path_and_query = path(request.uri_mut());
    // Only an absolute path is left, or none, which stands for "/".
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
}

/// With scheme and authority, and without what is about the connection. A `Host` of the request
/// becomes the authority
/// ([RFC 9113, section 8.3.1](https://www.rfc-editor.org/rfc/rfc9113#section-8.3.1)).
pub(crate) fn for_http2<B>(request: &mut Request<B>, origin: &Origin) {
    *request.version_mut() = Version::HTTP_2;
    let named = request.headers_mut().remove(HOST);
    let named = named.and_then(|host| Authority::try_from(host.as_bytes()).ok());
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
    while let Some(named) = headers.remove(CONNECTION) {
        for name in named.to_str().unwrap_or_default().split(',') {
            headers.remove(name.trim());
        }
    }
    for name in OF_CONNECTION {
        headers.remove(name);
    }
    if headers.get(TE).is_some_and(|te| te != "trailers") {
        headers.remove(TE);
    }
}

fn path(uri: &mut Uri) -> Option<PathAndQuery> {
    mem::take(uri).into_parts().path_and_query
}
