use std::sync::{Arc, OnceLock};

use rustls::RootCertStore;
use tokio::task::JoinError;

/// What the platform trusts, read from its files once per process.
pub(super) async fn platform() -> Result<Arc<RootCertStore>, JoinError> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    if let Some(roots) = ROOTS.get() {
        return Ok(roots.clone());
    }
    let roots = tokio::task::spawn_blocking(read_platform).await?;
    Ok(ROOTS.get_or_init(|| Arc::new(roots)).clone())
}

fn read_platform() -> RootCertStore {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::debug!(%error, "cannot read some of the platform's root certificates");
    }
    let mut roots = RootCertStore::empty();
    // With no roots at all each handshake fails as "unknown issuer"; plain http still works.
    let (added, ignored) = roots.add_parsable_certificates(found.certs);
    tracing::debug!(added, ignored, "read the platform's root certificates");
    roots
}
