use std::{
    error::Error as StdError,
    fmt,
    sync::{Arc, OnceLock},
};

use rustls::RootCertStore;

use crate::box_error::BoxError;

/// Which roots are trusted beside those that were added.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Base {
    Platform,
    #[cfg(feature = "webpki-roots")]
    Mozilla,
    Nobody,
}

/// The roots of the platform, read from its files once per process. If there are none, they are
/// looked for again at the next connection.
pub(super) async fn platform() -> Result<Arc<RootCertStore>, BoxError> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    if let Some(roots) = ROOTS.get() {
        return Ok(roots.clone());
    }
    let roots = tokio::task::spawn_blocking(read_platform).await?;
    if roots.is_empty() {
        return Ok(Arc::new(roots));
    }
    Ok(ROOTS.get_or_init(|| Arc::new(roots)).clone())
}

fn read_platform() -> RootCertStore {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::debug!(%error, "cannot read some of the platform's root certificates");
    }
    let mut roots = RootCertStore::empty();
    let (added, ignored) = roots.add_parsable_certificates(found.certs);
    tracing::debug!(added, ignored, "read the platform's root certificates");
    roots
}

/// The platform has no root certificates, and none were added. Without this error each handshake
/// would fail as "unknown issuer", as if the server's certificate were at fault.
#[derive(Debug)]
pub(super) struct NoRoots;

impl fmt::Display for NoRoots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "no root certificates were found: install the system's (the package ca-certificates on \
             most), or name a PEM file by SSL_CERT_FILE or a directory of them by SSL_CERT_DIR, or \
             bring them by `TlsOptions::add_roots_pem` or `TlsOptions::webpki_roots`",
        )
    }
}

impl StdError for NoRoots {}
