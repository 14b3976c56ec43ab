use std::hash::{BuildHasher, Hasher};

use http::{
    Uri,
    uri::{Authority, Scheme},
};

const PIECE: usize = 16;

/// Who has a bucket: scheme, host and port, as requests name them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin<'a> {
    scheme: Option<&'a Scheme>,
    authority: Option<&'a Authority>,
    hash: u64,
}

/// The same, kept.
pub(super) struct OwnedOrigin {
    scheme: Option<Scheme>,
    authority: Option<Authority>,
    hash: u64,
}

impl<'a> Origin<'a> {
    pub(super) fn of(uri: &'a Uri, seed: &impl BuildHasher) -> Self {
        let Some(authority) = uri.authority() else {
            return Self::any();
        };
        let mut hasher = seed.build_hasher();
        // In lower case by pieces of a fixed size, which takes no allocation and few steps. The
        // scheme is left to the comparison: two share a host at most.
        for piece in authority.as_str().as_bytes().chunks(PIECE) {
            let mut lower = [0; PIECE];
            if let Some(room) = lower.get_mut(..piece.len()) {
                room.copy_from_slice(piece);
            }
            lower.make_ascii_lowercase();
            hasher.write(&lower);
        }
        let scheme = uri.scheme();
        Self {
            scheme,
            authority: Some(authority),
            hash: hasher.finish(),
        }
    }

    /// What has no host, or no bucket of its own.
    pub(super) const fn any() -> Self {
        Self {
            scheme: None,
            authority: None,
            hash: 0,
        }
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    pub(super) fn to_owned(self) -> OwnedOrigin {
        OwnedOrigin {
            scheme: self.scheme.cloned(),
            authority: self.authority.cloned(),
            hash: self.hash,
        }
    }

    /// Whether both name the same peer: the case of a host makes no difference, and most are the
    /// same to the letter.
    pub(super) fn is(&self, other: &OwnedOrigin) -> bool {
        let authority = other.authority.as_ref();
        self.hash == other.hash
            && self.scheme == other.scheme.as_ref()
            && (text(self.authority) == text(authority) || self.authority == authority)
    }
}

impl OwnedOrigin {
    pub(super) fn hash(&self) -> u64 {
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
    use hashbrown::DefaultHashBuilder;

    use super::*;

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
