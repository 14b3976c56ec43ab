//! Errors of settings, with their keys.

use std::fmt;

use http::HeaderName;

use crate::Error;

/// The error of a setting: its key, why the value is not valid, and which would be.
pub(super) fn invalid(key: &str, why: impl fmt::Display) -> Error {
    Error::builder(format!("{key}: {why}"))
}

pub(super) fn header_name(key: &str, name: &str) -> Result<HeaderName, Error> {
    name.parse().map_err(|_| {
        invalid(
            key,
            format_args!(
                "{name:?} is no header's name; write letters, digits and hyphens, as in \
                 \"x-request-id\""
            ),
        )
    })
}

/// What an error and its causes say, in one line.
#[cfg(any(feature = "proxy", feature = "tls"))]
pub(super) struct Chain<'a>(pub(super) &'a (dyn std::error::Error + 'static));

#[cfg(any(feature = "proxy", feature = "tls"))]
impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(feature = "tls")]
pub(super) fn together(one: &str, other: &str) -> Error {
    Error::builder(format!(
        "the settings `{one}` and `{other}` belong together"
    ))
}

pub(super) fn twice(one: &str, other: &str) -> Error {
    Error::builder(format!(
        "the settings `{one}` and `{other}` exclude each other"
    ))
}
