use std::sync::{Arc, OnceLock};

use http::{Uri, uri::Scheme};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use tower_service::Service;

use super::{Resolver, Stream};
use crate::error::BoxError;

/// The TLS configuration of a connector: one that was given, or the platform's roots.
#[derive(Clone, Default)]
pub(super) struct Tls(Option<Arc<ClientConfig>>);

impl Tls {
    pub(super) fn new(mut config: ClientConfig) -> Self {
        config.alpn_protocols = alpn();
        Self(Some(Arc::new(config)))
    }

    pub(super) async fn connect(
        self,
        tcp: HttpConnector<Resolver>,
        uri: Uri,
    ) -> Result<Stream, BoxError> {
        if uri.scheme() != Some(&Scheme::HTTPS) {
            let mut tcp = tcp;
            return Ok(Stream::Http(tcp.call(uri).await?));
        }
        let config = match self.0 {
            Some(config) => config,
            None => platform().await?,
        };
        HttpsConnector::from((tcp, config)).call(uri).await
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
    config.alpn_protocols = alpn();
    Ok(Arc::new(config))
}

/// What is offered in the handshake, the best first.
fn alpn() -> Vec<Vec<u8>> {
    let offered: &[&[u8]] = if cfg!(feature = "http2") {
        &[b"h2", b"http/1.1"]
    } else {
        &[b"http/1.1"]
    };
    offered.iter().map(|name| name.to_vec()).collect()
}
