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

/// A request extension that keeps this request from being [hedged](crate::hedge). It is retried as others
/// are.
///
/// ```
/// let mut request = http::Request::new(());
/// request.extensions_mut().insert(retry_layer::NoHedge);
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct NoHedge;

/// A response extension with which a transport marks that it sent the request as early data of TLS 1.3
/// (RFC 8470).
///
/// A server may answer such a request with 425: it is not willing to process what might be a
/// replay. [`Standard`](crate::Standard) then sends the request again at once, and counts no attempt. A
/// transport must not send it as early data again: a request with an
/// [`Attempt`](crate::Attempt) in its extensions waits for the handshake.
///
/// ```
/// let mut response = http::Response::new(());
/// response.extensions_mut().insert(retry_layer::EarlyData);
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct EarlyData;
