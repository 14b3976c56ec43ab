use std::fmt;

use rcgen::{Certificate, KeyPair, PublicKeyData};
use ring::digest::{SHA256, digest};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    server::WebPkiClientVerifier,
    version::TLS12,
};

use super::{ca_params, issued_by, params, provider, server_config};

/// A root, an authority under it, and a certificate of that authority: what a server shows, or a
/// client.
pub struct Chain {
    root: Link,
    intermediate: Link,
    leaf: Link,
}

struct Link {
    certificate: Certificate,
    key: KeyPair,
}

impl Chain {
    /// Returns a chain with new keys, whose last certificate is for these names.
    ///
    /// # Panics
    ///
    /// Panics if a name is no host name and no IP address.
    #[must_use]
    pub fn new(names: &[&str]) -> Self {
        let root_params = ca_params();
        let root_key = KeyPair::generate().expect("ring makes keys");
        let root = root_params
            .self_signed(&root_key)
            .expect("the parameters are whole");
        let intermediate_params = ca_params();
        let intermediate_key = KeyPair::generate().expect("ring makes keys");
        let intermediate = issued_by(
            &intermediate_params,
            &intermediate_key,
            &root_params,
            &root_key,
        );
        let key = KeyPair::generate().expect("ring makes keys");
        let leaf = issued_by(
            &params(names),
            &key,
            &intermediate_params,
            &intermediate_key,
        );
        let link = |certificate, key| Link { certificate, key };
        Self {
            root: link(root, root_key),
            intermediate: link(intermediate, intermediate_key),
            leaf: link(leaf, key),
        }
    }

    /// Returns the root certificate as text.
    #[must_use]
    pub fn root_pem(&self) -> String {
        self.root.certificate.pem()
    }

    /// Returns the root certificate.
    #[must_use]
    pub fn root_der(&self) -> Vec<u8> {
        self.root.certificate.der().to_vec()
    }

    /// Returns the last certificate, and the one that issued it, as text.
    #[must_use]
    pub fn chain_pem(&self) -> String {
        self.leaf.certificate.pem() + &self.intermediate.certificate.pem()
    }

    /// Returns the last certificate, and the one that issued it.
    #[must_use]
    pub fn chain_der(&self) -> Vec<Vec<u8>> {
        self.chain().iter().map(|der| der.to_vec()).collect()
    }

    /// Returns the key of the last certificate as text.
    #[must_use]
    pub fn key_pem(&self) -> String {
        self.leaf.key.serialize_pem()
    }

    /// Returns the key of the last certificate.
    #[must_use]
    pub fn key_der(&self) -> Vec<u8> {
        self.leaf.key.serialize_der()
    }

    /// Returns the SHA-256 of each public key: the last certificate's, its issuer's, the root's.
    #[must_use]
    pub fn pins(&self) -> [[u8; 32]; 3] {
        [&self.leaf, &self.intermediate, &self.root].map(|link| {
            let hash = digest(&SHA256, &link.key.subject_public_key_info());
            hash.as_ref().try_into().expect("SHA-256 has 32 bytes")
        })
    }

    /// Returns the configuration of a server that shows this chain.
    #[must_use]
    pub fn server_config(&self) -> ServerConfig {
        server_config((self.chain(), self.private_key()))
    }

    /// Returns the configuration of a server that shows this chain, and speaks TLS 1.2 alone.
    ///
    /// # Panics
    ///
    /// Never: ring speaks TLS 1.2.
    #[must_use]
    pub fn tls12_server_config(&self) -> ServerConfig {
        ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS12])
            .expect("ring speaks TLS 1.2")
            .with_no_client_auth()
            .with_single_cert(self.chain(), self.private_key())
            .expect("the key belongs to the certificate")
    }

    /// Returns the configuration of a server that shows this chain, and with it, as if it belonged
    /// there, the issuer of another.
    #[must_use]
    pub fn server_config_beside(&self, other: &Self) -> ServerConfig {
        let mut chain = self.chain();
        chain.push(other.intermediate.certificate.der().clone());
        server_config((chain, self.private_key()))
    }

    /// Returns the configuration of a server that shows this chain, and lets in only clients that
    /// show one under the same root.
    ///
    /// # Panics
    ///
    /// Never: the chain is whole.
    #[must_use]
    pub fn mutual_server_config(&self) -> ServerConfig {
        let mut roots = RootCertStore::empty();
        roots
            .add(self.root.certificate.der().clone())
            .expect("the root is a certificate");
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider())
            .build()
            .expect("there is a root");
        ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("ring speaks TLS 1.2 and 1.3")
            .with_client_cert_verifier(verifier)
            .with_single_cert(self.chain(), self.private_key())
            .expect("the key belongs to the certificate")
    }

    fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![
            self.leaf.certificate.der().clone(),
            self.intermediate.certificate.der().clone(),
        ]
    }

    fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key_der()).into()
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chain").finish_non_exhaustive()
    }
}
