//! What the session is made of.

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
}
