use tower_layer::Layer;

use super::service::Resume;
use crate::policy::RetryPolicy;

/// A [`Layer`] that makes a [`Resume`] of a service. See the [module docs](super).
#[derive(Clone, Debug, Default)]
pub struct ResumeLayer {
    policy: RetryPolicy,
}

impl ResumeLayer {
    /// Continues bodies under this policy, whose budget, attempts, waits and deadline they share: the
    /// one of the [`RetryLayer`](crate::RetryLayer) below.
    #[must_use]
    pub fn new(policy: RetryPolicy) -> Self {
        Self { policy }
    }
}

impl<S> Layer<S> for ResumeLayer {
    type Service = Resume<S>;

    fn layer(&self, inner: S) -> Resume<S> {
        Resume::new(inner, self.policy.clone())
    }
}
