//! Predicates: which outcomes are worth another attempt.
//!
//! ```
//! use http::StatusCode;
//! use retry_layer::{RetryPolicy, predicate_fn};
//!
//! // Only "service unavailable", and only reset connections.
//! let predicate = predicate_fn(|outcome: &retry_layer::Outcome<'_>| {
//!     outcome.status() == Some(StatusCode::SERVICE_UNAVAILABLE)
//!         || outcome
//!             .find_error::<std::io::Error>()
//!             .is_some_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset)
//! });
//! let policy = RetryPolicy::builder().predicate(predicate).build()?;
//! # Ok::<(), retry_layer::BuildError>(())
//! ```

mod class;
mod func;
mod standard;
mod status;

use std::{error::Error, sync::Arc};

pub use self::{
    class::Class,
    func::{PredicateFn, predicate_fn},
    standard::Standard,
};
use crate::{outcome::Outcome, report::RetryReport};

/// Decides what an outcome means.
///
/// [`Standard`] is the default; [`predicate_fn`] makes one of a closure; a type of your own can
/// look at the outcome first and hand the rest to a `Standard`.
pub trait Predicate: Send + Sync + 'static {
    /// Says what this outcome means for sending the request again.
    ///
    /// Called once for every attempt that may be followed by another. It must not block.
    fn classify(&self, outcome: &Outcome<'_>) -> Class;

    /// Puts the report where the final error has room for it.
    ///
    /// Called once for every error that the layer returns. The default does nothing: most errors
    /// have no such room.
    fn annotate(&self, error: &mut (dyn Error + 'static), report: RetryReport) {
        let _ = (error, report);
    }
}

impl<P> Predicate for Arc<P>
where
    P: Predicate + ?Sized,
{
    fn classify(&self, outcome: &Outcome<'_>) -> Class {
        (**self).classify(outcome)
    }

    fn annotate(&self, error: &mut (dyn Error + 'static), report: RetryReport) {
        (**self).annotate(error, report);
    }
}
