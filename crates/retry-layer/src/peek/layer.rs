use std::{sync::Arc, time::Duration};

use http::response::Parts;
use tower_layer::Layer;

use super::{service::Peek, settings::PeekSettings};

/// A [`Layer`] that makes a [`Peek`] of a service. See the [module docs](super).
#[derive(Clone, Debug)]
pub struct PeekLayer {
    settings: Arc<PeekSettings>,
}

impl PeekLayer {
    /// Peeks at this many bytes of every response that has a body.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self {
            settings: Arc::new(PeekSettings::new(bytes)),
        }
    }

    /// Limits the wait for the beginning of a body. The bytes that have come by then are the
    /// prefix. Default: one second.
    #[must_use]
    pub fn within(mut self, time: Duration) -> Self {
        Arc::make_mut(&mut self.settings).time = time;
        self
    }

    /// Peeks only at responses whose head fulfils this condition. Default: all of them.
    #[must_use]
    pub fn only(mut self, condition: impl Fn(&Parts) -> bool + Send + Sync + 'static) -> Self {
        Arc::make_mut(&mut self.settings).only = Some(Arc::new(condition));
        self
    }
}

impl<S> Layer<S> for PeekLayer {
    type Service = Peek<S>;

    fn layer(&self, inner: S) -> Peek<S> {
        Peek::with_settings(inner, Arc::clone(&self.settings))
    }
}
