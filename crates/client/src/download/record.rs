//! The record beside a partial file, which says what the bytes are a part of.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    path::Path,
};

use http::{HeaderValue, Uri};
use retry_layer::resume::Checkpoint;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{error::Hex, own::is_own};
use crate::read::destination::private;

/// The version of the format. A program that finds another one begins anew.
const VERSION: u32 = 1;

/// The most bytes that are read. A record of valid headers has fewer.
const MAX_LENGTH: u64 = 256 * 1024;

/// How each record begins.
const BEGINNING: &[u8] = b"{\"partial_download\":";

/// What was found at the path of a record.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Found {
    Absent,
    Record(Record),
    /// A record that was not written whole.
    Torn,
    /// A file that is no record.
    Unknown,
    /// A file that is not this user's own, or has another name too.
    Foreign,
}

/// What the bytes of a partial file are a part of.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Record {
    /// The version of the format. It is the first field, by which a file is known as a record.
    partial_download: u32,
    /// A hash of the URL that the caller asked for, which may be signed and is a secret then.
    resource: String,
    /// A hash of the path of the URL that answered, after redirects. A date is valid as a validator
    /// only for this path.
    answered: String,
    /// A strong entity tag, or a strong date. Without one, the download cannot be continued.
    validator: Option<String>,
    /// The content codings of the bytes.
    codings: String,
    /// The length of the whole, if the server sent it.
    total: Option<u64>,
    /// The `Repr-Digest` of the whole, if the server sent it.
    repr_digest: Option<String>,
}

impl Record {
    pub(super) fn new(
        resource: String,
        answered: &Uri,
        checkpoint: Option<&Checkpoint>,
        repr_digest: Option<String>,
    ) -> Self {
        let codings = checkpoint.map_or("", Checkpoint::codings);
        Self {
            partial_download: VERSION,
            resource,
            answered: hash("path", answered.path()),
            validator: checkpoint.map(|it| text(it.validator())),
            codings: codings.to_owned(),
            total: checkpoint.and_then(Checkpoint::total),
            repr_digest,
        }
    }

    /// Whether a later download can go on from the bytes.
    pub(super) fn can_be_continued(&self) -> bool {
        self.validator.is_some()
    }

    /// Whether it belongs to what the caller asks for.
    pub(super) fn is_of(&self, resource: &str) -> bool {
        self.partial_download == VERSION && self.resource == resource
    }

    /// Whether a response from this URL can be of the same version. An entity tag proves that by
    /// itself.
    pub(super) fn is_answered_by(&self, checkpoint: &Checkpoint, answered: &Uri) -> bool {
        checkpoint.is_tag() || self.answered == hash("path", answered.path())
    }

    pub(super) fn checkpoint(&self) -> Option<Checkpoint> {
        let validator = value(self.validator.as_deref()?)?;
        Checkpoint::new(validator, &self.codings, self.total)
    }

    pub(super) fn repr_digest(&self) -> Option<&str> {
        self.repr_digest.as_deref()
    }

    /// Reads the file at the path of a record.
    pub(super) fn find(path: &Path) -> io::Result<Found> {
        let found = match fs::symlink_metadata(path) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Absent),
            Err(error) => return Err(error),
        };
        if !is_own(path, &found) {
            return Ok(Found::Foreign);
        }
        let mut text = Vec::new();
        let file = fs::File::open(path)?;
        file.take(MAX_LENGTH).read_to_end(&mut text)?;
        Ok(match serde_json::from_slice(&text) {
            Ok(record) => Found::Record(record),
            Err(_) if text.is_empty() || text.starts_with(BEGINNING) => Found::Torn,
            Err(_) => Found::Unknown,
        })
    }

    /// Writes the record, in place of one that is there.
    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        let text = serde_json::to_vec(self)?;
        remove(path)?;
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true);
        private(&mut options);
        // A record that is cut short is not valid JSON, and is not used.
        options.open(path)?.write_all(&text)
    }
}

/// Removes a file, which need not exist.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Hashes something that may be a secret. The kind makes the hashes of equal texts of different
/// kinds differ.
pub(super) fn hash(kind: &str, text: &str) -> String {
    let digest = Sha256::new()
        .chain_update(kind)
        .chain_update("\n")
        .chain_update(text)
        .finalize();
    Hex(&digest).to_string()
}

/// Converts a header value to text. Each byte above 0x7f becomes one character.
pub(super) fn text(value: &HeaderValue) -> String {
    value.as_bytes().iter().copied().map(char::from).collect()
}

fn value(text: &str) -> Option<HeaderValue> {
    let bytes: Result<Vec<u8>, _> = text.chars().map(u8::try_from).collect();
    HeaderValue::from_bytes(&bytes.ok()?).ok()
}
