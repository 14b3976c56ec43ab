//! Looks for errors of other crates and modules among the causes of an error.

use std::{error::Error as StdError, io, iter};

use http::StatusCode;

/// How many causes are looked at: a chain that leads back to itself must end too.
const MAX_CAUSES: usize = 32;

/// All causes of type `T`, from the outside in. It also finds the error that an [`io::Error`]
/// wraps, which its `source` skips.
pub(super) fn causes<'a, T: StdError + 'static>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a T> {
    iter::successors(Some(error), |error| cause(*error))
        .take(MAX_CAUSES)
        .filter_map(|error| error.downcast_ref())
}

pub(super) fn cause<'a>(
    error: &'a (dyn StdError + 'static),
) -> Option<&'a (dyn StdError + 'static)> {
    match error.downcast_ref().and_then(io::Error::get_ref) {
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    }
}

#[cfg(feature = "proxy")]
pub(super) fn is_proxy(error: &(dyn StdError + 'static)) -> bool {
    causes::<crate::ProxyError>(error).next().is_some()
}

#[cfg(not(feature = "proxy"))]
pub(super) fn is_proxy(_: &(dyn StdError + 'static)) -> bool {
    false
}

#[cfg(feature = "proxy")]
pub(super) fn proxy_status(error: &(dyn StdError + 'static)) -> Option<StatusCode> {
    causes(error).find_map(crate::ProxyError::status)
}

#[cfg(not(feature = "proxy"))]
pub(super) fn proxy_status(_: &(dyn StdError + 'static)) -> Option<StatusCode> {
    None
}

#[cfg(feature = "tls")]
pub(super) fn is_tls(error: &(dyn StdError + 'static)) -> bool {
    causes::<rustls::Error>(error).next().is_some()
}

#[cfg(not(feature = "tls"))]
pub(super) fn is_tls(_: &(dyn StdError + 'static)) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use super::*;

    #[test]
    fn a_chain_without_end_is_given_up() {
        #[derive(Debug)]
        struct Endless;
        impl fmt::Display for Endless {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("endless")
            }
        }
        impl StdError for Endless {
            fn source(&self) -> Option<&(dyn StdError + 'static)> {
                Some(self)
            }
        }
        assert_eq!(causes::<Endless>(&Endless).count(), MAX_CAUSES);
    }
}
