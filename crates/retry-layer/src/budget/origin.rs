use std::hash::{BuildHasher, Hasher};

use http::{
    Uri,
    uri::{Authority, Scheme},
};

const LOWER_CASE: u8 = 0x20;

/// The key of a bucket: scheme, host and port, as requests name them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin<'a> {
    scheme: Option<&'a Scheme>,
    authority: Option<&'a Authority>,
    hash: u64,
}

/// The same, owned.
pub(crate) struct OwnedOrigin {
    scheme: Option<Scheme>,
    authority: Option<Authority>,
    hash: u64,
}

impl<'a> Origin<'a> {
    pub(crate) fn of(uri: &'a Uri, seed: &impl BuildHasher) -> Self {
        let Some(authority) = uri.authority() else {
            return Self::any();
        };
        let mut hasher = seed.build_hasher();
        // The bit that makes a letter lower case is set, so that the case makes no difference.
        // Other bytes that this makes equal, and the scheme, are told apart by the comparison.
        for piece in authority.as_str().as_bytes().chunks(8) {
            hasher.write_u64(
                piece
                    .iter()
                    .fold(0, |word, byte| word << 8 | u64::from(byte | LOWER_CASE)),
            );
        }
        let scheme = uri.scheme();
        Self {
            scheme,
            authority: Some(authority),
            hash: hasher.finish(),
        }
    }

    /// The key for requests without a host, and for origins without a bucket of their own.
    pub(super) const fn any() -> Self {
        Self {
            scheme: None,
            authority: None,
            hash: 0,
        }
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    pub(crate) fn to_owned(self) -> OwnedOrigin {
        OwnedOrigin {
            scheme: self.scheme.cloned(),
            authority: self.authority.cloned(),
            hash: self.hash,
        }
    }

    /// Whether both name the same peer. The case of a host makes no difference. Most are spelled
    /// the same, which is compared first.
    pub(crate) fn is(&self, other: &OwnedOrigin) -> bool {
        let authority = other.authority.as_ref();
        self.hash == other.hash
            && self.scheme == other.scheme.as_ref()
            && (text(self.authority) == text(authority) || self.authority == authority)
    }
}

impl OwnedOrigin {
    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    pub(super) fn is_any(&self) -> bool {
        self.authority.is_none()
    }
}

fn text(authority: Option<&Authority>) -> &str {
    authority.map_or("", Authority::as_str)
}

#[cfg(test)]
mod tests {
    use std::hash::BuildHasherDefault;

    use hashbrown::DefaultHashBuilder;

    use super::*;

    /// Gives all keys the same hash.
    #[derive(Default)]
    struct Constant;

    impl Hasher for Constant {
        fn write(&mut self, _bytes: &[u8]) {}

        fn finish(&self) -> u64 {
            7
        }
    }

    #[test]
    fn origins_of_the_same_hash_are_told_apart() {
        let seed = BuildHasherDefault::<Constant>::default();
        let (one, other) = (
            Uri::from_static("http://one"),
            Uri::from_static("http://other"),
        );
        let (one, other) = (Origin::of(&one, &seed), Origin::of(&other, &seed));
        assert_eq!(one.hash(), other.hash());
        assert!(one.is(&one.to_owned()));
        assert!(!one.is(&other.to_owned()));
    }

    #[test]
    fn each_byte_of_a_host_makes_another_hash() {
        let seed = DefaultHashBuilder::default();
        let hash = |text: &'static str| {
            let uri = Uri::from_static(text);
            let origin = Origin::of(&uri, &seed);
            assert_eq!(origin.to_owned().hash(), origin.hash());
            origin.hash()
        };
        let host = hash("http://a-host-of-some-length");
        assert_ne!(host, hash("http://b-host-of-some-length"));
        assert_ne!(host, hash("http://a-host-of-some-lengti"));
    }

    #[test]
    fn what_has_no_host_is_any() {
        let seed = DefaultHashBuilder::default();
        for (text, is_any) in [("/path", true), ("http://peer/path", false)] {
            let uri = Uri::from_static(text);
            assert_eq!(Origin::of(&uri, &seed).to_owned().is_any(), is_any);
        }
    }

    #[test]
    fn the_case_of_a_host_makes_no_other_origin() {
        let seed = DefaultHashBuilder::default();
        let same = |one: &'static str, other: &'static str| {
            let (one, other) = (Uri::from_static(one), Uri::from_static(other));
            let (one, other) = (Origin::of(&one, &seed), Origin::of(&other, &seed));
            one.is(&other.to_owned())
        };
        assert!(same("http://Peer:80/a", "http://pEER:80/b"));
        assert!(!same("https://peer:80/a", "http://peer:80/a"));
        assert!(!same("http://peer:81/a", "http://peer:80/a"));
    }
}
