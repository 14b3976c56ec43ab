//! Errors of URLs, with what to write instead.

use url::Url;

use crate::Error;

/// Guesses the URL that was meant by a host without a scheme, perhaps with a port and a path.
/// Without a port, the text has to look like a host, because a relative path must not.
pub(super) fn with_scheme(text: &str) -> Option<String> {
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

/// The error of a URL that begins with a host. It does not show the path and query.
pub(super) fn without_scheme(text: &str) -> Option<Error> {
    let host = text.split(['/', '?', '#']).next()?;
    let right = with_scheme(host)?;
    Some(Error::builder(format!(
        "the URL has no scheme: let it begin with {right}"
    )))
}

pub(super) fn invalid(error: url::ParseError) -> Error {
    Error::builder(format!("the URL is not valid: {error}"))
}

pub(super) fn not_http(scheme: &str) -> Error {
    Error::builder(format!("only http and https can be sent, not {scheme}"))
}

pub(super) fn relative() -> Error {
    Error::builder("the URL is relative, and the client has no base URL")
}
