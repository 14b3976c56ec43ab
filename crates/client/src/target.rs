use http::{Uri, uri};
use url::Url;

use crate::Error;

/// What can be asked for a URL: text, or a [`Uri`].
///
/// Text is read as browsers do ([WHATWG URL](https://url.spec.whatwg.org/)): spaces and other
/// characters that a URI cannot hold are escaped, and names like `bücher.example` are made ASCII.
/// A relative one is joined to the client's base URL.
pub trait IntoUrl: sealed::Sealed {}

impl<T: sealed::Sealed> IntoUrl for T {}

mod sealed {
    use std::borrow::Cow;

    use http::Uri;

    pub trait Sealed {
        fn asked<'a>(self) -> Asked<'a>
        where
            Self: 'a;
    }

    /// What somebody asked for, before it is known whether it is valid.
    #[derive(Debug)]
    pub enum Asked<'a> {
        Text(Cow<'a, str>),
        Uri(Uri),
    }

    impl Sealed for &str {
        fn asked<'a>(self) -> Asked<'a>
        where
            Self: 'a,
        {
            Asked::Text(Cow::Borrowed(self))
        }
    }

    impl Sealed for String {
        fn asked<'a>(self) -> Asked<'a>
        where
            Self: 'a,
        {
            Asked::Text(Cow::Owned(self))
        }
    }

    impl Sealed for &String {
        fn asked<'a>(self) -> Asked<'a>
        where
            Self: 'a,
        {
            Asked::Text(Cow::Borrowed(self))
        }
    }

    impl Sealed for Uri {
        fn asked<'a>(self) -> Asked<'a>
        where
            Self: 'a,
        {
            Asked::Uri(self)
        }
    }

    impl Sealed for &Uri {
        fn asked<'a>(self) -> Asked<'a>
        where
            Self: 'a,
        {
            Asked::Uri(self.clone())
        }
    }
}

/// Where a request goes: an absolute URI without userinfo, and the userinfo that it had.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) uri: Uri,
    pub(crate) credentials: Option<Credentials>,
}

/// User and password, as a URL had them, decoded. They have no `Debug` that shows them.
pub(crate) struct Credentials {
    pub(crate) user: String,
    pub(crate) password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials(..)")
    }
}

/// The URL that relative ones are joined to.
#[derive(Clone)]
pub(crate) struct Base(Url);

impl Base {
    pub(crate) fn new(url: &str) -> Result<Self, Error> {
        let url = Url::parse(url).map_err(invalid)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(not_http(url.scheme()));
        }
        Ok(Self(url))
    }
}

impl std::fmt::Debug for Base {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Base({})", self.0.origin().ascii_serialization())
    }
}

pub(crate) fn resolve(url: impl IntoUrl, base: Option<&Base>) -> Result<Target, Error> {
    match url.asked() {
        sealed::Asked::Text(text) => resolve_text(&text, base),
        sealed::Asked::Uri(uri) => resolve_uri(uri, base),
    }
}

fn resolve_text(text: &str, base: Option<&Base>) -> Result<Target, Error> {
    // Most URLs need none of what `Url` does, which costs many times as much.
    if is_plain(text) {
        // `Uri` takes any digits for a port, and then has none.
        let port_is_valid = |uri: &Uri| {
            uri.port_u16().is_some() || uri.authority().is_some_and(|it| it.as_str() == it.host())
        };
        if let Some(uri) = text.parse().ok().filter(port_is_valid) {
            return Ok(Target {
                uri,
                credentials: None,
            });
        }
    }
    let url = match Url::parse(text) {
        Ok(url) => url,
        Err(url::ParseError::RelativeUrlWithoutBase) => match base {
            Some(base) => base.0.join(text).map_err(invalid)?,
            None => return Err(relative()),
        },
        Err(error) => return Err(invalid(error)),
    };
    from_url(&url)
}

fn resolve_uri(uri: Uri, base: Option<&Base>) -> Result<Target, Error> {
    if uri.scheme().is_some() {
        check_scheme(&uri)?;
        let userinfo = uri.authority().is_some_and(|it| it.as_str().contains('@'));
        if !userinfo {
            return Ok(Target {
                uri,
                credentials: None,
            });
        }
    }
    resolve_text(&uri.to_string(), base)
}

/// Whether `Url` would leave the text as it is: absolute, a lower-case scheme, no userinfo, only
/// characters that need no escape, and no dot segments.
fn is_plain(text: &str) -> bool {
    let Some(rest) = text
        .strip_prefix("http://")
        .or_else(|| text.strip_prefix("https://"))
    else {
        return false;
    };
    !rest.contains("/.")
        && rest.bytes().all(|byte| {
            matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9')
                || b"-._~:/?[]!$&()*+,;=%".contains(&byte)
        })
        && !rest.starts_with(['/', ':', '?'])
        && !rest.contains("%2e")
        && !rest.contains("%2E")
        && rest.split(['/', '?']).next().is_some_and(|host| {
            !host.contains('%') && !host.bytes().any(|b| b.is_ascii_uppercase())
        })
}

fn from_url(url: &Url) -> Result<Target, Error> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(not_http(url.scheme()));
    }
    let Some(host) = url.host_str().filter(|host| !host.is_empty()) else {
        return Err(Error::builder("the URL has no host"));
    };
    let authority = match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    };
    let path_and_query = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    let uri = uri::Builder::new()
        .scheme(url.scheme())
        .authority(authority)
        .path_and_query(path_and_query)
        .build()
        .map_err(|error| Error::builder("the URL is not valid").with(error))?;
    let credentials = (!url.username().is_empty() || url.password().is_some()).then(|| {
        let decode = |text| percent_encoding::percent_decode_str(text).decode_utf8_lossy();
        Credentials {
            user: decode(url.username()).into_owned(),
            password: decode(url.password().unwrap_or_default()).into_owned(),
        }
    });
    Ok(Target { uri, credentials })
}

fn check_scheme(uri: &Uri) -> Result<(), Error> {
    match uri.scheme_str() {
        Some("http" | "https") => Ok(()),
        Some(other) => Err(not_http(other)),
        None => Err(relative()),
    }
}

fn invalid(error: url::ParseError) -> Error {
    Error::builder(format!("the URL is not valid: {error}"))
}

fn not_http(scheme: &str) -> Error {
    Error::builder(format!("only http and https can be sent, not {scheme}"))
}

fn relative() -> Error {
    Error::builder("the URL is relative, and the client has no base URL")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str, base: Option<&str>) -> String {
        let base = base.map(|base| Base::new(base).unwrap());
        resolve(text, base.as_ref()).unwrap().uri.to_string()
    }

    #[test]
    fn a_plain_url_is_what_the_url_parser_makes_of_it() {
        for text in [
            "http://a/",
            "http://a",
            "https://a.b:81/x/y?q=1&r=%20",
            "http://[::1]:80/",
            "http://a?x=1",
            "http://127.0.0.1:8123/ping",
            "http://a/x..y",
        ] {
            assert!(is_plain(text), "{text}");
            let fast = resolve(text, None).unwrap().uri;
            let slow = from_url(&Url::parse(text).unwrap()).unwrap().uri;
            assert_eq!(fast.host(), slow.host(), "{text}");
            assert_eq!(fast.path(), slow.path(), "{text}");
            assert_eq!(fast.query(), slow.query(), "{text}");
        }
    }

    #[test]
    fn what_needs_care_gets_it() {
        assert_eq!(
            uri("http://bücher.example/ä b", None),
            "http://xn--bcher-kva.example/%C3%A4%20b"
        );
        assert_eq!(
            uri("HTTP://Example.COM/a/../b", None),
            "http://example.com/b"
        );
        assert_eq!(uri("http://a/#fragment", None), "http://a/");
    }

    #[test]
    fn a_relative_url_is_joined_to_the_base() {
        let base = Some("http://a/v2/");
        assert_eq!(uri("orders?x=1", base), "http://a/v2/orders?x=1");
        assert_eq!(uri("/orders", base), "http://a/orders");
        assert_eq!(uri("?x=1", base), "http://a/v2/?x=1");
        assert_eq!(uri("http://b/", base), "http://b/");
        let base = Base::new("http://a/v2/").unwrap();
        let target = resolve_uri(Uri::from_static("/orders"), Some(&base)).unwrap();
        assert_eq!(target.uri, "http://a/orders");
    }

    #[test]
    fn userinfo_leaves_the_uri() {
        for target in [
            resolve("http://us%40er:pa%3Ass@a/x", None).unwrap(),
            resolve_uri("http://us%40er:pa%3Ass@a/x".parse().unwrap(), None).unwrap(),
        ] {
            assert_eq!(target.uri, "http://a/x");
            let credentials = target.credentials.unwrap();
            assert_eq!(credentials.user, "us@er");
            assert_eq!(credentials.password, "pa:ss");
        }
    }

    #[test]
    fn what_cannot_be_sent_is_refused_in_words() {
        for (text, words) in [
            ("orders", "relative"),
            ("/orders", "relative"),
            ("ftp://a/", "not ftp"),
            ("file:///etc/passwd", "not file"),
            ("http://", "not valid"),
            ("http://a:99999/", "not valid"),
            ("http://a b/", "not valid"),
            ("", "relative"),
        ] {
            let error = resolve(text, None).unwrap_err();
            assert!(error.is_builder(), "{text}");
            assert!(error.to_string().contains(words), "{text}: {error}");
        }
    }
}
