//! Clients with the default settings.

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as HttpBody;
use tower_service::Service;

use crate::{Body, Client, ClientBuilder, error::BoxError};

impl Client {
    /// Makes a client with the default settings.
    ///
    /// # Panics
    ///
    /// Never: the default settings are valid.
    #[must_use]
    pub fn new() -> Self {
        ClientBuilder::new()
            .build()
            .expect("the default settings are valid")
    }

    /// Returns a builder with the default settings.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::new()
    }

    /// Makes a client over any service, without retries and without a session: for tests of code
    /// that takes a `Client`, and for your own stack.
    ///
    /// Of this crate's functions only the URL, the deadline, the redirects and the limit of
    /// collected bodies apply then. For a base URL, see
    /// [`build_from_service`](ClientBuilder::build_from_service); for retries above the service,
    /// [`build_with_service`](ClientBuilder::build_with_service).
    ///
    /// # Panics
    ///
    /// Never: the default settings are valid.
    #[must_use]
    pub fn from_service<S, R>(service: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<R>> + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send + 'static,
        R: HttpBody<Data = Bytes> + Send + 'static,
        R::Error: Into<BoxError>,
    {
        ClientBuilder::new()
            .build_from_service(service)
            .expect("the default settings are valid")
    }
}

impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}
