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
    /// Those that have an expiry, as a browser does.
    Persistent,
    /// Also those that would end with this session, as aiohttp does.
    All,
}

/// Saves and loads cookies. These methods block: from async code, call them in `spawn_blocking`.
impl Jar {
    /// Writes the cookies as JSON, in the form that `cookie_store` has.
    ///
    /// They are secrets: a reader of the file can act as their owner.
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

    /// Adds saved cookies; they replace those of the same name, domain and path. Expired cookies
    /// are left out, and so, with a debug event, are those that this jar refuses.
    ///
    /// # Errors
    ///
    /// Those of the reader; [`InvalidData`](io::ErrorKind::InvalidData) if it is not what
    /// [`save`](Self::save) writes. The jar then stays as it was.
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

    /// Writes the cookies to a file. Only its owner may read a new file (on Unix; mode 0600). A
    /// file that replaces another gets its mode, and its owner and group where this process may set
    /// them.
    ///
    /// They are written to another file, which then replaces this one. So the file is always either
    /// the old or the new one, and complete. Symbolic links are followed, and stay. A device, such
    /// as `/dev/null`, is written as it is.
    ///
    /// # Errors
    ///
    /// Those of the file system; [`InvalidInput`](io::ErrorKind::InvalidInput) if the path leads to
    /// something other than a regular file or a device, or to a file of `/proc` that a process has
    /// open.
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

/// Keeps only the position of the fault: the text of the parser may quote a cookie.
fn without_secrets(error: serde_json::Error) -> io::Error {
    if error.is_io() {
        return error.into();
    }
    let (line, column) = (error.line(), error.column());
    let message = format!("not saved cookies, at line {line} column {column}");
    io::Error::new(io::ErrorKind::InvalidData, message)
}
