use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
};

use cookie_store::Cookie;
use time::OffsetDateTime;

use super::{CookieError, Jar};

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

    /// Writes the cookies to a file that only its owner may read (on Unix; mode 0600).
    ///
    /// It is written beside and then put in place, so that the file is the old or the new one,
    /// whole, whatever happens.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    pub fn save_to_file(&self, path: impl AsRef<Path>, which: Save) -> io::Result<()> {
        let path = path.as_ref();
        let beside = beside(path)?;
        let written = create_private(&beside).and_then(|file| {
            self.save(&file, which)?;
            // Else a crash of the machine might leave an empty file in the place of the old one.
            file.sync_all()
        });
        let placed = written.and_then(|()| fs::rename(&beside, path));
        if placed.is_err() {
            // It may have cookies in it. If it cannot be removed, the first error tells more.
            let _ = fs::remove_file(&beside);
        }
        placed
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

/// The name of a file in the same directory that nobody else has.
fn beside(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut name = name.to_owned();
    name.push(format!(".{:016x}.tmp", fastrand::u64(..)));
    Ok(path.with_file_name(name))
}

fn create_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
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
