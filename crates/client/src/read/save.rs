use std::path::Path;

use super::destination::{Destination, Existing, unwritten};
use crate::{Error, Progress, Response};

impl Response {
    /// Writes the body to a file, in place of one that exists, and returns the number of bytes.
    ///
    /// The file gets its name once the body is whole. Until then it has another name in the same
    /// directory, which ends with `.part`, and it is removed if the body breaks off. It takes over
    /// the mode of the file that it replaces, and its owner and group where that is allowed.
    /// Symbolic links are followed, and stay. A character device, such as `/dev/null`, is written
    /// to directly. Any other path that is not a regular file is refused, and so is a file that a
    /// process has open, such as `/dev/stdout` where it is redirected: use
    /// [`copy_to`](Self::copy_to).
    ///
    /// The body is held to a [floor of throughput](crate::SAVED_FLOOR), unless one was set by hand:
    /// a body of which a few bytes come now and then is treated as one that breaks off.
    ///
    /// A body that breaks off is [continued](crate::ClientBuilder::resume), unless that was turned
    /// off or a part of the body was read before. If it cannot be continued, the file is removed.
    /// To keep it, so that the next run of the program goes on from there, use
    /// [`download_to`](crate::RequestBuilder::download_to) in place of `send`.
    ///
    /// ```no_run
    /// # async fn example(client: client::Client) -> Result<(), client::Error> {
    /// let response = client.get("https://example.com/backup.tar").send().await?;
    /// let response = response.error_for_status()?;
    /// response.save_to("backup.tar").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// If the body breaks off and cannot be continued, or stands still for too long or is too slow, or the file cannot be written: it is a
    /// directory, a pipe or a socket, or the directory is not there or may not be written to.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection, and removes the file unless it is whole.
    pub async fn save_to(self, path: impl AsRef<Path> + Send) -> Result<u64, Error> {
        self.save_with_progress(path, |_| {}).await
    }

    /// Writes the body to a file like [`save_to`](Self::save_to), and reports the progress after
    /// each piece.
    ///
    /// ```no_run
    /// # async fn example(response: client::Response) -> Result<(), client::Error> {
    /// response.save_with_progress("backup.tar", |progress| println!("{} bytes", progress.written)).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`save_to`](Self::save_to).
    ///
    /// # Cancel safety
    ///
    /// That of [`save_to`](Self::save_to).
    pub async fn save_with_progress(
        mut self,
        path: impl AsRef<Path> + Send,
        progress: impl FnMut(Progress) + Send,
    ) -> Result<u64, Error> {
        self.continue_body();
        let path = path.as_ref();
        let request = self.description();
        let failed = |error| request.name(unwritten(path, error));
        let mut destination = Destination::open(path).await.map_err(failed)?;
        let file = &mut destination.file;
        let written = self.copy_with_progress(file, progress).await?;
        destination
            .finish(Existing::Replace)
            .await
            .map_err(failed)?;
        Ok(written)
    }
}
