use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use http::{Request, Response};
use retry_layer::Outcome;

/// A request extension: the one time in a call at which refused credentials are renewed. All
/// attempts and hops of the call share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Refresh {
    used_up: Arc<AtomicBool>,
}

impl Refresh {
    pub(crate) fn of<B>(request: &Request<B>) -> Option<Self> {
        request.extensions().get::<Self>().cloned()
    }

    /// Asks for another attempt at a response, once.
    pub(crate) fn ask_again<T>(&self, response: &mut Response<T>) {
        // Relaxed: the attempts of a call follow one another.
        if !self.used_up.swap(true, Relaxed) {
            response.extensions_mut().insert(TryAgain);
        }
    }
}

/// A response extension: credentials were refused, which means that the request was not processed,
/// and the next attempt will have others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TryAgain;

impl TryAgain {
    pub(crate) fn is_asked_for(outcome: &Outcome<'_>) -> bool {
        outcome
            .extensions()
            .is_some_and(|extensions| extensions.get::<Self>().is_some())
    }
}
