use std::{
    fmt,
    hash::{BuildHasher, RandomState},
};

/// What stands between the parts. Its randomness keeps the author of a part's content from writing it there.
#[derive(Clone, Copy)]
pub(super) struct Boundary(u64, u64);

impl Boundary {
    /// The randomness is that of std's hash maps, which the system gives.
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
