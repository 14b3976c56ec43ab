//! Digests of the received bytes ([RFC 9530](https://www.rfc-editor.org/rfc/rfc9530)).

use std::{
    fs,
    io::{self, Read as _, Seek as _},
    mem,
    ops::Range,
};

use http::{HeaderMap, HeaderValue};
use sfv::{BareItem, Dictionary, ListEntry, Parser};
use sha2::{Digest as _, Sha256, Sha512};

use super::error::DigestMismatch;

pub(super) const REPR_DIGEST: &str = "repr-digest";
const CONTENT_DIGEST: &str = "content-digest";

/// A secure algorithm. Others, such as `md5` and `unixsum`, do not detect changes made on purpose,
/// and are ignored.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Algorithm {
    Sha256,
    Sha512,
}

impl Algorithm {
    const ALL: [Self; 2] = [Self::Sha256, Self::Sha512];

    const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha-256",
            Self::Sha512 => "sha-512",
        }
    }

    const fn length(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }
}

/// A digest that the file, or a part of it, must have.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Expected {
    /// The header field that gave it; `None` if the caller did.
    field: Option<&'static str>,
    algorithm: Algorithm,
    digest: Vec<u8>,
    /// The bytes of the file that it covers; `None` for all.
    range: Option<Range<u64>>,
}

impl Expected {
    pub(super) fn given(digest: [u8; 32]) -> Self {
        Self {
            field: None,
            algorithm: Algorithm::Sha256,
            digest: digest.to_vec(),
            range: None,
        }
    }

    /// Reads the `Repr-Digest` of a response, which covers the whole file.
    pub(super) fn of_whole(headers: &HeaderMap) -> Vec<Self> {
        let values = headers.get_all(REPR_DIGEST).iter();
        Self::parse(values.map(HeaderValue::as_bytes), REPR_DIGEST, None)
    }

    /// Reads a `Repr-Digest` from the record.
    pub(super) fn stored(text: &str) -> Vec<Self> {
        Self::parse([text.as_bytes()], REPR_DIGEST, None)
    }

    /// Reads the `Content-Digest` of a response, whose content is these bytes of the file.
    pub(super) fn of_content(headers: &HeaderMap, range: Option<&Range<u64>>) -> Vec<Self> {
        let values = headers.get_all(CONTENT_DIGEST).iter();
        Self::parse(values.map(HeaderValue::as_bytes), CONTENT_DIGEST, range)
    }

    /// Reads a dictionary of byte sequences. One that is not valid is ignored as a whole
    /// ([RFC 9651, section 4.2](https://www.rfc-editor.org/rfc/rfc9651#section-4.2)).
    fn parse<'a>(
        lines: impl IntoIterator<Item = &'a [u8]>,
        field: &'static str,
        range: Option<&Range<u64>>,
    ) -> Vec<Self> {
        let lines: Vec<_> = lines.into_iter().collect();
        let line = lines.join(&b", "[..]);
        let Ok(dictionary) = Parser::new(&line).parse::<Dictionary>() else {
            return Vec::new();
        };
        let digest = |algorithm: Algorithm| match dictionary.get(algorithm.name())? {
            ListEntry::Item(sfv::Item {
                bare_item: BareItem::ByteSequence(digest),
                ..
            }) if digest.len() == algorithm.length() => Some(Self {
                field: Some(field),
                algorithm,
                digest: digest.clone(),
                range: range.cloned(),
            }),
            _ => None,
        };
        Algorithm::ALL.into_iter().filter_map(digest).collect()
    }

    /// Whether it covers all bytes of a file of this length.
    pub(super) fn is_of_all(&self, length: u64) -> bool {
        self.range
            .as_ref()
            .is_none_or(|range| *range == (0..length))
    }

    fn check(&self, actual: &[u8]) -> Result<(), Box<DigestMismatch>> {
        if actual == self.digest {
            return Ok(());
        }
        Err(Box::new(DigestMismatch {
            field: self.field,
            algorithm: self.algorithm.name(),
            expected: self.digest.clone(),
            actual: actual.to_vec(),
        }))
    }
}

/// The hashes of bytes that are added one piece after the other.
#[derive(Clone, Debug, Default)]
pub(super) struct Hashing {
    sha256: Option<Sha256>,
    sha512: Option<Sha512>,
}

impl Hashing {
    /// Makes hashes by the algorithms of these digests.
    pub(super) fn new<'a>(expected: impl IntoIterator<Item = &'a Expected>) -> Self {
        let mut hashing = Self::default();
        for expected in expected {
            match expected.algorithm {
                Algorithm::Sha256 => hashing.sha256 = Some(Sha256::new()),
                Algorithm::Sha512 => hashing.sha512 = Some(Sha512::new()),
            }
        }
        hashing
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        if let Some(hash) = &mut self.sha256 {
            hash.update(bytes);
        }
        if let Some(hash) = &mut self.sha512 {
            hash.update(bytes);
        }
    }

    fn digest(&self, algorithm: Algorithm) -> Option<Vec<u8>> {
        match algorithm {
            Algorithm::Sha256 => self.sha256.clone().map(|it| it.finalize().to_vec()),
            Algorithm::Sha512 => self.sha512.clone().map(|it| it.finalize().to_vec()),
        }
    }

    /// Compares the hash of the added bytes with a digest.
    pub(super) fn check(&self, expected: &Expected) -> Result<(), Box<DigestMismatch>> {
        let digest = self.digest(expected.algorithm);
        digest.map_or(Ok(()), |digest| expected.check(&digest))
    }
}

/// Why a file could not be verified.
pub(super) enum Unverified {
    Mismatch(Box<DigestMismatch>),
    /// The file cannot be read.
    Io(io::Error),
}

impl From<io::Error> for Unverified {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Checks a file of this length. Bytes that were hashed while they were written, from the first one
/// on, are not read again. Blocks.
pub(super) fn check(
    file: &fs::File,
    length: u64,
    expected: &[Expected],
    hashed: Option<&Hashing>,
) -> Result<(), Unverified> {
    let mut left: Vec<&Expected> = Vec::new();
    for expected in expected {
        let hashed = hashed.filter(|_| expected.is_of_all(length));
        match hashed.and_then(|it| it.digest(expected.algorithm)) {
            Some(actual) => expected.check(&actual).map_err(Unverified::Mismatch)?,
            None => left.push(expected),
        }
    }
    // Digests of the same bytes are checked together, so that the file is read once.
    while let Some(first) = left.first() {
        let is_whole = first.is_of_all(length);
        let range = match &first.range {
            Some(range) if !is_whole => range.clone(),
            _ => 0..length,
        };
        let (same, others): (Vec<_>, Vec<_>) = mem::take(&mut left).into_iter().partition(|it| {
            it.is_of_all(length) == is_whole && (is_whole || it.range.as_ref() == Some(&range))
        });
        let hashing = read(file, range, Hashing::new(same.iter().copied()))?;
        for expected in same {
            hashing.check(expected).map_err(Unverified::Mismatch)?;
        }
        left = others;
    }
    Ok(())
}

/// How much of a file is read at once, in bytes.
const PIECE: usize = 64 * 1024;

fn read(mut file: &fs::File, range: Range<u64>, mut hashing: Hashing) -> io::Result<Hashing> {
    file.seek(io::SeekFrom::Start(range.start))?;
    let mut rest = file.take(range.end.saturating_sub(range.start));
    let mut piece = vec![0; PIECE];
    loop {
        match rest.read(&mut piece) {
            Ok(0) => return Ok(hashing),
            Ok(read) => hashing.update(piece.get(..read).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Reads a SHA-256 in hexadecimal digits.
pub(super) fn from_hex(text: &str) -> Option<[u8; 32]> {
    let text = text.trim().as_bytes();
    let mut digest = [0; 32];
    if text.len() != digest.len() * 2 {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(text.chunks_exact(2)) {
        let mut digits = pair.iter().map(|it| char::from(*it).to_digit(16));
        let value = digits.next()?? * 16 + digits.next()??;
        *byte = u8::try_from(value).ok()?;
    }
    Some(digest)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const OF_HELLO: &str = "sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:";

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn known_algorithms_are_taken_and_all_else_is_ignored() {
        let md5 = "md5=:CY9rzUYh03PK3k6DJie09g==:";
        for (lines, expected) in [
            (&[OF_HELLO][..], 1),
            (&[md5, OF_HELLO], 1),
            (&["other=(\"a, sha-256\" 1);x=?1", OF_HELLO], 1),
            (&["sha-256=:AAAA:"], 0),
            (&["sha-256=12"], 0),
            (&["sha-256"], 0),
            (
                &["sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:; x,"],
                0,
            ),
            (
                &["SHA-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:"],
                0,
            ),
            (&["\u{e9}"], 0),
            (&[""], 0),
            (&[], 0),
        ] {
            let lines: Vec<_> = lines.iter().map(|it| (REPR_DIGEST, *it)).collect();
            let found = Expected::of_whole(&headers(&lines));
            assert_eq!(found.len(), expected, "{lines:?}");
        }
    }

    #[test]
    fn the_bytes_of_a_range_are_checked_and_no_others() {
        let path = std::env::temp_dir().join(format!("client-digest-{}", std::process::id()));
        let mut file = fs::File::options();
        let file = file.create(true).truncate(true).read(true).write(true);
        let mut file = file.open(&path).unwrap();
        file.write_all(b"say hello now").unwrap();
        let headers = headers(&[(CONTENT_DIGEST, OF_HELLO)]);
        let at = |range: Option<Range<u64>>| {
            check(
                &file,
                13,
                &Expected::of_content(&headers, range.as_ref()),
                None,
            )
        };
        assert!(at(Some(4..9)).is_ok());
        for range in [Some(4..10), Some(3..8), Some(0..13), None] {
            assert!(matches!(at(range), Err(Unverified::Mismatch(_))));
        }
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn what_was_hashed_while_it_came_is_not_read_again() {
        let path = std::env::temp_dir().join(format!("client-hashed-{}", std::process::id()));
        // The file can be written, but not read.
        let file = fs::File::create(&path).unwrap();
        let expected = Expected::of_whole(&headers(&[(REPR_DIGEST, OF_HELLO)]));
        let mut hashing = Hashing::new(&expected);
        hashing.update(b"hel");
        hashing.update(b"lo");
        assert!(check(&file, 5, &expected, Some(&hashing)).is_ok());
        assert!(matches!(
            check(&file, 5, &expected, None),
            Err(Unverified::Io(_))
        ));
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_digest_is_read_as_it_is_written() {
        let text = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
        let digest = from_hex(text).unwrap();
        assert_eq!(
            from_hex(&format!(" {} \n", text.to_uppercase())),
            Some(digest)
        );
        for bad in [
            "",
            &text[1..],
            &format!("{text}00"),
            &text.replace('2', "g"),
            &"ä".repeat(32),
        ] {
            assert_eq!(from_hex(bad), None, "{bad}");
        }
        let mut hashing = Hashing::new([&Expected::given(digest)]);
        hashing.update(b"hello");
        assert!(hashing.check(&Expected::given(digest)).is_ok());
    }
}
