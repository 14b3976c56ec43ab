//! The pool's key, and how an origin is looked up by it.

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use hashbrown::Equivalent;

use super::{Origin, OriginRef, RawOrigin};
use crate::runtime;

/// A hasher that returns the hash that an origin keeps.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Hashed(u64);

impl Hasher for Hashed {
    fn write(&mut self, _: &[u8]) {
        unreachable!("an origin is hashed as one number")
    }

    #[inline]
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }
}

impl Hash for RawOrigin<'_> {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl Hash for OriginRef<'_> {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl Hash for Origin {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.hash);
    }
}

/// What the pool looks an origin up by.
pub(crate) trait Lookup: Equivalent<Key> + Hash {
    /// A number by which origins are spread over several locks. It differs between the runtimes of an
    /// origin, whose connections have nothing to do with each other.
    fn spread(&self) -> u64;
}

impl Lookup for RawOrigin<'_> {
    #[inline]
    fn spread(&self) -> u64 {
        spread(self.hash, self.runtime)
    }
}

impl Lookup for OriginRef<'_> {
    #[inline]
    fn spread(&self) -> u64 {
        spread(self.hash, self.runtime)
    }
}

impl Lookup for Origin {
    #[inline]
    fn spread(&self) -> u64 {
        spread(self.0.hash, self.0.runtime)
    }
}

#[inline]
fn spread(hash: u64, runtime: Option<runtime::Id>) -> u64 {
    // An odd number without a pattern (the golden ratio), so that successive numbers of runtimes
    // differ in the upper bits.
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut number = Hashed::default();
    if let Some(runtime) = runtime {
        runtime.hash(&mut number);
    }
    hash.wrapping_add(number.finish().wrapping_mul(FACTOR))
}

/// An origin as the pool's key, in which its runtime counts too, and where requests are spread its
/// address: the pool keeps the connections of each apart.
#[derive(Clone, Debug)]
pub(crate) struct Key(pub(crate) Origin);

impl Hash for Key {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.0.is_same_key(&other.0)
    }
}

impl Eq for Key {}

impl Equivalent<Key> for Origin {
    #[inline]
    fn equivalent(&self, key: &Key) -> bool {
        Arc::ptr_eq(&self.0, &key.0.0) || self.is_same_key(&key.0)
    }
}

impl Equivalent<Key> for RawOrigin<'_> {
    #[inline]
    fn equivalent(&self, Key(Origin(key)): &Key) -> bool {
        key.scheme == self.scheme
            && key.protocol == self.protocol
            && key.group == self.group
            && key.runtime == self.runtime
            && key.address.is_none()
            && key.authority == *self.authority.as_str()
    }
}

impl Equivalent<Key> for OriginRef<'_> {
    #[inline]
    fn equivalent(&self, Key(Origin(key)): &Key) -> bool {
        key.scheme == self.scheme
            && key.protocol == self.protocol
            && key.group == self.group
            && key.runtime == self.runtime
            && key.address.as_deref() == self.address.as_ref()
            && key.authority == *self.authority
    }
}
