use std::{fmt, sync::Arc};

use rustls::{
    ClientConfig,
    pki_types::{InvalidDnsNameError, ServerName},
};
#[cfg(feature = "proxy")]
use rustls::{
    SignatureScheme,
    client::{ResolvesClientCert, Resumption},
    sign::CertifiedKey,
};
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;

use self::{alpn::Versions, trust::Trust};
use super::{Connector, stream::Stream};
use crate::{box_error::BoxError, connector::must_be_http1};

mod alpn;
mod error;
mod options;
mod pins;
mod roots;
mod trust;

pub use self::{
    error::TlsConfigError,
    options::{TlsOptions, TlsVersion},
};

/// The TLS of a connector. Its clones share the configurations, which are made at the first `https`
/// connection: reading the platform's roots takes a while.
#[derive(Clone, Default)]
pub(super) struct Tls {
    source: Source,
    versions: Versions,
    server_name: Option<ServerName<'static>>,
    configs: Arc<OnceCell<Configs>>,
}

/// Where the roots and the client certificate come from.
#[derive(Clone)]
enum Source {
    Options(Arc<Trust>),
    Given(Arc<ClientConfig>),
}

struct Configs {
    origin: Arc<ClientConfig>,
    /// The same configuration, for requests that need HTTP/1.
    http1_only: Arc<ClientConfig>,
    /// For TLS with a proxy, without client certificate and pins: both are for the origin.
    #[cfg(feature = "proxy")]
    proxy: Arc<ClientConfig>,
}

impl Connector {
    /// Sets the trusted roots and the client certificate of TLS. Default: [`TlsOptions::new`].
    ///
    /// # Errors
    ///
    /// If there are no roots, or the client's key does not belong to its certificate.
    pub fn tls(mut self, options: TlsOptions) -> Result<Self, TlsConfigError> {
        let trust = options.check()?;
        self.settings()
            .tls
            .know_from(Source::Options(Arc::new(trust)));
        Ok(self)
    }

    /// Uses this TLS configuration (of rustls 0.23) instead of [`TlsOptions`].
    ///
    /// Its ALPN protocols are replaced by those that the session speaks.
    #[must_use]
    pub fn tls_config(mut self, config: ClientConfig) -> Self {
        self.settings()
            .tls
            .know_from(Source::Given(Arc::new(config)));
        self
    }

    /// Asks for this name by SNI, and verifies the certificate against it, in place of the host of
    /// the URI. It holds for every origin of this connector, so it is for a connector to a single
    /// host, which is reached by its address or by a Unix socket. Default: the URI's host.
    ///
    /// # Errors
    ///
    /// If it is neither a DNS name nor an IP address.
    pub fn server_name(mut self, name: &str) -> Result<Self, TlsConfigError> {
        let name = ServerName::try_from(name.to_owned()).map_err(TlsConfigError::server_name)?;
        self.settings().tls.server_name = Some(name);
        Ok(self)
    }

    /// Offers HTTP/1.1 alone over TLS.
    #[must_use]
    pub fn http1_only(mut self) -> Self {
        self.settings().tls.speak(Versions::Http1);
        self
    }

    /// Offers HTTP/2 alone over TLS, and takes it for an error of TLS when the peer does not choose
    /// it. Plain `http` is not affected.
    #[must_use]
    pub fn http2_only(mut self) -> Self {
        self.settings().tls.speak(Versions::Http2);
        self
    }
}

impl Tls {
    fn know_from(&mut self, source: Source) {
        self.source = source;
        self.configs = Arc::default();
    }

    fn speak(&mut self, versions: Versions) {
        self.versions = versions;
        self.configs = Arc::default();
    }

    /// Sets TLS up with an origin.
    pub(super) async fn with_origin(&self, stream: Stream, host: &str) -> Result<Stream, BoxError> {
        let name = match &self.server_name {
            Some(name) => name.clone(),
            None => server_name(host)?,
        };
        let configs = self.configs().await?;
        let config = if must_be_http1() {
            configs.http1_only.clone()
        } else {
            configs.origin.clone()
        };
        let stream = handshake(config, name, stream).await?;
        if self.versions == Versions::Http2 && !stream.has_negotiated_h2() {
            return Err(rustls::Error::NoApplicationProtocol.into());
        }
        Ok(stream)
    }

    /// Sets TLS up with a proxy.
    #[cfg(feature = "proxy")]
    pub(super) async fn with_proxy(&self, stream: Stream, host: &str) -> Result<Stream, BoxError> {
        let name = server_name(host)?;
        let config = self.configs().await?.proxy.clone();
        Ok(handshake(config, name, stream).await?)
    }

    async fn configs(&self) -> Result<&Configs, BoxError> {
        self.configs.get_or_try_init(|| self.make_configs()).await
    }

    async fn make_configs(&self) -> Result<Configs, BoxError> {
        let mut origin = match &self.source {
            Source::Options(trust) => trust.origin_config().await?,
            Source::Given(config) => (**config).clone(),
        };
        origin.alpn_protocols = self.versions.alpn();
        let mut http1_only = origin.clone();
        http1_only.alpn_protocols = match self.versions {
            Versions::Any | Versions::Http1 => Versions::Http1.alpn(),
            Versions::Http2 => self.versions.alpn(),
        };
        #[cfg(feature = "proxy")]
        let proxy = {
            let mut proxy = match &self.source {
                Source::Options(trust) => trust.proxy_config().await?,
                Source::Given(config) => (**config).clone(),
            };
            proxy.client_auth_cert_resolver = Arc::new(NoCertificate);
            proxy.resumption = Resumption::default();
            proxy.alpn_protocols = Versions::Http1.alpn();
            Arc::new(proxy)
        };
        Ok(Configs {
            origin: Arc::new(origin),
            http1_only: Arc::new(http1_only),
            #[cfg(feature = "proxy")]
            proxy,
        })
    }
}

fn server_name(host: &str) -> Result<ServerName<'static>, InvalidDnsNameError> {
    ServerName::try_from(host.to_owned())
}

async fn handshake(
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    stream: Stream,
) -> std::io::Result<Stream> {
    let stream = TlsConnector::from(config).connect(name, stream).await?;
    Ok(Stream::Tls(Box::new(stream)))
}

/// A configuration without a client certificate.
#[cfg(feature = "proxy")]
#[derive(Debug)]
struct NoCertificate;

#[cfg(feature = "proxy")]
impl ResolvesClientCert for NoCertificate {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

impl Default for Source {
    fn default() -> Self {
        Self::Options(Arc::default())
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Tls");
        match &self.source {
            Source::Options(trust) => out.field("options", trust),
            Source::Given(_) => out.field("config", &"given"),
        };
        out.field("versions", &self.versions)
            .field("server_name", &self.server_name)
            .finish_non_exhaustive()
    }
}
