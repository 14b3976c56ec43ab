mod collected;
mod failed;
mod streaming;

use std::fmt;

use http::{Extensions, HeaderMap, StatusCode, Uri, Version};
use retry_layer::{ResponseExt as _, RetryReport};
use session_layer::ConnectionInfo;

#[cfg(feature = "fs")]
use crate::call::Source;
use crate::{
    Redirected, ResponseBody, deadline::Limit, description::Description, redirect::Answerer,
};

/// The response to a request: that of [`send`](crate::RequestBuilder::send) has a body that
/// streams, that of [`fetch`](crate::RequestBuilder::fetch) the bytes of its body.
///
/// A failed status is a response too: check it, or use
/// [`error_for_status`](Response::error_for_status).
pub struct Response<T = ResponseBody> {
    inner: http::Response<T>,
    request: Description,
    connection: Option<ConnectionInfo>,
    max_body: usize,
    /// The deadline of the call, for a body that is still to be collected.
    limit: Option<Limit>,
    /// What is needed to continue the body, until some of it is read.
    #[cfg(feature = "fs")]
    source: Option<Source>,
}

impl<T> Response<T> {
    /// Returns the status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.inner.status()
    }

    /// Returns the protocol version of the response.
    #[must_use]
    pub fn version(&self) -> Version {
        self.inner.version()
    }

    /// Returns the headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        self.inner.headers()
    }

    /// Returns the extensions, which layers below may have added.
    #[must_use]
    pub fn extensions(&self) -> &Extensions {
        self.inner.extensions()
    }

    /// Returns the report of all attempts until this response, on all hops of a call that was
    /// redirected.
    #[must_use]
    pub fn retry_report(&self) -> RetryReport {
        self.inner.retry_report()
    }

    /// Returns the URL that gave this response: after [redirects](crate::Redirects), the last one;
    /// with [endpoints](crate::ClientBuilder::endpoints), that of the one that answered.
    #[must_use]
    pub fn url(&self) -> &Uri {
        let redirected = self.redirected().map(Redirected::uri);
        redirected
            .or(Answerer::of(&self.inner))
            .unwrap_or(self.request.uri())
    }

    /// Returns the redirects that led to this response, if any did.
    #[must_use]
    pub fn redirected(&self) -> Option<&Redirected> {
        self.extensions().get()
    }

    /// Returns what is known of the connection that the response came over: whether it was reused,
    /// its peer, how long the request waited for it. `None` over a service in the session's place.
    ///
    /// ```
    /// # async fn example(client: client::Client) -> Result<(), client::Error> {
    /// let response = client.get("https://example.com/").fetch().await?;
    /// if let Some(connection) = response.connection() {
    ///     println!("{:?}, reused: {}", connection.peer_addr(), connection.is_reused());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn connection(&self) -> Option<&ConnectionInfo> {
        self.connection.as_ref()
    }

    /// The request that an error of this response names.
    pub(crate) fn description(&self) -> Description {
        self.request.answered_by(&self.inner)
    }

    /// Gives the response of the `http` crate.
    pub fn into_inner(self) -> http::Response<T> {
        self.inner
    }
}

/// The connection that a response came over. If a layer of the caller's has wrapped the body, which
/// knows the connection, the head still has it.
fn connection(response: &http::Response<ResponseBody>) -> Option<ConnectionInfo> {
    let of_body = response.body().connection();
    of_body.or(response.extensions().get()).cloned()
}

impl<T> fmt::Debug for Response<T> {
    // No headers: a cookie may be among them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.status())
            .field("version", &self.version())
            .finish_non_exhaustive()
    }
}
