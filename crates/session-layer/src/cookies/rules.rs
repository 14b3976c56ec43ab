//! Decides which cookies may be kept: the checks that `cookie_store` leaves to its caller.

use cookie_store::{Cookie, CookieDomain, CookieError, RawCookie};
use url::{Host, Url};

use super::{attributes, error::Reason};

/// The most bytes of a cookie's name and value
/// ([RFC 6265, section 6.1](https://www.rfc-editor.org/rfc/rfc6265#section-6.1)).
const MAX_PAIR: usize = 4096;

/// The most bytes of a whole `Set-Cookie`: it is kept as it came.
const MAX_LINE: usize = 8 * 1024;

/// The rules for all cookies of a jar.
#[derive(Default)]
pub(super) struct Rules {
    #[cfg(feature = "public-suffix")]
    suffixes: Option<super::PublicSuffixes>,
}

impl Rules {
    #[cfg(feature = "public-suffix")]
    pub(super) fn with_public_suffixes(suffixes: super::PublicSuffixes) -> Self {
        Self {
            suffixes: Some(suffixes),
        }
    }

    /// Reads a `Set-Cookie` that came from `url`.
    pub(super) fn read(&self, line: &[u8], url: &Url) -> Result<Cookie<'static>, Reason> {
        if line.len() > MAX_LINE {
            return Err(Reason::TooLarge);
        }
        if line.iter().copied().any(is_control) {
            return Err(Reason::Bytes);
        }
        let raw = attributes::parse(line)?;
        if raw.name().len() + raw.value().len() > MAX_PAIR {
            return Err(Reason::TooLarge);
        }
        if raw.secure().unwrap_or(false) && !is_secure(url) {
            return Err(Reason::Insecure);
        }
        check_prefix(&raw)?;
        let mut cookie = Cookie::try_from_raw_cookie(&raw, url).map_err(|error| reason(&error))?;
        check_labels(&cookie.domain)?;
        if self.is_too_wide(&cookie.domain) {
            if !cookie.domain.host_is_identical(url) {
                return Err(Reason::PublicSuffix);
            }
            cookie.domain = CookieDomain::host_only(url).map_err(|error| reason(&error))?;
        }
        Ok(cookie)
    }

    /// Checks a cookie from a file, by all rules that do not depend on which server set it.
    pub(super) fn check_saved(&self, cookie: &Cookie<'_>) -> Result<(), Reason> {
        let (name, value) = cookie.name_value();
        if name.len() + value.len() > MAX_PAIR {
            return Err(Reason::TooLarge);
        }
        if name.bytes().chain(value.bytes()).any(is_control) {
            return Err(Reason::Bytes);
        }
        check_labels(&cookie.domain)?;
        if self.is_too_wide(&cookie.domain) {
            return Err(Reason::PublicSuffix);
        }
        match &cookie.domain {
            CookieDomain::HostOnly(domain) | CookieDomain::Suffix(domain) if !domain.is_empty() => {
                check_prefix(cookie)
            }
            _ => Err(Reason::Domain),
        }
    }

    /// Whether this is a domain that unrelated sites share.
    fn is_too_wide(&self, domain: &CookieDomain) -> bool {
        let CookieDomain::Suffix(name) = domain else {
            return false;
        };
        !name.contains('.') || self.is_listed(domain)
    }

    #[cfg(feature = "public-suffix")]
    fn is_listed(&self, domain: &CookieDomain) -> bool {
        let suffixes = self.suffixes.as_ref();
        suffixes.is_some_and(|suffixes| domain.is_public_suffix(suffixes.list()))
    }

    #[cfg(not(feature = "public-suffix"))]
    #[allow(clippy::unused_self, reason = "the list is a feature")]
    fn is_listed(&self, _: &CookieDomain) -> bool {
        false
    }
}

/// Whether a connection to this URL counts as secure, by the same rule by which `cookie_store`
/// sends.
pub(super) fn is_secure(url: &Url) -> bool {
    url.scheme() == "https"
        || match url.host() {
            Some(Host::Domain(domain)) => domain == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        }
}

/// The control characters that RFC 6265bis refuses (section 5.6, step 1). A header cannot have
/// them, but a caller's string or a file can.
fn is_control(byte: u8) -> bool {
    byte.is_ascii_control() && byte != b'\t'
}

/// Refuses a `Domain` with an empty label, such as one with a dot at its end: with that dot, a
/// public suffix would not be recognised.
fn check_labels(domain: &CookieDomain) -> Result<(), Reason> {
    match domain {
        CookieDomain::Suffix(name) if name.split('.').any(str::is_empty) => Err(Reason::Domain),
        _ => Ok(()),
    }
}

/// RFC 6265bis, section 4.1.3. That a `Secure` cookie came over TLS was checked before.
fn check_prefix(cookie: &RawCookie<'_>) -> Result<(), Reason> {
    let has = |prefix: &str| {
        let start = cookie.name().get(..prefix.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    let secure = cookie.secure().unwrap_or(false);
    let holds = if has("__Secure-") {
        secure
    } else if has("__Host-") {
        secure && cookie.domain().is_none() && cookie.path() == Some("/")
    } else {
        true
    };
    if holds { Ok(()) } else { Err(Reason::Prefix) }
}

fn reason(error: &CookieError) -> Reason {
    match error {
        CookieError::DomainMismatch => Reason::Domain,
        CookieError::Expired => Reason::Expired,
        CookieError::NonHttpScheme | CookieError::NonRelativeScheme => Reason::Uri,
        // A feature of `cookie_store`, which another crate may enable, adds one more kind.
        _ => Reason::Syntax,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str, from: &str) -> Result<Cookie<'static>, Reason> {
        let url = Url::parse(from).expect("the test's URL is valid");
        Rules::default().read(line.as_bytes(), &url)
    }

    #[test]
    fn a_prefix_is_kept_only_where_its_promise_holds() {
        for (line, from, holds) in [
            ("__Secure-a=1; Secure", "https://x.test/", true),
            ("__Secure-a=1", "https://x.test/", false),
            ("__SECURE-a=1", "https://x.test/", false),
            ("__Host-a=1; Secure; Path=/", "https://x.test/", true),
            (
                "__Host-a=1; Secure; Path=/; Domain=",
                "https://x.test/",
                true,
            ),
            (
                "__Host-a=1; Secure; Path=/; Domain=x.test",
                "https://x.test/",
                false,
            ),
            ("__Host-a=1; Secure; Path=/deep", "https://x.test/", false),
            ("__Host-a=1; Secure", "https://x.test/", false),
            ("__host-a=1; Path=/", "https://x.test/", false),
            ("__Hos-a=1", "https://x.test/", true),
        ] {
            let kept = read(line, from);
            assert_eq!(kept.is_ok(), holds, "{line}");
            assert!(holds || kept == Err(Reason::Prefix), "{line}");
        }
        let plain = read("__Host-a=1; Secure; Path=/", "http://x.test/");
        assert_eq!(plain, Err(Reason::Insecure));
    }

    #[test]
    fn a_domain_is_the_hosts_or_above_with_two_labels_and_no_final_dot() {
        for (domain, from, kept) in [
            ("x.test", "http://x.test/", Ok("x.test")),
            (".x.test", "http://sub.x.test/", Ok("x.test")),
            ("X.TEST", "http://sub.x.test/", Ok("x.test")),
            (
                "bücher.test",
                "http://www.xn--bcher-kva.test/",
                Ok("xn--bcher-kva.test"),
            ),
            ("localhost", "http://localhost/", Ok("localhost")),
            ("127.0.0.1", "http://127.0.0.1/", Ok("127.0.0.1")),
            ("other.test", "http://x.test/", Err(Reason::Domain)),
            ("sub.x.test", "http://x.test/", Err(Reason::Domain)),
            ("t.test", "http://x-t.test/", Err(Reason::Domain)),
            ("0.0.1", "http://127.0.0.1/", Err(Reason::Domain)),
            ("test", "http://x.test/", Err(Reason::PublicSuffix)),
            ("x.test.", "http://x.test./", Err(Reason::Domain)),
            ("test.", "http://x.test./", Err(Reason::Domain)),
            ("test\u{3002}", "http://x.test./", Err(Reason::Domain)),
            ("\u{3002}test", "http://x.test/", Err(Reason::Domain)),
            ("1]", "http://[::1]/", Err(Reason::Domain)),
            ("[::1]", "http://[::1]/", Ok("[::1]")),
            ("..", "http://x.test/", Err(Reason::Domain)),
        ] {
            let line = format!("a=1; Domain={domain}");
            let read = read(&line, from).map(|cookie| String::from(&cookie.domain));
            assert_eq!(
                read.as_deref(),
                kept.as_ref().map(|kept| &**kept),
                "{domain} {from}"
            );
        }
    }

    #[test]
    fn bad_dates_and_ages_beyond_all_bounds_cause_no_panic() {
        for (attributes, expires) in [
            ("Max-Age=100000000000000000000", true),
            ("Max-Age=9223372036854775807", true),
            ("Max-Age=-5", true),
            ("Max-Age=", false),
            ("Max-Age", false),
            ("Max-Age=ten", false),
            ("Expires=never", false),
            ("Expires=Wed, 99 Feb 2099 25:61:61 GMT", false),
            ("Expires=Fri Jan 01 2100 00:00:00 GMT+0000 (UTC)", true),
            ("Expires=Thu, 01 Jan 99999 00:00:00 GMT", false),
            ("Expires=Thu, 31-Dec-37 23:55:55 GMT", true),
            ("Expires=", false),
        ] {
            let cookie = read(&format!("a=1; {attributes}"), "http://x.test/");
            let cookie = cookie.expect("only the attribute is wrong");
            assert_eq!(cookie.is_persistent(), expires, "{attributes}");
        }
    }

    #[test]
    fn what_is_too_large_or_is_no_text_is_refused() {
        let sized = |size| format!("a={}", "x".repeat(size));
        assert!(read(&sized(MAX_PAIR - 1), "http://x.test/").is_ok());
        assert_eq!(
            read(&sized(MAX_PAIR), "http://x.test/"),
            Err(Reason::TooLarge)
        );
        let padded = format!("a=1; {}", "x".repeat(MAX_LINE));
        assert_eq!(read(&padded, "http://x.test/"), Err(Reason::TooLarge));
        let padded = format!("{:;<MAX_LINE$}", "a=1");
        assert!(read(&padded, "http://x.test/").is_ok());
        for (line, refused) in [
            (&b"a=b\r\nc"[..], Reason::Bytes),
            (b"a=\0", Reason::Bytes),
            (b"a=1; path=/\x7f", Reason::Bytes),
            (b"a=\xff", Reason::Bytes),
            (b"", Reason::Syntax),
            (b"=1", Reason::Syntax),
            (b"no pair", Reason::Syntax),
            (b";;;", Reason::Syntax),
        ] {
            let url = Url::parse("http://x.test/").unwrap();
            let read = Rules::default().read(line, &url);
            assert_eq!(read, Err(refused), "{}", line.escape_ascii());
        }
    }

    #[test]
    fn tabs_are_the_only_control_characters_that_a_line_may_have() {
        assert!(read("a=1;\tPath=/", "http://x.test/").is_ok());
        let all = (0..=u8::MAX).filter(|byte| is_control(*byte));
        let expected = (0..0x20).chain([0x7f]).filter(|byte| *byte != b'\t');
        assert!(all.eq(expected));
    }

    #[test]
    fn a_secure_cookie_is_taken_over_tls_and_from_the_machine_itself() {
        for (from, secure) in [
            ("https://x.test/", true),
            ("http://x.test/", false),
            ("http://localhost/", true),
            ("http://localhost.test/", false),
            ("http://127.9.9.9/", true),
            ("http://10.0.0.1/", false),
            ("http://[::1]/", true),
            ("http://[::2]/", false),
        ] {
            let read = read("a=1; Secure", from).map(|_| ());
            let expected = if secure {
                Ok(())
            } else {
                Err(Reason::Insecure)
            };
            assert_eq!(read, expected, "{from}");
        }
    }

    #[test]
    fn a_saved_cookie_is_held_to_what_does_not_depend_on_who_set_it() {
        let url = Url::parse("http://x.test/").unwrap();
        let check = |name: &str, value: String, domain: Option<&str>| {
            let raw = RawCookie::new(name.to_owned(), value);
            let mut cookie = Cookie::try_from_raw_cookie(&raw, &url).unwrap();
            if let Some(domain) = domain {
                cookie.domain = CookieDomain::Suffix(domain.to_owned());
            }
            Rules::default().check_saved(&cookie)
        };
        let sized = |size| check("name", "x".repeat(size), None);
        assert_eq!(sized(MAX_PAIR - 4), Ok(()));
        assert_eq!(sized(MAX_PAIR - 3), Err(Reason::TooLarge));
        let one = || "1".to_owned();
        assert_eq!(check("a", "\0".to_owned(), None), Err(Reason::Bytes));
        assert_eq!(check("a\n", one(), None), Err(Reason::Bytes));
        assert_eq!(check("__Secure-a", one(), None), Err(Reason::Prefix));
        assert_eq!(check("a", one(), Some("x.test")), Ok(()));
        assert_eq!(check("a", one(), Some("test")), Err(Reason::PublicSuffix));
        assert_eq!(check("a", one(), Some("x.test.")), Err(Reason::Domain));
        assert_eq!(check("a", one(), Some("")), Err(Reason::Domain));
    }

    #[test]
    fn a_saved_cookie_without_a_host_is_refused() {
        let url = Url::parse("http://x.test/").unwrap();
        let mut cookie = Cookie::parse("a=1", &url).unwrap();
        for domain in [
            CookieDomain::HostOnly(String::new()),
            CookieDomain::Empty,
            CookieDomain::NotPresent,
        ] {
            cookie.domain = domain;
            let checked = Rules::default().check_saved(&cookie);
            assert_eq!(checked, Err(Reason::Domain), "{:?}", cookie.domain);
        }
    }

    #[test]
    fn each_refusal_of_the_store_has_its_reason() {
        for (error, expected) in [
            (CookieError::DomainMismatch, Reason::Domain),
            (CookieError::Expired, Reason::Expired),
            (CookieError::NonHttpScheme, Reason::Uri),
            (CookieError::NonRelativeScheme, Reason::Uri),
            (CookieError::Parse, Reason::Syntax),
        ] {
            assert_eq!(reason(&error), expected);
        }
    }

    #[cfg(feature = "public-suffix")]
    #[test]
    fn a_listed_suffix_gives_cookies_to_nobody_but_itself() {
        let list = "// ===BEGIN ICANN DOMAINS===\nuk\nco.uk\n*.ck\n!www.ck\n政府.test\n\
                    // ===BEGIN PRIVATE DOMAINS===\nblog.test\n";
        let rules = Rules::with_public_suffixes(list.parse().unwrap());
        for (domain, from, kept) in [
            ("co.uk", "http://x.co.uk/", Err(Reason::PublicSuffix)),
            ("CO.uk", "http://x.co.uk/", Err(Reason::PublicSuffix)),
            ("co.uk.", "http://x.co.uk./", Err(Reason::Domain)),
            (
                "blog.test",
                "http://me.blog.test/",
                Err(Reason::PublicSuffix),
            ),
            ("any.ck", "http://x.any.ck/", Err(Reason::PublicSuffix)),
            (
                "政府.test",
                "http://x.xn--mxtq1m.test/",
                Err(Reason::PublicSuffix),
            ),
            ("www.ck", "http://x.www.ck/", Ok(false)),
            ("x.co.uk", "http://www.x.co.uk/", Ok(false)),
            ("blog.test", "http://blog.test/", Ok(true)),
        ] {
            let url = Url::parse(from).unwrap();
            let line = format!("a=1; Domain={domain}");
            let host_only = rules
                .read(line.as_bytes(), &url)
                .map(|cookie| matches!(cookie.domain, CookieDomain::HostOnly(_)));
            assert_eq!(host_only, kept, "{domain} from {from}");
        }
    }
}
