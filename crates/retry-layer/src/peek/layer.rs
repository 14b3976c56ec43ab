use std::{fmt, sync::Arc, time::Duration};

use http::response::Parts;
use tower_layer::Layer;

use super::service::Peek;

/// A [`Layer`] that makes a [`Peek`] of a service. See the [module docs](super).
#[derive(Clone)]
pub struct PeekLayer {
    pub(super) settings: Arc<Settings>,
}

#[derive(Clone)]
pub(super) struct Settings {
    pub(super) limit: usize,
    pub(super) time: Duration,
    pub(super) only: Option<Arc<Filter>>,
}

pub(super) type Filter = dyn Fn(&Parts) -> bool + Send + Sync;

impl PeekLayer {
    /// Peeks at so many bytes of every response that has a body.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self {
            settings: Arc::new(Settings {
                limit: bytes,
                time: Duration::from_secs(1),
                only: None,
            }),
        }
    }

    /// How long the beginning of a body is waited for at most: one second unless set. What has
    /// come by then is the prefix.
    #[must_use]
    pub fn within(mut self, time: Duration) -> Self {
        Arc::make_mut(&mut self.settings).time = time;
        self
    }

    /// Peeks only at responses whose head fulfils this condition; at all of them unless set.
    #[must_use]
    pub fn only(mut self, condition: impl Fn(&Parts) -> bool + Send + Sync + 'static) -> Self {
        Arc::make_mut(&mut self.settings).only = Some(Arc::new(condition));
        self
    }
}

impl Settings {
    pub(super) fn is_wanted(&self, head: &Parts) -> bool {
        self.only.as_deref().is_none_or(|only| only(head))
    }
}

impl<S> Layer<S> for PeekLayer {
    type Service = Peek<S>;

    fn layer(&self, inner: S) -> Peek<S> {
        Peek::new(inner, self)
    }
}

impl fmt::Debug for PeekLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.settings.fmt(f)
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeekLayer")
            .field("bytes", &self.limit)
            .field("time", &self.time)
            .finish_non_exhaustive()
    }
}
