//! Opens and locks a partial file against other downloads and other users.

use std::{fs, io, path::Path};

use crate::{download::own::is_own, read::destination::private};

/// Opens and locks a file that is this user's own and still has this name; creates it if there is
/// none.
pub(super) fn open_locked(path: &Path, is_private: bool) -> io::Result<fs::File> {
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
pub(super) fn foreign(path: &Path) -> io::Error {
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
pub(super) fn is_same(file: &fs::File, found: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;

    let identity = |it: &fs::Metadata| (it.dev(), it.ino());
    let is_found = |it: fs::Metadata| identity(&it) == identity(found);
    found.is_file() && found.nlink() == 1 && file.metadata().is_ok_and(is_found)
}

/// On this system a file that is open for writing cannot be replaced under its name.
#[cfg(not(unix))]
pub(super) fn is_same(_: &fs::File, _: &fs::Metadata) -> bool {
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
