use std::{fmt, sync::Arc};

use rustls::{
    RootCertStore, SupportedProtocolVersion,
    client::ResolvesClientCert,
    crypto::{CryptoProvider, ring},
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    sign::{CertifiedKey, SingleCertAndKey},
    version::{TLS12, TLS13},
};

use super::{error::TlsConfigError, pins::Pin, roots::Base, trust::Trust};

/// The TLS settings of a [`Connector`](crate::Connector): its roots, its client certificate and
/// more.
///
/// ```
/// use session_layer::{Connector, TlsOptions, TlsVersion};
///
/// # fn example(company: &[u8]) -> Result<(), session_layer::TlsConfigError> {
/// let tls = TlsOptions::new()
///     .add_roots_pem(company)?
///     .min_version(TlsVersion::Tls13);
/// let connector = Connector::new().tls(tls)?;
/// # let _ = connector;
/// # Ok(())
/// # }
/// ```
///
/// The platform's roots are read at the first `https` connection, and once per process. On Linux and
/// other Unix systems they come from the files that the distribution's OpenSSL uses; on all, the environment
/// names others in their place: `SSL_CERT_FILE` a PEM file, `SSL_CERT_DIR` one or more directories
/// of PEM files (as by `openssl rehash`; separated by `:`, on Windows by `;`). Where none are found, and none are
/// added, each `https` request fails with an error that says so.
///
/// The provider of cryptography is always the one that these options name, ring by default; the
/// one that may be installed for the process is neither used nor changed. Verification cannot be
/// turned off here; for a server with a certificate of its own, trust that certificate by
/// [`only_added_roots`](Self::only_added_roots).
#[derive(Clone)]
#[must_use = "options do nothing until a connector is given them"]
pub struct TlsOptions {
    base: Base,
    added: RootCertStore,
    identity: Option<Arc<Identity>>,
    pins: Vec<Pin>,
    min_version: TlsVersion,
    provider: fn() -> CryptoProvider,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum TlsVersion {
    /// TLS 1.2 ([RFC 5246](https://www.rfc-editor.org/rfc/rfc5246)).
    #[default]
    Tls12,
    /// TLS 1.3 ([RFC 8446](https://www.rfc-editor.org/rfc/rfc8446)).
    Tls13,
}

static SINCE_TLS12: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];
static SINCE_TLS13: &[&SupportedProtocolVersion] = &[&TLS13];

struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl TlsOptions {
    /// Trusts the platform's roots, shows no client certificate, and speaks TLS 1.2 and 1.3.
    pub fn new() -> Self {
        Self {
            base: Base::Platform,
            added: RootCertStore::empty(),
            identity: None,
            pins: Vec::new(),
            min_version: TlsVersion::default(),
            provider: ring::default_provider,
        }
    }

    /// Trusts each certificate of a PEM text too.
    ///
    /// # Errors
    ///
    /// If there is none in it, or one cannot be read.
    pub fn add_roots_pem(mut self, pem: impl AsRef<[u8]>) -> Result<Self, TlsConfigError> {
        let before = self.added.len();
        for root in CertificateDer::pem_slice_iter(pem.as_ref()) {
            let root = root.map_err(TlsConfigError::root)?;
            self.added.add(root).map_err(TlsConfigError::root)?;
        }
        if self.added.len() == before {
            return Err(TlsConfigError::no_root(pem.as_ref()));
        }
        Ok(self)
    }

    /// Trusts a DER certificate too.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub fn add_root_der(mut self, der: impl Into<Vec<u8>>) -> Result<Self, TlsConfigError> {
        let root = CertificateDer::from(der.into());
        self.added.add(root).map_err(TlsConfigError::root)?;
        Ok(self)
    }

    /// Trusts the added roots alone, not the platform's.
    pub fn only_added_roots(mut self) -> Self {
        self.base = Base::Nobody;
        self
    }

    /// Trusts Mozilla's roots, as they were when the `webpki-roots` crate was built, in place of
    /// the platform's.
    #[cfg(feature = "webpki-roots")]
    pub fn webpki_roots(mut self) -> Self {
        self.base = Base::Mozilla;
        self
    }

    /// Shows this certificate to a server that asks for one: a PEM text with the certificate
    /// first and its issuers after it, and one with its key in PKCS#8, PKCS#1 or SEC1. Both may be
    /// the same text.
    ///
    /// # Errors
    ///
    /// If either cannot be read. That the key is the certificate's is checked by
    /// [`Connector::tls`](crate::Connector::tls).
    pub fn client_certificate_pem(
        mut self,
        chain: impl AsRef<[u8]>,
        key: impl AsRef<[u8]>,
    ) -> Result<Self, TlsConfigError> {
        let text = chain.as_ref();
        let chain: Vec<_> = CertificateDer::pem_slice_iter(text)
            .collect::<Result<_, _>>()
            .map_err(TlsConfigError::identity)?;
        if chain.is_empty() {
            return Err(TlsConfigError::no_chain(text));
        }
        let key = PrivateKeyDer::from_pem_slice(key.as_ref()).map_err(|error| match error {
            pem::Error::NoItemsFound => TlsConfigError::no_key(),
            error => TlsConfigError::key(error),
        })?;
        self.identity = Some(Arc::new(Identity { chain, key }));
        Ok(self)
    }

    /// Shows this certificate to a server that asks for one: in DER, the certificate first and its
    /// issuers after it, and its key in PKCS#8, PKCS#1 or SEC1.
    ///
    /// # Errors
    ///
    /// If the key is in no format that is known. That it is the certificate's is checked by
    /// [`Connector::tls`](crate::Connector::tls).
    pub fn client_certificate_der(
        mut self,
        chain: impl IntoIterator<Item = Vec<u8>>,
        key: impl Into<Vec<u8>>,
    ) -> Result<Self, TlsConfigError> {
        let chain = chain.into_iter().map(CertificateDer::from).collect();
        let key = PrivateKeyDer::try_from(key.into()).map_err(TlsConfigError::identity)?;
        self.identity = Some(Arc::new(Identity { chain, key }));
        Ok(self)
    }

    /// Accepts a server only if a public key of its verified chain has one of these pins: the
    /// SHA-256 of its DER `SubjectPublicKeyInfo`. Chain and name are verified as always.
    ///
    /// The key may be the server's, that of an issuer, or that of the trusted root; a certificate
    /// that the server sent but that is no part of the verified chain does not count. Give two pins
    /// at least, one of a key in reserve. Called again, it adds to the pins. A proxy is not held to
    /// them.
    ///
    /// A certificate's pin, in hexadecimal, is printed by
    /// `openssl x509 -in cert.pem -pubkey -noout | openssl pkey -pubin -outform der | sha256sum`.
    pub fn pin_spki(mut self, pins: impl IntoIterator<Item = [u8; 32]>) -> Self {
        self.pins.extend(pins.into_iter().map(Pin));
        self
    }

    /// Refuses versions before this one. Default: [`TlsVersion::Tls12`].
    pub fn min_version(mut self, version: TlsVersion) -> Self {
        self.min_version = version;
        self
    }

    /// Takes cryptography from aws-lc-rs in place of ring.
    #[cfg(feature = "aws-lc")]
    pub fn aws_lc(mut self) -> Self {
        self.provider = rustls::crypto::aws_lc_rs::default_provider;
        self
    }

    pub(super) fn check(self) -> Result<Trust, TlsConfigError> {
        if self.base == Base::Nobody && self.added.is_empty() {
            return Err(TlsConfigError::trust());
        }
        let provider = Arc::new((self.provider)());
        let identity: Option<Arc<dyn ResolvesClientCert>> = match self.identity {
            Some(identity) => {
                let key = identity.key.clone_key();
                let pair = CertifiedKey::from_der(identity.chain.clone(), key, &provider)
                    .and_then(|pair| pair.end_entity_cert().map(drop).map(|()| pair))
                    .map_err(TlsConfigError::identity)?;
                Some(Arc::new(SingleCertAndKey::from(pair)))
            }
            None => None,
        };
        Ok(Trust {
            base: self.base,
            added: Arc::new(self.added),
            identity,
            pins: self.pins.into(),
            versions: match self.min_version {
                TlsVersion::Tls12 => SINCE_TLS12,
                TlsVersion::Tls13 => SINCE_TLS13,
            },
            provider,
        })
    }
}

impl Default for TlsOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for TlsOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsOptions")
            .field("base", &self.base)
            .field("added_roots", &self.added.len())
            .field("client_certificate", &self.identity.is_some())
            .field("pins", &self.pins)
            .field("min_version", &self.min_version)
            .finish_non_exhaustive()
    }
}

impl Default for Trust {
    fn default() -> Self {
        TlsOptions::new()
            .check()
            .expect("the platform is trusted, and no key is given")
    }
}
