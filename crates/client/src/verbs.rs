//! Methods that start a request.

use bytes::Bytes;
use http::{Method, Request};
use http_body::Body as HttpBody;

use crate::{Body, Client, Error, IntoUrl, RequestBuilder, error::BoxError};

impl Client {
    /// Starts a request.
    pub fn request(&self, method: Method, url: impl IntoUrl) -> RequestBuilder {
        RequestBuilder::new(self.clone(), method, self.resolve(url))
    }

    /// Starts a GET request.
    pub fn get(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::GET, url)
    }

    /// Starts a HEAD request.
    pub fn head(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::HEAD, url)
    }

    /// Starts a POST request.
    pub fn post(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::POST, url)
    }

    /// Starts a PUT request.
    pub fn put(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::PUT, url)
    }

    /// Starts a PATCH request.
    pub fn patch(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::PATCH, url)
    }

    /// Starts a DELETE request.
    pub fn delete(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::DELETE, url)
    }

    /// Starts an OPTIONS request.
    pub fn options(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::OPTIONS, url)
    }

    /// Starts a request from one that was made elsewhere, such as a request of the `http` crate in
    /// a server's handler. A URI without a host goes to that of the [base
    /// URL](crate::ClientBuilder::base_url).
    ///
    /// ```
    /// # async fn example(client: client::Client) -> Result<(), client::Error> {
    /// let request = http::Request::put("https://example.com/a")
    ///     .header("x-key", "value")
    ///     .body(http_body_util::Full::new(bytes::Bytes::from("content")))
    ///     .expect("the request is valid");
    /// let response = client.request_from(request).no_retry().fetch().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn request_from<B>(&self, request: Request<B>) -> RequestBuilder
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        self.request(request.method().clone(), request.uri())
            .with_request(request.map(Body::new))
    }

    /// Sends a request that was made elsewhere; see [`request_from`](Self::request_from) and
    /// [`send`](RequestBuilder::send). As a `Service`, the client gives the response of the `http`
    /// crate instead.
    ///
    /// # Errors
    ///
    /// Those of [`send`](RequestBuilder::send).
    ///
    /// # Cancel safety
    ///
    /// That of [`send`](RequestBuilder::send).
    pub async fn execute<B>(&self, request: Request<B>) -> Result<crate::Response, Error>
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        self.request_from(request).send().await
    }
}
