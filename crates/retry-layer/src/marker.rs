/// A request extension by which the sender vouches that this request may be processed twice.
///
/// It is then retried as if its method were idempotent. An `Idempotency-Key` header says the same.
///
/// ```
/// let mut search = http::Request::post("http://example.com/search").body("{}")?;
/// search.extensions_mut().insert(retry_layer::Idempotent);
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Idempotent;

/// A request extension that switches the layer off for this request: it is sent once, nothing of
/// it is kept, and its outcome is returned whatever it is.
///
/// ```
/// let mut request = http::Request::new(());
/// request.extensions_mut().insert(retry_layer::NoRetry);
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct NoRetry;
