use std::{
    fmt,
    path::{Path, PathBuf},
};

/// The part of a file that a failed [download](crate::RequestBuilder::download_to) has left, from
/// which a later one goes on; returned by [`Error::partial_file`](crate::Error::partial_file).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PartialFile {
    path: PathBuf,
    length: u64,
}

impl PartialFile {
    pub(super) fn new(path: PathBuf, length: u64) -> Self {
        Self { path, length }
    }

    /// Returns the path of the partial file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns its length in bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }
}

impl fmt::Display for PartialFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.to_string_lossy();
        // Quoted, so that the name stays in one line whatever characters it has.
        write!(f, "{} bytes are kept in {path:?}", self.length)
    }
}

/// The received bytes do not have the digest that was given; returned by
/// [`Error::digest_mismatch`](crate::Error::digest_mismatch).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DigestMismatch {
    pub(super) field: Option<&'static str>,
    pub(super) algorithm: &'static str,
    pub(super) expected: Vec<u8>,
    pub(super) actual: Vec<u8>,
}

pub(crate) type DigestError = Box<DigestMismatch>;

impl DigestMismatch {
    /// Returns the field of the response that gave the digest, `repr-digest` or `content-digest`; `None`
    /// if the caller gave it.
    #[must_use]
    pub fn field(&self) -> Option<&'static str> {
        self.field
    }

    /// Returns the algorithm: `sha-256` or `sha-512`.
    #[must_use]
    pub fn algorithm(&self) -> &'static str {
        self.algorithm
    }

    /// Returns the digest that was given.
    #[must_use]
    pub fn expected(&self) -> &[u8] {
        &self.expected
    }

    /// Returns the digest of the received bytes.
    #[must_use]
    pub fn actual(&self) -> &[u8] {
        &self.actual
    }
}

impl fmt::Display for DigestMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (algorithm, actual) = (self.algorithm, Hex(&self.actual));
        write!(f, "the {algorithm} of the body is {actual}, and ")?;
        match self.field {
            Some(field) => write!(f, "by the server's `{field}` it should be ")?,
            None => f.write_str("the one that was given is ")?,
        }
        Hex(&self.expected).fmt(f)
    }
}

/// Bytes in hexadecimal digits.
pub(super) struct Hex<'a>(pub(super) &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
