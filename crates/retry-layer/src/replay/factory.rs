use std::{fmt, sync::Arc};

/// A request extension that makes the body of each further attempt: for a body that can be read from
/// its source again, such as a file, and need not be kept in memory.
///
/// The first attempt sends the request's own body, of which nothing is recorded, whatever its length.
/// A response that comes before that body was read to its end does not prevent another attempt. `B` has to be the type of that body. The function is
/// called when an attempt is about to be sent, on the task that polls the call: it must not block.
/// Every body has to have the same length as the first; one that announces another length fails
/// as soon as it is read, so that the server is not sent something else.
///
/// A crate with a body type of its own inserts it where its body becomes part of a request.
///
/// ```
/// use bytes::Bytes;
/// use http_body_util::Full;
/// use retry_layer::BodyFactory;
///
/// let make = || Full::new(Bytes::from_static(b"rows"));
/// let mut request = http::Request::put("http://example.com/rows").body(make())?;
/// request.extensions_mut().insert(BodyFactory::new(make));
/// # Ok::<(), http::Error>(())
/// ```
pub struct BodyFactory<B> {
    make: Arc<dyn Fn() -> B + Send + Sync>,
}

impl<B> BodyFactory<B> {
    /// Makes bodies by this function.
    pub fn new(make: impl Fn() -> B + Send + Sync + 'static) -> Self {
        Self {
            make: Arc::new(make),
        }
    }

    /// Makes a body.
    #[must_use]
    pub fn make(&self) -> B {
        (self.make)()
    }
}

impl<B> Clone for BodyFactory<B> {
    fn clone(&self) -> Self {
        Self {
            make: Arc::clone(&self.make),
        }
    }
}

impl<B> fmt::Debug for BodyFactory<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BodyFactory").finish_non_exhaustive()
    }
}
