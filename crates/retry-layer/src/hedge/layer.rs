use tower_layer::Layer;

use super::Hedge;

/// A [`Layer`] that makes a [`Hedge`] of a service. See the [module docs](super).
#[derive(Clone, Copy, Debug, Default)]
pub struct HedgeLayer(());

impl HedgeLayer {
    /// Makes the layer. When a request is hedged the policy above says.
    #[must_use]
    pub const fn new() -> Self {
        Self(())
    }
}

impl<S> Layer<S> for HedgeLayer {
    type Service = Hedge<S>;

    fn layer(&self, inner: S) -> Hedge<S> {
        Hedge::new(inner)
    }
}
