//! The partial file: found or made, locked, written, and put in its place.

mod lock;
mod names;

use std::{
    fs,
    io::{self, Seek as _},
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    fs::File,
    io::{AsyncSeekExt as _, AsyncWriteExt as _},
    task::spawn_blocking,
    time::sleep,
};

use self::{
    lock::{foreign, open_locked},
    names::{Leftover, Names, beside},
};
use super::{
    digest::{self, Expected, Hashing, Unverified},
    error::PartialFile,
    record::{self, Found, Record},
};
use crate::read::destination::{Existing, follow, place, take_after};

/// A partial file that no other download writes to: it is locked for as long as it is open.
#[derive(Debug)]
pub(super) struct Part {
    /// Shared with blocking tasks, which may still write to the disk when this is dropped.
    names: Arc<Names>,
    file: File,
    /// How many bytes were handed to the file.
    length: u64,
    /// What the bytes are a part of, if that is known.
    record: Option<Record>,
}

/// How often locking is tried, and the wait between two tries. A download that was dropped just now
/// may still write its last piece on a blocking thread.
const TRIES: u32 = 50;
const BETWEEN_TRIES: Duration = Duration::from_millis(10);

impl Part {
    /// Opens the partial file of a target.
    pub(super) async fn open(path: &Path, existing: Existing) -> io::Result<Self> {
        let mut tries = 0;
        loop {
            let path = path.to_owned();
            let opened = spawn_blocking(move || open(&path, existing)).await;
            match opened.map_err(io::Error::other)? {
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy && tries < TRIES => {
                    tries += 1;
                    sleep(BETWEEN_TRIES).await;
                }
                opened => return opened,
            }
        }
    }

    pub(super) fn target(&self) -> &Path {
        &self.names.target
    }

    /// Returns the length in bytes.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Returns what the bytes are a part of.
    pub(super) fn record(&self) -> Option<&Record> {
        self.record.as_ref()
    }

    /// Returns what a later download can go on from, if there is anything.
    pub(super) fn kept(&self) -> Option<PartialFile> {
        let is_kept = self.names.leftover() == Leftover::Kept;
        is_kept.then(|| PartialFile::new(self.names.part.clone(), self.length))
    }

    /// Drops the bytes after this offset.
    pub(super) async fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.file.flush().await?;
        self.file.set_len(length).await?;
        self.file.seek(io::SeekFrom::Start(length)).await?;
        self.length = length;
        Ok(())
    }

    /// Empties the file, for the bytes that this record describes.
    pub(super) async fn begin(&mut self, record: Record) -> io::Result<()> {
        // In this order, so that no record is ever beside bytes of another version.
        self.names.leave(Leftover::Removed);
        self.record = None;
        // If this future is dropped, the lock is held until the task ends, and the files that it
        // made are removed.
        let names = self.names.clone();
        blocking(move || record::remove(&names.record)).await?;
        self.truncate(0).await?;
        let (names, written) = (self.names.clone(), record.clone());
        blocking(move || written.write(&names.record)).await?;
        self.record = Some(record);
        Ok(())
    }

    pub(super) async fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        self.file.write_all(piece).await?;
        let written = u64::try_from(piece.len()).unwrap_or(u64::MAX);
        self.length = self.length.saturating_add(written);
        if self.record.as_ref().is_some_and(Record::can_be_continued) {
            self.names.leave(Leftover::Kept);
        }
        Ok(())
    }

    /// Waits until all bytes are written to the file, and updates the length.
    pub(super) async fn sync_length(&mut self) -> io::Result<()> {
        let flushed = self.file.flush().await;
        if let Ok(found) = self.file.metadata().await {
            self.length = found.len();
        }
        if self.length == 0 {
            self.discard();
        }
        flushed
    }

    /// Marks the bytes as of no use to a later download.
    pub(super) fn discard(&mut self) {
        self.names.leave(Leftover::Removed);
    }

    /// Opens the file for reading, from the first byte on.
    pub(super) async fn content(&self) -> io::Result<File> {
        let mut file = self.file.try_clone().await?;
        file.rewind().await?;
        Ok(file)
    }

    /// Checks the digests of the whole file.
    pub(super) async fn check(
        &mut self,
        expected: Vec<Expected>,
        hashed: Option<Hashing>,
    ) -> Result<(), Unverified> {
        if expected.is_empty() {
            return Ok(());
        }
        self.file.flush().await?;
        let file = self.file.try_clone().await?.into_std().await;
        let length = self.length;
        let checked =
            spawn_blocking(move || digest::check(&file, length, &expected, hashed.as_ref()));
        checked.await.map_err(io::Error::other)?
    }

    /// Moves the whole file to the target.
    pub(super) async fn finish(&mut self, existing: Existing) -> io::Result<()> {
        self.file.flush().await?;
        self.file.sync_all().await?;
        let names = self.names.clone();
        blocking(move || {
            // The owner and mode of the replaced file say who may read the new one.
            if let Some(replaced) = fs::metadata(&names.target)
                .ok()
                .filter(fs::Metadata::is_file)
            {
                take_after(&names.file, &replaced)?;
            }
            if !names.has_part() {
                names.leave(Leftover::Others);
                return Err(io::Error::new(
                    io::ErrorKind::NotFound,
                    "the partial file was removed or replaced while it was written",
                ));
            }
            place(&names.part, &names.target, existing)?;
            // The name of the partial file is free now, and another download may use it already.
            names.leave(Leftover::Others);
            names.remove_record();
            Ok(())
        })
        .await
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    spawn_blocking(work).await.map_err(io::Error::other)?
}

fn open(path: &Path, existing: Existing) -> io::Result<Part> {
    let is_replaced = match fs::metadata(path) {
        Ok(_) if existing == Existing::Keep => {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "the file is there already, and is not to be replaced",
            ));
        }
        Ok(found) if found.is_file() => true,
        Ok(_) => {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "this is no regular file, whose place a download could take; to write into \
                 something else, use `save_to` or `copy_to`",
            ));
        }
        // A symbolic link may lead to a name that does not exist yet.
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(error),
    };
    let target = follow(path)?;
    let (part, record_path) = beside(&target)?;
    let mut file = open_locked(&part, is_replaced)?;
    let length = file.metadata()?.len();
    let found = Record::find(&record_path)?;
    let record = match (length, found) {
        (0, Found::Foreign | Found::Unknown) => {
            // The file is empty.
            fs::remove_file(&part).ok();
            return Err(foreign(&record_path));
        }
        (_, Found::Foreign) => return Err(foreign(&record_path)),
        // A download writes its record before its first byte, so these bytes are not a download's.
        (1.., Found::Absent) => return Err(foreign(&part)),
        (1.., Found::Record(record)) => Some(record),
        (0, Found::Absent | Found::Record(_)) | (_, Found::Torn | Found::Unknown) => None,
    };
    let leftover = if record.as_ref().is_some_and(Record::can_be_continued) {
        Leftover::Kept
    } else {
        Leftover::Removed
    };
    file.seek(io::SeekFrom::End(0))?;
    let names = Names {
        target,
        part,
        record: record_path,
        leftover: Mutex::new(leftover),
        file: file.try_clone()?,
    };
    Ok(Part {
        file: File::from_std(file),
        names: Arc::new(names),
        length,
        record,
    })
}
