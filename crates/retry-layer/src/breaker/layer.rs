use tower_layer::Layer;

use super::{Breaker, CircuitBreaker};

/// A [`Layer`] that makes a [`CircuitBreaker`] of a service. See the [module docs](super).
#[derive(Clone, Debug, Default)]
pub struct BreakerLayer {
    breaker: Breaker,
}

impl BreakerLayer {
    /// Makes a layer; all services that it makes share the circuits of this breaker.
    #[must_use]
    pub const fn new(breaker: Breaker) -> Self {
        Self { breaker }
    }
}

impl<S> Layer<S> for BreakerLayer {
    type Service = CircuitBreaker<S>;

    fn layer(&self, inner: S) -> CircuitBreaker<S> {
        CircuitBreaker::new(inner, self.breaker.clone())
    }
}
