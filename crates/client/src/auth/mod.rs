//! Credentials that have to be fetched, or computed for each request.

#[cfg(feature = "digest")]
mod challenge;
#[cfg(feature = "digest")]
mod digest;
mod header;
mod refresh;
mod token;

use http::{HeaderMap, HeaderValue, Method, Uri};

#[cfg(feature = "digest")]
pub(crate) use self::digest::Digest;
pub use self::token::{Token, TokenFn, TokenSource, token_fn};
pub(crate) use self::{
    header::{basic, bearer},
    refresh::{Refresh, TryAgain},
    token::Tokens,
};
use crate::Error;

/// One way to authorize the attempts of a client.
#[derive(Debug)]
pub(crate) enum Auth {
    Token(Tokens),
    #[cfg(feature = "digest")]
    Digest(Digest),
}

impl Auth {
    /// Gives the value of `Authorization` for an attempt, if there is one.
    pub(crate) async fn header(
        &self,
        #[cfg_attr(not(feature = "digest"), expect(unused_variables))] method: &Method,
        #[cfg_attr(not(feature = "digest"), expect(unused_variables))] uri: &Uri,
    ) -> Result<Option<HeaderValue>, Error> {
        match self {
            Self::Token(tokens) => tokens.header().await.map(Some),
            #[cfg(feature = "digest")]
            Self::Digest(digest) => Ok(digest.header(method, uri)),
        }
    }

    /// Takes note that an attempt with this value was answered by 401, and tells whether another
    /// attempt would have new credentials.
    pub(crate) fn is_refused(
        &self,
        used: Option<&HeaderValue>,
        #[cfg_attr(not(feature = "digest"), expect(unused_variables))] uri: &Uri,
        #[cfg_attr(not(feature = "digest"), expect(unused_variables))] answer: &HeaderMap,
    ) -> bool {
        match self {
            Self::Token(tokens) => tokens.refuse(used),
            #[cfg(feature = "digest")]
            Self::Digest(digest) => digest.challenge(uri, answer),
        }
    }
}
