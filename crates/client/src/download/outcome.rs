use std::path::{Path, PathBuf};

use http::{HeaderMap, Uri};
use retry_layer::RetryReport;

/// A download that is whole, and under its name.
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
    /// Returns where the file is, with symbolic links followed.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the length of the file in bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Returns how many bytes were there already, left by an earlier download that did not come to its
    /// end; 0 if all bytes came now.
    #[must_use]
    pub fn resumed_from(&self) -> u64 {
        self.resumed_from
    }

    /// Whether a digest of all bytes was given, by the caller or the server, and is right. That of a part,
    /// which a server gives as `Content-Digest` where an earlier download is continued, is checked, but
    /// says nothing of what was there.
    #[must_use]
    pub fn is_verified(&self) -> bool {
        self.verified
    }

    /// Returns the URL that gave the last response, after redirects.
    #[must_use]
    pub fn url(&self) -> &Uri {
        &self.url
    }

    /// Returns the headers of the last response: that for the rest, if the download went on from an
    /// earlier one.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Returns what was tried for the last response and the rest of its body.
    #[must_use]
    pub fn retry_report(&self) -> &RetryReport {
        &self.report
    }
}
