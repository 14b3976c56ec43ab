use std::{error::Error as StdError, fmt};

use http::{Uri, uri::PathAndQuery};
use hyper_util::client::proxy::matcher::Matcher;
use percent_encoding::percent_decode_str;

use super::{Protocol, Version};
use crate::origin::port_of;

/// Returns the URL with its scheme, if it is a valid URL of a proxy. The matcher silently ignores a
/// URL that it does not understand, so it is checked here.
pub(super) fn check(url: &str) -> Result<String, ProxyConfigError> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let scheme = scheme.to_ascii_lowercase();
    let protocol = Protocol::of(&scheme).ok_or(ProxyConfigError::new("not a scheme of a proxy"))?;
    let url = format!("{scheme}://{rest}");
    let uri: Uri = url
        .parse()
        .map_err(|_| ProxyConfigError::new("not a URL"))?;
    let authority = match uri.authority() {
        Some(authority) if !authority.host().is_empty() => authority,
        Some(_) | None => return Err(ProxyConfigError::new("without a host")),
    };
    // A password with a slash in it ends up here too.
    if uri.path_and_query().map_or("/", PathAndQuery::as_str) != "/" {
        return Err(ProxyConfigError::new("with a path"));
    }
    let (userinfo, address) = match authority.as_str().split_once('@') {
        Some((userinfo, address)) => (Some(userinfo), address),
        None => (None, authority.as_str()),
    };
    if address.contains('@') {
        return Err(ProxyConfigError::new("with an @ that is not encoded"));
    }
    let port = address.strip_prefix(authority.host()).unwrap_or_default();
    if port.len() > 1 && port_of(authority).is_none() {
        return Err(ProxyConfigError::new("with a port that is none"));
    }
    if let Some(userinfo) = userinfo {
        check_userinfo(protocol, userinfo)?;
    }
    let matcher = Matcher::builder().all(&url).build();
    match matcher.intercept(&Uri::from_static("http://origin.invalid")) {
        Some(_) => Ok(url),
        None => Err(ProxyConfigError::new("not understood")),
    }
}

fn check_userinfo(protocol: Protocol, userinfo: &str) -> Result<(), ProxyConfigError> {
    let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
    let bytes = |text| percent_decode_str(text).count();
    match protocol {
        Protocol::Http | Protocol::Https => {
            if percent_decode_str(user).any(|byte| byte == b':') {
                return Err(ProxyConfigError::new("with a colon in the user"));
            }
        }
        Protocol::Socks(Version::V4, _) => {
            return Err(ProxyConfigError::new(
                "with credentials, which SOCKS4 does not know",
            ));
        }
        Protocol::Socks(Version::V5, _) => {
            if bytes(user) > 255 || bytes(password) > 255 {
                return Err(ProxyConfigError::new("with credentials over 255 bytes"));
            }
        }
    }
    Ok(())
}

/// Why the URL of a proxy, or a list of exemptions, was refused. It has no part of the input, which
/// may contain a password.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ProxyConfigError {
    why: &'static str,
    variable: Option<&'static str>,
    /// The place in a list of exemptions; `None` stands for the address of a proxy.
    exemption: Option<usize>,
}

impl ProxyConfigError {
    pub(super) fn new(why: &'static str) -> Self {
        Self {
            why,
            variable: None,
            exemption: None,
        }
    }

    pub(super) fn exemption(place: usize, why: &'static str) -> Self {
        Self {
            exemption: Some(place),
            ..Self::new(why)
        }
    }

    pub(super) fn found_in(mut self, variable: &'static str) -> Self {
        self.variable = Some(variable);
        self
    }
}

impl fmt::Display for ProxyConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = self.why;
        match self.exemption {
            None => write!(f, "not the address of a proxy: {why}")?,
            Some(place) => write!(f, "not an exemption from a proxy: entry {place} is {why}")?,
        }
        match self.variable {
            Some(variable) => write!(f, " (in {variable})"),
            None => Ok(()),
        }
    }
}

impl StdError for ProxyConfigError {}
