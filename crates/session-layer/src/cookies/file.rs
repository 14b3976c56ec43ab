use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Read, Write},
    path::Path,
};

use cookie_store::Cookie;
use time::OffsetDateTime;

use super::{CookieError, Jar, destination::Destination};

/// Which cookies are saved.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Save {
    /// Those that expire at a moment which their server named, as a browser does.
    Persistent,
    /// Those that would end with this session too, as aiohttp does.
    All,
}

/// To outlive the process. All of it blocks: from async code, call it by `spawn_blocking`.
impl Jar {
    /// Writes the cookies as JSON, in the form that `cookie_store` has.
    ///
    /// They are secrets: whoever reads them acts as their owner.
    ///
    /// # Errors
    ///
    /// Those of the writer.
    pub fn save(&self, writer: impl Write, which: Save) -> io::Result<()> {
        let saved: Vec<Cookie<'static>> = self.with(|store| {
            let cookies = store.all(OffsetDateTime::now_utc()).into_iter();
            let saved = cookies.filter(|cookie| which == Save::All || cookie.is_persistent());
            saved.cloned().collect()
        });
        let mut writer = BufWriter::new(writer);
        serde_json::to_writer_pretty(&mut writer, &saved)?;
        writer.flush()
    }

    /// Adds the cookies that were saved, in place of those that they replace. Those that have
    /// expired are left out, and those that this jar refuses, with a debug event.
    ///
    /// # Errors
    ///
    /// Those of the reader; [`InvalidData`](io::ErrorKind::InvalidData) if it is not what
    /// [`save`](Self::save) writes. The jar is as it was then.
    pub fn load(&self, reader: impl Read) -> io::Result<()> {
        let saved = serde_json::from_reader(BufReader::new(reader));
        let saved: Vec<Cookie<'static>> = saved.map_err(without_secrets)?;
        let now = OffsetDateTime::now_utc();
        for cookie in saved {
            let checked = self.rules().check_saved(&cookie);
            if let Err(reason) = checked.and_then(|()| self.with(|store| store.put(cookie, now))) {
                tracing::debug!(reason = %CookieError::from(reason), "saved cookie left out");
            }
        }
        Ok(())
    }

    /// Writes the cookies to a file. A new one may be read by its owner alone (on Unix; mode 0600);
    /// one that is replaced leaves its mode to the new one, and its owner and group where this
    /// process may give them.
    ///
    /// They are written beside it and then put in place, so that the file is the old or the new one,
    /// whole, whatever happens. Symbolic links are followed, and stay. A device, such as
    /// `/dev/null`, is written as it is.
    ///
    /// # Errors
    ///
    /// Those of the file system; [`InvalidInput`](io::ErrorKind::InvalidInput) if the path leads to
    /// what is neither a regular file nor a device, or to a file of `/proc` that a process has open.
    pub fn save_to_file(&self, path: impl AsRef<Path>, which: Save) -> io::Result<()> {
        let destination = Destination::open(path.as_ref())?;
        self.save(destination.file(), which)?;
        destination.finish()
    }

    /// Adds the cookies of a file, as [`load`](Self::load) does.
    ///
    /// # Errors
    ///
    /// Those of the file system, [`NotFound`](io::ErrorKind::NotFound) at the first start among
    /// them, and of [`load`](Self::load).
    pub fn load_from_file(&self, path: impl AsRef<Path>) -> io::Result<()> {
        self.load(File::open(path)?)
    }
}

/// Says where the fault is. What the parser says of it may quote a cookie.
fn without_secrets(error: serde_json::Error) -> io::Error {
    if error.is_io() {
        return error.into();
    }
    let (line, column) = (error.line(), error.column());
    let message = format!("not saved cookies, at line {line} column {column}");
    io::Error::new(io::ErrorKind::InvalidData, message)
}
