use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use crate::{Error, Progress, Response, error::Kind};

impl Response {
    /// Writes the body to a writer as it comes, flushes it, and returns the number of bytes.
    ///
    /// ```
    /// # async fn example(client: client::Client) -> Result<(), client::Error> {
    /// let mut copy = Vec::new();
    /// let length = client.get("https://example.com/").send().await?.copy_to(&mut copy).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// If the body breaks off or stands still for too long, or the writer fails. The bytes that had
    /// come by then were written.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection; a part of the body may have been written.
    pub async fn copy_to<W>(self, writer: &mut W) -> Result<u64, Error>
    where
        W: AsyncWrite + Unpin + ?Sized,
    {
        self.copy_with_progress(writer, |_| {}).await
    }

    /// Writes the body to a writer like [`copy_to`](Self::copy_to), and reports the progress after
    /// each piece.
    ///
    /// # Errors
    ///
    /// Those of [`copy_to`](Self::copy_to).
    ///
    /// # Cancel safety
    ///
    /// That of [`copy_to`](Self::copy_to).
    pub async fn copy_with_progress<W>(
        self,
        writer: &mut W,
        mut progress: impl FnMut(Progress),
    ) -> Result<u64, Error>
    where
        W: AsyncWrite + Unpin + ?Sized,
    {
        let mut stream = self.stream();
        let total = stream.length();
        let mut written = 0_u64;
        while let Some(piece) = stream.next().await.transpose()? {
            if let Err(error) = writer.write_all(&piece).await {
                return Err(stream.fail(Kind::Write).with(error));
            }
            written = written.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
            progress(Progress {
                written,
                total,
                resumed_from: 0,
                restarts: 0,
            });
        }
        let flushed = writer.flush().await;
        flushed.map_err(|error| stream.fail(Kind::Write).with(error))?;
        Ok(written)
    }
}
