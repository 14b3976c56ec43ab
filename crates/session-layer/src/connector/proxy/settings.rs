use std::{env, ffi::OsString, fmt};

use http::Uri;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::{
    exempt::{Exempt, Useless},
    url::{ProxyConfigError, check},
};

/// A proxy, and which URIs go through it.
///
/// ```
/// use session_layer::{Connector, Proxy};
///
/// # fn example() -> Result<(), session_layer::ProxyConfigError> {
/// let proxy = Proxy::all("http://proxy.example:3128")?
///     .basic_auth("alice", "secret")?
///     .no_proxy("localhost, 127.0.0.0/8, .internal.example");
/// let connector = Connector::new().proxy(proxy);
/// # let _ = connector;
/// # Ok(())
/// # }
/// ```
///
/// | scheme of the proxy | what is spoken with it |
/// |---|---|
/// | `http`, or none | HTTP/1.1; port 80 unless given |
/// | `https` | HTTP/1.1 over TLS, its certificate verified for its name; port 443 |
/// | `socks4`, `socks5` | SOCKS; the names of origins are resolved here; port 1080 |
/// | `socks4a`, `socks5h` | SOCKS; the proxy resolves them; port 1080 |
///
/// Credentials may be in the URL, percent-encoded. Only the proxy gets them: in `CONNECT`, in a
/// request with its whole URI, or in the SOCKS5 handshake. [`Debug`](fmt::Debug) leaves them out.
#[derive(Clone)]
#[must_use = "a proxy does nothing until a connector is given it"]
pub struct Proxy {
    http: String,
    https: String,
    exempt: Exempt,
}

impl Proxy {
    /// Sends all requests through this proxy.
    ///
    /// # Errors
    ///
    /// If it is no URL with a host and a scheme of those above, or if it has a path; SOCKS4 knows no
    /// credentials.
    pub fn all(url: &str) -> Result<Self, ProxyConfigError> {
        let url = check(url)?;
        Ok(Self::new(url.clone(), url))
    }

    /// Sends requests for `http` URIs through this proxy.
    ///
    /// # Errors
    ///
    /// As [`all`](Self::all).
    pub fn http(url: &str) -> Result<Self, ProxyConfigError> {
        Ok(Self::new(check(url)?, String::new()))
    }

    /// Sends requests for `https` URIs through this proxy.
    ///
    /// # Errors
    ///
    /// As [`all`](Self::all).
    pub fn https(url: &str) -> Result<Self, ProxyConfigError> {
        Ok(Self::new(String::new(), check(url)?))
    }

    /// Takes the proxies that the environment names at this moment: `HTTP_PROXY` for `http` URIs,
    /// `HTTPS_PROXY` for `https`, `ALL_PROXY` where that one is not set, and `NO_PROXY` as
    /// [`no_proxy`](Self::no_proxy). Each may be written in lower case; upper case comes first.
    ///
    /// In a CGI program, where `REQUEST_METHOD` is set, nothing is taken: there a client of the
    /// program sets `HTTP_PROXY` by the header `Proxy` (known as httpoxy).
    ///
    /// An entry of `NO_PROXY` that cannot match any host is left out with a warning, since other
    /// programs may know more forms.
    ///
    /// # Errors
    ///
    /// If a variable has a value that [`all`](Self::all) refuses: to ignore it would connect
    /// directly although a proxy was set.
    pub fn from_env() -> Result<Self, ProxyConfigError> {
        Self::from_variables(|name| env::var_os(name))
    }

    /// Connects to these hosts directly; it replaces what was set before.
    ///
    /// The list is separated by commas, blanks, or both:
    ///
    /// | entry | what is connected to directly | read so by |
    /// |---|---|---|
    /// | `example.com`, `.example.com` | the name and its subdomains | curl (Go: the second one without the name itself) |
    /// | `*.example.com` | its subdomains | Go |
    /// | `10.1.2.3`, `fd00::1`, `[fd00::1]` | the address | both (Go: without brackets) |
    /// | `10.0.0.0/8`, `fd00::/8` | the addresses of the network | both |
    /// | `*` | everything | both (curl: if it is alone in the list) |
    /// | each but a network with `:8080` at its end | only that port | Go |
    ///
    /// Case does not matter, nor does a dot at the end of a name. An IPv4-mapped IPv6 address is
    /// compared as the IPv4 address. Names are compared as they are, not resolved: `127.0.0.0/8`
    /// does not cover `localhost`. No host is exempt by default, not even loopback.
    ///
    /// An entry that cannot match any host is left out, with an event of `tracing` at `WARN`;
    /// [`try_no_proxy`](Self::try_no_proxy) makes it an error.
    pub fn no_proxy(mut self, list: impl Into<String>) -> Self {
        self.exempt_and_warn(&list.into());
        self
    }

    /// Connects to these hosts directly, as [`no_proxy`](Self::no_proxy) does.
    ///
    /// # Errors
    ///
    /// If an entry cannot match any host: an invalid network or port, a name that cannot be in a
    /// URI. To ignore it would send requests to the proxy that were meant to go directly. The error
    /// has the place of the entry in the list.
    pub fn try_no_proxy(mut self, list: impl Into<String>) -> Result<Self, ProxyConfigError> {
        let (exempt, useless) = Exempt::read(&list.into());
        if let Some(Useless { place, why }) = useless.first() {
            return Err(ProxyConfigError::exemption(*place, why));
        }
        self.exempt = exempt;
        Ok(self)
    }

    /// Sets user and password in place of those in the URL: `Basic`
    /// ([RFC 7617](https://www.rfc-editor.org/rfc/rfc7617)) for HTTP, and those of SOCKS5.
    ///
    /// # Errors
    ///
    /// SOCKS4 knows no credentials, in `Basic` a user has no colon, and in SOCKS5 each has at most
    /// 255 bytes. With the name of an origin they have at most 249 bytes in all, or the connect
    /// fails: hyper-util keeps a SOCKS5 handshake in one small buffer.
    pub fn basic_auth(mut self, user: &str, password: &str) -> Result<Self, ProxyConfigError> {
        for url in [&mut self.http, &mut self.https] {
            let Some((scheme, rest)) = url.split_once("://") else {
                continue;
            };
            let address = rest.rsplit_once('@').map_or(rest, |(_, address)| address);
            let user = utf8_percent_encode(user, NON_ALPHANUMERIC);
            let password = utf8_percent_encode(password, NON_ALPHANUMERIC);
            *url = check(&format!("{scheme}://{user}:{password}@{address}"))?;
        }
        Ok(self)
    }

    fn new(http: String, https: String) -> Self {
        Self {
            http,
            https,
            exempt: Exempt::default(),
        }
    }

    fn exempt_and_warn(&mut self, list: &str) {
        let (exempt, useless) = Exempt::read(list);
        for Useless { place, why } in useless {
            // The entry itself may be a URL with a password in it.
            tracing::warn!(place, why, "an entry of NO_PROXY matches nothing");
        }
        self.exempt = exempt;
    }

    fn from_variables(
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, ProxyConfigError> {
        let mut proxy = Self::new(String::new(), String::new());
        if variable("REQUEST_METHOD").is_some() {
            return Ok(proxy);
        }
        let read = |upper: &'static str, lower| {
            let value = variable(upper).or_else(|| variable(lower));
            let value = value.unwrap_or_default().into_string();
            value.map_err(|_| ProxyConfigError::new("not UTF-8").found_in(upper))
        };
        let read_url = |upper, lower| match read(upper, lower)? {
            url if url.is_empty() => Ok(url),
            url => check(&url).map_err(|error| error.found_in(upper)),
        };
        let all = read_url("ALL_PROXY", "all_proxy")?;
        proxy.http = read_url("HTTP_PROXY", "http_proxy")?;
        proxy.https = read_url("HTTPS_PROXY", "https_proxy")?;
        proxy.exempt_and_warn(&read("NO_PROXY", "no_proxy")?);
        for url in [&mut proxy.http, &mut proxy.https] {
            if url.is_empty() {
                url.clone_from(&all);
            }
        }
        Ok(proxy)
    }

    pub(super) fn compile(self) -> Compiled {
        let matcher = Matcher::builder().http(self.http).https(self.https).build();
        Compiled {
            matcher,
            exempt: self.exempt,
        }
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |url: &str| match url.split_once("://") {
            Some((scheme, rest)) => {
                let address = rest.rsplit_once('@').map_or(rest, |(_, address)| address);
                format!("{scheme}://{address}")
            }
            None => String::new(),
        };
        f.debug_struct("Proxy")
            .field("http", &shown(&self.http))
            .field("https", &shown(&self.https))
            .field("no_proxy", &self.exempt)
            .finish()
    }
}

/// A proxy whose URLs and exceptions were read. Its `Debug` has no credentials: hyper-util's
/// matcher keeps them apart from the address.
#[derive(Debug)]
pub(super) struct Compiled {
    matcher: Matcher,
    exempt: Exempt,
}

impl Compiled {
    pub(super) fn intercept(&self, uri: &Uri) -> Option<Intercept> {
        let port = match uri.port_u16() {
            Some(port) => port,
            None if uri.scheme_str() == Some("https") => 443,
            None => 80,
        };
        if self.exempt.covers(uri, port) {
            return None;
        }
        self.matcher.intercept(uri)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(proxy: &Proxy, uri: &str) -> Option<String> {
        let uri = uri.parse().unwrap();
        let intercept = proxy.clone().compile().intercept(&uri)?;
        Some(intercept.uri().to_string())
    }

    fn environment<'a>(
        variables: &'a [(&str, &str)],
    ) -> impl Fn(&str) -> Option<OsString> + use<'a> {
        move |name| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| OsString::from(value))
        }
    }

    #[test]
    fn each_scheme_has_its_proxy() {
        let all = Proxy::all("proxy:3128").unwrap();
        for uri in ["http://a/", "https://a/"] {
            assert_eq!(through(&all, uri).unwrap(), "http://proxy:3128/");
        }
        let http = Proxy::http("SOCKS5://proxy").unwrap();
        assert_eq!(through(&http, "http://a/").unwrap(), "socks5://proxy/");
        assert_eq!(through(&http, "https://a/"), None);
        let https = Proxy::https("https://proxy/").unwrap();
        assert_eq!(through(&https, "https://a/").unwrap(), "https://proxy/");
        assert_eq!(through(&https, "http://a/"), None);
    }

    #[test]
    fn what_is_no_proxy_is_refused_and_not_told() {
        for url in [
            "",
            "http://",
            "ftp://canary@proxy",
            "socks6://canary@proxy",
            "http://proxy:canary",
            "http://canary:can/ary@proxy",
            "http://canary:can@ary@proxy",
            "http://canary:can?ary@proxy",
            "http://canary:can#ary@proxy",
            "http://can%3Aary:x@proxy",
            "http://proxy/canary",
            "socks4://canary@proxy",
            "socks4a://canary@proxy",
        ] {
            let error = Proxy::all(url).map(drop).unwrap_err();
            let told = format!("{error} {error:?}");
            assert!(!told.contains("can"), "{url}: {told}");
        }
        let long = "x".repeat(256);
        assert!(Proxy::all(&format!("socks5://{long}@proxy")).is_err());
        assert!(Proxy::all(&format!("http://{long}@proxy")).is_ok());
    }

    #[test]
    fn credentials_are_never_shown() {
        let proxies = [
            Proxy::all("http://canary:canary@proxy:1").unwrap(),
            Proxy::all("socks5h://proxy:1")
                .unwrap()
                .basic_auth("canary", "canary")
                .unwrap(),
        ];
        for proxy in proxies {
            let shown = format!("{proxy:?} {:?}", proxy.clone().compile());
            assert!(shown.contains("proxy:1"), "{shown}");
            assert!(!shown.to_lowercase().contains("canary"), "{shown}");
            assert!(!shown.contains("Y2FuYXJ5"), "{shown}");
        }
    }

    #[test]
    fn credentials_given_apart_replace_those_of_the_url() {
        let proxy = Proxy::all("http://old:old@proxy:1/").unwrap();
        let proxy = proxy.basic_auth("us er", "p@ss:/?#").unwrap();
        let intercept = proxy.compile().intercept(&Uri::from_static("http://a/"));
        let intercept = intercept.unwrap();
        assert_eq!(intercept.uri(), "http://proxy:1/");
        // Of "us er:p@ss:/?#".
        assert_eq!(
            intercept.basic_auth().unwrap(),
            "Basic dXMgZXI6cEBzczovPyM="
        );

        assert!(Proxy::all("proxy").unwrap().basic_auth("a:b", "c").is_err());
        let socks4 = Proxy::all("socks4://proxy").unwrap();
        assert!(socks4.basic_auth("a", "b").is_err());
    }

    #[test]
    fn what_no_proxy_lists_is_direct() {
        let proxy = Proxy::all("proxy:1").unwrap();
        for proxy in [
            proxy.clone().no_proxy("*.example.com localhost 10.0.0.0/8"),
            proxy
                .try_no_proxy("*.example.com localhost 10.0.0.0/8")
                .unwrap(),
        ] {
            for uri in [
                "http://www.example.com./",
                "https://localhost/",
                "http://10.1.2.3/",
            ] {
                assert_eq!(through(&proxy, uri), None, "{uri}");
            }
            assert!(through(&proxy, "http://other.test/").is_some());
        }
    }

    #[test]
    fn an_exemption_that_matches_nothing_is_an_error_that_tells_its_place() {
        let proxy = Proxy::all("proxy:1").unwrap();
        let error = proxy.try_no_proxy("localhost, 10.0.0.0/33").map(drop);
        assert_eq!(
            error.unwrap_err().to_string(),
            "not an exemption from a proxy: entry 2 is a network whose prefix is none, or is longer \
             than an address"
        );
    }

    #[test]
    fn the_environment_is_read_as_by_other_programs() {
        let variables = [
            ("HTTP_PROXY", "upper:1"),
            ("http_proxy", "lower:1"),
            ("all_proxy", "socks5h://all"),
            ("no_proxy", "direct"),
        ];
        let proxy = Proxy::from_variables(environment(&variables)).unwrap();
        assert_eq!(through(&proxy, "http://a/").unwrap(), "http://upper:1/");
        assert_eq!(through(&proxy, "https://a/").unwrap(), "socks5h://all/");
        assert_eq!(through(&proxy, "https://direct/"), None);

        let none = Proxy::from_variables(environment(&[("HTTP_PROXY", "")])).unwrap();
        assert_eq!(through(&none, "http://a/"), None);
    }

    #[test]
    fn a_cgi_program_takes_no_proxy_from_its_environment() {
        let variables = [("REQUEST_METHOD", "GET"), ("HTTP_PROXY", "evil:1")];
        let proxy = Proxy::from_variables(environment(&variables)).unwrap();
        assert_eq!(through(&proxy, "http://a/"), None);
    }

    #[test]
    fn a_variable_that_cannot_be_used_is_an_error_not_a_direct_connection() {
        let variables = [("https_proxy", "ftp://canary@proxy")];
        let error = Proxy::from_variables(environment(&variables)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "not the address of a proxy: not a scheme of a proxy (in HTTPS_PROXY)"
        );
    }
}
