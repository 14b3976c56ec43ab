use std::{borrow::Cow, str};

use http::{HeaderValue, Uri};
use percent_encoding::{AsciiSet, CONTROLS, percent_encode};
use url::Url;

use crate::{Error, error::Kind, origin, target};

/// Where a `Location` leads to: a URI without userinfo, and its fragment.
#[derive(Debug)]
pub(super) struct Location {
    pub(super) uri: Uri,
    pub(super) fragment: Option<String>,
}

impl Location {
    /// Resolves the value against the URL that gave it, as browsers do
    /// ([RFC 3986, section 5](https://www.rfc-editor.org/rfc/rfc3986#section-5), and
    /// [WHATWG URL](https://url.spec.whatwg.org/)). Userinfo in it is dropped: no server chooses
    /// the credentials that are sent to another.
    pub(super) fn resolve(value: &HeaderValue, from: &Uri) -> Result<Self, Error> {
        let refused = |why: &str| Error::new(Kind::Redirect(why.into()));
        let garbled = || refused("the redirect's `Location` is not a valid URL");
        // The server as a whole has no path of its own to count from.
        let base = if target::is_asterisk(from) {
            origin::display(from)
        } else {
            Some(from.to_string())
        };
        let base = base.and_then(|base| Url::parse(&base).ok());
        let base = base.ok_or_else(garbled)?;
        let url = base.join(&reference(value)).map_err(|_| garbled())?;
        if !matches!(url.scheme(), "http" | "https") {
            // The server has written it, at any length.
            let scheme: String = url.scheme().chars().take(20).collect();
            return Err(refused(&format!(
                "the redirect leads to the scheme {scheme}; only http and https are followed"
            )));
        }
        // The cause would show the URL, which may hold a secret.
        let target = target::from_url(&url).map_err(|_| garbled())?;
        Ok(Self {
            uri: target.uri,
            fragment: url.fragment().map(ToOwned::to_owned),
        })
    }
}

/// The value as `Url` can read it: without the blanks around it and the tabs in it, which mean nothing.
///
/// Two slashes or more lead to another host, and so do backslashes; `Url` reads the host only behind
/// just two slashes.
fn reference(value: &HeaderValue) -> Cow<'_, str> {
    let text = text(value.as_bytes().trim_ascii());
    let text = if text.contains('\t') {
        Cow::Owned(text.replace('\t', ""))
    } else {
        text
    };
    let rest = text.trim_start_matches(['/', '\\']);
    match text.len() - rest.len() {
        0..=1 => text,
        _ => format!("//{rest}").into(),
    }
}

/// The bytes as text. Those that are no UTF-8 are escaped one by one; a tab stays a tab.
fn text(bytes: &[u8]) -> Cow<'_, str> {
    match str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => percent_encode(bytes, ALL_BUT_TABS).into(),
    }
}

const ALL_BUT_TABS: &AsciiSet = &CONTROLS.remove(b'\t');

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(value: &[u8]) -> Result<Location, Error> {
        let from = Uri::from_static("http://a.example:8080/b/c/d;p?q");
        Location::resolve(&HeaderValue::from_bytes(value).unwrap(), &from)
    }

    fn uri(value: &str) -> String {
        resolve(value.as_bytes()).unwrap().uri.to_string()
    }

    #[test]
    fn references_are_resolved_as_rfc_3986_says() {
        for (reference, expected) in [
            ("g", "/b/c/g"),
            ("./g", "/b/c/g"),
            ("g/", "/b/c/g/"),
            ("/g", "/g"),
            ("?y", "/b/c/d;p?y"),
            ("g?y", "/b/c/g?y"),
            ("#s", "/b/c/d;p?q"),
            (";x", "/b/c/;x"),
            ("", "/b/c/d;p?q"),
            (".", "/b/c/"),
            ("..", "/b/"),
            ("../../g", "/g"),
            ("../../../g", "/g"),
        ] {
            assert_eq!(uri(reference), format!("http://a.example:8080{expected}"));
        }
        assert_eq!(uri("//g"), "http://g/");
        assert_eq!(uri("https://g"), "https://g/");
    }

    #[test]
    fn a_host_is_found_behind_any_number_of_slashes_as_browsers_find_it() {
        for value in [
            "//g.example/x",
            "///g.example/x",
            "////g.example/x",
            "\\\\g.example/x",
            "/\\g.example/x",
            "\\/g.example/x",
            "//\\g.example\\x",
            "/\t/g.example/\tx",
            "\t///g.example/x",
            " //g.example/x ",
            "http:///g.example/x",
            "http:\\\\g.example\\x",
            "///me:secret@g.example:80/x",
        ] {
            assert_eq!(uri(value), "http://g.example/x", "{value:?}");
        }
        // The scheme stays that of the URL that gave it.
        let from = Uri::from_static("https://a.example/");
        let location = Location::resolve(&HeaderValue::from_static("///g.example"), &from);
        assert_eq!(location.unwrap().uri, "https://g.example/");
        // One slash or backslash leads to no other host.
        for (value, path) in [
            ("/g.example/x", "/g.example/x"),
            ("\\g.example/x", "/g.example/x"),
            ("x///g.example", "/b/c/x///g.example"),
            ("./\\\\g.example", "/b/c///g.example"),
            ("?///g.example", "/b/c/d;p?///g.example"),
        ] {
            assert_eq!(
                uri(value),
                format!("http://a.example:8080{path}"),
                "{value}"
            );
        }
    }

    #[test]
    fn text_that_is_no_ascii_is_escaped_and_never_lost() {
        assert_eq!(uri("/ä b"), "http://a.example:8080/%C3%A4%20b");
        let latin = resolve(b"/caf\xe9?\xff").unwrap();
        assert_eq!(latin.uri, "http://a.example:8080/caf%E9?%FF");
        let tabbed = resolve(b"\t///g.example/\t\xe9\t").unwrap();
        assert_eq!(tabbed.uri, "http://g.example/%E9");
        assert_eq!(
            uri("http://bücher.example/"),
            "http://xn--bcher-kva.example/"
        );
    }

    #[test]
    fn userinfo_is_dropped_and_the_fragment_kept_aside() {
        let location = resolve(b"http://user:secret@b.example/x#there").unwrap();
        assert_eq!(location.uri, "http://b.example/x");
        assert_eq!(location.fragment.as_deref(), Some("there"));
    }

    #[test]
    fn what_cannot_be_followed_is_said_without_the_url() {
        let long = format!("/{}", "secret".repeat(20_000));
        for (value, words) in [
            ("file:///etc/secret", "the scheme file"),
            ("ftp://secret/", "the scheme ftp"),
            ("javascript:secret", "the scheme javascript"),
            (
                &format!("{}:secret", "a".repeat(9_000)),
                "the scheme aaaaaaaaaaaaaaaaaaaa;",
            ),
            ("http://secret:99999/", "not a valid URL"),
            ("http://", "not a valid URL"),
            ("//", "not a valid URL"),
            ("///", "not a valid URL"),
            ("///?secret", "not a valid URL"),
            ("http://[secret/", "not a valid URL"),
            (&long, "not a valid URL"),
        ] {
            let error = resolve(value.as_bytes()).unwrap_err();
            assert!(error.is_redirect(), "{value}");
            let told = format!("{error} {error:?}");
            assert!(told.contains(words) && !told.contains("secret"), "{told}");
        }
    }

    #[test]
    fn whatever_a_peer_sends_leads_to_a_plain_host_or_nowhere() {
        const PIECES: [&[u8]; 20] = [
            b"http",
            b"https",
            b"file",
            b":",
            b"/",
            b"//",
            b"\\",
            b"@",
            b"?",
            b"#",
            b"[",
            b"]",
            b"%",
            b"%00",
            b"..",
            b"\t",
            b"a.example",
            b"\xff",
            b"\xc3\xa4",
            b"99999",
        ];
        let mut state = 7_u32;
        let mut followed = 0;
        for _ in 0..20_000 {
            let mut value = Vec::new();
            for _ in 0..8 {
                // The constants of Numerical Recipes; the upper bits are the random ones.
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                value.extend_from_slice(PIECES[(state >> 16) as usize % PIECES.len()]);
            }
            let Ok(location) = resolve(&value) else {
                continue;
            };
            followed += 1;
            let uri = location.uri;
            assert!(matches!(uri.scheme_str(), Some("http" | "https")), "{uri}");
            let authority = uri.authority().unwrap().as_str();
            assert!(!authority.is_empty() && !authority.contains('@'), "{uri}");
            assert!(
                uri.to_string().is_ascii() && uri.path().starts_with('/'),
                "{uri}"
            );
        }
        assert!(followed > 1000, "{followed}");
    }
}
