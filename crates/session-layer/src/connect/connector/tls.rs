use std::sync::{Arc, OnceLock};

use rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName};
use tokio_rustls::TlsConnector;

use super::{Connector, stream::Stream};
use crate::error::BoxError;

/// The TLS configuration of a connector: one that was given, or the platform's roots.
#[derive(Clone, Default)]
pub(super) struct Tls(Option<Arc<ClientConfig>>);

impl Connector {
    /// Uses this TLS configuration (of rustls 0.23) instead of the platform's roots.
    ///
    /// Its ALPN protocols are replaced: the session speaks HTTP/1.1 only.
    #[must_use]
    pub fn tls_config(mut self, mut config: ClientConfig) -> Self {
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        self.tls = Tls(Some(Arc::new(config)));
        self
    }
}

impl Tls {
    /// Sets TLS up with an origin.
    pub(super) async fn with_origin(&self, stream: Stream, host: &str) -> Result<Stream, BoxError> {
        let name = ServerName::try_from(host.to_owned())?;
        let config = match &self.0 {
            Some(config) => config.clone(),
            None => platform().await?,
        };
        let stream = TlsConnector::from(config).connect(name, stream).await?;
        Ok(Stream::Tls(Box::new(stream)))
    }
}

/// Trusts what the platform trusts, read from its files once per process.
async fn platform() -> Result<Arc<ClientConfig>, BoxError> {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if let Some(config) = CONFIG.get() {
        return Ok(config.clone());
    }
    let config = tokio::task::spawn_blocking(read_platform).await??;
    Ok(CONFIG.get_or_init(|| config).clone())
}

fn read_platform() -> Result<Arc<ClientConfig>, rustls::Error> {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::debug!(%error, "cannot read some of the platform's root certificates");
    }
    let mut roots = RootCertStore::empty();
    let (added, ignored) = roots.add_parsable_certificates(found.certs);
    tracing::debug!(added, ignored, "read the platform's root certificates");
    // With no roots at all each handshake fails as "unknown issuer"; plain http still works.
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
