use std::path::{Path, PathBuf};

use http::{HeaderMap, Uri};
use retry_layer::RetryReport;

/// A download that is whole and has its target's name.
#[derive(Clone, Debug)]
pub struct Downloaded {
    pub(super) path: PathBuf,
    pub(super) length: u64,
    pub(super) resumed_from: u64,
    pub(super) verified: bool,
    pub(super) url: Uri,
    pub(super) headers: HeaderMap,
    pub(super) report: RetryReport,
}

impl Downloaded {
    /// Returns the path of the file, with symbolic links followed.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the length of the file in bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Returns how many of the bytes an earlier, interrupted download had left; 0 if all were
    /// received now.
    #[must_use]
    pub fn resumed_from(&self) -> u64 {
        self.resumed_from
    }

    /// Whether the caller or the server gave a digest of all bytes, and it matches. The
    /// `Content-Digest` of a response that continues an earlier download is checked too, but covers
    /// only a part.
    #[must_use]
    pub fn is_verified(&self) -> bool {
        self.verified
    }

    /// Returns the URL that gave the last response, after redirects.
    #[must_use]
    pub fn url(&self) -> &Uri {
        &self.url
    }

    /// Returns the headers of the last response: of the one with the rest, if an earlier download
    /// was continued.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Returns the attempts for the last response and the rest of its body.
    #[must_use]
    pub fn retry_report(&self) -> &RetryReport {
        &self.report
    }
}
