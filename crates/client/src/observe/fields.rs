use http::{Method, Request, StatusCode, Uri, Version};
use retry_layer::{Attempt, Resumption};
use tracing::Span;

use super::{Paths, SentBefore, UrlTemplate};
use crate::error::is_failed;

/// The `error.type` of a call or an attempt that was dropped before its end.
pub(super) const CANCELLED: &str = "cancelled";

pub(super) fn template<B>(request: &Request<B>) -> Option<&str> {
    request.extensions().get().map(UrlTemplate::as_str)
}

/// Stands for methods that are not registered.
pub(super) const OTHER: &str = "_OTHER";

/// Records the status of a response. With a client's or a server's error the span has failed.
pub(super) fn record_status(span: &Span, status: StatusCode) {
    span.record("http.response.status_code", i64::from(status.as_u16()));
    if is_failed(status) {
        record_error(span, status.as_str());
    }
}

pub(super) fn record_error(span: &Span, error_type: &str) {
    span.record("error.type", error_type);
    span.record("otel.status_code", "ERROR");
}

/// The method, or `_OTHER` if it is not registered: methods that a caller makes up must not each
/// become a series.
pub(super) fn method(method: &Method) -> &'static str {
    const KNOWN: [&str; 10] = [
        "CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE",
    ];
    let known = KNOWN.into_iter().find(|known| *known == method.as_str());
    known.unwrap_or(OTHER)
}

/// The URL without userinfo, with `REDACTED` for its query, and for its path unless paths are
/// recorded.
pub(super) fn url(uri: &Uri, paths: Paths) -> String {
    let scheme = uri.scheme_str().unwrap_or("http");
    let host = uri.host().unwrap_or_default();
    let port = uri.port().map_or(String::new(), |port| format!(":{port}"));
    let query = if uri.query().is_some() {
        "?REDACTED"
    } else {
        ""
    };
    let path = match uri.path() {
        // `*` means the server as a whole.
        "*" => "",
        path @ ("" | "/") => path,
        path if paths == Paths::Recorded => path,
        _ => "/REDACTED",
    };
    format!("{scheme}://{host}{port}{path}{query}")
}

/// The host; an IPv6 address without its brackets.
pub(super) fn address(uri: &Uri) -> &str {
    bare(uri.host().unwrap_or_default())
}

/// A host without the brackets of an IPv6 address.
pub(super) fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

/// How often the call had sent a request before this one, for any reason.
pub(super) fn resends<B>(request: &Request<B>) -> u32 {
    let extensions = request.extensions();
    let before = extensions.get::<SentBefore>().map_or(0, |before| before.0);
    let again = extensions.get::<Attempt>().map_or(0, |attempt| {
        let sent = attempt
            .number()
            .saturating_add(attempt.transparent_retries());
        // Attempts that are counted already.
        let earlier = extensions.get().map_or(0, Resumption::attempts);
        sent.saturating_sub(1).saturating_sub(earlier)
    });
    before.saturating_add(again)
}

pub(super) fn version(version: Version) -> Option<&'static str> {
    match version {
        Version::HTTP_10 => Some("1.0"),
        Version::HTTP_11 => Some("1.1"),
        Version::HTTP_2 => Some("2"),
        Version::HTTP_3 => Some("3"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_userinfo_or_query_is_told_and_a_path_only_where_it_is_wanted() {
        let uri = Uri::from_static("https://user:secret@[::1]:8443/x/y?token=secret");
        let recorded = url(&uri, Paths::Recorded);
        assert_eq!(recorded, "https://[::1]:8443/x/y?REDACTED");
        let redacted = url(&uri, Paths::Redacted);
        assert_eq!(redacted, "https://[::1]:8443/REDACTED?REDACTED");
        assert_eq!(address(&uri), "::1");
        assert_eq!(
            url(&Uri::from_static("http://a.example"), Paths::Redacted),
            "http://a.example/"
        );
    }

    #[test]
    fn an_unregistered_method_is_another() {
        assert_eq!(method(&Method::PUT), "PUT");
        assert_eq!(method(&Method::from_bytes(b"BREW").unwrap()), "_OTHER");
        assert_eq!(method(&Method::from_bytes(b"get").unwrap()), "_OTHER");
    }
}
