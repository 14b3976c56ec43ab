use tower_layer::Layer;

use super::{Pause, SharedPause};

/// Makes a [`SharedPause`] of a service. See the [module docs](super).
#[derive(Clone, Debug, Default)]
pub struct PauseLayer {
    pause: Pause,
}

impl PauseLayer {
    /// Makes the layer. All services that it wraps share the pauses.
    #[must_use]
    pub const fn new(pause: Pause) -> Self {
        Self { pause }
    }
}

impl<S> Layer<S> for PauseLayer {
    type Service = SharedPause<S>;

    fn layer(&self, inner: S) -> Self::Service {
        SharedPause::new(inner, self.pause.clone())
    }
}
