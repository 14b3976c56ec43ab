use std::{error::Error, fmt};

/// A cookie was not kept. The error says why, and has no part of the cookie.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CookieError(Reason);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Reason {
    Uri,
    Bytes,
    Syntax,
    TooLarge,
    Domain,
    PublicSuffix,
    Prefix,
    Insecure,
    Expired,
}

impl From<Reason> for CookieError {
    fn from(reason: Reason) -> Self {
        Self(reason)
    }
}

impl fmt::Display for CookieError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Reason::Uri => "its URI is not an absolute one of http or https",
            Reason::Bytes => "the cookie has control characters or is not UTF-8",
            Reason::Syntax => "the cookie has no name, or its domain is none",
            Reason::TooLarge => "the cookie is too large",
            Reason::Domain => "the cookie is for another domain",
            Reason::PublicSuffix => "the cookie is for a public suffix",
            Reason::Prefix => "the cookie's name promises what does not hold",
            Reason::Insecure => "a secure cookie cannot be set without TLS",
            Reason::Expired => "the cookie has expired",
        })
    }
}

impl Error for CookieError {}
