use tower_layer::Layer;

use crate::{policy::RetryPolicy, service::Retry};

/// A [`Layer`] that makes a [`Retry`] of a service.
///
/// See the [crate docs](crate).
#[derive(Clone, Debug, Default)]
pub struct RetryLayer {
    policy: RetryPolicy,
}

impl RetryLayer {
    /// Makes a layer whose services all follow this policy, and share its budget.
    #[must_use]
    pub fn new(policy: RetryPolicy) -> Self {
        Self { policy }
    }
}

impl<S> Layer<S> for RetryLayer {
    type Service = Retry<S>;

    fn layer(&self, inner: S) -> Retry<S> {
        Retry::new(inner, self.policy.clone())
    }
}
