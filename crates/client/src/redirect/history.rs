use std::fmt;

use http::{Method, Response, StatusCode, Uri};

use crate::origin;

/// A response extension: the call was redirected on its way to this response.
#[derive(Clone)]
pub struct Redirected {
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) fragment: Option<String>,
    pub(super) hops: Vec<Hop>,
}

impl Redirected {
    /// Returns the method of the request that gave this response: a redirect may have made a GET of
    /// it.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// Returns the URL that gave this response.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Returns the fragment of the last `Location` that had one, which stands until another
    /// replaces it ([RFC 9110, section 10.2.2](https://www.rfc-editor.org/rfc/rfc9110#section-10.2.2)).
    /// `None` if none had one: that of the URL asked for stands then.
    #[must_use]
    pub fn fragment(&self) -> Option<&str> {
        self.fragment.as_deref()
    }

    /// Returns the responses that led here, the first one first.
    #[must_use]
    pub fn hops(&self) -> &[Hop] {
        &self.hops
    }
}

impl fmt::Debug for Redirected {
    // No path and no query: either may hold a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redirected")
            .field("method", &self.method)
            .field("origin", &origin::display(&self.uri))
            .field("hops", &self.hops)
            .finish_non_exhaustive()
    }
}

/// A response that redirected.
#[derive(Clone)]
pub struct Hop {
    pub(super) uri: Uri,
    pub(super) status: StatusCode,
}

impl Hop {
    /// Returns the URL that gave it.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Returns its status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }
}

impl fmt::Debug for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hop")
            .field("origin", &origin::display(&self.uri))
            .field("status", &self.status)
            .finish()
    }
}

/// A request extension: a redirect has led this call away from its first origin, and the request
/// may have gone to any host by then, also where it has come back since.
///
/// Layers below the redirects see it, those of
/// [`attempt_layer`](crate::ClientBuilder::attempt_layer) among them, and should then add nothing
/// that is meant for one origin, such as credentials.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct CrossOrigin;

/// A response extension: the URL that gave it, where that is not the request's.
#[derive(Clone, Debug)]
pub(crate) struct Answerer(pub(crate) Uri);

impl Answerer {
    pub(crate) fn of<T>(response: &Response<T>) -> Option<&Uri> {
        response.extensions().get::<Self>().map(|Self(uri)| uri)
    }
}
