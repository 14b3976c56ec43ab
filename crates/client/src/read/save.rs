use std::{
    fs,
    hash::{BuildHasher, RandomState},
    path::{Path, PathBuf},
};

use tokio::fs::File;

use crate::{Error, Progress, Response, error::Kind};

impl Response {
    /// Writes the body to a file, in place of one that is there, and returns the number of bytes.
    ///
    /// The file gets its name once the body is whole: until then it is another one beside it, whose
    /// name ends with `.part`, and which goes away if the body breaks off.
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
    /// If the body breaks off or stands still for too long, or the file cannot be written.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection, and takes away what was written.
    pub async fn save_to(self, path: impl AsRef<Path> + Send) -> Result<u64, Error> {
        self.save_with_progress(path, |_| {}).await
    }

    /// Writes the body to a file like [`save_to`](Self::save_to), and tells after each piece how far
    /// it is.
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
        self,
        path: impl AsRef<Path> + Send,
        progress: impl FnMut(Progress) + Send,
    ) -> Result<u64, Error> {
        let path = path.as_ref();
        let request = self.description();
        let failed = |error| request.name(Error::new(Kind::Write).with(error));
        let (part, mut file) = Part::create(path).await.map_err(failed)?;
        let written = self.copy_with_progress(&mut file, progress).await?;
        file.sync_all().await.map_err(failed)?;
        drop(file);
        tokio::fs::rename(&part.0, path).await.map_err(failed)?;
        Ok(written)
    }
}

/// A file that is not whole yet; it is removed unless it was given another name.
struct Part(PathBuf);

impl Part {
    async fn create(path: &Path) -> std::io::Result<(Self, File)> {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{:016x}.part", RandomState::new().hash_one(0)));
        let path = PathBuf::from(name);
        let file = File::create_new(&path).await?;
        Ok((Self(path), file))
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // After the rename there is none of this name.
        fs::remove_file(&self.0).ok();
    }
}
