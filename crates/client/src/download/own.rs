//! Which files are the user's own.

use std::{fs, path::Path};

#[cfg(unix)]
use crate::read::destination::directory;

/// Whether this is a regular file that no other name leads to, and that none but this user may have made.
#[cfg(unix)]
pub(super) fn is_own(path: &Path, found: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;

    /// Write permission of the group and of others.
    const OTHERS_WRITE: u32 = 0o022;
    let is_of_user = || found.uid() == rustix::process::geteuid().as_raw();
    // Some file systems give all files to one user, and then it counts who may make them.
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
