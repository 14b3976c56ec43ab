//! The chain of causes of an error.

use std::{error::Error as StdError, io, iter};

use super::Error;

/// How many causes are looked at, so that a chain which leads back to itself ends too.
const MAX_CAUSES: usize = 32;

/// The error and its causes, outermost first. It also looks into [`io::Error`]s, whose `source`
/// skips the error that they wrap.
pub(crate) fn causes<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    iter::successors(Some(error), |error: &&'a (dyn StdError + 'static)| {
        let error = *error;
        match error.downcast_ref().and_then(io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        }
    })
    .take(MAX_CAUSES)
}

/// The session's error among the causes of a service's error.
pub(super) fn session_cause<'a>(
    error: &'a (dyn StdError + 'static),
) -> Option<&'a session_layer::Error> {
    causes(error).find_map(|cause| match cause.downcast_ref::<Error>() {
        // Its own sources skip the session's error.
        Some(error) => error.session_error(),
        None => cause.downcast_ref(),
    })
}

/// Whether an error of rustls is among the causes of a service's error.
#[cfg(feature = "tls")]
pub(super) fn is_tls(error: &(dyn StdError + 'static)) -> bool {
    causes(error).any(<dyn StdError>::is::<rustls::Error>)
}

#[cfg(not(feature = "tls"))]
pub(super) fn is_tls(_: &(dyn StdError + 'static)) -> bool {
    false
}
