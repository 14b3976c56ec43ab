use std::{fmt, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    client::{ResolvesClientCert, WebPkiServerVerifier},
    crypto::CryptoProvider,
};

use super::{
    pins::{Pin, Pinned},
    roots::{self, Base, NoRoots},
};
use crate::box_error::BoxError;

/// Options that were checked. Only the platform's roots are not read yet.
pub(super) struct Trust {
    pub(super) base: Base,
    pub(super) added: Arc<RootCertStore>,
    pub(super) identity: Option<Arc<dyn ResolvesClientCert>>,
    pub(super) pins: Arc<[Pin]>,
    pub(super) versions: &'static [&'static SupportedProtocolVersion],
    pub(super) provider: Arc<CryptoProvider>,
}

impl Trust {
    pub(super) async fn origin_config(&self) -> Result<ClientConfig, BoxError> {
        let roots = self.roots().await?;
        let mut config = self.trusting(roots.clone())?;
        if let Some(identity) = &self.identity {
            config.client_auth_cert_resolver = identity.clone();
        }
        if !self.pins.is_empty() {
            let provider = self.provider.clone();
            let webpki = WebPkiServerVerifier::builder_with_provider(roots.clone(), provider);
            let algorithms = self.provider.signature_verification_algorithms.all;
            let pinned = Pinned::new(webpki.build()?, roots, algorithms, self.pins.clone());
            config
                .dangerous()
                .set_certificate_verifier(Arc::new(pinned));
        }
        Ok(config)
    }

    #[cfg(feature = "proxy")]
    pub(super) async fn proxy_config(&self) -> Result<ClientConfig, BoxError> {
        Ok(self.trusting(self.roots().await?)?)
    }

    fn trusting(&self, roots: Arc<RootCertStore>) -> Result<ClientConfig, rustls::Error> {
        let config = ClientConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(self.versions)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(config)
    }

    async fn roots(&self) -> Result<Arc<RootCertStore>, BoxError> {
        let base = match self.base {
            Base::Platform => roots::platform().await?,
            #[cfg(feature = "webpki-roots")]
            Base::Mozilla => Arc::new(webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect()),
            Base::Nobody => return Ok(self.added.clone()),
        };
        if self.added.is_empty() {
            if base.is_empty() {
                return Err(NoRoots.into());
            }
            return Ok(base);
        }
        let mut roots = (*base).clone();
        roots.extend(self.added.roots.iter().cloned());
        Ok(Arc::new(roots))
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let versions: Vec<_> = self.versions.iter().map(|it| it.version).collect();
        f.debug_struct("TlsOptions")
            .field("base", &self.base)
            .field("added_roots", &self.added.len())
            .field("client_certificate", &self.identity.is_some())
            .field("pins", &self.pins)
            .field("versions", &versions)
            .finish_non_exhaustive()
    }
}
