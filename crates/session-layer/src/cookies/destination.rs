//! Where saved cookies are written: to a new file beside the one that it will replace, or to a
//! device.
//!
//! The rules are those of a download that the client saves.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
};

/// An open file, and what happens when it is complete.
#[derive(Debug)]
pub(super) struct Destination {
    // Dropped first, since some systems cannot remove an open file.
    file: File,
    /// `None` for a device, which is written directly.
    part: Option<Part>,
}

/// A file that is not complete yet. It is removed if it has not replaced another, since it may have
/// cookies in it.
#[derive(Debug)]
struct Part {
    path: PathBuf,
    target: PathBuf,
}

impl Destination {
    /// Opens the destination that a path leads to.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let replaced = match fs::metadata(path) {
            Ok(found) if found.is_file() => Some(found),
            Ok(found) if is_device(&found) => {
                let file = OpenOptions::new().write(true).open(path)?;
                return Ok(Self { file, part: None });
            }
            Ok(_) => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "this is no regular file, whose place saved cookies could take; to write into \
                     something else, open it and use `save`",
                ));
            }
            // A symbolic link may lead to a file that does not exist yet.
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let target = follow(path)?;
        let path = beside(&target)?;
        let file = create_private(&path)?;
        let destination = Self {
            file,
            part: Some(Part { path, target }),
        };
        if let Some(replaced) = replaced {
            // The mode is copied after owner and group, so that no other user can read the file in
            // between.
            take_after(&destination.file, &replaced)?;
        }
        Ok(destination)
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Puts the complete file in its place.
    pub(super) fn finish(self) -> io::Result<()> {
        let Self { file, part } = self;
        let Some(part) = part else {
            return Ok(());
        };
        // Without this, a crash of the machine might leave an empty file in place of the old one.
        file.sync_all()?;
        drop(file);
        fs::rename(&part.path, &part.target)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // After the rename no file has this name.
        fs::remove_file(&self.path).ok();
    }
}

/// Follows symbolic links, the last of which may lead to a file that does not exist.
fn follow(path: &Path) -> io::Result<PathBuf> {
    // As many as Linux follows.
    const LINKS: usize = 40;
    let mut path = path.to_owned();
    for _ in 0..LINKS {
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_symlink() => {
                // The directory of the link, which is resolved, since `/dev/fd` leads through a
                // link too.
                let directory = match path.parent() {
                    Some(parent) if !parent.as_os_str().is_empty() => fs::canonicalize(parent)?,
                    Some(_) | None => PathBuf::new(),
                };
                if directory.starts_with("/proc") {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidInput,
                        "this is a file that a process has open, whose place saved cookies cannot \
                         take; use `save`",
                    ));
                }
                let link = fs::read_link(&path)?;
                // A relative link counts from its own directory.
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

/// A new name in the same directory. A long file name is cut, since most file systems allow 255
/// bytes, and some fewer.
fn beside(target: &Path) -> io::Result<PathBuf> {
    const KEPT: usize = 64;
    let name = target.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let name = name.to_string_lossy();
    let mut ends = (0..=name.len().min(KEPT)).rev();
    let kept = ends.find_map(|end| name.get(..end)).unwrap_or_default();
    Ok(target.with_file_name(format!("{kept}.{:016x}.tmp", fastrand::u64(..))))
}

/// Creates a file that only its owner may read.
fn create_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[cfg(unix)]
fn is_device(found: &fs::Metadata) -> bool {
    std::os::unix::fs::FileTypeExt::is_char_device(&found.file_type())
}

#[cfg(not(unix))]
fn is_device(_: &fs::Metadata) -> bool {
    false
}

/// Gives a file the owner and the mode of the one that it will replace.
#[cfg(unix)]
fn take_after(file: &File, replaced: &fs::Metadata) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};

    let own = file.metadata()?;
    let mut mode = replaced.mode() & 0o777;
    if own.gid() != replaced.gid() && fchown(file, None, Some(replaced.gid())).is_err() {
        // Without the group itself, the rights of the group are removed.
        mode &= !0o070;
    }
    if own.uid() != replaced.uid() {
        // Only root may change the owner; the file is written even if that fails.
        fchown(file, Some(replaced.uid()), None).ok();
    }
    file.set_permissions(fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
fn take_after(file: &File, replaced: &fs::Metadata) -> io::Result<()> {
    file.set_permissions(replaced.permissions())
}
