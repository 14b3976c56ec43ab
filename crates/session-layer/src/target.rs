//! The request target, as the next hop has to read it.

use std::mem;

use http::{Request, Uri, header::PROXY_AUTHORIZATION, uri};

use crate::{connect::ViaProxy, origin::Origin};

/// Leaves of the URI what an origin server is sent: path and query
/// ([RFC 9112, section 3.2.1](https://www.rfc-editor.org/rfc/rfc9112#section-3.2.1)).
pub(crate) fn origin_form<B>(request: &mut Request<B>) {
    let uri = mem::take(request.uri_mut()).into_parts();
    let mut parts = uri::Parts::default();
    parts.path_and_query = uri.path_and_query;
    // Only an absolute path is left, or none, which stands for "/".
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
}

/// Makes the URI whole again, as an HTTP proxy wants it
/// ([RFC 9112, section 3.2.2](https://www.rfc-editor.org/rfc/rfc9112#section-3.2.2)), and adds what
/// is for the proxy alone. Userinfo is not part of an origin, so none can come back.
pub(crate) fn absolute_form<B>(request: &mut Request<B>, origin: &Origin, via_proxy: &ViaProxy) {
    let mut parts = origin.uri().clone().into_parts();
    let path = mem::take(request.uri_mut()).into_parts().path_and_query;
    parts.path_and_query = path.or(parts.path_and_query);
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
    if let Some(authorization) = &via_proxy.authorization {
        request
            .headers_mut()
            .insert(PROXY_AUTHORIZATION, authorization.clone());
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

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
