use std::net::{Ipv4Addr, Ipv6Addr};

use http::{
    Uri,
    uri::{self, Authority, Scheme},
};
use percent_encoding::{CONTROLS, percent_decode_str, utf8_percent_encode};
use url::Url;

use crate::Error;

/// What can be asked for as a URL: text, or a [`Uri`]. A `url::Url` is asked for by its `as_str()`.
///
/// Text is read as browsers do ([WHATWG URL](https://url.spec.whatwg.org/)): spaces and other
/// characters that a URI cannot hold are escaped, and names like `bücher.example` are made ASCII.
/// A relative one is joined to the client's base URL.
///
/// A [`Uri`] without a scheme is a path, as a server is asked for it: it goes to the base URL's
/// host, with nothing of the base URL's path, and is sent as it is, but for characters that are no
/// ASCII. Whatever it holds, it never chooses the host. One whose path is an asterisk is for `OPTIONS`
/// alone; see [`RequestBuilder::asterisk_form`](crate::RequestBuilder::asterisk_form).
///
/// What names its own host is sent there, whatever the base URL: a `Uri` with a scheme, absolute
/// text, and text that begins with two slashes (a network-path reference,
/// [RFC 3986, section 4.2](https://www.rfc-editor.org/rfc/rfc3986#section-4.2)). Text that is put together
/// from parts which another party chose may become such a one, as `/` and `/evil.example` do: a
/// `Uri` made of the same text does not. Text that leads to another host in any other way, by
/// backslashes or by control characters that are left out, is refused.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be asked for as a URL",
    label = "this is neither text nor an `http::Uri`",
    note = "a `url::Url` can be asked for by its `as_str()`, other types by their text"
)]
pub trait IntoUrl: sealed::Sealed {}

impl<T: sealed::Sealed> IntoUrl for T {}

mod sealed {
    use std::borrow::Cow;

    use http::Uri;

    #[diagnostic::on_unimplemented(
        message = "`{Self}` cannot be asked for as a URL",
        label = "this is neither text nor an `http::Uri`",
        note = "a `url::Url` can be asked for by its `as_str()`, other types by their text"
    )]
    pub trait Sealed {
        fn asked<'a>(self) -> Asked<'a>
        where
            Self: 'a;
    }

    /// What the caller asked for, before it is known whether it is valid.
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

/// User and password, as a URL had them, decoded: bytes, which need not be UTF-8. They have no
/// `Debug` that shows them.
pub(crate) struct Credentials {
    pub(crate) user: Vec<u8>,
    pub(crate) password: Vec<u8>,
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
    /// Reads the URL that is the value of a setting of this name.
    pub(crate) fn of_setting(setting: &str, url: &str) -> Result<Self, Error> {
        Self::new(url).map_err(|why| Error::builder(format!("{setting}: {why}")))
    }

    fn new(text: &str) -> Result<Self, String> {
        if let Some(right) = with_scheme(text) {
            return Err(format!("`{text}` has no scheme; write {right}"));
        }
        // It may have a password in it, or a key, and is not told then.
        let shown = if text.contains(['@', '?', '#']) {
            "the URL".to_owned()
        } else {
            format!("`{}`", text.escape_debug())
        };
        let right = "write one such as http://localhost:8123/";
        let url = Url::parse(text)
            .map_err(|error| format!("{shown} is no absolute URL ({error}); {right}"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!(
                "{shown} cannot be asked: only http and https can be sent, not {}; {right}",
                url.scheme()
            ));
        }
        Ok(Self(url))
    }

    /// Joins a reference, which leads elsewhere only if it begins with the two slashes of a
    /// network-path reference. `Url` takes backslashes for slashes too, and leaves out tabs and
    /// line breaks: what slips through a check for slashes must not choose the host.
    fn join(&self, text: &str) -> Result<Url, Error> {
        let url = self.0.join(text).map_err(invalid)?;
        if text.starts_with("//") || url.origin() == self.0.origin() {
            return Ok(url);
        }
        Err(Error::builder(
            "the URL is relative, but leads to another host than the base URL's",
        ))
    }

    /// Whether both URLs hold the same credentials, or none.
    pub(crate) fn has_userinfo_of(&self, other: &Self) -> bool {
        self.0.username() == other.0.username() && self.0.password() == other.0.password()
    }

    /// Returns the origin's root.
    pub(crate) fn origin(&self) -> Result<Uri, Error> {
        let mut root = self.0.clone();
        root.set_path("/");
        root.set_query(None);
        Ok(from_url(&root)?.uri)
    }

    /// Moves a URI from below this base to below another: its path counts from there, if it lies
    /// below this one's, and is kept as it is otherwise.
    pub(crate) fn moved(&self, uri: &Uri, to: &Self) -> Option<Uri> {
        let directory = |base: &Self| {
            let path = base.0.path();
            path.get(..=path.rfind('/')?).map(ToOwned::to_owned)
        };
        let target = uri.path_and_query()?.as_str();
        let path = match target.strip_prefix(directory(self)?.as_str()) {
            Some(rest) => directory(to)? + rest,
            None => target.to_owned(),
        };
        let mut parts = to.origin().ok()?.into_parts();
        parts.path_and_query = Some(path.try_into().ok()?);
        Uri::from_parts(parts).ok()
    }

    /// Puts the path and query of a URI in place of its own, as they are: to join them would make
    /// a host of a path that begins with two slashes.
    fn with_path(&self, uri: &Uri) -> Result<Target, Error> {
        if uri.authority().is_some() || !(uri.path().starts_with('/') || is_asterisk(uri)) {
            return Err(Error::builder(
                "a URI without a scheme must be a path that begins with a slash",
            ));
        }
        let mut target = from_url(&self.0)?;
        let mut parts = target.uri.into_parts();
        parts.path_and_query = uri.path_and_query().cloned();
        let uri = Uri::from_parts(parts)
            .map_err(|error| Error::builder("the URL is not valid").with(error))?;
        target.uri = sendable(uri)?;
        Ok(target)
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

/// Whether a URI can be sent as it is, which is so for most: absolute, without userinfo or a plus
/// sign in its authority, and with a path of ASCII.
#[inline]
pub(crate) fn is_sendable(uri: &Uri) -> bool {
    let scheme = uri.scheme();
    let is_http = scheme == Some(&Scheme::HTTP) || scheme == Some(&Scheme::HTTPS);
    // Not a search that ends at the first: several bytes are compared at once then.
    let needs_a_look = |authority: &Authority| {
        let bytes = authority.as_str().as_bytes().iter();
        bytes.fold(0, |found, byte| {
            found | u8::from(matches!(byte, b'@' | b'+'))
        }) != 0
    };
    is_http
        && uri.authority().is_some_and(|it| !needs_a_look(it))
        && uri.path_and_query().is_some_and(|it| is_path(it.as_str()))
}

/// In place of a path: the server as a whole
/// ([RFC 9112, section 3.2.4](https://www.rfc-editor.org/rfc/rfc9112#section-3.2.4)).
const ASTERISK: &str = "*";

pub(crate) fn is_asterisk(uri: &Uri) -> bool {
    uri.path_and_query()
        .is_some_and(|it| it.as_str() == ASTERISK)
}

/// The same URI for the server as a whole.
pub(crate) fn to_asterisk(uri: Uri) -> Result<Uri, Error> {
    let mut parts = uri.into_parts();
    parts.path_and_query = Some(uri::PathAndQuery::from_static(ASTERISK));
    Uri::from_parts(parts).map_err(|error| Error::builder("the URL is not valid").with(error))
}

fn is_path(text: &str) -> bool {
    text.starts_with('/') && text.is_ascii()
}

fn resolve_text(text: &str, base: Option<&Base>) -> Result<Target, Error> {
    // Most URLs need none of what `Url` does, which costs many times as much.
    if is_plain(text) {
        if let Ok(uri) = text.parse() {
            return Ok(Target {
                uri,
                credentials: None,
            });
        }
    }
    let url = match Url::parse(text) {
        Ok(url) => url,
        Err(url::ParseError::RelativeUrlWithoutBase) => match base {
            Some(base) => base.join(text)?,
            None => return Err(without_scheme(text).unwrap_or_else(relative)),
        },
        Err(error) => return Err(invalid(error)),
    };
    if !matches!(url.scheme(), "http" | "https") {
        // A host and its port are read as a scheme and a path.
        return Err(without_scheme(text).unwrap_or_else(|| not_http(url.scheme())));
    }
    from_url(&url)
}

fn resolve_uri(uri: Uri, base: Option<&Base>) -> Result<Target, Error> {
    if is_sendable(&uri) {
        return Ok(Target {
            uri,
            credentials: None,
        });
    }
    if uri.scheme().is_none() {
        return match base {
            Some(base) => base.with_path(&uri),
            None => Err(relative()),
        };
    }
    check_scheme(&uri)?;
    check_port(&uri)?;
    if uri.authority().is_some_and(|it| it.as_str().contains('@')) {
        return resolve_text(&uri.to_string(), None);
    }
    Ok(Target {
        uri: sendable(uri)?,
        credentials: None,
    })
}

/// Makes of the path and query what can stand in a request. A `Uri` may lack the path, which is a
/// slash then for everybody who looks at it, and hold text that is no ASCII, which is escaped.
fn sendable(uri: Uri) -> Result<Uri, Error> {
    let text = uri.path_and_query().map_or("/", uri::PathAndQuery::as_str);
    if is_path(text) || text == ASTERISK {
        return Ok(uri);
    }
    let slash = if text.starts_with('/') { "" } else { "/" };
    let text = format!("{slash}{}", utf8_percent_encode(text, CONTROLS));
    let mut parts = uri.into_parts();
    let invalid = "the URL is too long";
    parts.path_and_query = Some(
        text.try_into()
            .map_err(|error: uri::InvalidUri| Error::builder(invalid).with(error))?,
    );
    Uri::from_parts(parts).map_err(|error| Error::builder(invalid).with(error))
}

/// Whether `Url` would leave the text as it is: absolute, a lower-case scheme, no userinfo, a host
/// and a port as they are written, only characters that need no escape, and no dot segments.
fn is_plain(text: &str) -> bool {
    let (rest, default_port) = match (text.strip_prefix("http://"), text.strip_prefix("https://")) {
        (Some(rest), _) => (rest, 80),
        (None, Some(rest)) => (rest, 443),
        (None, None) => return false,
    };
    !rest.contains("/.")
        && rest.bytes().all(|byte| {
            matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9')
                || b"-._~:/?[]!$&()*+,;=%".contains(&byte)
        })
        && !rest.contains("%2e")
        && !rest.contains("%2E")
        && rest
            .split(['/', '?'])
            .next()
            .is_some_and(|authority| is_plain_authority(authority, default_port))
}

fn is_plain_authority(authority: &str, default_port: u16) -> bool {
    if let Some((address, port)) = authority
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
    {
        // `Url` writes an IPv4 address inside in its own way.
        let is_written_so = |it: Ipv6Addr| !address.contains('.') && it.to_string() == address;
        return address.parse().is_ok_and(is_written_so) && is_plain_port(port, default_port);
    }
    let (host, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
    is_plain_host(host) && is_plain_port(port, default_port)
}

fn is_plain_host(host: &str) -> bool {
    let name = host.strip_suffix('.').unwrap_or(host);
    let last = name.rsplit('.').next().unwrap_or_default();
    // A last label like this makes `Url` read the whole as an IPv4 address. Here only its canonical
    // form is one: four decimal numbers without leading zeros.
    if last.starts_with(|first: char| first.is_ascii_digit()) {
        return host.parse::<Ipv4Addr>().is_ok();
    }
    name.split('.')
        .all(|label| !label.is_empty() && !label.starts_with("xn--"))
        && !host
            .bytes()
            .any(|byte| byte.is_ascii_uppercase() || b"%[]".contains(&byte))
}

/// Whether `Url` would keep this port, with its colon, or its absence.
fn is_plain_port(port: &str, default_port: u16) -> bool {
    if port.is_empty() {
        return true;
    }
    port.strip_prefix(':').is_some_and(|digits| {
        digits.starts_with(|first| matches!(first, '1'..='9'))
            && digits.parse().is_ok_and(|port: u16| port != default_port)
    })
}

pub(crate) fn from_url(url: &Url) -> Result<Target, Error> {
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
        let decode = |text| percent_decode_str(text).collect();
        Credentials {
            user: decode(url.username()),
            password: decode(url.password().unwrap_or_default()),
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

/// Refuses a sign before the digits of a port, which `Uri` reads over
/// ([RFC 3986, section 3.2.3](https://www.rfc-editor.org/rfc/rfc3986#section-3.2.3)).
fn check_port(uri: &Uri) -> Result<(), Error> {
    let is_digits = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    match uri.port() {
        Some(port) if !is_digits(port.as_str()) => Err(invalid(url::ParseError::InvalidPort)),
        Some(_) | None => Ok(()),
    }
}

/// The URL that was meant by a host, perhaps with a port and a path, that lacks a scheme. Without
/// a colon it has to look like a host: a relative path does not.
fn with_scheme(text: &str) -> Option<String> {
    if text.contains("://") || text.contains(['@', '?', '#', '\\']) {
        return None;
    }
    let host = text.split('/').next().filter(|host| !host.is_empty())?;
    let port = host.rsplit_once(':').map(|(_, port)| port);
    let is_port = port.is_some_and(|it| it.parse::<u16>().is_ok());
    if !is_port && !host.contains('.') && host != "localhost" {
        return None;
    }
    let url = Url::parse(&format!("http://{text}")).ok()?;
    url.host().map(|_| url.to_string())
}

/// The error of a URL that begins with a host. It holds nothing of the path and query.
fn without_scheme(text: &str) -> Option<Error> {
    let host = text.split(['/', '?', '#']).next()?;
    let right = with_scheme(host)?;
    Some(Error::builder(format!(
        "the URL has no scheme: let it begin with {right}"
    )))
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
            "https://[::1]:80/",
            "http://[2001:db8::1:0:0:1]/",
            "http://a?x=1",
            "http://a?",
            "http://127.0.0.1:8123/ping",
            "http://255.255.255.255/",
            "http://1.2.3.4.example/",
            "http://a-1.b2:65535/[x]//y",
            "http://a./",
            "http://a_b&c/%zz",
            "http://a/x..y",
        ] {
            assert!(is_plain(text), "{text}");
            let fast = resolve(text, None).unwrap().uri;
            let slow = from_url(&Url::parse(text).unwrap()).unwrap().uri;
            assert_eq!(fast, slow, "{text}");
        }
    }

    #[test]
    fn a_url_without_a_scheme_is_told_what_to_begin_with_and_its_path_is_not() {
        let message = |text: &str| resolve(text, None).unwrap_err().to_string();
        for text in [
            "localhost:8123/secret",
            "localhost:8123?secret",
            "localhost:8123",
        ] {
            let right = "the URL has no scheme: let it begin with http://localhost:8123/";
            assert_eq!(message(text), right, "{text}");
        }
        let right = "the URL has no scheme: let it begin with http://127.0.0.1:8123/";
        assert_eq!(message("127.0.0.1:8123/secret"), right);
        // Neither is a host for certain.
        assert!(message("orders/7").contains("is relative"));
        assert!(message("ftp://localhost/").contains("not ftp"));
        assert!(!message("user:secret@localhost").contains("secret"));
    }

    #[test]
    fn a_host_or_port_that_the_url_parser_may_write_otherwise_is_not_plain() {
        for text in [
            "http://",
            "http:///a",
            "http://?x",
            "http://:80/",
            "http://./",
            "http://.a/",
            "http://a../",
            "http://A/",
            "http://a%62/",
            "http://256.1.1.1/",
            "http://1.2.3.4.5/",
            "http://127.1/",
            "http://2130706433/",
            "http://0x7f.0.0.1/",
            "http://a.0x7f/",
            "http://127.0.0.01/",
            "http://127.0.0.1./",
            "http://xn--a/",
            "http://a.xn--b.c/",
            "http://[0:0::1]/",
            "http://[::ffff:1.2.3.4]/",
            "http://[1.2.3.4]/",
            "http://[::1]x/",
            "http://[::1/",
            "http://a]/",
            "http://a[b]/",
            "http://a:/",
            "http://a:0/",
            "http://a:080/",
            "http://a:80/",
            "https://a:443/",
            "http://a:65536/",
            "http://a:+1/",
            "http://a:81:81/",
            "http://[::1]:/",
        ] {
            assert!(!is_plain(text), "{text}");
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
            resolve("http://us%40er:pa%3Ass%E9@a/x", None).unwrap(),
            resolve_uri("http://us%40er:pa%3Ass%E9@a/x".parse().unwrap(), None).unwrap(),
        ] {
            assert_eq!(target.uri, "http://a/x");
            let credentials = target.credentials.unwrap();
            assert_eq!(credentials.user, b"us@er");
            assert_eq!(credentials.password, b"pa:ss\xe9");
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

    #[test]
    fn a_sign_before_the_port_is_refused_however_the_url_is_given() {
        for text in [
            "http://a:+80/",
            "http://a:+8080/x",
            "https://[::1]:+443/",
            "http://u:p@a:+80/",
        ] {
            let uri: Uri = text.parse().unwrap();
            assert!(!is_sendable(&uri), "{text}");
            for refused in [resolve(text, None), resolve_uri(uri, None)] {
                let error = refused.unwrap_err();
                assert!(error.is_builder(), "{text}");
                assert!(
                    error.to_string().contains("invalid port"),
                    "{text}: {error}"
                );
            }
        }
        let plus = resolve_uri(Uri::from_static("http://a+b:80/"), None).unwrap();
        assert_eq!(plus.uri, "http://a+b:80/");
    }
}
