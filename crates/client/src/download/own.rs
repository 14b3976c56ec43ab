//! Which files are the user's own.

use std::{fs, path::Path};

#[cfg(unix)]
use crate::read::destination::directory;

/// Whether this is a regular file with a single name, which only this user can have made.
#[cfg(unix)]
pub(super) fn is_own(path: &Path, found: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;

    /// Write permission of the group and of others.
    const OTHERS_WRITE: u32 = 0o022;
    let is_of_user = || found.uid() == rustix::process::geteuid().as_raw();
    // Some file systems show all files as one user's. There it counts who may create files in the
    // directory.
    let may_others_make = || match fs::metadata(directory(path)) {
        Ok(directory) => directory.mode() & OTHERS_WRITE != 0,
        Err(_) => true,
    };
    found.is_file() && found.nlink() == 1 && (is_of_user() || !may_others_make())
}

#[cfg(not(unix))]
pub(super) fn is_own(_: &Path, found: &fs::Metadata) -> bool {
    found.is_file()
}
