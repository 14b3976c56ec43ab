use std::{fmt, mem, sync::Arc};

use http::{Request, request::Parts};

/// Alters each attempt of a request before it is sent: another endpoint, a fresh token.
///
/// It is called with the number of the exchange, from 1 and with transparent retries counted, and with
/// the head of the request: as the caller made it, not as an earlier attempt was altered, with all
/// its headers. A layer does it for every call
/// ([`RetryPolicyBuilder::before_attempt`](crate::RetryPolicyBuilder::before_attempt)); a request
/// that has one of its own in its extensions is altered by that one instead.
///
/// The budget and classifiers go by the URI that the request had when it entered the layer. From
/// the second exchange on, the extensions hold an [`Attempt`](crate::Attempt), which has the
/// outcome of the one before. Asynchronous work, such as getting a new token from a server, belongs
/// into a service below the layer.
///
/// ```
/// use http::Uri;
/// use retry_layer::BeforeAttempt;
///
/// let endpoints = ["http://a.example/rank", "http://b.example/rank"].map(Uri::from_static);
/// let mut request = http::Request::get(&endpoints[0]).body(())?;
/// request.extensions_mut().insert(BeforeAttempt::new(move |number, parts| {
///     if let Some(next) = endpoints.iter().cycle().nth(number as usize - 1) {
///         parts.uri = next.clone();
///     }
/// }));
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone)]
pub struct BeforeAttempt {
    alter: Arc<Alter>,
}

type Alter = dyn Fn(u32, &mut Parts) + Send + Sync;

impl BeforeAttempt {
    /// Alters attempts by this function. It must not block.
    pub fn new(alter: impl Fn(u32, &mut Parts) + Send + Sync + 'static) -> Self {
        Self {
            alter: Arc::new(alter),
        }
    }

    pub(crate) fn alter_head<B>(&self, number: u32, request: &mut Request<B>) {
        // `Parts` cannot be borrowed from a request, so they are taken out and put back.
        let (mut parts, ()) = Request::new(()).into_parts();
        swap_head(&mut parts, request);
        (self.alter)(number, &mut parts);
        swap_head(&mut parts, request);
    }
}

fn swap_head<B>(parts: &mut Parts, request: &mut Request<B>) {
    mem::swap(&mut parts.method, request.method_mut());
    mem::swap(&mut parts.uri, request.uri_mut());
    mem::swap(&mut parts.version, request.version_mut());
    mem::swap(&mut parts.headers, request.headers_mut());
    mem::swap(&mut parts.extensions, request.extensions_mut());
}

impl fmt::Debug for BeforeAttempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BeforeAttempt").finish_non_exhaustive()
    }
}
