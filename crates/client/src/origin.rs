//! Compares the origins of two URIs: scheme, host and port ([RFC 9110, section
//! 4.3.1](https://www.rfc-editor.org/rfc/rfc9110#section-4.3.1)).

use http::Uri;

pub(crate) fn is_same(one: &Uri, other: &Uri) -> bool {
    let (Some(one_scheme), Some(other_scheme)) = (one.scheme(), other.scheme()) else {
        return false;
    };
    let (Some(one_host), Some(other_host)) = (one.host(), other.host()) else {
        return false;
    };
    one_scheme == other_scheme
        && port(one) == port(other)
        && one_host.eq_ignore_ascii_case(other_host)
}

/// The port, or the default port of the scheme.
pub(crate) fn port(uri: &Uri) -> u16 {
    let default = if is_secure(uri) { 443 } else { 80 };
    uri.port_u16().unwrap_or(default)
}

pub(crate) fn is_secure(uri: &Uri) -> bool {
    uri.scheme_str() == Some("https")
}

/// The origin as text, without userinfo.
pub(crate) fn display(uri: &Uri) -> Option<String> {
    let (scheme, host) = (uri.scheme_str()?, uri.host()?);
    Some(format!("{scheme}://{host}:{}", port(uri)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scheme_host_and_port_each_make_another_origin_and_nothing_else_does() {
        let one = Uri::from_static("http://a.example/x");
        for same in [
            "http://a.example",
            "http://A.Example:80/y?z",
            "HTTP://a.example/",
            "http://u:p@a.example/",
        ] {
            assert!(is_same(&one, &Uri::from_static(same)), "{same}");
        }
        for other in [
            "https://a.example/",
            "http://a.example:81/",
            "http://b.example/",
            "http://a.example./",
            "http://a.example:443/",
            "https://a.example:80/",
            "/x",
        ] {
            assert!(!is_same(&one, &Uri::from_static(other)), "{other}");
        }
    }
}
