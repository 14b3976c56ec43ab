//! What the session is made of.

#[cfg(feature = "cookies")]
use session_layer::cookies::Jar;
use session_layer::{PoolConfig, Timeouts};

use crate::ClientBuilder;

impl ClientBuilder {
    /// Limits connections and the wait for them. Default: [`PoolConfig::default`].
    pub fn pool(mut self, pool: PoolConfig) -> Self {
        self.pool = pool;
        self
    }

    /// Limits the parts of an exchange. Default: [`Timeouts::default`].
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// Uses this TLS configuration (of rustls 0.23) instead of the platform's roots: for a private
    /// certificate authority, or a client certificate. Its ALPN protocols are replaced.
    #[cfg(feature = "tls")]
    pub fn tls_config(mut self, config: rustls::ClientConfig) -> Self {
        self.connector = self.connector.tls_config(config);
        self
    }

    /// Sends the cookies of this jar, and keeps those that come, on each attempt and each redirect;
    /// see [`cookies`](crate::cookies) for the rules. Default: none are sent or kept.
    ///
    /// Each cookie goes only where its own server meant it to go, so a jar is not bound to the
    /// [base URL](Self::base_url). A `Cookie` header of a request comes first and is merged with
    /// those of the jar; a redirect to another origin drops it, and not those.
    ///
    /// The jar is one identity. Clients that act for several have a jar each, and may share the
    /// connections:
    ///
    /// ```
    /// use client::{Client, Jar};
    /// use session_layer::{Connector, Session};
    ///
    /// let session = Session::new(Connector::new());
    /// let alice = Client::builder()
    ///     .cookies(Jar::new())
    ///     .build_with_service(session.clone())?;
    /// let bob = Client::builder()
    ///     .cookies(Jar::new())
    ///     .build_with_service(session)?;
    /// # Ok::<(), client::Error>(())
    /// ```
    #[cfg(feature = "cookies")]
    pub fn cookies(mut self, jar: Jar) -> Self {
        self.jar = Some(jar);
        self
    }
}
