//! Where saved cookies are written: beside the file whose place they take, or into a device.
//!
//! The rules are those of a download that the client saves.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
};

/// An open file, and what becomes of it when it is whole.
#[derive(Debug)]
pub(super) struct Destination {
    // Dropped first: some systems remove no file that is open.
    file: File,
    /// None if it is a device, which is written as it is.
    part: Option<Part>,
}

/// A file that is not whole yet. It is removed unless it took the place of another: it may have
/// cookies in it.
#[derive(Debug)]
struct Part {
    path: PathBuf,
    target: PathBuf,
}

impl Destination {
    /// Opens what a path leads to.
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
            // A symbolic link may lead to where there is nothing yet.
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
            // It gets the mode of the other when it is known that nobody else may read it by that.
            take_after(&destination.file, &replaced)?;
        }
        Ok(destination)
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Puts the file, which is whole, in its place.
    pub(super) fn finish(self) -> io::Result<()> {
        let Self { file, part } = self;
        let Some(part) = part else {
            return Ok(());
        };
        // Else a crash of the machine might leave an empty file in the place of the old one.
        file.sync_all()?;
        drop(file);
        fs::rename(&part.path, &part.target)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // After the rename there is none of this name.
        fs::remove_file(&self.path).ok();
    }
}

/// Follows symbolic links, the last of which may lead to where there is nothing.
fn follow(path: &Path) -> io::Result<PathBuf> {
    // As many as Linux follows.
    const LINKS: usize = 40;
    let mut path = path.to_owned();
    for _ in 0..LINKS {
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_symlink() => {
                // Where the link stands, since `/dev/fd` leads there too.
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
                // A relative one counts from where the link is.
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

/// A name in the same directory that nobody else has. Of a long file name it has the beginning: most
/// file systems allow 255 bytes, some fewer.
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
        // What its group might do is not for another group.
        mode &= !0o070;
    }
    if own.uid() != replaced.uid() {
        // Only root may, and the file is written all the same.
        fchown(file, Some(replaced.uid()), None).ok();
    }
    file.set_permissions(fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
fn take_after(file: &File, replaced: &fs::Metadata) -> io::Result<()> {
    file.set_permissions(replaced.permissions())
}
