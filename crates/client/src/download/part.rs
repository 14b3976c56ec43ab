//! The partial file: found or made, locked, written, and put in its place.

use std::{
    fs,
    io::{self, Seek as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    fs::File,
    io::{AsyncSeekExt as _, AsyncWriteExt as _},
    task::spawn_blocking,
    time::sleep,
};

use super::{
    digest::{self, Expected, Hashing, Unverified},
    error::PartialFile,
    own::is_own,
    record::{self, Found, Record},
};
use crate::read::destination::{Existing, follow, place, private, take_after};

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

/// The partial file, its record, and the target.
#[derive(Debug)]
struct Names {
    target: PathBuf,
    part: PathBuf,
    record: PathBuf,
    /// What is done with the files when this is dropped.
    leftover: Mutex<Leftover>,
    /// The partial file. Dropped last, so that files are removed while it is locked.
    file: fs::File,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Leftover {
    /// The partial file and its record stay.
    Kept,
    /// Both are removed.
    Removed,
    /// The files of these names belong to another download.
    Others,
}

impl Names {
    fn leftover(&self) -> Leftover {
        *self.leftover.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leave(&self, leftover: Leftover) {
        *self.leftover.lock().unwrap_or_else(PoisonError::into_inner) = leftover;
    }

    /// Whether the partial file still has its name. If it was removed, another download may have
    /// begun.
    fn has_part(&self) -> bool {
        fs::symlink_metadata(&self.part).is_ok_and(|found| is_same(&self.file, &found))
    }

    /// Removes the record of a file that was moved to the target, unless another download has
    /// begun, which replaces the record itself.
    fn remove_record(&self) {
        let Ok(next) = open_locked(&self.part, false) else {
            return;
        };
        // Another download that has begun and failed meanwhile has written its own record.
        if next.metadata().is_ok_and(|found| found.len() == 0) {
            fs::remove_file(&self.record).ok();
            fs::remove_file(&self.part).ok();
        }
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        if self.leftover() == Leftover::Removed && self.has_part() {
            // The record first: without a record, the partial file is never taken for a part of
            // anything.
            fs::remove_file(&self.record).ok();
            fs::remove_file(&self.part).ok();
        }
    }
}

/// The names of the partial file of a target, and of its record.
fn beside(target: &Path) -> io::Result<(PathBuf, PathBuf)> {
    let name = target.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut part = if name.len() <= MAX_NAME {
        name.to_owned()
    } else {
        shortened(&name.to_string_lossy()).into()
    };
    part.push(".part");
    let mut record = part.clone();
    record.push(".json");
    Ok((target.with_file_name(part), target.with_file_name(record)))
}

/// The partial file's name has only so many bytes of a longer target's name: most file systems
/// allow 255 bytes, some fewer.
const MAX_NAME: usize = 128;

fn shortened(name: &str) -> String {
    const KEPT: usize = 64;
    let mut ends = (0..=name.len().min(KEPT)).rev();
    let kept = ends.find_map(|end| name.get(..end)).unwrap_or_default();
    let hash = record::hash("name", name);
    format!("{kept}.{}", hash.get(..16).unwrap_or_default())
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

/// Opens and locks a file that is this user's own and still has this name; creates it if there is
/// none.
fn open_locked(path: &Path, is_private: bool) -> io::Result<fs::File> {
    // Each try fails only if another program has created, removed or renamed the file meanwhile.
    const TRIES: u32 = 10;
    for _ in 0..TRIES {
        let mut options = fs::OpenOptions::new();
        options.read(true).write(true);
        alone(&mut options);
        let mut new = options.clone();
        new.create_new(true);
        if is_private {
            // It takes over the mode of the file that it replaces once it is whole.
            private(&mut new);
        }
        let file = match new.open(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                match fs::symlink_metadata(path) {
                    Ok(found) if !is_own(path, &found) => return Err(foreign(path)),
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(error),
                }
                match options.open(path) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    opened => opened,
                }
            }
            opened => opened,
        };
        let file = file.map_err(busy_if_shared)?;
        lock(&file)?;
        let found = fs::symlink_metadata(path);
        if found.is_ok_and(|found| is_same(&file, &found)) {
            if is_private {
                make_private(&file)?;
            }
            return Ok(file);
        }
    }
    Err(busy())
}

/// The error of a file that no download has left, and that is therefore not touched.
fn foreign(path: &Path) -> io::Error {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    io::Error::new(
        io::ErrorKind::AlreadyExists,
        format!("the download needs the name {name:?}, and what has it was left by no download"),
    )
}

fn busy() -> io::Error {
    io::Error::new(
        io::ErrorKind::ResourceBusy,
        "another download is writing the partial file of this target",
    )
}

/// Whether the path leads to the open file. It does not if another download has moved its file
/// there.
#[cfg(unix)]
fn is_same(file: &fs::File, found: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;

    let identity = |it: &fs::Metadata| (it.dev(), it.ino());
    let is_found = |it: fs::Metadata| identity(&it) == identity(found);
    found.is_file() && found.nlink() == 1 && file.metadata().is_ok_and(is_found)
}

/// On this system a file that is open for writing cannot be replaced under its name.
#[cfg(not(unix))]
fn is_same(_: &fs::File, _: &fs::Metadata) -> bool {
    true
}

#[cfg(unix)]
fn make_private(file: &fs::File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;

    file.set_permissions(fs::Permissions::from_mode(0o600))
}

#[cfg(not(unix))]
fn make_private(_: &fs::File) -> io::Result<()> {
    Ok(())
}

/// Does not follow a symbolic link that takes the place of the file meanwhile.
#[cfg(unix)]
fn alone(options: &mut fs::OpenOptions) {
    use std::os::unix::fs::OpenOptionsExt as _;

    if let Ok(flags) = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()) {
        options.custom_flags(flags);
    }
}

/// Forbids other handles for writing while this one is open, which is the lock on this system.
#[cfg(windows)]
fn alone(options: &mut fs::OpenOptions) {
    use std::os::windows::fs::OpenOptionsExt as _;

    const FILE_SHARE_READ: u32 = 1;
    const FILE_SHARE_DELETE: u32 = 4;
    options.share_mode(FILE_SHARE_READ | FILE_SHARE_DELETE);
}

#[cfg(not(any(unix, windows)))]
fn alone(_: &mut fs::OpenOptions) {}

#[cfg(windows)]
fn busy_if_shared(error: io::Error) -> io::Error {
    const ERROR_SHARING_VIOLATION: i32 = 32;
    match error.raw_os_error() {
        Some(ERROR_SHARING_VIOLATION) => busy(),
        _ => error,
    }
}

#[cfg(not(windows))]
fn busy_if_shared(error: io::Error) -> io::Error {
    error
}

/// Locks a file against other downloads. The system releases the lock when the program ends,
/// however it ends.
#[cfg(unix)]
fn lock(file: &fs::File) -> io::Result<()> {
    use rustix::{fs::FlockOperation, io::Errno};

    match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => Err(busy()),
        // Not every file system has locks, and a download is useful without one.
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "it may fail elsewhere")]
fn lock(_: &fs::File) -> io::Result<()> {
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_has_lost_its_name_is_not_the_one_of_that_name() {
        let directory = std::env::temp_dir();
        let path = directory.join(format!("client-part-{}", std::process::id()));
        let moved = path.with_extension("moved");
        let file = open_locked(&path, false).unwrap();
        assert!(is_same(&file, &fs::symlink_metadata(&path).unwrap()));
        let error = open_locked(&path, false).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ResourceBusy);

        fs::rename(&path, &moved).unwrap();
        let next = open_locked(&path, false).unwrap();
        let found = fs::symlink_metadata(&path).unwrap();
        assert!(is_same(&next, &found) && !is_same(&file, &found));
        fs::remove_file(&path).unwrap();
        fs::remove_file(&moved).unwrap();
    }
}
