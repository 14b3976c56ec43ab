use std::{
    fmt,
    hash::{BuildHasher, RandomState},
};

/// The boundary between parts. It is random, so that the author of a part's content cannot write it
/// there.
#[derive(Clone, Copy)]
pub(super) struct Boundary(u64, u64);

impl Boundary {
    /// Uses the randomness of std's hash maps, which comes from the operating system.
    pub(super) fn random() -> Self {
        let state = RandomState::new();
        Self(state.hash_one(0), state.hash_one(1))
    }
}

impl fmt::Display for Boundary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:016x}", self.0, self.1)
    }
}
