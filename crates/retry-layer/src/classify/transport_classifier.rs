use std::error::Error;

use super::Classifier;
use crate::{class::Class, details::AttemptDetails, outcome::Outcome, report::RetryReport};

/// What a layer knows of the service below it, whichever policy a call has: set by
/// [`RetryPolicyBuilder::transport_classifier`](crate::RetryPolicyBuilder::transport_classifier).
///
/// A client with errors of its own sets it in the policy of its layer. The layer then calls it in place
/// of the classifier of a call's policy, also of a policy that a request brings, and passes that
/// classifier as `policy`.
///
/// ```
/// # use std::fmt;
/// use retry_layer::{
///     Class, Outcome, Classifier, RetryPolicy, classify::TransportClassifier,
/// };
///
/// #[derive(Debug)]
/// struct Unsent;
/// # impl fmt::Display for Unsent {
/// #     fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str("not sent") }
/// # }
/// # impl std::error::Error for Unsent {}
///
/// struct KnowsUnsent;
///
/// impl TransportClassifier for KnowsUnsent {
///     fn classify(&self, outcome: &Outcome<'_>, policy: &dyn Classifier) -> Class {
///         match outcome.find_error::<Unsent>() {
///             Some(_) => policy.classify(&outcome.with_error_class(Class::NotSent)),
///             None => policy.classify(outcome),
///         }
///     }
/// }
///
/// let policy = RetryPolicy::builder().transport_classifier(KnowsUnsent).build()?;
/// # Ok::<(), retry_layer::BuildError>(())
/// ```
pub trait TransportClassifier: Send + Sync + 'static {
    /// Says what this outcome means; see [`Classifier::classify`]. Not called for a status below 400
    /// that is [always final](Classifier::is_always_final) for the policy.
    fn classify(&self, outcome: &Outcome<'_>, policy: &dyn Classifier) -> Class;

    /// Says what is known of how an attempt ended; see [`Classifier::describe`]. Unless implemented, the
    /// policy's classifier says it.
    fn describe(&self, outcome: &Outcome<'_>, policy: &dyn Classifier) -> Option<AttemptDetails> {
        policy.describe(outcome)
    }

    /// Puts the report into the final error; see [`Classifier::annotate`]. Unless implemented, the
    /// policy's classifier does it.
    fn annotate(
        &self,
        error: &mut (dyn Error + 'static),
        report: RetryReport,
        policy: &dyn Classifier,
    ) {
        policy.annotate(error, report);
    }
}
