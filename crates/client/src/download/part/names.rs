//! The partial file, its record and its target, and what is left of them.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use super::lock::{is_same, open_locked};
use crate::download::record;

/// The partial file, its record, and the target.
#[derive(Debug)]
pub(super) struct Names {
    pub(super) target: PathBuf,
    pub(super) part: PathBuf,
    pub(super) record: PathBuf,
    /// What is done with the files when this is dropped.
    pub(super) leftover: Mutex<Leftover>,
    /// The partial file. Dropped last, so that files are removed while it is locked.
    pub(super) file: fs::File,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Leftover {
    /// The partial file and its record stay.
    Kept,
    /// Both are removed.
    Removed,
    /// The files of these names belong to another download.
    Others,
}

impl Names {
    pub(super) fn leftover(&self) -> Leftover {
        *self.leftover.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn leave(&self, leftover: Leftover) {
        *self.leftover.lock().unwrap_or_else(PoisonError::into_inner) = leftover;
    }

    /// Whether the partial file still has its name. If it was removed, another download may have
    /// begun.
    pub(super) fn has_part(&self) -> bool {
        fs::symlink_metadata(&self.part).is_ok_and(|found| is_same(&self.file, &found))
    }

    /// Removes the record of a file that was moved to the target, unless another download has
    /// begun, which replaces the record itself.
    pub(super) fn remove_record(&self) {
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
pub(super) fn beside(target: &Path) -> io::Result<(PathBuf, PathBuf)> {
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
