//! URLs: the base URL, endpoints, and whether TLS is required.

use crate::{ClientBuilder, Error, target::Base};

impl ClientBuilder {
    /// Sets the URL that relative URLs are joined to, as [RFC 3986, section
    /// 5](https://www.rfc-editor.org/rfc/rfc3986#section-5) says: the last segment of its path
    /// counts only if a slash ends it. URLs that name a host may name any; see
    /// [`IntoUrl`](crate::IntoUrl). Default: none, and relative URLs are refused.
    ///
    /// # Errors
    ///
    /// If it is not an absolute `http` or `https` URL.
    pub fn base_url(mut self, url: impl AsRef<str>) -> Result<Self, Error> {
        self.base = Some(Base::of_setting("base_url", url.as_ref())?);
        self.extras.endpoints.clear();
        Ok(self)
    }

    /// Sends each attempt of a call to another server: the first to the first of these base URLs,
    /// the second to the second, and so on; the last one repeats. All headers and the client's
    /// credentials go along. Replaces [`base_url`](Self::base_url).
    ///
    /// The URL of a call is joined to the first base URL, and its path is then moved to that of the
    /// others. A transparent retry goes where the attempt before it went. URLs of other origins are
    /// not moved. The retry [budget](retry_layer::budget) counts all endpoints as the first one.
    ///
    /// ```
    /// let client = client::Client::builder()
    ///     .endpoints(["http://a.example/v1/", "http://b.example/api/v1/"])?
    ///     .build()?;
    /// # Ok::<(), client::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If there is none, one is not an absolute `http` or `https` URL, or their credentials differ:
    /// [`basic`](Self::basic) sets those of all.
    pub fn endpoints<U: AsRef<str>>(
        mut self,
        urls: impl IntoIterator<Item = U>,
    ) -> Result<Self, Error> {
        let endpoints = urls
            .into_iter()
            .map(|url| Base::of_setting("endpoints", url.as_ref()));
        self.extras.endpoints = endpoints.collect::<Result<_, _>>()?;
        let Some(first) = self.extras.endpoints.first() else {
            return Err(Error::builder("there must be at least one endpoint"));
        };
        if !self
            .extras
            .endpoints
            .iter()
            .all(|it| it.has_userinfo_of(first))
        {
            return Err(Error::builder(
                "the endpoints' URLs differ in their credentials, and a call has one set of them; \
                 see `basic`",
            ));
        }
        self.base = Some(first.clone());
        Ok(self)
    }

    /// Refuses to send anything without TLS: an attempt whose URL is not `https` fails with an
    /// error for which [`is_builder`](Error::is_builder) holds, also where a redirect or an
    /// [endpoint](Self::endpoints) leads there. Default: false.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), client::Error> {
    /// let client = client::Client::builder().https_only(true).build()?;
    /// let error = client.get("http://example.com/").send().await.unwrap_err();
    /// assert!(error.is_builder());
    /// # Ok(())
    /// # }
    /// ```
    pub fn https_only(mut self, on: bool) -> Self {
        self.extras.https_only = on;
        self
    }
}
