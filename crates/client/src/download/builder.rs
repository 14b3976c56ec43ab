use std::{fmt, path::PathBuf};

use super::digest;
use crate::{Error, Progress, RequestBuilder, read::destination::Existing};

pub(super) type OnProgress<'a> = Box<dyn FnMut(Progress) + Send + 'a>;

/// A download to a file that is being put together; it begins when it is awaited. Of
/// [`RequestBuilder::download_to`].
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

    /// Fails if there is a file of this name, instead of replacing it: also if one is made while the
    /// download is under way.
    pub fn keep_existing(mut self) -> Self {
        self.existing = Existing::Keep;
        self
    }

    /// Begins with the first byte, whatever an earlier download has left.
    pub fn fresh(mut self) -> Self {
        self.fresh = true;
        self
    }

    /// Names the file in place of its URL, for URLs that differ each time, as signed ones do. An earlier
    /// download is continued only if it has the same name, and else only if it has the same URL.
    ///
    /// The validator of the file is compared all the same; but entity tags of different files may be
    /// equal, so the name has to tell them apart.
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

    /// Gives the SHA-256 of the file: another one is an error, and leaves nothing.
    pub fn sha256(mut self, digest: [u8; 32]) -> Self {
        self.sha256 = Ok(Some(digest));
        self
    }

    /// Gives the [SHA-256](Self::sha256) of the file in hexadecimal digits, as `sha256sum` prints it. If
    /// it is none, the download fails before anything is sent.
    pub fn sha256_hex(mut self, digest: impl AsRef<str>) -> Self {
        self.sha256 = match digest::from_hex(digest.as_ref()) {
            Some(digest) => Ok(Some(digest)),
            None => Err(Error::builder(
                "this is no SHA-256, which has 64 hexadecimal digits",
            )),
        };
        self
    }

    /// Is told how far the download is: once when the response is there, and after each piece. What an
    /// earlier download had left counts as written.
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
