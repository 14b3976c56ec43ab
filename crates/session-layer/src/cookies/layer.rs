use tower_layer::Layer;

use super::{Cookies, Jar};

/// A [`Layer`] that makes a [`Cookies`] of a service; all of them share its jar. See the
/// [module docs](super).
#[derive(Clone, Debug)]
pub struct CookieLayer {
    jar: Jar,
}

impl CookieLayer {
    /// Makes a layer over this jar.
    #[must_use]
    pub fn new(jar: Jar) -> Self {
        Self { jar }
    }
}

impl<S> Layer<S> for CookieLayer {
    type Service = Cookies<S>;

    fn layer(&self, inner: S) -> Cookies<S> {
        Cookies::new(inner, self.jar.clone())
    }
}
