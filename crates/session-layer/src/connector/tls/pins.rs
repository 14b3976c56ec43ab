use std::{error::Error as StdError, fmt, sync::Arc};

use ring::digest::{SHA256, digest};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore,
    SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    pki_types::{
        CertificateDer, ServerName, SignatureVerificationAlgorithm, TrustAnchor, UnixTime,
    },
};
use webpki::{EndEntityCert, KeyUsage, VerifiedPath};

/// The SHA-256 of a certificate's DER `SubjectPublicKeyInfo`.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) struct Pin(pub(super) [u8; 32]);

impl Pin {
    fn is_of(self, spki: &[u8]) -> bool {
        digest(&SHA256, spki).as_ref() == self.0
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Verifies as webpki does, and then requires a pinned key in the chain.
#[derive(Debug)]
pub(super) struct Pinned {
    webpki: Arc<WebPkiServerVerifier>,
    roots: Arc<RootCertStore>,
    algorithms: &'static [&'static dyn SignatureVerificationAlgorithm],
    pins: Arc<[Pin]>,
}

impl Pinned {
    pub(super) fn new(
        webpki: Arc<WebPkiServerVerifier>,
        roots: Arc<RootCertStore>,
        algorithms: &'static [&'static dyn SignatureVerificationAlgorithm],
        pins: Arc<[Pin]>,
    ) -> Self {
        Self {
            webpki,
            roots,
            algorithms,
            pins,
        }
    }

    /// Looks for a chain to a trusted root that has a pinned key in it.
    ///
    /// Other certificates that the server sent must not count: an attacker could send a copy of the
    /// pinned certificate along with a chain of his own (CVE-2016-2402).
    fn find_pin(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), webpki::Error> {
        let has_pin = |path: &VerifiedPath<'_>| {
            if self.is_pinned(path) {
                Ok(())
            } else {
                Err(webpki::Error::UnknownIssuer)
            }
        };
        EndEntityCert::try_from(end_entity)?.verify_for_usage(
            self.algorithms,
            &self.roots.roots,
            intermediates,
            now,
            KeyUsage::server_auth(),
            None,
            Some(&has_pin),
        )?;
        Ok(())
    }

    fn is_pinned(&self, path: &VerifiedPath<'_>) -> bool {
        let is_pinned = |spki: &[u8]| self.pins.iter().any(|pin| pin.is_of(spki));
        is_pinned(&path.end_entity().subject_public_key_info())
            || path
                .intermediate_certificates()
                .any(|issuer| is_pinned(&issuer.subject_public_key_info()))
            || is_pinned(&root_spki(path.anchor()))
    }
}

/// A trusted root's `SubjectPublicKeyInfo`, of which webpki keeps the content only.
fn root_spki(root: &TrustAnchor<'_>) -> Vec<u8> {
    const SEQUENCE: u8 = 0x30;
    const LONG_FORM: u8 = 0x80;

    let content = root.subject_public_key_info.as_ref();
    let length = content.len().to_be_bytes();
    let zeros = length.iter().take_while(|byte| **byte == 0).count();
    let length = length.get(zeros..).unwrap_or_default();
    let mut spki = vec![SEQUENCE];
    match length {
        &[short] if short < LONG_FORM => spki.push(short),
        long => {
            let bytes = u8::try_from(long.len()).expect("a `usize` has eight bytes at most");
            spki.push(LONG_FORM | bytes);
            spki.extend_from_slice(long);
        }
    }
    spki.extend_from_slice(content);
    spki
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.webpki.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        )?;
        self.find_pin(end_entity, intermediates, now)
            .map_err(|_| CertificateError::Other(OtherError(Arc::new(NotPinned))))?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki
            .verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki
            .verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }

    fn root_hint_subjects(&self) -> Option<&[DistinguishedName]> {
        self.webpki.root_hint_subjects()
    }
}

/// The chain holds, but no key in it is pinned.
#[derive(Debug)]
struct NotPinned;

impl fmt::Display for NotPinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no key of the certificate chain is pinned")
    }
}

impl StdError for NotPinned {}
