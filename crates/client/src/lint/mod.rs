//! Settings that contradict each other.
//!
//! ```
//! use std::time::Duration;
//! use client::{ClientBuilder, RetryPolicy, Timeouts, lint::{Finding, Severity, Surroundings}};
//!
//! let builder = ClientBuilder::new()
//!     .deadline(Duration::from_secs(5))
//!     .timeouts(Timeouts::default().head(Duration::from_secs(10)));
//! let findings = builder.lint(&Surroundings::new());
//! let attempt = findings.iter().find(|it| matches!(it, Finding::AttemptOutlastsDeadline { .. }));
//! assert_eq!(attempt.map(Finding::severity), Some(Severity::Contradiction));
//!
//! // The defaults contradict nothing.
//! assert!(ClientBuilder::new().lint(&Surroundings::new()).is_empty());
//! ```
//!
//! A client is built with such settings all the same, since none of them is wrong by itself. A check of a
//! [configuration file](crate::ClientBuilder::from_config) in CI finds them before an outage does: the example `storm` is one.

mod check;
mod finding;
mod surroundings;

pub use self::{
    finding::{Finding, Severity},
    surroundings::Surroundings,
};
use crate::ClientBuilder;

impl ClientBuilder {
    /// Names the settings that contradict each other, or that are a risk in what [surrounds](Surroundings) the client. Nothing
    /// is connected, and no setting changes. See [`lint`](crate::lint).
    ///
    /// A setting that is not valid is an error of [`build`](Self::build), and no finding.
    #[must_use]
    pub fn lint(&self, surroundings: &Surroundings) -> Vec<Finding> {
        self.settings_to_check().check(surroundings)
    }
}
