//! The base URL, which relative URLs are joined to.

use http::Uri;
use url::Url;

use super::{
    Target, from_url, is_asterisk,
    refused::{invalid, with_scheme},
    sendable,
};
use crate::Error;

/// The base URL.
#[derive(Clone)]
pub(crate) struct Base(Url);

impl Base {
    /// Reads the value of the setting with this name.
    pub(crate) fn of_setting(setting: &str, url: &str) -> Result<Self, Error> {
        Self::new(url).map_err(|why| Error::builder(format!("{setting}: {why}")))
    }

    pub(super) fn new(text: &str) -> Result<Self, String> {
        if let Some(right) = with_scheme(text) {
            return Err(format!("`{text}` has no scheme; write {right}"));
        }
        // The URL may have a password or a key in it, and is not shown then.
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

    /// Joins a reference. It may lead to another host only if it begins with two slashes, as a
    /// network-path reference does. `Url` also takes backslashes for slashes, and drops tabs and
    /// line breaks, so a text that passes a check for slashes could otherwise still choose the
    /// host.
    pub(super) fn join(&self, text: &str) -> Result<Url, Error> {
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

    /// Moves a URI from this base to another: the part of its path below this base is put below the
    /// other; a path that is not below this base is kept.
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

    /// Replaces the base's path and query by those of the URI, unchanged. Joining them would turn a
    /// path that begins with two slashes into a host.
    pub(super) fn with_path(&self, uri: &Uri) -> Result<Target, Error> {
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
