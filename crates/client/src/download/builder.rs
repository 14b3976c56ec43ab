use std::{fmt, path::PathBuf};

use super::digest;
use crate::{Error, Progress, RequestBuilder, read::destination::Existing};

pub(super) type OnProgress<'a> = Box<dyn FnMut(Progress) + Send + 'a>;

/// A download to a file, made by [`RequestBuilder::download_to`]; it begins when it is awaited.
#[must_use = "a download does nothing until it is awaited"]
pub struct Download<'a> {
    pub(super) request: RequestBuilder,
    pub(super) path: PathBuf,
    pub(super) existing: Existing,
    pub(super) fresh: bool,
    pub(super) identity: Option<String>,
    pub(super) sha256: Result<Option<[u8; 32]>, Error>,
    pub(super) on_progress: Option<OnProgress<'a>>,
}

impl<'a> Download<'a> {
    pub(crate) fn new(request: RequestBuilder, path: PathBuf) -> Self {
        Self {
            request,
            path,
            existing: Existing::Replace,
            fresh: false,
            identity: None,
            sha256: Ok(None),
            on_progress: None,
        }
    }

    /// Fails if a file of this name exists, instead of replacing it, also if it is created while
    /// the download is under way.
    pub fn keep_existing(mut self) -> Self {
        self.existing = Existing::Keep;
        self
    }

    /// Begins with the first byte, whatever an earlier download has left.
    pub fn fresh(mut self) -> Self {
        self.fresh = true;
        self
    }

    /// Identifies the file by this name instead of its URL: for URLs that differ each time, such as
    /// signed ones. An earlier download is continued only if it has the same name, or, without
    /// names, the same URL.
    ///
    /// The validator of the file is compared all the same. But different files may have equal
    /// entity tags, so the name has to distinguish them.
    ///
    /// ```no_run
    /// # async fn example(client: client::Client, signed_url: String) -> Result<(), client::Error> {
    /// let download = client.get(signed_url).download_to("backup.tar");
    /// download.identity("s3://bucket/backup.tar").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn identity(mut self, name: impl Into<String>) -> Self {
        self.identity = Some(name.into());
        self
    }

    /// Requires this SHA-256 of the file. Any other is an error, and nothing is kept of the
    /// download.
    pub fn sha256(mut self, digest: [u8; 32]) -> Self {
        self.sha256 = Ok(Some(digest));
        self
    }

    /// Requires this [SHA-256](Self::sha256) of the file, in hexadecimal digits as `sha256sum`
    /// prints them. If the text is no SHA-256, the download fails before a request is sent.
    pub fn sha256_hex(mut self, digest: impl AsRef<str>) -> Self {
        self.sha256 = match digest::from_hex(digest.as_ref()) {
            Some(digest) => Ok(Some(digest)),
            None => Err(Error::builder(
                "this is no SHA-256, which has 64 hexadecimal digits",
            )),
        };
        self
    }

    /// Calls this function with the progress: once when the response has come, and after each
    /// piece. Bytes that an earlier download had left count as written.
    ///
    /// ```no_run
    /// # async fn example(client: client::Client) -> Result<(), client::Error> {
    /// let download = client.get("https://example.com/backup.tar").download_to("backup.tar");
    /// download
    ///     .on_progress(|progress| println!("{} of {:?}", progress.written, progress.total))
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn on_progress<'b>(self, on_progress: impl FnMut(Progress) + Send + 'b) -> Download<'b>
    where
        'a: 'b,
    {
        Download {
            on_progress: Some(Box::new(on_progress)),
            ..self
        }
    }
}

impl fmt::Debug for Download<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Download")
            .field("request", &self.request)
            .field("path", &self.path)
            .field("existing", &self.existing)
            .field("fresh", &self.fresh)
            .finish_non_exhaustive()
    }
}
