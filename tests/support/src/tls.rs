//! Certificates made on the spot, and configurations that present or trust them.
//!
//! ```
//! use test_support::{Server, always, tls::{Authority, LOOPBACK}};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let authority = Authority::new();
//! let server = Server::start_tls(always(200, "hello"), authority.server_config(LOOPBACK)).await;
//! let trusting = authority.client_config();
//! # drop(trusting);
//! # }
//! ```
//!
//! Every configuration names its provider, ring, so nothing is installed for the whole process. What may differ from
//! test to test, such as ALPN protocols, is set on the returned value.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    client::WantsClientCert,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    server::WebPkiClientVerifier,
};

mod chain;

pub use self::chain::Chain;

/// The names under which a [`Server`](crate::Server) is reached.
pub const LOOPBACK: &[&str] = &["localhost", "127.0.0.1"];

/// A certificate authority that nobody trusts but who is told to.
pub struct Authority {
    root: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Returns an authority with a new key.
    #[must_use]
    pub fn new() -> Self {
        let params = ca_params();
        let key = KeyPair::generate().expect("ring makes keys");
        let root = params.self_signed(&key).expect("the parameters are whole");
        Self {
            root,
            issuer: Issuer::new(params, key),
        }
    }

    /// Returns the root certificate.
    #[must_use]
    pub fn certificate_der(&self) -> CertificateDer<'static> {
        self.root.der().clone()
    }

    /// Returns the root certificate as text, for files and for `SSL_CERT_FILE`.
    #[must_use]
    pub fn certificate_pem(&self) -> String {
        self.root.pem()
    }

    /// Returns the configuration of a server with a certificate for these names.
    ///
    /// With names that are not [`LOOPBACK`], a [`Server`](crate::Server) shows the certificate of another host.
    ///
    /// # Panics
    ///
    /// Panics if a name is no host name and no IP address.
    #[must_use]
    pub fn server_config(&self, names: &[&str]) -> ServerConfig {
        server_config(self.issue(&params(names)))
    }

    /// Returns the configuration of a server whose certificate has this common name, beside the names that it is for.
    ///
    /// # Panics
    ///
    /// Panics if a name is no host name and no IP address.
    #[must_use]
    pub fn common_name_server_config(&self, common_name: &str, names: &[&str]) -> ServerConfig {
        let mut params = params(names);
        params
            .distinguished_name
            .push(DnType::CommonName, common_name);
        server_config(self.issue(&params))
    }

    /// Returns the configuration of a server whose certificate ran out long ago.
    ///
    /// # Panics
    ///
    /// Panics if a name is no host name and no IP address.
    #[must_use]
    pub fn expired_server_config(&self, names: &[&str]) -> ServerConfig {
        let mut params = params(names);
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
        server_config(self.issue(&params))
    }

    /// Returns the configuration of a server that lets in only clients with a certificate of this authority.
    ///
    /// # Panics
    ///
    /// Panics if a name is no host name and no IP address.
    #[must_use]
    pub fn mutual_server_config(&self, names: &[&str]) -> ServerConfig {
        let verifier = WebPkiClientVerifier::builder_with_provider(self.roots(), provider())
            .build()
            .expect("there is a root");
        let (chain, key) = self.issue(&params(names));
        ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("ring speaks TLS 1.2 and 1.3")
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .expect("the key belongs to the certificate")
    }

    /// Returns the configuration of a client that trusts this authority alone, and shows no certificate.
    #[must_use]
    pub fn client_config(&self) -> ClientConfig {
        self.trusting().with_no_client_auth()
    }

    /// Returns the configuration of a client that trusts this authority alone, and shows a certificate of it.
    #[must_use]
    pub fn mutual_client_config(&self) -> ClientConfig {
        let (chain, key) = self.issue(&params(&["client.test"]));
        self.trusting()
            .with_client_auth_cert(chain, key)
            .expect("the key belongs to the certificate")
    }

    fn trusting(&self) -> rustls::ConfigBuilder<ClientConfig, WantsClientCert> {
        ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("ring speaks TLS 1.2 and 1.3")
            .with_root_certificates(self.roots())
    }

    fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots
            .add(self.certificate_der())
            .expect("the root is a certificate");
        Arc::new(roots)
    }

    fn issue(&self, params: &CertificateParams) -> Identity {
        let key = KeyPair::generate().expect("ring makes keys");
        let certificate = params
            .signed_by(&key, &self.issuer)
            .expect("the parameters are whole");
        identity(&certificate, &key)
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

/// Returns the configuration of a server whose certificate no authority signed.
///
/// # Panics
///
/// Panics if a name is no host name and no IP address.
#[must_use]
pub fn self_signed_server_config(names: &[&str]) -> ServerConfig {
    let key = KeyPair::generate().expect("ring makes keys");
    let certificate = params(names)
        .self_signed(&key)
        .expect("the parameters are whole");
    server_config(identity(&certificate, &key))
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn identity(certificate: &Certificate, key: &KeyPair) -> Identity {
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    (vec![certificate.der().clone()], key.into())
}

fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<_> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).expect("names are host names or IP addresses");
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params
}

fn ca_params() -> CertificateParams {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    // Two authorities of one name would differ in their signatures only, not as issuers.
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let mut params = params(&[]);
    params
        .distinguished_name
        .push(DnType::CommonName, format!("test authority {number}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn issued_by(
    params: &CertificateParams,
    key: &KeyPair,
    issuer: &CertificateParams,
    issuer_key: &KeyPair,
) -> Certificate {
    let issuer = Issuer::from_params(issuer, issuer_key);
    params
        .signed_by(key, &issuer)
        .expect("the parameters are whole")
}

fn server_config((chain, key): Identity) -> ServerConfig {
    ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("ring speaks TLS 1.2 and 1.3")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("the key belongs to the certificate")
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
