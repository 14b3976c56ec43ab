//! Where a download is written: beside the file whose place it takes, or into a device.

use std::{
    ffi::OsStr,
    fs,
    hash::{BuildHasher as _, RandomState},
    io,
    path::{Path, PathBuf},
};

use tokio::{fs::File, io::AsyncWriteExt as _, task::spawn_blocking};

/// An open file, and what becomes of it when it is whole.
#[derive(Debug)]
pub(crate) struct Destination {
    // Dropped first: some systems remove no file that is open.
    pub(crate) file: File,
    /// None if it is a device, which is written as it is.
    part: Option<Part>,
}

/// A file that is not whole yet. It is removed unless it took the place of another.
#[derive(Debug)]
struct Part {
    path: PathBuf,
    target: PathBuf,
}

impl Destination {
    /// Opens what a path leads to.
    ///
    /// # Cancel safety
    ///
    /// A file that is created meanwhile is removed.
    pub(crate) async fn open(path: &Path) -> io::Result<Self> {
        let path = path.to_owned();
        // Dropped together with its result if its future was dropped.
        let opened = spawn_blocking(move || open(&path)).await;
        let (file, part) = opened.map_err(io::Error::other)??;
        Ok(Self {
            file: File::from_std(file),
            part,
        })
    }

    /// Puts the file, which is whole, in its place.
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

/// What becomes of a file that has the name already.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Existing {
    /// The new one takes its place.
    #[default]
    Replace,
    /// It stays, and that is an error.
    Keep,
}

/// Gives a file that is whole its name.
pub(crate) fn place(file: &Path, target: &Path, existing: Existing) -> io::Result<()> {
    match existing {
        Existing::Replace => fs::rename(file, target)?,
        // A rename would replace a file that was made since it was looked for.
        Existing::Keep => match fs::hard_link(file, target) {
            Ok(()) => {
                // It has its name; that it has another one too is no failure.
                fs::remove_file(file).ok();
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(error),
            // Not every file system has links.
            Err(_) if fs::symlink_metadata(target).is_err() => fs::rename(file, target)?,
            Err(_) => return Err(io::ErrorKind::AlreadyExists.into()),
        },
    }
    sync_directory(target);
    Ok(())
}

/// Has the name outlive a loss of power, where the system can do that.
#[cfg(unix)]
fn sync_directory(target: &Path) {
    // The file is there and whole, so an error here is none of the download.
    if let Ok(directory) = fs::File::open(directory(target)) {
        directory.sync_all().ok();
    }
}

#[cfg(not(unix))]
fn sync_directory(_: &Path) {}

/// The directory that a file is in.
#[cfg(unix)]
pub(crate) fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // After the rename there is none of this name.
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
        // A symbolic link may lead to where there is nothing yet.
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let target = follow(path)?;
    let part = beside(&target)?;
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    if replaced.is_some() {
        // It gets the mode of the other when it is known that no other user may read it by that.
        private(&mut options);
    }
    let file = options.open(&part)?;
    let part = Part { path: part, target };
    if let Some(replaced) = replaced {
        take_after(&file, &replaced)?;
    }
    Ok((file, Some(part)))
}

/// Follows symbolic links, the last of which may lead to where there is nothing. That has to be the name of
/// a file: one that ends with a separator is of a directory, which would be found out when all is there.
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
                // Where the link stands, since `/dev/fd` leads there too.
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

/// A name in the same directory that no other file has. Of a long file name it has the beginning: most
/// file systems allow 255 bytes, some fewer.
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

/// Gives a file the owner and the mode of the one that it will replace.
#[cfg(unix)]
pub(crate) fn take_after(file: &fs::File, replaced: &fs::Metadata) -> io::Result<()> {
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
pub(crate) fn take_after(file: &fs::File, replaced: &fs::Metadata) -> io::Result<()> {
    file.set_permissions(replaced.permissions())
}
