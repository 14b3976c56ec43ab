//! What of a request goes along when it is redirected.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{
        AUTHORIZATION, COOKIE, EXPECT, HOST, LAST_MODIFIED, PROXY_AUTHORIZATION, TRAILER,
        TRANSFER_ENCODING,
    },
};

use super::policy::Redirects;
use crate::observe;

/// What describes a body, beside the names that begin with `content-`.
const OF_BODY: [HeaderName; 6] = [
    EXPECT,
    LAST_MODIFIED,
    TRAILER,
    TRANSFER_ENCODING,
    HeaderName::from_static("digest"),
    HeaderName::from_static("repr-digest"),
];

/// Drops what described a body that does not go along
/// ([RFC 9110, section 15.4](https://www.rfc-editor.org/rfc/rfc9110#section-15.4)).
pub(super) fn drop_those_of_the_body(headers: &mut HeaderMap) {
    let of_body =
        |name: &&HeaderName| name.as_str().starts_with("content-") || OF_BODY.contains(*name);
    let dropped: Vec<_> = headers.keys().filter(of_body).cloned().collect();
    for name in dropped {
        headers.remove(name);
    }
}

/// Drops what was meant for the origin that is left: all values of a name of which any is secret.
pub(super) fn leave_origin(headers: &mut HeaderMap, redirects: &Redirects) {
    let bound = |(name, value): (&HeaderName, &HeaderValue)| {
        let secret = value.is_sensitive()
            || [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION].contains(name)
            || observe::is_trace_context(name)
            || redirects.is_sensitive(name);
        (secret || name == HOST).then(|| name.clone())
    };
    let dropped: Vec<_> = headers.iter().filter_map(bound).collect();
    for name in dropped {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_described_the_body_goes_and_nothing_else() {
        let mut headers = HeaderMap::new();
        for name in [
            "content-type",
            "content-length",
            "content-disposition",
            "content-digest",
            "content-md5",
            "repr-digest",
            "digest",
            "last-modified",
            "expect",
            "accept",
            "x-content-type",
            "if-match",
        ] {
            headers.append(name, HeaderValue::from_static("x"));
        }
        drop_those_of_the_body(&mut headers);
        let mut kept: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        kept.sort_unstable();
        assert_eq!(kept, ["accept", "if-match", "x-content-type"]);
    }

    #[test]
    fn all_values_of_a_name_go_if_one_of_them_is_secret() {
        let mut headers = HeaderMap::new();
        let mut secret = HeaderValue::from_static("secret");
        secret.set_sensitive(true);
        headers.append("x-token", HeaderValue::from_static("plain"));
        headers.append("x-token", secret);
        headers.append("cookie", HeaderValue::from_static("a=1"));
        headers.append("cookie", HeaderValue::from_static("b=2"));
        headers.append("X-API-Key", HeaderValue::from_static("key"));
        for name in [
            "private-token",
            "x-amz-security-token",
            "cookie2",
            "traceparent",
            "tracestate",
            "baggage",
        ] {
            headers.append(name, HeaderValue::from_static("key"));
        }
        headers.append("accept", HeaderValue::from_static("*/*"));
        leave_origin(&mut headers, &Redirects::default());
        assert_eq!(headers.len(), 1);
        assert!(headers.contains_key("accept"));
    }
}
