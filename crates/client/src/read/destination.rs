//! The destination of a download: a file beside the target, which takes the target's place when it
//! is whole, or a device.

use std::{
    error::Error as StdError,
    ffi::OsStr,
    fmt, fs,
    hash::{BuildHasher as _, RandomState},
    io,
    path::{Path, PathBuf},
};

use tokio::{fs::File, io::AsyncWriteExt as _, task::spawn_blocking};

use crate::{Error, error::Kind};

/// An open file, and what is done with it once it is whole.
#[derive(Debug)]
pub(crate) struct Destination {
    // Dropped first, because some systems do not remove an open file.
    pub(crate) file: File,
    /// `None` for a device, which is written to directly.
    part: Option<Part>,
}

/// A file that is not whole yet. It is removed on drop unless it was moved to the target.
#[derive(Debug)]
struct Part {
    path: PathBuf,
    target: PathBuf,
}

impl Destination {
    /// Opens the destination at a path.
    ///
    /// # Cancel safety
    ///
    /// A file that is created meanwhile is removed.
    pub(crate) async fn open(path: &Path) -> io::Result<Self> {
        let path = path.to_owned();
        // If this future is dropped, the task's result is dropped, and with it the file.
        let opened = spawn_blocking(move || open(&path)).await;
        let (file, part) = opened.map_err(io::Error::other)??;
        Ok(Self {
            file: File::from_std(file),
            part,
        })
    }

    /// Moves the whole file to the target.
    pub(crate) async fn finish(self, existing: Existing) -> io::Result<()> {
        let Self { mut file, part } = self;
        let Some(part) = part else {
            return file.flush().await;
        };
        file.sync_all().await?;
        drop(file);
        let placed = spawn_blocking(move || place(&part.path, &part.target, existing)).await;
        placed.map_err(io::Error::other)?
    }
}

/// The error of a file that cannot be written, which names it.
pub(crate) fn unwritten(path: &Path, error: io::Error) -> Error {
    let (path, kind) = (path.to_owned(), error.kind());
    Error::new(Kind::Write).with(io::Error::new(kind, OfFile { path, error }))
}

/// An error of the system, with the file that it is about.
#[derive(Debug)]
struct OfFile {
    path: PathBuf,
    error: io::Error,
}

impl fmt::Display for OfFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Quoted, so that the name stays in one line whatever characters it has.
        let Self { path, error } = self;
        write!(f, "{:?}: {error}", path.to_string_lossy())
    }
}

impl StdError for OfFile {}

/// What is done with a file that exists at the target.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Existing {
    /// The new file replaces it.
    #[default]
    Replace,
    /// It stays, and the download fails.
    Keep,
}

/// Gives a whole file the target's name.
pub(crate) fn place(file: &Path, target: &Path, existing: Existing) -> io::Result<()> {
    match existing {
        Existing::Replace => fs::rename(file, target)?,
        // A rename would replace a file that was created since the last check.
        Existing::Keep => match fs::hard_link(file, target) {
            Ok(()) => {
                // The file has the target's name. That it may keep its other name too is no
                // failure.
                fs::remove_file(file).ok();
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(error),
            // Not every file system has hard links.
            Err(_) if fs::symlink_metadata(target).is_err() => fs::rename(file, target)?,
            Err(_) => return Err(io::ErrorKind::AlreadyExists.into()),
        },
    }
    sync_directory(target);
    Ok(())
}

/// Writes the directory to disk, where the system can do that, so that the name survives a power
/// failure.
#[cfg(unix)]
fn sync_directory(target: &Path) {
    // The file is there and whole, so an error here does not fail the download.
    if let Ok(directory) = fs::File::open(directory(target)) {
        directory.sync_all().ok();
    }
}

#[cfg(not(unix))]
fn sync_directory(_: &Path) {}

/// The directory of a file.
#[cfg(unix)]
pub(crate) fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // After the rename there is no file of this name.
        fs::remove_file(&self.path).ok();
    }
}

fn open(path: &Path) -> io::Result<(fs::File, Option<Part>)> {
    let replaced = match fs::metadata(path) {
        Ok(found) if found.is_file() => Some(found),
        Ok(found) if is_device(&found) => {
            let device = fs::OpenOptions::new().write(true).open(path)?;
            return Ok((device, None));
        }
        Ok(_) => {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "this is no regular file, whose place a download could take; to write into \
                 something else, open it and use `copy_to`",
            ));
        }
        // A symbolic link may lead to a name that does not exist yet.
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let target = follow(path)?;
    let part = beside(&target)?;
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    if replaced.is_some() {
        // It takes over the mode of the replaced file once it is known that no other user can read
        // it because of that.
        private(&mut options);
    }
    let file = options.open(&part)?;
    let part = Part { path: part, target };
    if let Some(replaced) = replaced {
        take_after(&file, &replaced)?;
    }
    Ok((file, Some(part)))
}

/// Follows symbolic links, the last of which may lead to a name that does not exist yet. The name
/// must not end with a separator: that would mean a directory, and the download would fail only at
/// its end.
pub(crate) fn follow(path: &Path) -> io::Result<PathBuf> {
    let path = follow_links(path)?;
    let name = path.file_name().map(OsStr::as_encoded_bytes);
    let whole = path.as_os_str().as_encoded_bytes();
    if name.is_some_and(|name| whole.ends_with(name)) {
        return Ok(path);
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        "this is the name of a directory, and of no file",
    ))
}

fn follow_links(path: &Path) -> io::Result<PathBuf> {
    // As many as Linux follows.
    const LINKS: usize = 40;
    let mut path = path.to_owned();
    for _ in 0..LINKS {
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_symlink() => {
                // The directory of the link is kept as it is spelled, because `/dev/fd` leads there
                // too.
                let directory = match path.parent() {
                    Some(parent) if !parent.as_os_str().is_empty() => fs::canonicalize(parent)?,
                    Some(_) | None => PathBuf::new(),
                };
                if directory.starts_with("/proc") {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidInput,
                        "this is a file that a process has open, whose place a download cannot \
                         take; use `copy_to`",
                    ));
                }
                let link = fs::read_link(&path)?;
                // A relative link is resolved from the link's directory.
                path.pop();
                path.push(link);
            }
            Ok(_) => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(path),
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("too many symbolic links"))
}

/// A name in the same directory that no other file has. It begins with the first bytes of a long
/// file name: most file systems allow 255 bytes, some fewer.
fn beside(target: &Path) -> io::Result<PathBuf> {
    const KEPT: usize = 64;
    let name = target.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let name = name.to_string_lossy();
    let mut ends = (0..=name.len().min(KEPT)).rev();
    let kept = ends.find_map(|end| name.get(..end)).unwrap_or_default();
    let random = RandomState::new().hash_one(0);
    Ok(target.with_file_name(format!("{kept}.{random:016x}.part")))
}

#[cfg(unix)]
fn is_device(found: &fs::Metadata) -> bool {
    std::os::unix::fs::FileTypeExt::is_char_device(&found.file_type())
}

#[cfg(not(unix))]
fn is_device(_: &fs::Metadata) -> bool {
    false
}

#[cfg(unix)]
pub(crate) fn private(options: &mut fs::OpenOptions) {
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
}

#[cfg(not(unix))]
pub(crate) fn private(_: &mut fs::OpenOptions) {}

/// Gives a file the owner and the mode of the file that it will replace.
#[cfg(unix)]
pub(crate) fn take_after(file: &fs::File, replaced: &fs::Metadata) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};

    let own = file.metadata()?;
    let mut mode = replaced.mode() & 0o777;
    if own.gid() != replaced.gid() && fchown(file, None, Some(replaced.gid())).is_err() {
        // The permissions of the old file's group must not go to another group.
        mode &= !0o070;
    }
    if own.uid() != replaced.uid() {
        // Only root may do this. The file is written without it too.
        fchown(file, Some(replaced.uid()), None).ok();
    }
    file.set_permissions(fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
pub(crate) fn take_after(file: &fs::File, replaced: &fs::Metadata) -> io::Result<()> {
    file.set_permissions(replaced.permissions())
}
