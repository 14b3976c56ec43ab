use http::{HeaderName, Request};

/// A request extension: the headers that a client does not add to this request.
#[derive(Clone, Debug, Default)]
pub(crate) struct WithoutDefaults(Vec<HeaderName>);

impl WithoutDefaults {
    #[inline]
    pub(crate) fn of<B>(request: &Request<B>) -> Self {
        // Copied only if there is one, which is rare.
        request.extensions().get().cloned().unwrap_or_default()
    }

    pub(crate) fn and(mut self, name: HeaderName) -> Self {
        self.0.push(name);
        self
    }

    #[inline]
    pub(crate) fn has(&self, name: &HeaderName) -> bool {
        self.0.contains(name)
    }

    pub(crate) fn has_named(&self, name: &str) -> bool {
        self.0.iter().any(|it| it == name)
    }
}
