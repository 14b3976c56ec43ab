//! Hop-by-hop header fields ([RFC 9110, section
//! 7.6.1](https://www.rfc-editor.org/rfc/rfc9110#section-7.6.1)).

use std::time::SystemTime;

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{
        CONNECTION, COOKIE, DATE, Entry, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE,
        TRANSFER_ENCODING, UPGRADE,
    },
};

/// Fields for one connection, or for the next proxy alone, whether `Connection` lists them or not.
/// `Trailer` is not one: it lists fields that are forwarded.
static OF_ONE_CONNECTION: [HeaderName; 10] = [
    CONNECTION,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("http2-settings"),
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-authentication-info"),
    HeaderName::from_static("proxy-connection"),
];

/// Removes the hop-by-hop fields.
pub(super) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<_> = members(headers, &CONNECTION)
        .filter_map(|name| HeaderName::from_bytes(name).ok())
        .collect();
    for name in named.iter().chain(&OF_ONE_CONNECTION) {
        headers.remove(name);
    }
}

/// Whether a body has no transfer coding, or only `chunked`.
pub(super) fn is_coded_plainly(headers: &HeaderMap) -> bool {
    members(headers, &TRANSFER_ENCODING)
        .enumerate()
        .all(|(index, coding)| index == 0 && coding.eq_ignore_ascii_case(b"chunked"))
}

/// Joins the cookies of several lines, into which HTTP/2 may have split them, on one line, as
/// HTTP/1 requires ([RFC 9113, section
/// 8.2.3](https://www.rfc-editor.org/rfc/rfc9113#section-8.2.3)).
pub(super) fn join_cookies(headers: &mut HeaderMap) {
    let lines: Vec<_> = headers.get_all(COOKIE).iter().collect();
    if lines.len() < 2 {
        return;
    }
    let is_sensitive = lines.iter().any(|line| line.is_sensitive());
    let pairs = lines.iter().map(|line| line.as_bytes());
    let pairs: Vec<_> = pairs.filter(|pair| !pair.is_empty()).collect();
    if let Ok(mut joined) = HeaderValue::from_bytes(&pairs.join(&b"; "[..])) {
        joined.set_sensitive(is_sensitive);
        headers.insert(COOKIE, joined);
    }
}

/// The protocols that one side offers or has chosen.
pub(super) fn upgrade(headers: &HeaderMap) -> Vec<HeaderValue> {
    if !has_member(headers, &CONNECTION, "upgrade") {
        return Vec::new();
    }
    headers.get_all(UPGRADE).iter().cloned().collect()
}

/// Writes these protocols for the next connection.
pub(super) fn set_upgrade(headers: &mut HeaderMap, protocols: Vec<HeaderValue>) {
    if protocols.is_empty() {
        return;
    }
    headers.append(CONNECTION, HeaderValue::from_static("upgrade"));
    for protocol in protocols {
        headers.append(UPGRADE, protocol);
    }
}

/// Whether the caller accepts trailers.
pub(super) fn takes_trailers(headers: &HeaderMap) -> bool {
    has_member(headers, &TE, "trailers")
}

/// Announces to the next server that trailers are accepted, as RFC 9110, section 10.1.4, requires.
pub(super) fn take_trailers(headers: &mut HeaderMap) {
    headers.append(CONNECTION, HeaderValue::from_static("te"));
    headers.insert(TE, HeaderValue::from_static("trailers"));
}

/// Adds `Date` to a response without it: the time at which it came ([RFC 9110, section
/// 6.6.1](https://www.rfc-editor.org/rfc/rfc9110#section-6.6.1)).
pub(super) fn set_date(headers: &mut HeaderMap, came: SystemTime) {
    if let Entry::Vacant(vacant) = headers.entry(DATE) {
        if let Ok(date) = HeaderValue::try_from(httpdate::fmt_http_date(came)) {
            vacant.insert(date);
        }
    }
}

fn has_member(headers: &HeaderMap, name: &HeaderName, wanted: &str) -> bool {
    members(headers, name).any(|member| member.eq_ignore_ascii_case(wanted.as_bytes()))
}

/// The members of a list, on all its lines.
fn members<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    headers
        .get_all(name)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
}

/// Adds a member to a list, and joins the list on one line, because some readers read only the
/// first.
pub(super) fn extend_list(headers: &mut HeaderMap, name: HeaderName, member: &str) {
    let mut list = Vec::new();
    for line in headers.get_all(&name) {
        list.extend_from_slice(line.as_bytes());
        list.extend_from_slice(b", ");
    }
    list.extend_from_slice(member.as_bytes());
    if let Ok(value) = HeaderValue::from_bytes(&list) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn what_connection_names_on_any_line_in_any_spelling_is_removed() {
        let mut map = headers(&[
            ("connection", "X-One,  close , ,x-two"),
            ("connection", "\"x-three\", X-FOUR"),
            ("x-one", "1"),
            ("x-two", "2"),
            ("x-two", "2 again"),
            ("x-four", "4"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("transfer-encoding", "chunked"),
            ("trailer", "x-checksum"),
            ("x-five", "5"),
        ]);
        remove_hop_by_hop(&mut map);
        let left: Vec<_> = map.keys().map(HeaderName::as_str).collect();
        assert_eq!(left, ["trailer", "x-five"]);
    }

    #[test]
    fn an_upgrade_counts_only_if_connection_names_it() {
        assert!(upgrade(&headers(&[("upgrade", "h2c")])).is_empty());
        let map = headers(&[
            ("upgrade", "a"),
            ("upgrade", "b"),
            ("connection", "x, Upgrade"),
        ]);
        assert_eq!(upgrade(&map), ["a", "b"]);
    }

    #[test]
    fn a_list_is_extended_in_order_on_one_line() {
        let mut map = headers(&[("x-forwarded-for", "a, b"), ("x-forwarded-for", "c")]);
        extend_list(&mut map, HeaderName::from_static("x-forwarded-for"), "d");
        assert_eq!(
            map.get_all("x-forwarded-for").iter().collect::<Vec<_>>(),
            ["a, b, c, d"]
        );
    }
}
