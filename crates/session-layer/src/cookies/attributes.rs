//! Parses a `Set-Cookie` ([RFC 6265, section
//! 5.2](https://www.rfc-editor.org/rfc/rfc6265#section-5.2)).

use cookie_store::RawCookie;
use time::Duration;

use super::{date, error::Reason};

/// The most bytes of an attribute's value; a longer one is ignored (RFC 6265bis, section 5.6).
const MAX_VALUE: usize = 1024;

/// Reads a `Set-Cookie`. If an attribute is given twice, the last one counts.
///
/// The name and the value of the cookie are UTF-8. In an attribute, other bytes become U+FFFD: a
/// server may write the month of a date in its own charset.
pub(super) fn parse(line: &[u8]) -> Result<RawCookie<'static>, Reason> {
    let mut parts = line.split(|byte| *byte == b';');
    let pair = std::str::from_utf8(parts.next().unwrap_or_default()).map_err(|_| Reason::Bytes)?;
    let (name, value) = pair.split_once('=').ok_or(Reason::Syntax)?;
    let (name, value) = (trim(name), trim(value));
    if name.is_empty() {
        return Err(Reason::Syntax);
    }
    let mut cookie = RawCookie::new(name.to_owned(), value.to_owned());
    for part in parts {
        let part = String::from_utf8_lossy(part);
        // An attribute without `=` has an empty value.
        let (name, value) = part.split_once('=').unwrap_or((&part, ""));
        apply(&mut cookie, trim(name), trim(value));
    }
    Ok(cookie)
}

fn apply(cookie: &mut RawCookie<'static>, name: &str, value: &str) {
    if value.len() > MAX_VALUE {
        return;
    }
    if name.eq_ignore_ascii_case("expires") {
        if let Some(date) = date::parse(value) {
            cookie.set_expires(date);
        }
    } else if name.eq_ignore_ascii_case("max-age") {
        if let Some(age) = max_age(value) {
            cookie.set_max_age(age);
        }
    } else if name.eq_ignore_ascii_case("domain") {
        // An empty `Domain` cancels an earlier one: the cookie is host-only (RFC 6265bis).
        match value.strip_prefix('.').unwrap_or(value) {
            "" => cookie.unset_domain(),
            _ => cookie.set_domain(value.to_owned()),
        }
    } else if name.eq_ignore_ascii_case("path") {
        // A path that is empty, or does not begin with a slash, stands for the default path.
        if value.starts_with('/') {
            cookie.set_path(value.to_owned());
        } else {
            cookie.unset_path();
        }
    } else if name.eq_ignore_ascii_case("secure") {
        cookie.set_secure(true);
    } else if name.eq_ignore_ascii_case("httponly") {
        cookie.set_http_only(true);
    }
}

/// Reads an age in seconds; `None` if it is not a number, or empty. An age that is not positive
/// becomes zero, and one that is too large the greatest possible.
fn max_age(value: &str) -> Option<Duration> {
    let (digits, negative) = match value.strip_prefix('-') {
        Some(digits) => (digits, true),
        None => (value, false),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    if negative {
        return Some(Duration::ZERO);
    }
    // It has only digits, so the parser fails only if it is too large.
    Some(Duration::seconds(digits.parse().unwrap_or(i64::MAX)))
}

/// Removes the blanks that surround a name or a value.
fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(line: &str) -> RawCookie<'static> {
        parse(line.as_bytes()).expect("the test's cookie is valid")
    }

    #[test]
    fn of_an_attribute_given_twice_the_last_one_counts() {
        for (attributes, domain, path) in [
            ("Path=/a; Path=/b", None, Some("/b")),
            ("Path=/a; Path=", None, None),
            ("Path=/a; Path", None, None),
            ("Path=/a; Path=b", None, None),
            ("Path=; Path=/b", None, Some("/b")),
            ("Domain=a.test; Domain=b.test", Some("b.test"), None),
            ("Domain=a.test; Domain=", None, None),
            ("Domain=a.test; Domain", None, None),
            ("Domain=a.test; Domain=.", None, None),
            ("Domain=; Domain=b.test", Some("b.test"), None),
            (
                "domain = .a.test \t; PATH\t= /b ",
                Some("a.test"),
                Some("/b"),
            ),
            ("Domain=a.test; Path=\"/\"", Some("a.test"), None),
        ] {
            let cookie = read(&format!("a=1; {attributes}"));
            assert_eq!(
                (cookie.domain(), cookie.path()),
                (domain, path),
                "{attributes}"
            );
        }
    }

    #[test]
    fn an_age_is_digits_and_the_last_one_that_is_counts() {
        for (attributes, seconds) in [
            ("Max-Age=60", Some(60)),
            ("Max-Age=60; Max-Age=0", Some(0)),
            ("Max-Age=; Max-Age=0", Some(0)),
            ("Max-Age=0; Max-Age=", Some(0)),
            ("Max-Age=0; Max-Age", Some(0)),
            ("Max-Age=0; Max-Age=ten", Some(0)),
            ("max-age = 0060 ", Some(60)),
            ("Max-Age=-5", Some(0)),
            ("Max-Age=-99999999999999999999", Some(0)),
            ("Max-Age=99999999999999999999", Some(i64::MAX)),
            ("Max-Age=-", None),
            ("Max-Age=", None),
            ("Max-Age", None),
            ("Max-Age=+5", None),
            ("Max-Age=5.5", None),
            ("Max-Age=50,399", None),
            ("Max-Age=\"5\"", None),
            ("Max-Age=٣", None),
        ] {
            let age = read(&format!("a=1; {attributes}")).max_age();
            assert_eq!(age.map(Duration::whole_seconds), seconds, "{attributes}");
        }
    }

    #[test]
    fn a_date_that_is_none_does_not_take_back_one_that_came_before() {
        for attributes in [
            "Expires=Thu, 1 Jan 1970 0:00:00 GMT",
            "Expires=Thu, 1 Jan 1970 0:00:00 GMT; Expires=never",
            "Expires=Fri, 1 Jan 2100 0:00:00 GMT; expires=Thu, 1 Jan 1970 0:00:00",
        ] {
            let cookie = read(&format!("a=1; {attributes}"));
            let expires = cookie.expires_datetime().expect("a date");
            assert_eq!(expires.unix_timestamp(), 0, "{attributes}");
        }
    }

    #[test]
    fn flags_count_whatever_their_value() {
        let cookie = read("a=1; Secure=no; HttpOnly=");
        assert_eq!(
            (cookie.secure(), cookie.http_only()),
            (Some(true), Some(true))
        );
        let cookie = read("a=1; Secured; HttpOnl");
        assert_eq!((cookie.secure(), cookie.http_only()), (None, None));
    }

    #[test]
    fn the_pair_is_text_and_keeps_its_quotes() {
        let cookie = read(" a =\t\"b c\" = d ; Path=/");
        assert_eq!(cookie.name_value(), ("a", "\"b c\" = d"));
        for (line, reason) in [
            (&b"a=\xff"[..], Reason::Bytes),
            (b"\xff=1; a=1", Reason::Bytes),
            (b"", Reason::Syntax),
            (b"a", Reason::Syntax),
            (b" =1", Reason::Syntax),
            (b"; a=1", Reason::Syntax),
        ] {
            assert_eq!(parse(line), Err(reason), "{}", line.escape_ascii());
        }
    }

    #[test]
    fn bytes_that_are_no_text_spoil_no_other_attribute() {
        let line =
            b"a=; Comment=caf\xe9; Expires=jeu, 01 Jan 1970 00:00:00 \xff; Path=/\xff; Path=/b";
        let cookie = parse(line).expect("a cookie");
        assert!(cookie.expires_datetime().is_some());
        assert_eq!(cookie.path(), Some("/b"));
    }

    #[test]
    fn an_attribute_of_over_1024_bytes_is_ignored() {
        let path = |length: usize| format!("/{}", "x".repeat(length - 1));
        let cookie = read(&format!("a=1; Path=/short; Path={}", path(1025)));
        assert_eq!(cookie.path(), Some("/short"));
        let cookie = read(&format!("a=1; Path=/short; Path={}", path(1024)));
        assert_eq!(cookie.path().map(str::len), Some(1024));
    }

    proptest! {
        #[test]
        fn nothing_panics(line in proptest::collection::vec(any::<u8>(), 0..200)) {
            _ = parse(&line);
        }
    }
}
